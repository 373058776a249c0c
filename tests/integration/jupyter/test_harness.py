"""The harness itself: what the other tests of this folder rely on. What these use anyway is tested by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from lab.notebook import Notebook

Open = Callable[..., Notebook]

WIDGET = """
import time, ipywidgets
from IPython.display import display
bar, text = ipywidgets.IntProgress(max=30), ipywidgets.HTML()
display(ipywidgets.VBox([bar, text]))
for number in range(30):
    bar.value, text.value = number, f"row <b>{number}</b>"
    time.sleep(0.1)
"""
IN_BACKGROUND = """
import threading, time, ipywidgets
from IPython.display import display
text = ipywidgets.HTML()
display(text)
def move():
    for number in range(600):
        text.value = f"row {number}"
        time.sleep(0.1)
threading.Thread(target=move).start()
"""
STYLED = """
from IPython.display import HTML
HTML("<style>.loud {font-size: 40px}</style><p class=loud style='color: red'>lasting words</p>")
"""


def test_a_cell_runs_and_its_text_is_seen(notebook: Open) -> None:
    found = notebook("import time; print(6 * 7)", "time.sleep(1); raise ValueError('no such thing')")
    found.run(0)
    found.wait(0)
    assert found.text(0) == "42"
    assert found.count(0) == 1
    found.run(1)
    assert 1 <= found.wait(1) < 10
    assert "no such thing" in found.text(1)
    added = found.add("print('added')")
    found.run_all(added)
    assert (added, found.text(added)) == (2, "added")
    assert not found.errors


def test_a_widget_is_seen_to_move_while_its_cell_is_busy(shared: Notebook) -> None:
    widget = shared.add(WIDGET.replace("30", "600"))
    shared.run(widget)
    seen = []
    for _ in range(3):
        seen.append(int(shared.wait_for_text(widget, r"row (\d+)")[1]))
        shared.pause(0.4)
    assert seen[0] < seen[1] < seen[2]
    assert shared.count(widget) is None
    traffic = shared.measure(0.5)
    assert 5 <= traffic.kinds["comm_msg"] <= 30
    assert traffic.bytes_per_second > traffic.frames_per_second > 10
    shared.interrupt()
    shared.wait(widget)


@pytest.mark.soak  # in CI by test_live and test_untrusted
def test_what_was_saved_is_seen_without_its_kernel(notebook: Open) -> None:
    found = notebook(STYLED, WIDGET.replace("30", "2"))
    found.run_all(0, 1)
    found.save()
    assert "lasting words" in str(found.saved()["cells"][0]["outputs"])
    found.reopen()
    assert "lasting words" in found.text(0)
    found.wait_for_text(1, "model not found")  # this is what lasting cards are for
    style = "element => getComputedStyle(element).fontSize"
    assert found.output(0).locator("p").evaluate(style) == "40px"
    found.reopen(untrusted=True)
    assert found.output(0).locator("style").count() == 0
    assert found.output(0).locator("p").evaluate(style) != "40px"


@pytest.mark.soak  # in CI by test_background
def test_a_page_that_is_loaded_anew_follows_the_same_kernel(notebook: Open) -> None:
    found = notebook(IN_BACKGROUND)
    found.run(0)
    before = int(found.wait_for_text(0, r"row (\d+)")[1])
    found.save()
    found.reload()
    after = int(found.wait_for_text(0, r"row (\d+)")[1])
    found.wait_for_text(0, rf"row (?!{after}\b)\d")  # and it moves on
    assert after > before


def test_a_cell_is_interrupted(notebook: Open) -> None:
    found = notebook("import time; time.sleep(60)")
    found.run(0)
    found.pause(0.5)
    found.interrupt()
    found.wait(0, 5)
    assert "KeyboardInterrupt" in found.text(0)


def test_the_theme_changes(shared: Notebook) -> None:
    seen = shared.add("print('seen')")
    shared.run_all(seen)
    colour = "element => getComputedStyle(element).color"
    light = shared.output(seen).locator("pre").evaluate(colour)
    shared.theme("dark")
    assert shared.output(seen).locator("pre").evaluate(colour) != light


@pytest.mark.soak  # in CI by test_workers
def test_two_notebooks_are_open_at_once(notebook: Open) -> None:
    one, other = notebook("print('one')"), notebook("print('other')")
    one.run_all(0)
    other.run_all(0)
    assert (one.text(0), other.text(0)) == ("one", "other")


@pytest.mark.usefixtures("lab_and_browser")
def test_other_users_of_asyncio_are_not_disturbed() -> None:
    async def answer() -> int:
        await asyncio.sleep(0)
        return 42

    assert asyncio.run(answer()) == 42

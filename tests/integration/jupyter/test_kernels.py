"""B8 with the versions of ipykernel that are in use: what becomes of the Cancel button while a cell is busy."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lab.browser import Chromium
from lab.cells import slow_plan
from lab.notebook import Notebook, document_of, opened_notebook
from lab.server import LabServer, starting_lab

# Whether a press is heard while the cell is busy.
VERSIONS = {"6.31.0": False, "7.3.0": True, "7.4.0": True}


@contextmanager
def lab_with(version: str, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[LabServer]:
    """A JupyterLab whose kernels are of this version of ipykernel."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*pip, f"ipykernel=={version}"], check=True, timeout=300)
    patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))
    with starting_lab() as server:
        server.wait()
        yield server


@pytest.mark.soak
@pytest.mark.parametrize("version", VERSIONS)
def test_the_button_of_a_busy_cell(
    lab_and_browser: tuple[LabServer, Chromium], version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A press stops the run whose button it is, or none; never the one after it.

    Seen with JupyterLab 4.6.6 and ipywidgets 8.1.9: with ipykernel 7.3.0 and 7.4.0 the press is heard at once, in a
    thread of the kernel's own, and the run is cancelled. With 6.31.0 the kernel reads it when the cell has ended: the
    run succeeds, and so does the one after it. Interrupting the kernel, and the button of a run in the background,
    stop a run with all three.
    """
    _, browser = lab_and_browser
    pages = Chromium(browser.context, browser.loop)  # of another server
    with lab_with(version, tmp_path / "kernel", monkeypatch) as server, pages.in_use():
        document = document_of(["import ipykernel; print(ipykernel.__version__)"])
        with opened_notebook(server, pages, document, "kernels.ipynb") as found:
            found.run_all(0)
            assert found.text(0) == version
            state = _pressed(found)
            print(f"ipykernel {version}: the run of the busy cell is {state}")
            assert state == ("CANCELLED" if VERSIONS[version] else "SUCCEEDED")
            _interrupted(found)
            _pressed_when_idle(found)


def _pressed(found: Notebook) -> str:
    """Press the button of a busy cell, with another run waiting behind it; how the first one ended."""
    plan, run, second, later = found.add_all(
        slow_plan("first.parquet", seconds=6), "plan.run()", slow_plan("later.parquet", seconds=3), "plan.run()"
    )
    found.run_all(plan)
    found.run(run)
    found.wait_for_text(run, r"[1-9][\d,]* of 60,000 rows")
    found.output(run).get_by_role("button", name="Cancel").click()
    found.run(second)
    found.run(later)
    found.wait(run)
    state = found.wait_for_text(run, "✓ (SUCCEEDED)|■ (CANCELLED)")
    found.wait(later)
    found.wait_for_text(later, "✓ SUCCEEDED orders")
    return state[1] or state[2]


def _interrupted(found: Notebook) -> None:
    plan, run = found.add_all(slow_plan("interrupted.parquet", seconds=30), "plan.run()")
    found.run_all(plan)
    found.run(run)
    found.wait_for_text(run, r"[1-9][\d,]* of 60,000 rows")
    found.interrupt()
    found.wait_for_text(run, "■ CANCELLED orders", 5)
    found.wait(run)


def _pressed_when_idle(found: Notebook) -> None:
    plan, run = found.add_all(slow_plan("idle.parquet", seconds=30), "run = plan.run(background=True)")
    found.run_all(plan, run)
    found.wait_for_text(run, r"[1-9][\d,]* of 60,000 rows")
    found.output(run).get_by_role("button", name="Cancel").click()
    found.wait_for_text(run, "■ CANCELLED orders", 5)

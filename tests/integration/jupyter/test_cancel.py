"""B7, B8: stopping a run, by its button and by the notebook's."""

from __future__ import annotations

import time
from collections.abc import Callable

from lab.cells import slow_plan
from lab.notebook import Notebook

Open = Callable[..., Notebook]

LONG_QUERY = """
import pyarrow as pa
import datapipe
rows = pa.table({"id": pa.array(range(200_000))})
pairs = "SELECT count(*) AS n FROM input_data a, input_data b WHERE (a.id * b.id) % 7919 = 3"
plan = datapipe.read(rows).sql(pairs).write("pairs.parquet").named("orders")
plan.run()
"""


def test_the_button_stops_a_background_run(notebook: Open) -> None:
    found = notebook(
        slow_plan("cancel.parquet", seconds=30),
        "run = plan.run(background=True)",
        "len(calls)",
        "import time; time.sleep(1); len(calls)",
        "print(run.status)",
    )
    found.run_all(0, 1)
    found.wait_for_text(1, r"[\d,]+ of 60,000 rows")
    found.output(1).get_by_role("button", name="Cancel").click()
    found.wait_for_text(1, "CANCELL", 1)
    text = found.wait_for_text(1, "■ CANCELLED orders", 10).string
    assert "target is unchanged" in text
    assert found.output(1).get_by_role("button", name="Cancel").count() == 0
    found.run_all(2, 3, 4)
    assert found.text(2) == found.text(3)  # nothing more was read
    assert found.text(4) == "cancelled"
    assert not (found.server.folder / "cancel.parquet").exists()


def test_the_button_is_reached_by_the_keyboard(notebook: Open) -> None:
    found = notebook(slow_plan("keyboard.parquet", seconds=30), "run = plan.run(background=True)")
    found.run_all(0, 1)
    button = found.output(1).get_by_role("button", name="Cancel")
    button.wait_for()
    found.output(1).locator("button, [tabindex='0'], summary").first.focus()
    for _ in range(5):
        if button.evaluate("element => element === document.activeElement"):
            break
        found.page.keyboard.press("Tab")
    assert button.evaluate("element => element === document.activeElement")
    found.page.keyboard.press("Enter")
    found.wait_for_text(1, "■ CANCELLED orders", 10)


def test_interrupting_the_kernel_stops_a_run(notebook: Open) -> None:
    found = notebook(slow_plan("interrupt.parquet", seconds=60), "plan.run()")
    found.run_all(0)
    found.run(1)
    found.wait_for_text(1, r"[\d,]+ of 60,000 rows")
    found.interrupt()
    text = found.wait_for_text(1, "■ CANCELLED orders", 2).string
    assert "target is unchanged" in text
    found.wait(1, 5)
    assert not (found.server.folder / "interrupt.parquet").exists()


def test_interrupting_the_kernel_stops_a_long_query(notebook: Open) -> None:
    found = notebook(LONG_QUERY)
    found.run(0)
    found.wait_for_text(0, "RUNNING orders")
    found.pause(2)
    assert found.count(0) is None
    found.interrupt()
    found.wait_for_text(0, "■ CANCELLED orders", 2)
    found.wait(0, 5)


def test_a_press_never_stops_a_later_run(notebook: Open) -> None:
    """Whether the press is seen while the cell is busy depends on ipykernel; it may come late, or never."""
    found = notebook(
        slow_plan("first.parquet", seconds=6), "plan.run()", slow_plan("later.parquet", seconds=3), "plan.run()"
    )
    found.run_all(0)
    found.run(1)
    found.output(1).get_by_role("button", name="Cancel").click()
    found.run(2)
    found.run(3)
    began = time.monotonic()
    found.wait(1)
    found.wait_for_text(1, "✓ SUCCEEDED|■ CANCELLED")
    found.wait(3)
    assert time.monotonic() - began < 60
    found.wait_for_text(3, "✓ SUCCEEDED orders")

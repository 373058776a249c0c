"""B7, B8: stopping a run, by its button and by the notebook's."""

from __future__ import annotations

from lab.cells import slow_plan
from lab.notebook import Notebook

LONG_QUERY = """
import pyarrow as pa
import datapipe
rows = pa.table({"id": pa.array(range(200_000))})
pairs = "SELECT count(*) AS n FROM input_data a, input_data b WHERE (a.id * b.id) % 7919 = 3"
plan = datapipe.read(rows).sql(pairs).write("pairs.parquet").named("orders")
plan.run()
"""


def test_the_button_stops_a_background_run(shared: Notebook) -> None:
    plan, run, calls, later, status = shared.add_all(
        slow_plan("cancel.parquet", seconds=30),
        "run = plan.run(background=True)",
        "len(calls)",
        "import time; time.sleep(1); len(calls)",
        "print(run.status)",
    )
    shared.run_all(plan, run)
    shared.wait_for_text(run, r"[\d,]+ of 60,000 rows")
    shared.output(run).get_by_role("button", name="Cancel").click()
    shared.wait_for_text(run, "CANCELL", 1)
    text = shared.wait_for_text(run, "■ CANCELLED orders", 10).string
    assert "target is unchanged" in text
    assert shared.output(run).get_by_role("button", name="Cancel").count() == 0
    shared.run_all(calls, later, status)
    assert shared.text(calls) == shared.text(later)  # nothing more was read
    assert shared.text(status) == "cancelled"
    assert not (shared.server.folder / "cancel.parquet").exists()


def test_the_button_is_reached_by_the_keyboard(shared: Notebook) -> None:
    plan, run = shared.add_all(slow_plan("keyboard.parquet", seconds=30), "run = plan.run(background=True)")
    shared.run_all(plan, run)
    button = shared.output(run).get_by_role("button", name="Cancel")
    button.wait_for()
    shared.output(run).locator("button, [tabindex='0'], summary").first.focus()
    for _ in range(5):
        if button.evaluate("element => element === document.activeElement"):
            break
        shared.page.keyboard.press("Tab")
    assert button.evaluate("element => element === document.activeElement")
    shared.page.keyboard.press("Enter")
    shared.wait_for_text(run, "■ CANCELLED orders", 10)


def test_the_button_stops_a_run_while_its_cell_is_busy(shared: Notebook) -> None:
    plan, run = shared.add_all(slow_plan("pressed.parquet", seconds=60), "plan.run()")
    shared.run_all(plan)
    shared.run(run)
    shared.wait_for_text(run, r"[1-9][\d,]* of 60,000 rows")
    shared.output(run).get_by_role("button", name="Cancel").click()
    text = shared.wait_for_text(run, "■ CANCELLED orders", 5).string
    assert "target is unchanged" in text
    shared.wait(run, 5)
    assert not (shared.server.folder / "pressed.parquet").exists()


def test_interrupting_the_kernel_stops_a_run(shared: Notebook) -> None:
    plan, run = shared.add_all(slow_plan("interrupt.parquet", seconds=60), "plan.run()")
    shared.run_all(plan)
    shared.run(run)
    shared.wait_for_text(run, r"[\d,]+ of 60,000 rows")
    shared.interrupt()
    text = shared.wait_for_text(run, "■ CANCELLED orders", 2).string
    assert "target is unchanged" in text
    shared.wait(run, 5)
    assert not (shared.server.folder / "interrupt.parquet").exists()


def test_interrupting_the_kernel_stops_a_long_query(shared: Notebook) -> None:
    query = shared.add(LONG_QUERY)
    shared.run(query)
    shared.wait_for_text(query, "RUNNING orders")
    shared.pause(2)
    assert shared.count(query) is None
    shared.interrupt()
    shared.wait_for_text(query, "■ CANCELLED orders", 2)
    shared.wait(query, 5)


def test_a_press_never_stops_a_later_run(shared: Notebook) -> None:
    """Whether the press is seen while the cell is busy depends on ipykernel; it may come late, or never."""
    plan, run, second, later = shared.add_all(
        slow_plan("first.parquet", seconds=4), "plan.run()", slow_plan("later.parquet", seconds=2), "plan.run()"
    )
    shared.run_all(plan)
    shared.run(run)
    shared.output(run).get_by_role("button", name="Cancel").click()
    shared.run(second)
    shared.run(later)
    shared.wait(run)
    shared.wait_for_text(run, "✓ SUCCEEDED|■ CANCELLED")
    shared.wait(later)
    if shared.count(later) is None:  # Jupyter drops what is queued behind a cell that ends in an error
        shared.run_all(second, later)
    shared.wait_for_text(later, "✓ SUCCEEDED orders")

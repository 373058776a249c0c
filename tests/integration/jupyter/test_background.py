"""B5, B6: runs that go on while the user does, and across reloads."""

from __future__ import annotations

import time
from collections.abc import Callable

from lab.cells import slow_plan
from lab.notebook import Notebook
from workerside import patient

Open = Callable[..., Notebook]


def test_a_background_run_gives_the_cell_back(shared: Notebook) -> None:
    warm, done, plan, run, other, state = shared.add_all(
        slow_plan("warm.parquet", seconds=0.2, name="warm"),
        "plan.run(background=True).result().state",
        slow_plan("background.parquet", seconds=6),
        "run = plan.run(background=True)",
        "6 * 7",
        "run.result().state",
    )
    shared.run_all(warm, done, plan)
    shared.run(run)
    assert shared.wait(run) < patient(0.3)
    shared.wait_for_text(run, "RUNNING orders")
    shared.run_all(other)
    assert shared.text(other) == "42"
    before = shared.wait_for_text(run, r"([\d,]+) of 60,000 rows")[1]
    shared.pause(1.5)
    assert shared.wait_for_text(run, r"([\d,]+) of 60,000 rows")[1] != before
    shared.wait_for_text(run, "✓ SUCCEEDED orders")
    shared.run_all(state)
    assert "succeeded" in shared.text(state)
    shared.save()
    outputs = shared.saved()["cells"][run]["outputs"]
    assert [output["data"].keys() for output in outputs] == [{"text/html", "text/plain"}]


def test_a_card_goes_on_after_a_reload(notebook: Open) -> None:
    found = notebook(slow_plan("reload.parquet", seconds=120), "run = plan.run(background=True)")
    found.run_all(0, 1)
    before = found.wait_for_text(1, r"([\d,]+) of 60,000 rows")[1]
    found.save()
    found.reload()
    after = found.wait_for_text(1, r"([\d,]+) of 60,000 rows")[1]
    assert after != before
    found.pause(1.5)
    assert found.wait_for_text(1, r"([\d,]+) of 60,000 rows")[1] != after
    found.output(1).get_by_role("button", name="Cancel").click()
    found.wait_for_text(1, "■ CANCELLED orders")


def test_a_card_of_a_busy_cell_is_there_after_a_reload_when_the_cell_has_ended(notebook: Open) -> None:
    """A page that is loaded anew asks the kernel for its widgets, and ipykernel answers when the cell has ended.

    Nothing in Python can mend that: until then the page has the card's place only. What is promised is the final card
    a few seconds after the end, that the run is not disturbed, and that the notebook goes on.
    """
    found = notebook(slow_plan("busy.parquet", seconds=8), "plan.run()", "len(calls)")
    found.run_all(0)
    found.run(1)
    found.wait_for_text(1, r"[1-9][\d,]* of 60,000 rows")
    found.save()
    found.reload()
    until = time.monotonic() + 60
    while not (found.server.folder / "busy.parquet").exists():
        assert time.monotonic() < until
        found.pause(0.1)
    assert "60,000 rows read" in found.wait_for_text(1, "✓ SUCCEEDED orders", 5).string
    assert found.text(1).count("SUCCEEDED") == 1
    found.run_all(2)
    assert int(found.text(2)) > 50

"""B14: the log of a run that has much to say."""

from __future__ import annotations

from lab.cells import slow_plan
from lab.notebook import Notebook

# What a run says comes to its card as events: a hundred thousand of them in some seconds.
TALKS = """
import time
from datapipe.display import view_of_plan
from datapipe.engine import Event, Follower
from datapipe.showing import shown

with shown(view_of_plan(plan.plan, "0f8fad5b-d9cb-469f-a165-70867728950e"), lambda: None) as show:
    follower, line = Follower(view_of_plan(plan.plan, "0f8fad5b-d9cb-469f-a165-70867728950e"), show), 0
    for part in range(100):
        for line in range(line + 1, line + 1001):
            follower(Event("notice", "r", "r", line, time.time(), message=f"line {line}"))
        time.sleep(0.05)
    time.sleep(1.5)
    follower.end(None, KeyboardInterrupt())
"""


def test_a_long_log_stays_open_small_and_ends_with_its_last_line(shared: Notebook) -> None:
    plan, run = shared.add_all(slow_plan("talks.parquet"), TALKS)
    shared.run_all(plan)
    shared.run(run)
    shared.wait_for_text(run, "RUNNING orders")
    shared.output(run).get_by_text("Log", exact=True).click()
    log = shared.output(run).locator(".jupyter-widget-Collapse-contents pre")
    log.wait_for()
    before = shared.wait_for_text(run, r"line (\d+)")[1]
    shared.pause(2.5)
    assert log.is_visible()
    assert shared.wait_for_text(run, r"line (\d+)")[1] != before
    shared.wait_for_text(run, "line 100000", 90)
    assert log.is_visible()
    assert len(log.inner_text()) < 20_000
    shared.wait(run)
    shared.wait_for_text(run, "■ CANCELLED orders")
    folded = shared.output(run).locator("details", has_text="Log (500 lines)")
    folded.locator("summary").click()
    assert folded.inner_text().strip().endswith("line 100000")
    shared.save()
    assert len(str(shared.saved()["cells"][run])) < 200_000

"""B3, B4, B13: a run that is watched while it lasts, and what stays of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from lab.cells import slow_plan
from lab.notebook import Notebook

Open = Callable[..., Notebook]

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
ROWS = r"([\d,]+) of ([\d,]+) rows"
MANY = """
import os, time
os.environ["BATCH_SIZE"] = "12500"
import numpy, pyarrow as pa
import datapipe
def slow(df):
    time.sleep(0.08)
    return df
rows = pa.table({"id": numpy.arange(1_250_000)})
found = [datapipe.read(rows).apply(slow, per_batch=True).write(f"many_{n}.parquet").named(f"many {n}") for n in range(8)]
started = [plan.run(background=True) for plan in found]
"""


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_a_run_is_seen_to_move_and_tells_the_truth(shared: Notebook) -> None:
    plan, run = shared.add_all(slow_plan("live.parquet", seconds=12, rows=120_000), "plan.run()")
    shared.run_all(plan)
    shared.run(run)
    shared.wait_for_text(run, "▶ RUNNING orders")
    seen = []
    while len(seen) < 3:
        seen.append((time.monotonic(), number(shared.wait_for_text(run, ROWS)[1])))
        shared.pause(1)
    assert seen[0][1] < seen[1][1] < seen[2][1]
    shared.wait_for_text(run, r"(5\d|6\d),\d\d\d of 120,000 rows")  # half of it
    told = shared.wait_for_text(run, rf"{ROWS} · ([\d,]+) rows/s · ETA (\d+):(\d\d)")
    at, rows, speed = time.monotonic(), number(told[1]), number(told[3])
    left = int(told[4]) * 60 + int(told[5])
    truth = (rows - seen[0][1]) / (at - seen[0][0])
    assert abs(speed - truth) < 0.2 * truth
    assert shared.count(run) is None
    assert shared.output(run).get_by_role("progressbar").count() == 1
    assert shared.text(run).count("RUNNING orders") == 1
    shared.wait_for_text(run, "✓ SUCCEEDED orders")
    took = time.monotonic() - at
    assert abs(left - took) < 0.3 * took + 0.5  # the card tells whole seconds
    shared.wait(run)
    assert shared.text(run).count("SUCCEEDED") == 1
    assert shared.text(run).count("RUNNING") == 0
    assert not shared.errors


def test_what_stays_in_the_file_needs_no_kernel(notebook: Open) -> None:
    found = notebook(slow_plan("stays.parquet", seconds=2), "plan.run()")
    found.run_all(0, 1)
    found.wait_for_text(1, "✓ SUCCEEDED orders")
    found.save()
    outputs = found.saved()["cells"][1]["outputs"]
    assert [output["data"].keys() for output in outputs] == [{"text/html", "text/plain"}]
    found.reopen()
    text = found.wait_for_text(1, "✓ SUCCEEDED orders").string
    assert "60,000 rows read" in text
    assert "model not found" not in text
    assert found.output(1).locator("img[alt]").count() == 1


def test_a_card_in_the_making_is_in_the_file_too(shared: Notebook) -> None:
    plan, run = shared.add_all(slow_plan("making.parquet", seconds=30), "plan.run()")
    shared.run_all(plan)
    shared.run(run)
    shared.wait_for_text(run, r"ETA|rows/s")
    shared.save()
    (output,) = shared.saved()["cells"][run]["outputs"]
    assert output["data"].keys() == {WIDGET_VIEW, "text/html", "text/plain"}
    assert "RUNNING orders" in "".join(output["data"]["text/html"])
    shared.interrupt()
    shared.wait(run)


def test_many_runs_do_not_flood_the_browser(shared: Notebook) -> None:
    many = shared.add(MANY)
    shared.run(many)
    shared.wait_for_text(many, r"(?s)(RUNNING many.*){8}")
    traffic = shared.measure(5)
    assert traffic.frames_per_second <= 20, traffic
    assert traffic.bytes_per_second <= 100_000, traffic
    ended = shared.wait_for_text(many, r"(?s)(SUCCEEDED many.*){8}", 120).string
    assert "exceeded" not in ended
    assert "model not found" not in ended
    shared.wait(many)
    shared.output(many).locator(".jupyter-widgets").first.wait_for(state="detached")  # the last cards go a moment later
    shared.save()
    assert WIDGET_VIEW not in str(shared.saved()["cells"][many]["outputs"])

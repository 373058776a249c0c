"""B3, B4, B13, B14: a run that is watched while it lasts, and what stays of it."""

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
WARNS = """.validate(checks=["id % 7 > 0"], on_error="warn")"""


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_a_run_is_seen_to_move_and_tells_the_truth(notebook: Open) -> None:
    found = notebook(slow_plan("live.parquet", seconds=14, rows=140_000), "plan.run()")
    found.run_all(0)
    found.run(1)
    found.wait_for_text(1, "▶ RUNNING orders")
    seen = []
    while len(seen) < 3:
        rows = number(found.wait_for_text(1, ROWS)[1])
        seen.append((time.monotonic(), rows))
        found.pause(1)
    assert seen[0][1] < seen[1][1] < seen[2][1]
    found.wait_for_text(1, "ETA")
    told = found.wait_for_text(1, rf"{ROWS} · ([\d,]+) rows/s · ETA (\d+):(\d\d)")
    at, rows, speed = time.monotonic(), number(told[1]), number(told[3])
    left = int(told[4]) * 60 + int(told[5])
    truth = (rows - seen[0][1]) / (at - seen[0][0])
    assert abs(speed - truth) < 0.2 * truth
    assert found.count(1) is None
    assert found.output(1).get_by_role("progressbar").count() == 1
    assert found.text(1).count("RUNNING orders") == 1
    found.wait_for_text(1, "✓ SUCCEEDED orders")
    assert abs(left - (time.monotonic() - at)) < 0.3 * left + 1
    found.wait(1)
    assert found.text(1).count("SUCCEEDED") == 1
    assert found.text(1).count("RUNNING") == 0
    assert not found.errors


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


def test_a_card_in_the_making_is_in_the_file_too(notebook: Open) -> None:
    found = notebook(slow_plan("making.parquet", seconds=10), "plan.run()")
    found.run_all(0)
    found.run(1)
    found.wait_for_text(1, r"ETA|rows/s")
    found.save()
    (output,) = found.saved()["cells"][1]["outputs"]
    assert output["data"].keys() == {WIDGET_VIEW, "text/html", "text/plain"}
    assert "RUNNING orders" in "".join(output["data"]["text/html"])
    found.interrupt()
    found.wait(1)


def test_many_runs_do_not_flood_the_browser(notebook: Open) -> None:
    found = notebook(MANY)
    found.run(0)
    found.wait_for_text(0, r"(?s)(RUNNING many.*){8}")
    traffic = found.measure(5)
    assert traffic.frames_per_second <= 20, traffic
    assert traffic.bytes_per_second <= 100_000, traffic
    ended = found.wait_for_text(0, r"(?s)(SUCCEEDED many.*){8}", 120).string
    assert "exceeded" not in ended
    assert "model not found" not in ended
    found.save()
    assert WIDGET_VIEW not in str(found.saved()["cells"][0]["outputs"])


def test_the_log_stays_open_while_the_card_ticks(notebook: Open) -> None:
    found = notebook(slow_plan("talks.parquet", seconds=10, steps=WARNS), "plan.run()")
    found.run_all(0)
    found.run(1)
    found.wait_for_text(1, "RUNNING orders")
    found.output(1).get_by_text("Log", exact=True).click()
    log = found.output(1).locator(".jupyter-widget-Collapse-contents pre")
    log.wait_for()
    before = found.wait_for_text(1, ROWS)[1]
    found.pause(2)
    assert found.wait_for_text(1, ROWS)[1] != before
    assert log.is_visible()
    found.wait_for_text(1, "✓ SUCCEEDED orders")
    found.wait(1)
    found.save()
    assert len(str(found.saved())) < 200_000

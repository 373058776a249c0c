"""The pure parts of the benchmark suite: what is compared, what the report says of it, and the picture."""

from __future__ import annotations

import ast
import re
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest
from benchmarks.peers.checks import alike, told
from benchmarks.peers.jobs import JOBS
from benchmarks.peers.picture import drawn
from benchmarks.peers.report import NONE, faster, page, ratios
from benchmarks.peers.results import Results
from benchmarks.peers.rounds import Round
from benchmarks.peers.tools import PROGRAMS, TOOLS, Tool

NAMES = {job.name for job in JOBS}


def measured(tool: str, *seconds: float, job: str = "copy", scale: float = 0.1, error: str = "") -> list[Round]:
    return [Round(job, tool, scale, at, taken, 100 * at, "abc", "today", error) for at, taken in enumerate(seconds, 1)]


def results(*rounds: list[Round]) -> Results:
    found = Results({"cores": "2"}, {"psql": "15"})
    for each in rounds:
        found.replace(each)
    return found


def jobs_of(tool: Tool) -> set[str]:
    """The jobs that a program has, as it is written."""
    text = (PROGRAMS / tool.program).read_text(encoding="utf-8")
    if tool.program.endswith(".sh"):
        return set(re.findall(r"^([a-z0-9-]+)\)", text, re.MULTILINE))
    functions = {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)}
    return {name.replace("_", "-") for name in functions if not name.startswith("_")}


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_tool_does_each_job_or_says_why_not(tool: Tool) -> None:
    if tool.only:
        assert set(tool.only) <= jobs_of(tool)
    else:
        assert jobs_of(tool) == NAMES - set(tool.cannot)


def test_a_ratio_is_that_of_the_medians() -> None:
    found = results(measured("datapipe", 1, 2, 9), measured("psql", 1, 1, 1), measured("dlt", 8, 4, 2))
    assert ratios(found, 0.1) == {"copy": {"psql": 0.5, "dlt": 2.0}}


def test_a_failed_run_is_no_figure_and_is_told() -> None:
    found = results(measured("datapipe", 1), measured("sling", 0.1, error="no /tmp/x/y.csv"))
    assert ratios(found, 0.1) == {"copy": {}}
    assert "sling, copy, scale 0.1: failed: no (a path)" in page(found, "picture.svg")


def test_who_was_faster_is_told_and_the_wire_is_no_peer() -> None:
    copies = (measured("datapipe", 2), measured("psql", 1), measured("DuckDB", 1.5), measured("dlt", 3))
    upserts = (measured("datapipe", 2, job="upsert"), measured("DuckDB", 4, job="upsert"))
    assert list(faster(results(*copies, *upserts), 0.1)) == ["dlt: 1 of 1", "DuckDB: 1 of 2; not copy (0.75 x)"]


def test_the_page_has_a_line_for_each_job_that_was_measured() -> None:
    text = page(results(measured("datapipe", 2), measured("psql", 1), measured("polars", 5)), "../images/b.svg")
    none = f"| {NONE} "
    assert f"| copy | **2.00** | 1.00 (0.5 x) {none * 2}| 5.00 (2.5 x) {none * 4}|" in text
    assert "(../images/b.svg)" in text
    assert "Peak memory" in text
    assert "| upsert" not in text


def test_newer_rounds_replace_older_ones_of_their_scale(tmp_path: Path) -> None:
    found = results(measured("dlt", 1), measured("dlt", 7, scale=1), measured("dlt", 3))
    found.leave_out("wide", "petl", 1, "about 9 min")
    found.note = 'a "quiet" machine'
    found.write(tmp_path / "r.json")
    again = Results.read(tmp_path / "r.json")
    assert again == found
    assert [one.seconds for one in again.runs] == [7, 3]


def test_what_would_take_too_long_is_left_out() -> None:
    found = results(measured("petl", 60))
    assert found.too_long("copy", "petl", 1, 300) == "about 10 min, by scale 0.1"
    assert found.too_long("copy", "petl", 1, 700) is None
    assert found.too_long("copy", "petl", 0.1, 1) is None


def test_the_picture_puts_twice_as_slow_as_far_right_as_twice_as_fast_is_left() -> None:
    root = ElementTree.fromstring(drawn("T <1>", {"a & b": {"x": 0.5, "y": 2.0}}, ("x", "y")))
    space = "{http://www.w3.org/2000/svg}"
    titles = {mark.findtext(f"{space}title"): mark for mark in root if mark.find(f"{space}title") is not None}
    assert set(titles) == {"a & b: x, 0.5 times datapipe's time", "a & b: y, 2 times datapipe's time"}
    fast = float(titles["a & b: x, 0.5 times datapipe's time"].attrib["cx"])
    corners = titles["a & b: y, 2 times datapipe's time"].attrib["points"].split()
    slow = sum(float(corner.split(",")[0]) for corner in corners) / len(corners)
    one = next(float(line.attrib["x1"]) for line in root if line.attrib.get("class") == "one")
    assert slow - one == pytest.approx(one - fast, abs=0.2)


def test_facts_are_alike_for_every_database() -> None:
    day = datetime(2024, 1, 2, 3)  # as a driver gives it
    assert told((1, 2.004, Decimal("3"))) == ("1.00", "2.00", "3.00")
    assert told((date(2024, 1, 2), day, "2024-01-02 00:00")) == ("2024-01-02",) * 3


def test_a_sum_of_doubles_may_end_otherwise_and_nothing_else() -> None:
    wanted = ("6001215.00", "229577310901.20", "1992-01-02")
    assert alike(("6001215.00", "229577310901.19", "1992-01-02"), wanted)
    assert not alike(("6001214.00", "229577310901.20", "1992-01-02"), wanted)
    assert not alike(("6001215.00", "229577310911.20", "1992-01-02"), wanted)
    assert not alike(("6001215.00", "229577310901.20", "1992-01-03"), wanted)
    assert not alike(wanted[:2], wanted)

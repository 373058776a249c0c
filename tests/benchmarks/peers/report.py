"""Results as a page of the docs with a picture: python -m tests.benchmarks.peers.report"""

from __future__ import annotations

import argparse
import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from .jobs import JOBS
from .picture import drawn
from .results import MEASURED, Median, Results
from .tools import TOOLS

OURS, WIRE, NONE = "datapipe", "psql", "\u2013"
COLUMNS = tuple(tool.name for tool in TOOLS if not tool.only)
PEERS = tuple(name for name in COLUMNS if name != OURS)
VARIANTS = tuple(tool.name for tool in TOOLS if tool.only)
_DOCS = Path(__file__).parents[3] / "docs"

HEAD = """# Benchmarks

The same jobs with datapipe, with each tool that installs from PyPI and does them, and with `psql` alone, in turns on one
machine. What the tools are for otherwise is in [Comparison with other tools](../explanation/comparison.md).

This page is written by a program, from measurements:

```text
python -m tests.benchmarks.peers.install build/peers
python -m tests.benchmarks.peers --peers build/peers --scale 0.1
python -m tests.benchmarks.peers --peers build/peers --scale 1
python -m tests.benchmarks.peers.report
```

It needs PostgreSQL, `psql` and MariaDB on the machine, and starts private servers. `--only copy,upsert` and
`--tools datapipe,psql` measure a part. Every single run is in `tests/benchmarks/peers/measured.json`, which keeps what
is not measured anew.

## How it is measured

- The data are `lineitem` and `orders` of TPC-H by `tpchgen-cli`, at scale factor 1 with 6,001,215 and 1,500,000 rows; 100,000 rows
  of 200 columns, a seventeenth of their values NULL; 20,000 texts of 10 kB. At other scales there are as many times more or fewer.
- Source and target are two databases of one PostgreSQL, so that rows have to come out of one and go into the other. The server
  does not wait for its disk (`fsync=off`), and does not vacuum by itself.
- A run is a process of its own. Its time is that of the whole process, from start to end with every import; its memory the peak of
  the largest process in it. Before each run the target is made anew, and the server writes its checkpoint.
- All tools do the first round, then all the second: {rounds} rounds, three where one takes more than 20 s. The tables have the medians.
- After each run, the count, sums and bounds of the target are held against those that PostgreSQL finds in the source. A
  run with other rows counts as failed.
- Each tool is used in the fastest way that its documentation shows. "Between read and write" means that the tool itself computes;
  "in the source's query", that PostgreSQL does, and the tool moves the answer.
- dlt makes its tables of state in each run, sling none, datapipe has a ledger that exists. datapipe loads exactly once; the others do not.
- To replace rows, datapipe deletes the old ones in the load's transaction: readers see them until it commits, and the table keeps its
  keys, grants and views. psql, dlt and DuckDB truncate the table, which readers wait for or find empty; polars and ConnectorX drop
  it, and make one without a key.
"""


def page(results: Results, picture: str) -> str:
    """The whole page."""
    scales = sorted({one.scale for one in results.runs}, reverse=True)
    rounds = max((one.round for one in results.runs), default=0)
    parts = [HEAD.format(rounds=rounds), *_machine(results), f"![Times of the tools beside datapipe's]({picture})\n"]
    if results.note:
        parts.append(f"{results.note}\n")
    for scale in scales:
        parts += _scale(results, scale)
    parts.append("## What is left out\n")
    parts.append("\n".join(f"- {note}" for note in _notes(results, scales)) + "\n")
    return "\n".join(parts)


def ratios(results: Results, scale: float) -> dict[str, dict[str, float]]:
    """By title of the job and by tool: its time as a multiple of datapipe's."""
    found: dict[str, dict[str, float]] = {}
    for job in JOBS:
        ours = _good(results.median(job.name, OURS, scale))
        if ours is None:
            continue
        theirs = {tool: _good(results.median(job.name, tool, scale)) for tool in PEERS}
        found[job.title] = {tool: one.seconds / ours.seconds for tool, one in theirs.items() if one}
    return found


def faster(results: Results, scale: float) -> Iterator[str]:
    """A line for each peer: how many jobs took it longer than datapipe, and those that did not. The wire is no peer."""
    found = ratios(results, scale)
    for tool in PEERS:
        told = {title: of_job[tool] for title, of_job in found.items() if tool in of_job}
        if told and tool != WIRE:
            ahead = [f"{title} ({ratio:.2f} x)" for title, ratio in told.items() if ratio < 1]
            yield f"{tool}: {len(told) - len(ahead)} of {len(told)}" + (f"; not {', '.join(ahead)}" if ahead else "")


def _machine(results: Results) -> Iterator[str]:
    names = {"postgresql": "PostgreSQL", "mariadb": "MariaDB", "python": "Python"}
    rows = [f"| {names.get(name, name)} | {value} |" for name, value in results.machine.items()]
    tools = [f"| {name} | {version} |" for name, version in results.versions.items()]
    commits = ", ".join(sorted({one.code for one in results.runs if one.tool == OURS}))
    yield "## The machine and the versions\n"
    yield "\n".join(["| | |", "|---|---|", *rows, *tools, f"| datapipe's commit | {commits} |"]) + "\n"


def _scale(results: Results, scale: float) -> Iterator[str]:
    yield f"## Scale {scale:g}\n"
    yield "Seconds, and in brackets the multiple of datapipe's. The fastest is bold, psql aside.\n"
    yield _table(results, scale, _times)
    yield "Peak memory in MB.\n"
    yield _table(results, scale, lambda found: {tool: f"{one.peak_mb:.0f}" for tool, one in found.items()})
    variants = {tool: found for tool in ("dlt", *VARIANTS) if (found := _good(results.median("copy", tool, scale)))}
    if len(variants) > 1:
        yield "The copy with each way of dlt; its column above has the first.\n"
        rows = [f"| {tool} | {one.seconds:.2f} | {one.peak_mb:.0f} |" for tool, one in variants.items()]
        yield "\n".join(["| | seconds | MB |", "|---|---|---|", *rows]) + "\n"
    yield "In how many of the jobs that a peer does datapipe was faster:\n"
    yield "\n".join(f"- {line}" for line in faster(results, scale)) + "\n"


def _table(results: Results, scale: float, told: Callable[[dict[str, Median]], dict[str, str]]) -> str:
    lines = [f"| | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
    for job in JOBS:
        medians = {tool: results.median(job.name, tool, scale) for tool in COLUMNS}
        if not any(medians.values()):
            continue
        cells = told({tool: one for tool, one in medians.items() if one and not one.error})
        lines.append(f"| {job.title} | {' | '.join(cells.get(tool, NONE) for tool in COLUMNS)} |")
    return "\n".join(lines) + "\n"


def _times(found: dict[str, Median]) -> dict[str, str]:
    ours = found.get(OURS)
    best = min((one.seconds for tool, one in found.items() if tool != WIRE), default=0.0)
    cells = {}
    for tool, one in found.items():
        told = f"**{one.seconds:.2f}**" if one.seconds == best else f"{one.seconds:.2f}"
        cells[tool] = told if tool == OURS or ours is None else f"{told} ({one.seconds / ours.seconds:.2g} x)"
    return cells


def _good(found: Median | None) -> Median | None:
    return None if found is None or found.error else found


def _notes(results: Results, scales: list[float]) -> Iterator[str]:
    """Why there is a dash: what a tool cannot do, what would take too long, what failed."""
    titles = {job.name: job.title for job in JOBS}
    for tool in TOOLS:
        reasons: dict[str, list[str]] = {}
        for job, reason in tool.cannot.items():
            reasons.setdefault(reason, []).append(titles[job])
        for reason, jobs in reasons.items():
            yield f"{tool.name}, {'; '.join(jobs)}: {reason}"
        for scale, job in itertools.product(scales, JOBS):
            found, left_out = results.median(job.name, tool.name, scale), results.why(job.name, tool.name, scale)
            if found and found.error:
                yield f"{tool.name}, {job.title}, scale {scale:g}: failed: {_without_paths(found.error)}"
            elif left_out:
                yield f"{tool.name}, {job.title}, scale {scale:g}: left out, {left_out}"


def _without_paths(error: str) -> str:
    """The end of what a tool said, for a page that belongs to no machine."""
    return re.sub(r"(/[\w.+-]+){2,}", "(a path)", error)[-240:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, nargs="?", default=MEASURED, help="what peers --out has written")
    parser.add_argument("--docs", type=Path, default=_DOCS / "reference" / "benchmarks.md", help="the page")
    parser.add_argument("--picture", type=Path, default=_DOCS / "images" / "benchmarks.svg", help="an SVG file")
    parser.add_argument("--note", help="what a reader has to know of this measurement; kept in the results")
    asked = parser.parse_args()
    results = Results.read(asked.results)
    if asked.note is not None:
        results.note = asked.note
        results.write(asked.results)
    scale = max((one.scale for one in results.runs), default=1.0)
    title = f"Whole-process time beside datapipe's, scale {scale:g} (medians)"
    asked.picture.write_text(drawn(title, ratios(results, scale), PEERS), encoding="utf-8")
    asked.docs.write_text(page(results, os.path.relpath(asked.picture, asked.docs.parent)), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Measure: python -m tests.benchmarks.peers --peers FOLDER --scale 0.1"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from . import machine
from .checks import expected
from .data import Data, prepared
from .jobs import JOBS, Job
from .results import MEASURED, Results
from .rounds import Round, run
from .tools import TOOLS, Tool

SLOW_ROUNDS = 3
Named = TypeVar("Named", Job, Tool)


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    peers: Path
    scale: float
    rounds: int
    out: Path
    data: Path
    jobs: tuple[Job, ...]
    tools: tuple[Tool, ...]
    limit: float
    slow: float
    longest: float


def main() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the servers end, however this one does
    options = _options()
    results = Results.read(options.out)
    results.machine, results.versions = machine.described(), machine.versions(options.peers)
    began, done = time.monotonic(), 0
    work = [job for job in options.jobs if any(tool.takes(job.name) for tool in options.tools)]
    with prepared(options.scale, options.data) as data:
        for job in work:
            for found in _measured(job, data, options, results):
                print(_told(found), file=sys.stderr, flush=True)
                results.write(options.out)
            done += 1
            left = (time.monotonic() - began) / done * (len(work) - done)
            print(f"{done} of {len(work)} jobs, about {left / 60:.0f} min to go", file=sys.stderr, flush=True)


def _measured(job: Job, data: Data, options: Options, results: Results) -> Iterator[Round]:
    """The rounds of one job: all tools in turns, the slow ones fewer times; those that failed are not tried again."""
    for name in job.needs:
        data.need(name)
    facts, code, session = expected(job, data), machine.code(), time.strftime("%Y-%m-%d %H:%M")
    runs: dict[str, list[Round]] = {}
    for tool in options.tools:
        left_out = results.too_long(job.name, tool.name, options.scale, options.longest)
        if tool.takes(job.name) and left_out is None:
            runs[tool.name] = []
        elif left_out is not None:
            results.leave_out(job.name, tool.name, options.scale, left_out)
    for number in range(1, options.rounds + 1):
        for tool in options.tools:
            earlier = runs.get(tool.name)
            if earlier is None or not _goes_on(earlier, number, options.slow):
                continue
            seconds, peak, error = run(tool, job, data, options.peers, options.limit, facts)
            found = Round(job.name, tool.name, options.scale, number, seconds, peak, code, session, error)
            earlier.append(found)
            results.replace(earlier)
            yield found


def _goes_on(earlier: list[Round], number: int, slow: float) -> bool:
    if any(found.error for found in earlier):
        return False
    return number <= SLOW_ROUNDS or statistics.median(found.seconds for found in earlier) <= slow


def _told(found: Round) -> str:
    place = f"{found.job:<17} {found.tool:<26} round {found.round}"
    return f"{place} {found.seconds:8.2f} s {found.peak_mb:7.0f} MB  {found.error}"


def _options() -> Options:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, required=True, help="the folder that peers.install made")
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="jobs, with commas between them")
    parser.add_argument("--tools", default="", help="tools, with commas between them; dlt means its fastest alone")
    parser.add_argument("--out", type=Path, default=MEASURED, help="results of earlier runs are kept in it")
    parser.add_argument("--data", type=Path, default=Path("build/benchmarks"), help="where files are kept")
    parser.add_argument("--limit", type=float, default=900, help="seconds that one run may take")
    parser.add_argument("--slow", type=float, default=20, help="what takes longer has three rounds")
    parser.add_argument("--longest", type=float, default=300, help="leave out what a smaller scale says takes longer")
    asked = parser.parse_args()
    return Options(
        asked.peers.resolve(),
        asked.scale,
        asked.rounds,
        asked.out,
        asked.data.resolve(),
        tuple(_chosen(JOBS, asked.only)),
        tuple(_chosen(TOOLS, asked.tools)),
        asked.limit,
        asked.slow,
        asked.longest,
    )


def _chosen(known: tuple[Named, ...], asked: str) -> Iterator[Named]:
    names = [name.strip() for name in asked.split(",") if name.strip()]
    by_name = {one.name: one for one in known}
    for name in names:
        if name not in by_name:
            raise SystemExit(f"unknown: {name}; known: {', '.join(by_name)}")
    yield from (by_name[name] for name in names) if names else known


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("interrupted: what was measured so far is kept") from None

"""One plan for each stage a run can be interrupted in; as a program, one run of it that takes Ctrl-C."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from typing import Any

import datapipe

STAGES = ("reading", "transforming", "copying", "merging")
ROWS = 200_000
NUMBERS = {"postgresql": f"generate_series(1, {ROWS}) AS g", "mysql": f"(SELECT seq AS g FROM seq_1_to_{ROWS}) AS s"}


def prepared(kind: str) -> tuple[str, ...]:
    """The statements that make ``origin`` and ``target``."""
    return (
        f"CREATE TABLE origin AS SELECT g AS id, repeat('x', 100) AS t FROM {NUMBERS[kind]}",
        "CREATE TABLE target (id integer PRIMARY KEY, t text)",
        "INSERT INTO target VALUES (-1, 'before')",
    )


def plan(stage: str, source: str, target: str, between: Callable[[Any], Any] | None = None) -> Any:
    """A plan from ``origin`` to ``target``; with ``between``, which takes every batch, while it transforms."""
    found = datapipe.read("SELECT id, t FROM origin", source=source)
    if between is not None:
        found = found.apply(between, per_batch=True)
    elif stage == "transforming":
        found = found.sql("SELECT a.id, b.t FROM input_data a JOIN input_data b USING (id)")
    elif stage == "connected":  # by the driver of rows that are decoded
        found = found.sql("SELECT * FROM input_data")
    if stage == "merging":
        return found.write("target", to=target, strategy="upsert", keys=["id"])
    return found.write("target", to=target)


def main() -> None:
    """Run a stage's plan, and report what Ctrl-C makes of it."""
    stage, source, target = sys.argv[1:]
    print("ready", flush=True)
    try:
        plan(stage, source, target).run()
    except KeyboardInterrupt as interrupt:
        left = [thread.name for thread in threading.enumerate() if thread.name.startswith("datapipe")]
        result = interrupt.result  # type: ignore[attr-defined]  # as on every error of a run
        print(json.dumps({"state": result.state, "threads": left}), flush=True)


if __name__ == "__main__":
    main()

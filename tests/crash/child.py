"""One run of a plan, in a forked process that marks where it is. The product has no hooks: they are put on here."""

from __future__ import annotations

import importlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# In the order in which a run passes them.
POINTS = ("claimed", "reading", "locked", "copying", "copied", "merged", "recorded", "committed")
COPY_TO_COMMIT = POINTS[POINTS.index("copying") : POINTS.index("committed")]

_SESSIONS = {"postgresql": "PostgresqlSession", "sqlite": "SqliteSession", "mysql": "MysqlSession"}


@dataclass(frozen=True)
class Case:
    """What a run is started with.

    Parameters
    ----------
    at : str, optional
        The mark at which the run, when it first passes it, sends itself ``signal``.
    environment : mapping
        Settings of this run.
    """

    kind: str
    source: str
    query: str
    target: str
    table: str
    strategy: str
    keys: Sequence[str]
    key: str
    at: str | None = None
    signal: int = signal.SIGKILL
    environment: Mapping[str, str] = field(default_factory=dict)


class Marks:
    """Writes where the run is, and sends the signal if the case says so."""

    def __init__(self, path: str, case: Case) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._case, self._sent = case, False
        self.last = "started"

    def __call__(self, name: str, **more: Any) -> None:
        line = json.dumps({"mark": name, "at": time.monotonic(), **more}) + "\n"
        os.write(self._file, line.encode())  # one call: it is there whole, or not at all
        self.last = name
        if name == self._case.at and not self._sent:
            self._sent = True
            signal.pthread_kill(threading.get_ident(), self._case.signal)  # this thread goes no further


def run_case(case: Case, marks_path: str) -> None:
    """Run the plan of a case to its end, and mark how it ended."""
    os.environ.update(case.environment)
    marks = Marks(marks_path, case)
    _shrink_batches()
    _hook_session(case.kind, marks)
    _hook_binary(marks)
    _hook_functions(marks)
    import datapipe

    plan = datapipe.read(case.query, source=case.source)
    plan = plan.write(case.table, to=case.target, strategy=case.strategy, keys=list(case.keys))
    try:
        result = plan.run(idempotency_key=case.key)
    except Exception as error:  # noqa: BLE001  # whatever it is, the oracle must hear of it
        marks("done", state="failed", error=type(error).__name__, message=str(error))
    else:
        marks("done", state=result.state, replayed=result.replayed, run_id=result.run_id)


def _shrink_batches() -> None:
    """A load of some thousand rows takes as many batches as a large one."""
    from datapipe.data.stream import Workspace
    from datapipe.persistence import sqlite

    Workspace.batch_bytes = 1 << 14  # type: ignore[assignment, method-assign]  # a property, in this process only
    sqlite._ROWS = 500


def _hook_session(kind: str, marks: Marks) -> None:
    """Wrap the methods of a database's session."""
    session: Any = getattr(importlib.import_module(f"datapipe.persistence.{kind}"), _SESSIONS[kind])
    lock, copy, commit = session.lock, session.copy, session.commit

    def locked(self: Any, name: str, owner: str) -> str | None:
        holder: str | None = lock(self, name, owner)
        if holder is None and name != "internal objects":
            marks("claimed" if name.startswith("key ") else "locked")
        return holder

    def copied(self: Any, table: Any, columns: Any, schema: Any, batches: Iterator[Any]) -> int:
        rows: int = copy(self, table, columns, schema, _marked(batches, marks))
        marks("copied")
        return rows

    def committed(self: Any) -> None:
        commit(self)
        if marks.last == "recorded":  # the creation of the ledger is committed too
            marks("committed")

    session.lock, session.copy, session.commit = locked, copied, committed


def _hook_binary(marks: Marks) -> None:
    """Wrap the road of rows that nobody looks into."""
    from datapipe.persistence.pgbinary import PostgresqlBinary

    copy = PostgresqlBinary.copy

    def copied(self: Any, table: Any, columns: Any, keys: Any, blocks: Iterator[Any]) -> int:
        rows = copy(self, table, columns, keys, _marked(blocks, marks))
        marks("copied")
        return rows

    PostgresqlBinary.copy = copied  # type: ignore[method-assign]  # in this process only


def _marked(batches: Iterator[Any], marks: Marks) -> Iterator[Any]:
    """Marks when the first batch has been sent: the next one is asked for."""
    for index, batch in enumerate(batches):
        yield batch
        if index == 0:
            marks("copying")


def _hook_functions(marks: Marks) -> None:
    """Wrap what opens the source, and what records the load."""
    from datapipe.engine import runner
    from datapipe.persistence import ledger

    record, opens = ledger.record, runner.Chain.open

    def recorded(*given: Any) -> None:
        marks("merged")
        record(*given)
        marks("recorded")

    ledger.record = recorded
    runner.Chain.open = _before(opens, lambda: marks("reading"))  # type: ignore[method-assign]  # in this process only


def _before(function: Callable[..., Any], first: Callable[[], None]) -> Callable[..., Any]:
    def called(*given: Any) -> Any:
        first()
        return function(*given)

    return called

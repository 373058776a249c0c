"""Runs of plans in processes that can be killed: imported once, forked per case, with marks of how far each came.

One JSON object a line comes in: ``{"marks": path, "url": …, "query": …, "source": …, "target": {…}, "key": …}``. The
child's process id goes out. The product has no hooks for this: the marks are put around its sessions here.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import adbc_driver_postgresql.dbapi  # noqa: F401  # so that no child imports it
import duckdb  # noqa: F401  # as above
import pandas  # noqa: F401  # as above
import psycopg  # noqa: F401  # as above

import datapipe
from datapipe.persistence import delivery
from datapipe.persistence.postgresql import PostgresqlSession
from datapipe.persistence.sqlite import SqliteSession


def marked(path: str, kill_at: str | None) -> Callable[[str], None]:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def mark(name: str) -> None:
        os.write(file, f"{os.getpid()} {name}\n".encode())
        if name == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    return mark


def wrap(mark: Callable[[str], None]) -> None:
    for kind in (PostgresqlSession, SqliteSession):
        copy, commit = kind.copy, kind.commit

        def copying(self: Any, table: Any, columns: Any, schema: Any, batches: Any, _copy: Any = copy) -> int:
            def sent() -> Any:
                for number, batch in enumerate(batches):
                    yield batch
                    if number == 0:
                        mark("first batch sent")
                mark("all batches sent")

            rows: int = _copy(self, table, columns, schema, sent())
            mark("copied")
            return rows

        def committing(self: Any, _commit: Any = commit) -> None:
            mark("before COMMIT")
            _commit(self)
            mark("after COMMIT")

        kind.copy, kind.commit = copying, committing  # type: ignore[method-assign]  # only in this child
    claimed = delivery.claimed

    def claiming(*args: Any) -> Any:
        mark("begun")
        return claimed(*args)

    delivery.claimed = claiming
    from datapipe.persistence import writer

    writer.claimed = claiming  # type: ignore[attr-defined]  # as above


def run(case: dict[str, Any]) -> None:
    mark = marked(case["marks"], case.get("kill_at"))
    wrap(mark)
    target = dict(case["target"])
    plan = datapipe.read(case["query"], source=case["source"], params=case["params"])
    plan = plan.write(target.pop("table"), to=case["url"], **target)
    try:
        result = plan.run(idempotency_key=case["key"])
        mark(f"done {result.state} {result.replayed}")
    except datapipe.DatapipeError as error:
        mark(f"failed {error}".replace("\n", " "))


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are not waited for
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            run(json.loads(line))
            os._exit(0)
        print(pid, flush=True)


if __name__ == "__main__":
    main()

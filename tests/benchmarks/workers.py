"""A one-row plan on a worker beside a bare Celery task that does the same: python -m tests.benchmarks.workers

The bare task reads the row and appends it with psycopg, and commits one status row before and one after. Source, target
and status are three databases, as they are when rows are moved from one to another. The bare task connects to them
itself, as such tasks are usually written; once more with connections that its process keeps; and once with everything
in one database and over one connection. All run on the same worker, in turns.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg

sys.path.insert(0, str(Path(__file__).parents[1]))

from services import find_postgresql, postgresql_database, private_redis, redis_program, running_postgresql
from workerside import Worker

ROUNDS, TASKS = 5, 200
WORKER = """
import os, sys
import psycopg
from datapipe.workers.app import app

SOURCE, TARGET, STATUS = (os.environ[name] for name in ("SOURCE_DB_URL", "DEST_DB_URL", "DATAPIPE_METADATA_URL"))
kept = []

def work(source, target, status, task_id):
    status.execute("INSERT INTO status VALUES (%s, 'running')", [task_id])
    status.commit()
    row = source.execute("SELECT id, name FROM one").fetchone()
    source.commit()
    target.execute("INSERT INTO bare VALUES (%s, %s)", row)
    target.commit()
    status.execute("UPDATE status SET state = 'succeeded' WHERE id = %s", [task_id])
    status.commit()
    return {"rows": 1}

@app.task(bind=True, name="bare.connecting")
def connecting(self):
    with psycopg.connect(SOURCE) as source, psycopg.connect(TARGET) as target, psycopg.connect(STATUS) as status:
        return work(source, target, status, self.request.id)

@app.task(bind=True, name="bare.together")
def together(self):
    with psycopg.connect(TARGET) as conn:
        return work(conn, conn, conn, self.request.id)

@app.task(bind=True, name="bare.keeping")
def keeping(self):
    if not kept:
        kept.extend(psycopg.connect(url) for url in (SOURCE, TARGET, STATUS))
    return work(*kept, self.request.id)

from datapipe.workers.run_worker import main
main(sys.argv[1:])
"""
TABLES = (
    "CREATE TABLE one (id bigint, name text)",
    "INSERT INTO one VALUES (1, 'a')",
    "CREATE TABLE bare (id bigint, name text)",
    "CREATE TABLE status (id text PRIMARY KEY, state text)",
)


def measure(source: str, target: str) -> None:
    """Print the throughput of each, and what a run waits for its start."""
    import datapipe
    from datapipe.workers.app import app

    plan = datapipe.read("SELECT id, name FROM one", source=source).write("copied", to=target)
    kinds = {
        "datapipe": lambda: app.AsyncResult(plan.submit().id),
        "connecting": lambda: app.send_task("bare.connecting"),
        "keeping": lambda: app.send_task("bare.keeping"),
        "together": lambda: app.send_task("bare.together"),
    }
    for submit in kinds.values():  # every process of the worker has loaded what it needs
        finish([submit() for _ in range(20)])
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind, submit in kinds.items():
            began = time.perf_counter()
            finish([submit() for _ in range(TASKS)])
            rates[kind].append(TASKS / (time.perf_counter() - began))
    for kind, found in rates.items():
        ratio = statistics.median(ours / theirs for ours, theirs in zip(rates["datapipe"], found, strict=True))
        print(f"{kind:>10}: {statistics.median(found):6.1f} tasks/s, datapipe reaches {ratio:.0%} of it", flush=True)
    waits = sorted(waited(plan) for _ in range(30))
    print(f"submit to start: median {statistics.median(waits) * 1e3:.0f} ms, longest {waits[-1] * 1e3:.0f} ms")


def finish(sent: list[Any]) -> None:
    """Wait for all of them, in the way that costs the least."""
    for result in sent:
        result.get(timeout=120)


def waited(plan: Any) -> float:
    """Seconds from ``submit()`` to the run's start, by the clock of the store."""
    import datetime as dt

    began = dt.datetime.now(dt.UTC)
    run = plan.submit()
    run.result(60)
    return (dt.datetime.fromisoformat(run.row.started) - began).total_seconds()


def main() -> None:
    service, program = find_postgresql(), redis_program()
    assert service is not None
    folder = Path(tempfile.mkdtemp(prefix="datapipe-benchmark-"))
    (folder / "bench_worker.py").write_text(WORKER, encoding="utf-8")
    with ExitStack() as stack:
        server = stack.enter_context(running_postgresql(service))
        urls = [stack.enter_context(postgresql_database(server)) for _ in range(3)]
        broker = stack.enter_context(private_redis(program))
        for url in urls:
            with psycopg.connect(url) as conn:
                for statement in TABLES:
                    conn.execute(statement)
        names = ("SOURCE_DB_URL", "DEST_DB_URL", "DATAPIPE_METADATA_URL")
        environment = {"REDIS_URL": broker.url, **dict(zip(names, urls, strict=True))}
        os.environ.update(environment)
        worker = Worker("bench", environment, folder, 2, command=(sys.executable, str(folder / "bench_worker.py")))
        try:
            worker.start()
            measure(urls[0], urls[1])
        finally:
            worker.kill()


if __name__ == "__main__":
    main()

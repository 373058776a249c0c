"""Submissions under fire: python -m tests.crash.queue --runs 200

Two workers run what is submitted, while processes and whole workers are killed at random and Redis is killed,
restarted empty, and flushed. At the end every run has succeeded, every row is in the target once, and none was silent
for more than a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import psycopg
from services import (
    PrivateRedis,
    find_postgresql,
    postgresql_database,
    private_redis,
    redis_program,
    running_postgresql,
)
from workerside import Worker

import datapipe
from datapipe.errors import TransientError

_ENDED = {"succeeded", "failed", "cancelled", "lost"}


class Monkey(threading.Thread):
    """Kills something every few seconds, until it is told to rest."""

    def __init__(self, chance: random.Random, workers: Sequence[Worker], broker: PrivateRedis) -> None:
        super().__init__(name="monkey", daemon=True)
        self._chance, self._workers, self._broker = chance, workers, broker
        self._resting = threading.Event()
        self.done: Counter[str] = Counter()

    def run(self) -> None:
        deeds = {"process": self._process, "worker": self._worker, "redis": self._redis, "flush": self._flush}
        while not self._resting.wait(self._chance.uniform(1, 5)):
            name = self._chance.choice(["process", "process", "process", "worker", "redis", "flush"])
            deeds[name]()
            self.done[name] += 1

    def rest(self) -> None:
        self._resting.set()
        self.join()

    def _process(self) -> None:
        children = self._chance.choice(self._workers).children()
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._chance.choice(children), signal.SIGKILL)

    def _worker(self) -> None:
        worker = self._chance.choice(self._workers)
        worker.kill()
        time.sleep(self._chance.uniform(0, 3))
        worker.start(wait=False)

    def _redis(self) -> None:
        self._broker.kill()
        time.sleep(self._chance.uniform(0, 2))
        self._broker.start()

    def _flush(self) -> None:
        self._broker.flush()


def nap(frame: object) -> object:
    """A function that takes a moment."""
    time.sleep(0.2)
    return frame


def submitted(number: int) -> datapipe.Run:
    """A run that appends one row; submitted again while the broker is away, as a user would."""
    plan = datapipe.read(f"SELECT {number}::bigint AS n, pg_sleep(0.05)::text AS nothing").apply(nap).write("rows")
    while True:
        try:
            return plan.submit()
        except TransientError:
            time.sleep(0.2)


def watched(runs: Sequence[datapipe.Run], monkey: Monkey, seconds: float, patience: float) -> float:
    """Wait until all have ended, and tell how it goes; the longest silence that was seen."""
    began, worst = time.monotonic(), 0.0
    while True:
        found = [run.row for run in runs]
        worst = max([worst, *(row.silence or 0.0 for row in found)])
        passed = time.monotonic() - began
        print(f"{passed:4.0f} s {dict(Counter(row.state for row in found))} {dict(monkey.done)}", flush=True)
        if all(row.state in _ENDED for row in found) or passed > patience:
            return worst
        if passed > seconds:
            monkey.rest()
        time.sleep(3)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=90, help="for so long things are killed")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--postgresql", action="store_true", help="record runs there instead of in SQLite")
    given = parser.parse_args()
    print(f"seed {given.seed}")
    service = find_postgresql()
    assert service is not None
    folder = Path(tempfile.mkdtemp(prefix="datapipe-queue-"))
    with (
        running_postgresql(service) as server,
        postgresql_database(server) as url,
        private_redis(redis_program()) as broker,
    ):
        environment = {
            "REDIS_URL": broker.url,
            "SOURCE_DB_URL": url,
            "DEST_DB_URL": url,
            "DATAPIPE_HOME": str(folder),
            "DATAPIPE_METADATA_URL": url if given.postgresql else "",
            "DATAPIPE_SIGNING_KEY": "k" * 40,
        }
        os.environ.update(environment)
        with psycopg.connect(url) as conn:
            conn.execute("CREATE TABLE rows (n bigint, nothing text)")
        workers = [Worker(name, environment, folder, 2) for name in ("w1", "w2")]
        try:
            return fire(given, [worker.start() for worker in workers], broker, url)
        finally:
            for worker in workers:
                worker.kill()


def fire(given: argparse.Namespace, workers: Sequence[Worker], broker: PrivateRedis, url: str) -> int:
    monkey = Monkey(random.Random(given.seed), workers, broker)
    monkey.start()
    runs = [submitted(number) for number in range(given.runs)]
    worst = watched(runs, monkey, given.seconds, 600)
    monkey.rest()
    with psycopg.connect(url) as conn:
        total, different = conn.execute("SELECT count(*), count(DISTINCT n) FROM rows").fetchone() or (0, 0)
    states, losses = Counter(run.status for run in runs), Counter(run.row.losses for run in runs)
    print(f"{dict(states)}; {total} rows, {different} different; processes lost by run: {dict(losses)}")
    print(f"killed: {dict(monkey.done)}; longest silence {worst:.0f} s")
    for run in runs:
        if run.status != "succeeded":
            print(run)
    good = states == {"succeeded": given.runs} and total == different == given.runs and worst < 60
    print("as promised" if good else "BROKEN")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())

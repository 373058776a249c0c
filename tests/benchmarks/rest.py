"""GET /runs with 1,000 runs on record and 50 who ask for it: python tests/benchmarks/rest.py --rounds 3

Each asks once a second, and then again as soon as it has its answer; over the record in a SQLite file, then in
PostgreSQL. The server is ``datapipe api`` with keys, a process of its own; who asks is one other, over connections that
are kept. The best round counts: what else the machine does is not measured here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from reststack import Server  # found by the path above
from services import find_postgresql, postgresql_database, running_postgresql  # as well

from datapipe.store import RunStore, StepRow  # as well
from datapipe.store.apikeys import create_key  # as well
from datapipe.store.opening import store_at  # as well

RUNS, POLLERS = 1_000, 50
ERROR = {
    "type": "DataError",
    "message": "column price: '12,50' is no number, in row 4711 of 336,776; the cast is of the step's second line",
    "step": "transformation step 2 (sql)",
    "hint": "Use TRY_CAST, or clean the column before",
    "traceback": '  File "pipeline.py", line 10, in run\n' * 30,
}
DOCUMENT = json.dumps(
    {"ingestion": {"query": "SELECT * FROM flights.flights"}, "transformation": [{"type": "sql"}] * 20}
)


@dataclass
class Measured:
    """Milliseconds of each answer, and how many there were in a second."""

    times: np.ndarray
    rate: float

    def __str__(self) -> str:
        p50, p95, p99 = np.quantile(self.times, [0.5, 0.95, 0.99])
        return f"p50 {p50:6.1f} ms  p95 {p95:6.1f} ms  p99 {p99:6.1f} ms  {self.rate:6.1f} requests/s"


def fill(store: RunStore) -> None:
    """Record runs as they are recorded: most have succeeded, some failed, a few go on."""
    for number in range(RUNS):
        name, state = (
            f"{number:08d}-0000-4000-8000-000000000000",
            ("succeeded", "failed", "succeeded", "running")[number % 4],
        )
        state = "succeeded" if state == "running" and number < RUNS - 40 else state
        result = {
            "ingestion": {"row_count": 336_776},
            "persistence": {"rows_written": 336_776},
            "notices": ["x" * 200] * 5,
        }
        store.add(
            name,
            state=state,
            name=f"flights_{number % 20}",
            pipeline_id=f"daily-{number % 50}",
            source="table flights.flights on db.example/crm",
            target="table delays on warehouse.example/mart",
            document=DOCUMENT,
            message={"plan": json.loads(DOCUMENT), "code": {}, "signature": "f" * 64},
            owner=("ann", "bob")[number % 2],
            via="rest",
            queue="datapipe",
            worker="w1@host",
            outline=[["read", "flights.flights", "daily.py:3"], ["sql", "SELECT …", "daily.py:4"]] * 5,
            result=result if state == "succeeded" else None,
            error=ERROR if state == "failed" else None,
            rows_read=336_776,
            rows_written=336_776,
        )
        if state == "running":
            store.beat(name, [StepRow(step, f"step {step}", rows_in=1, rows_out=1) for step in range(5)])


async def poll(port: int, key: str, until: float, pause: float, times: list[float]) -> None:
    """One who asks until a time, over one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET /runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    await asyncio.sleep(pause * np.random.default_rng().random())
    while time.monotonic() < until:
        began = time.monotonic()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert head.startswith("http/1.1 200"), head
        length = int(head.split("content-length: ")[1].split("\r\n")[0])
        await reader.readexactly(length)
        times.append((time.monotonic() - began) * 1e3)
        await asyncio.sleep(max(0.0, began + pause - time.monotonic()) if pause else 0)
    writer.close()
    await writer.wait_closed()


async def measured(port: int, keys: list[str], seconds: float, pause: float) -> Measured:
    times: list[float] = []
    began = time.monotonic()
    await asyncio.gather(*(poll(port, keys[n % len(keys)], began + seconds, pause, times) for n in range(POLLERS)))
    return Measured(np.array(times), len(times) / (time.monotonic() - began))


def measure(kind: str, url: str, folder: Path, rounds: int, seconds: float) -> None:
    """Print the best round of each way to ask."""
    environment = {"DATAPIPE_METADATA_URL": url, "DATAPIPE_HOME": str(folder), "DATAPIPE_API_RATE": "10000000"}
    store = store_at(url)
    fill(store)
    keys = [create_key(store, owner, scope)[1] for owner, scope in (("ann", "run"), ("root", "admin"))]
    server = Server(environment, folder)
    try:
        server.start()
        asyncio.run(measured(server.port, keys, 2, 0))  # to warm up
        for name, pause in (("once a second", 1.0), ("at once again", 0.0)):
            found = [asyncio.run(measured(server.port, keys, seconds, pause)) for _ in range(rounds)]
            best = min(found, key=lambda one: float(np.quantile(one.times, 0.95)))
            print(f"{kind:>10}, each asks {name}: {best}", flush=True)
    finally:
        server.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    given = parser.parse_args()
    service = find_postgresql()
    assert service is not None
    os.environ["DATAPIPE_METADATA_URL"] = "off"
    with ExitStack() as stack:
        for kind in ("sqlite", "postgresql"):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="datapipe-rest-")))
            url = f"sqlite:///{folder / 'runs.db'}"
            if kind == "postgresql":
                url = stack.enter_context(postgresql_database(stack.enter_context(running_postgresql(service))))
            measure(kind, url, folder, given.rounds, given.seconds)


if __name__ == "__main__":
    main()

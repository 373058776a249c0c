"""A whole platform for tests of the REST interface: PostgreSQL, a broker, a worker and a server with keys."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
from notebookfiles import write_notebook
from services import PrivateRedis, private_redis, redis_program
from workerside import ROOT, Worker

from datapipe.store import RunStore
from datapipe.store.apikeys import create_key
from datapipe.store.opening import engine_of

FUNCTIONS = """
import time

def doubled(df):
    df["id"] = df["id"] * 2
    return df

def slow(df):
    time.sleep(60)
    return df
"""
NOTEBOOK = """
import datapipe
datapipe.output("twice", 2 * number)
"""
_MAIN = "from datapipe.cli import main\nmain()"
# A second role, whose password is known to this platform alone.
PASSWORD = "c4n4ry-p4ssw0rd-5d1f"
KEYS = {"ann": "run", "bob": "run", "rita": "read", "root": "admin"}


@dataclass
class Server:
    """``datapipe api`` as a process, which may be killed and started again at the same port."""

    environment: Mapping[str, str]
    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        path = self.folder / "api.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def start(self, before: str = "") -> Server:
        """Start it, and wait until it listens; ``before`` is Python that is run in its process first."""
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        with (self.folder / "api.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", f"{before}\n{_MAIN}", "api", "--port", str(self.port), "--json"],
                env={**os.environ, **self.environment},
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + 60
        while True:
            assert self.process.poll() is None, self.log[-3000:]
            assert time.monotonic() < until, self.log[-3000:]
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return self

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)


@dataclass(frozen=True)
class Stack:
    """Everything, and the keys."""

    folder: Path
    postgresql_url: str
    broker: PrivateRedis
    worker: Worker
    server: Server
    keys: Mapping[str, str]
    environment: Mapping[str, str]

    @property
    def store(self) -> RunStore:
        return RunStore(engine_of(self.environment["DATAPIPE_METADATA_URL"]))

    def client(self, name: str | None = "ann") -> httpx.Client:
        """Somebody with a key, or nobody; to be closed."""
        headers = {"Authorization": f"Bearer {self.keys[name]}"} if name else {}
        return httpx.Client(
            base_url=self.server.url, headers=headers, timeout=60, verify=False, trust_env=False
        )  # there is no TLS

    def sql(self, statement: str) -> list[Any]:
        with psycopg.connect(self.postgresql_url) as conn:
            found = conn.execute(statement)  # type: ignore[arg-type]  # written by tests
            return found.fetchall() if found.description else []

    def ended(self, client: httpx.Client, run_id: str, seconds: float = 60) -> dict[str, Any]:
        """A run once it has ended."""
        until = time.monotonic() + seconds
        while True:
            found: dict[str, Any] = client.get(f"/runs/{run_id}").json()
            if found["state"] in {"succeeded", "failed", "cancelled"}:
                return found
            assert time.monotonic() < until, (found, self.worker.log[-3000:])
            time.sleep(0.1)


@contextmanager
def running_stack(folder: Path, postgresql_url: str, concurrency: int = 2) -> Iterator[Stack]:
    """All of it, in a database of its own; ended afterwards."""
    for name in ("data", "notebooks", "outside"):
        (folder / name).mkdir()
    (folder / "functions.py").write_text(FUNCTIONS)
    (folder / "data" / "numbers.csv").write_text("id\n1\n2\n")
    write_notebook(folder / "notebooks" / "daily.ipynb", "# parameters\nnumber: int = 1", NOTEBOOK)
    with psycopg.connect(postgresql_url) as conn:
        conn.execute("CREATE TABLE users (id bigint PRIMARY KEY, name text)")
        conn.execute("INSERT INTO users SELECT g, 'user ' || g FROM generate_series(1, 100) g")
        conn.execute(f"CREATE ROLE canary LOGIN PASSWORD '{PASSWORD}'")
        conn.execute("GRANT ALL ON SCHEMA public TO canary")
        conn.execute(f'GRANT CREATE ON DATABASE "{urlsplit(postgresql_url).path[1:]}" TO canary')
    with ExitStack() as stack:
        stack.callback(_without_canary, postgresql_url)
        broker = stack.enter_context(private_redis(redis_program()))
        path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment = {
            "PYTHONPATH": path,
            "REDIS_URL": broker.url,
            "SOURCE_DB_URL": postgresql_url,
            "DEST_DB_URL": postgresql_url,
            "DATAPIPE_CONNECTION_CRM": postgresql_url,
            "DATAPIPE_CONNECTION_CANARY": _as_canary(postgresql_url),
            "DATAPIPE_METADATA_URL": postgresql_url,
            "DATAPIPE_HOME": str(folder / "home"),
            "DATAPIPE_FUNCTION_MODULES": "functions",
            "DATAPIPE_NOTEBOOK_FOLDERS": str(folder / "notebooks"),
            "DATAPIPE_API_FOLDERS": str(folder / "data"),
            "DATAPIPE_API_RATE": "1000000",
            "PYTHONWARNINGS": "default",
        }
        store = RunStore(engine_of(postgresql_url))
        keys = {owner: create_key(store, owner, scope)[1] for owner, scope in KEYS.items()}
        worker = Worker("w1", environment, folder, concurrency)
        server = Server(environment, folder)
        stack.callback(worker.kill)
        stack.callback(server.kill)
        worker.start(wait=False)
        server.start()
        found = Stack(folder, postgresql_url, broker, worker, server, keys, environment)
        until = time.monotonic() + 60
        while " ready." not in worker.log:
            assert time.monotonic() < until, worker.log[-3000:]
            time.sleep(0.1)
        yield found


def _without_canary(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("DROP OWNED BY canary CASCADE")
        conn.execute("DROP ROLE canary")


def _as_canary(url: str) -> str:
    """The same database, for the role whose password is the canary."""
    return urlsplit(url)._replace(netloc=f"canary:{PASSWORD}@{urlsplit(url).netloc.rpartition('@')[2]}").geturl()


def plan(query: str = "SELECT id FROM users", table: str | None = "copied", **ingestion: Any) -> dict[str, Any]:
    """The body of a request for a plan."""
    document: dict[str, Any] = {"ingestion": {"query": query, **ingestion}}
    if table is not None:
        document["persistence"] = {"table_name": table, "strategy": "replace"}
    return {"pipeline_config": document}

"""Everything runs on workers need, on one machine: PostgreSQL, Valkey, a worker, and what they have in common."""

from __future__ import annotations

import fcntl
import secrets
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from datapipe.errors import PlanError
from datapipe.local.children import Child
from datapipe.local.postgres import embedded_postgres
from datapipe.local.sharing import free_port, private_file, saved
from datapipe.local.valkey import embedded_valkey
from datapipe.settings import data_home, environment, settings

_HOST = "127.0.0.1"
# Where sender and worker would miss each other if only one of them had the variable.
_COMMON = ("DATAPIPE_HOME", "DATAPIPE_METADATA_URL", "DATAPIPE_QUEUE", "DATAPIPE_SPOOL_URL")
_BROKER = ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND")  # these win over REDIS_URL


@contextmanager
def running_servers() -> Iterator[dict[str, str]]:
    """The embedded PostgreSQL and the embedded Valkey.

    Yields
    ------
    dict
        The variables that senders and workers need, passwords included.

    Raises
    ------
    PlanError
        If the ``local`` extra is not installed, or runs are not recorded.

    Examples
    --------
    >>> with running_servers() as variables:  # doctest: +SKIP
    ...     os.environ.update(variables)
    """
    if settings().metadata_url == "off":
        raise PlanError("workers need the record of runs, and DATAPIPE_METADATA_URL is off", hint="Unset it")
    with embedded_postgres() as database, embedded_valkey() as broker:
        found = environment()
        yield {
            "SOURCE_DB_URL": database,
            "DEST_DB_URL": database,
            "REDIS_URL": broker,
            **{name: broker for name in _BROKER if found.get(name)},
            "DATAPIPE_SIGNING_KEY": settings().signing_key or _kept_key(),
            **{name: found[name] for name in _COMMON if found.get(name)},
        }


def worker(variables: dict[str, str], concurrency: int | None = None) -> Child:
    """A worker, not started yet."""
    command = [sys.executable, "-m", "datapipe.workers.run_worker"]
    command += ["--concurrency", str(concurrency)] if concurrency else []
    # Runs that do not end within its own grace are put back into their queue, which takes a moment.
    grace = settings().shutdown_grace + 15
    return Child("the worker", command, variables, data_home() / "logs" / "worker.log", " ready.", grace)


def flower(variables: dict[str, str]) -> tuple[Child, str, str]:
    """Celery's monitor, not started yet; its address, and user and password."""
    port, login = free_port(None, "5555", "Flower"), f"datapipe:{secrets.token_urlsafe(12)}"
    command = [sys.executable, "-m", "celery", "-A", "datapipe.workers.app", "flower"]
    command += [f"--address={_HOST}", f"--port={port}"]
    # Everybody can read a command line, so that the password is in its environment.
    own = {**variables, "FLOWER_BASIC_AUTH": login}
    child = Child("Flower", command, own, data_home() / "logs" / "flower.log", "Visit me at")
    return child, f"http://{_HOST}:{port}", login


def api(variables: dict[str, str]) -> tuple[Child, str]:
    """The REST interface, not started yet; its address: port 8000, or any other if that is taken."""
    port = free_port(None, "8000", "the REST interface")
    command = [sys.executable, "-m", "datapipe", "api", "--host", _HOST, "--port", str(port)]
    child = Child("the REST interface", command, variables, data_home() / "logs" / "api.log", "the interface:")
    return child, f"http://{_HOST}:{port}"


@contextmanager
def until_told(children: Sequence[Child]) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a closed terminal raise KeyboardInterrupt, once; a second Ctrl-C kills the children."""
    told = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal told
        if told and number == signal.SIGINT:
            for child in children:
                child.signal(signal.SIGKILL)
        if not told:
            told = True
            signal.default_int_handler(number, frame)

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, stop) for number in signals]
    try:
        yield
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


def _kept_key() -> str:
    """The key that signs plans: made once, so that what is queued stays valid."""
    path = data_home() / "signing.key"
    with private_file(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        key = saved(path) or secrets.token_hex(32)
        if not saved(path):
            file.write(key)
    return key

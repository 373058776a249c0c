"""One server with many users: the first of them starts it, the last one stops it."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from datapipe.errors import PlanError


@contextmanager
def shared_server(folder: Path, start: Callable[[], str], stop: Callable[[], None]) -> Iterator[str]:
    """What ``start`` returns, the URL of a server, which is stopped when its last user has left.

    Parameters
    ----------
    folder : pathlib.Path
        Where the users meet; it exists.
    start, stop : callable
        Called by one process at a time. ``start`` finds the server that runs already.

    Yields
    ------
    str
        The URL.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with shared_server(Path(folder), lambda: "redis://…", lambda: print("stopped")) as url:
    ...         print(url)
    redis://…
    stopped
    """
    with private_file(folder / "users.lock") as users:
        try:
            with _turn(folder):
                url = start()
                # The kernel drops this lock with its process, however that ends.
                fcntl.flock(users, fcntl.LOCK_SH)
            yield url
        finally:
            with _turn(folder):
                if locked(users):  # by nobody else, then
                    stop()


def private_file(path: Path) -> IO[str]:
    """Open a file to add to; nobody else may read it, from its creation on."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8")


def locked(file: IO[str]) -> bool:
    """Lock a file for this process alone, if nobody has a lock on it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def saved(path: Path) -> str:
    """What a small file says, or nothing."""
    return path.read_text(encoding="ascii") if path.exists() else ""


def free_port(wanted: int | None, last: str, step: str) -> int:
    """The port asked for, else the last one if nobody took it, else any free one.

    Raises
    ------
    PlanError
        If the port asked for is taken.
    """
    for candidate in (wanted,) if wanted else (int(last or 0), 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", candidate))
                return int(probe.getsockname()[1])
    raise PlanError(f"port {wanted} is taken", step=step, hint="Choose another, or leave it out")


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """One start or stop at a time."""
    with private_file(folder / "turn.lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

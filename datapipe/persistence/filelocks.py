"""Locks between processes of one machine, for databases that are files: gone with the process that held them."""

from __future__ import annotations

import contextlib
import datetime as dt
import getpass
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from datapipe.data.locks import hold, release
from datapipe.errors import FatalError

_PAUSE = 0.001  # seconds


def try_lock(database: str, name: str, owner: str, stack: ExitStack) -> str | None:
    """Take a lock until ``stack`` closes; None if it was taken, else who has it, for people.

    Raises
    ------
    FatalError
        If the folder of the locks cannot be written.
    """
    try:
        path = _folder() / f"{hashlib.sha256(f'{len(database)}:{database}{name}'.encode()).hexdigest()}.lock"
        with _gate(shared=True):
            lock = hold(path, create=True)
    except OSError as error:
        hint = "Free space there, or set TMPDIR to another folder, the same one for every run"
        raise FatalError(f"no lock in the temporary folder: {error.strerror or error}", hint=hint) from None
    if lock is None:
        return _holder(path)
    stack.enter_context(_held(path, lock))
    since = dt.datetime.now(dt.UTC).isoformat(sep=" ", timespec="seconds")[:19]
    with contextlib.suppress(OSError):  # a full disk; it is only for people
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"run {owner} since {since} UTC".encode(), 0)
    return None


def dead_locks(*, remove: bool) -> list[Path]:
    """The files of locks whose runs died, removed or not; a run that ends removes its own."""
    found = []
    with _gate(shared=False):
        for path in sorted(_folder().glob("*.lock")):
            with contextlib.suppress(FileNotFoundError):  # its run ended just now
                lock = hold(path)
                if lock is None:
                    continue
                if remove:
                    path.unlink()
                release(lock)
                found.append(path)
    return found


@contextlib.contextmanager
def _gate(*, shared: bool) -> Iterator[None]:
    """Open to everybody who takes a lock, but not while a cleanup tries them all: it would look like a run."""
    path = _folder() / "gate"
    while (lock := hold(path, create=True, shared=shared)) is None:
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        release(lock)


@contextlib.contextmanager
def _held(path: Path, lock: int) -> Iterator[None]:
    owner = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == owner:
            path.unlink(missing_ok=True)
        release(lock)


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace")[:200] or "another run"
    return "another run"


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"datapipe-locks-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder

"""Locks between processes of one machine, for databases that are files: gone with the process that held them."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from datapipe.data.locks import gate, hold, lock_folder, release
from datapipe.errors import FatalError


def try_lock(database: str, name: str, owner: str, stack: ExitStack) -> str | None:
    """Take a lock until ``stack`` closes; None if it was taken, else who has it, for people.

    Raises
    ------
    FatalError
        If the folder of the locks cannot be written.
    """
    try:
        path = lock_folder() / f"{hashlib.sha256(f'{len(database)}:{database}{name}'.encode()).hexdigest()}.lock"
        with gate(shared=True):
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
    with gate(shared=False):
        for path in sorted(lock_folder().glob("*.lock")):
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

"""Locks between processes of one machine, for databases that are files: gone with the process that held them."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import getpass
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path


def try_lock(database: str, name: str, owner: str, stack: ExitStack) -> str | None:
    """Take a lock until ``stack`` closes; None if it was taken, else who has it, for people."""
    path = _folder() / f"{hashlib.sha256(f'{len(database)}:{database}{name}'.encode()).hexdigest()}.lock"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(file, 200, 0).decode(errors="replace")
        os.close(file)
        return holder or "another run"
    stack.enter_context(_held(file))
    since = dt.datetime.now(dt.UTC).isoformat(sep=" ", timespec="seconds")[:19]
    os.ftruncate(file, 0)
    os.pwrite(file, f"run {owner} since {since} UTC".encode(), 0)
    return None


@contextlib.contextmanager
def _held(file: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(file)


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"datapipe-locks-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder

"""Locks on paths (flock): gone with the process that took them, however it ended."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_PAUSE = 0.001  # seconds

_held: set[int] = set()
_guard = threading.Lock()  # no fork between taking a lock and noting it


def hold(path: Path, *, create: bool = False, shared: bool = False) -> int | None:
    """Take a path's lock, without waiting.

    Parameters
    ----------
    create : bool
        Whether to make the file; without it, a directory can be locked too.
    shared : bool
        Whether others may hold it in the same way.

    Returns
    -------
    int or None
        What :func:`release` takes; None if somebody else has the lock.

    Raises
    ------
    OSError
        If there is no such path, or its file system has no such locks.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> lock = hold(folder)
    >>> hold(folder) is None
    True
    >>> release(lock)
    """
    flags = (os.O_RDWR | os.O_CREAT if create else os.O_RDONLY) | os.O_NOFOLLOW
    while True:
        with _guard:
            file = os.open(path, flags, 0o600)
            try:
                fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                if _is_at(file, path):
                    _held.add(file)
                    return file
            except BlockingIOError:
                return None
            finally:
                if file not in _held:
                    os.close(file)


def release(lock: int) -> None:
    """Give a lock back; in a forked child, which never had it, nothing."""
    with _guard:
        if lock in _held:
            _held.remove(lock)
            os.close(lock)


@contextlib.contextmanager
def gate(*, shared: bool) -> Iterator[None]:
    """Open to everybody who makes something and locks it, but not while a cleanup tries whether it is locked.

    So nothing that is new looks dead, and a cleanup is never taken for a run.

    Raises
    ------
    OSError
        If the temporary folder has no room or no locks.
    """
    path = lock_folder() / "gate"
    while (lock := hold(path, create=True, shared=shared)) is None:
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        release(lock)


def lock_folder() -> Path:
    """Where this user's locks are."""
    folder = Path(tempfile.gettempdir()) / f"datapipe-locks-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _is_at(file: int, path: Path) -> bool:
    """Whether the open file is still the one at the path: it may have been removed before its lock was taken."""
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except FileNotFoundError:
        return False


def _forget() -> None:
    """Close a child's copies: they would keep the locks of a parent that is dead."""
    for lock in _held:
        os.close(lock)
    _held.clear()
    _guard.release()


os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_forget)

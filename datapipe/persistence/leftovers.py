"""What runs that were killed left behind. Who owns a thing is told by a lock, never by its age or a process id."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from datapipe.data.locks import gate, hold, release
from datapipe.data.stream import SCRATCH, Workspace, scratch_directory
from datapipe.errors import FatalError, TransientError
from datapipe.persistence import statements
from datapipe.persistence.filelocks import dead_locks
from datapipe.persistence.session import STAGE, CommitLost, Session
from datapipe.persistence.sessions import open_session
from datapipe.persistence.stages import lock_of
from datapipe.persistence.tables import Table
from datapipe.plan import DatabaseUrl, TableTarget, build
from datapipe.plan.given import connection_of


@dataclass(frozen=True)
class Leftover:
    """Something a dead run left behind.

    Parameters
    ----------
    kind : str
        ``"scratch directory"``, ``"temporary file"``, ``"lock"`` or ``"table"``.
    name : str
        Its path, or the table's name.
    size : int
        Bytes on disk; 0 for a table, whose database frees them.
    """

    kind: str
    name: str
    size: int = 0


def remove_leftovers(*, dry_run: bool = False) -> tuple[Leftover, ...]:
    """Remove what this user's dead runs left in the temporary folder (TMPDIR) and beside file targets.

    Whatever a live run owns is left alone.

    Parameters
    ----------
    dry_run : bool
        Only look.

    Returns
    -------
    tuple of Leftover
        What was removed, or would be.

    Raises
    ------
    FatalError
        If something cannot be removed.

    Examples
    --------
    >>> with scratch_directory() as path:
    ...     str(path) in {found.name for found in remove_leftovers(dry_run=True)}
    False
    """
    try:
        found = [
            item
            for path in sorted(Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"))
            for item in _remove_scratch(path, dry_run=dry_run)
        ]
        return (*found, *(Leftover("lock", str(path)) for path in dead_locks(remove=not dry_run)))
    except OSError as error:
        message = f"cannot remove {error.filename or 'a leftover'}: {error.strerror or error}"
        raise FatalError(message, hint="Check its permissions, or remove it yourself") from None


def _remove_scratch(path: Path, *, dry_run: bool) -> Iterator[Leftover]:
    with _dead(path) as dead:
        if not dead:
            return
        # A file that was being written elsewhere has a link here.
        for part in [link.readlink() for link in path.iterdir() if link.is_symlink()]:
            if part.is_file():
                yield Leftover("temporary file", str(part), part.stat().st_size)
                if not dry_run:
                    part.unlink()
        yield Leftover("scratch directory", str(path), _size(path))
        if not dry_run:
            rmtree(path)


@contextmanager
def _dead(path: Path) -> Iterator[bool]:
    """Whether nobody owns a scratch directory; nobody else removes it until the block ends."""
    lock = None
    with suppress(OSError):  # it has gone meanwhile, or is where there are no locks to tell
        if path.lstat().st_uid == os.geteuid():
            with gate(shared=False):
                lock = hold(path)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            release(lock)


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def drop_stages(to: str | DatabaseUrl | None = None, *, dry_run: bool = False) -> tuple[Leftover, ...]:
    """Drop tables that dead runs used as stages: those that several workers wrote, and those of older versions.

    All other stages are temporary tables, which end with their session.

    Parameters
    ----------
    to : str or DatabaseUrl, optional
        A URL, or a connection's name; DEST_DB_URL if left out.
    dry_run : bool
        Only look.

    Returns
    -------
    tuple of Leftover
        What was dropped, or would be.

    Raises
    ------
    PlanError, TransientError, FatalError

    Examples
    --------
    >>> drop_stages("sqlite:///none.db")
    ()
    """
    target = build(TableTarget, {"table_name": STAGE.name, **connection_of(to, "dest_db_url", "destination")})
    with scratch_directory() as scratch, open_session(target, Workspace(scratch=scratch), create=False) as session:
        tables = [Table(name, schema) for schema, name in session.query(session.words.stages)]
        turns = {table: _lock(session, table) for table in tables}
        free = {turn for turn in set(turns.values()) if session.lock(turn, "cleanup") is None}
        dead = [table for table, turn in turns.items() if turn in free]
        if dead and not dry_run:
            session.begin()
            session.define([statements.drop_table(table) for table in dead])
            try:
                session.commit()
            except CommitLost:
                raise TransientError("the connection broke at COMMIT", hint="Try again") from None
    return tuple(Leftover("table", str(table)) for table in dead)


def _lock(session: Session, table: Table) -> str:
    """The lock that the owner of a stage holds."""
    return lock_of(table.name) or session.turn(session.place(table))

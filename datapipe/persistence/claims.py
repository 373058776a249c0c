"""Whether a load may begin: its key, its increment, and the tables that datapipe needs beside the target."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from datapipe.data.filemarks import Files
from datapipe.data.stream import Workspace
from datapipe.data.watermark import Position
from datapipe.errors import FatalError, InProgress, PlanError, TransientError
from datapipe.persistence import ledger, rejects
from datapipe.persistence.internal import ledger_table, rejects_table
from datapipe.persistence.ledger import Delivery
from datapipe.persistence.load import Loaded
from datapipe.persistence.session import CommitLost, Session
from datapipe.persistence.sessions import open_session
from datapipe.persistence.tables import Table
from datapipe.persistence.turns import take_turn, wait_for
from datapipe.plan import TableTarget


@dataclass(frozen=True)
class Claim:
    """A load that may begin; or what makes it unnecessary."""

    delivery: Delivery
    done: Loaded | None = None


@contextmanager
def claimed(target: TableTarget, delivery: Delivery, work: Workspace) -> Iterator[Claim]:
    """Look at the ledger before anything is read; a user's key, and an increment, are this run's until the block ends.

    Raises
    ------
    IdempotencyConflict
        If another plan used the key.
    InProgress
        If another run has the key, and ``if_running`` or the time does not let this one wait.
    PlanError
        If the role may not create the ledger.
    """
    alone, claim = delivery.idempotency_key is not None or delivery.position is not None, None
    with open_session(target, work, create=alone) as session:
        known = session.exists(ledger_table(session))
        if session.words.together or (known and not _lacks_rejects(session, delivery)):
            if alone:
                yield _alone(session, target, delivery, work, known=known)
                return
            claim = Claim(_begun(session, delivery), ledger.find_load(session, delivery) if known else None)
    if claim is None:
        create_internal(target, delivery, work)
        with claimed(target, delivery, work) as again:
            yield again
    else:
        yield claim  # the connection is back in its pool while the source is read


def _begun(session: Session, delivery: Delivery) -> Delivery:
    """The delivery with the time; what is read from now on is newer than a load that began before."""
    return dataclasses.replace(delivery, started=str(session.scalar(f"SELECT {session.words.now}")))


def _done(session: Session, delivery: Delivery) -> Loaded | None:
    return ledger.find_load(session, delivery) if session.exists(ledger_table(session)) else None


def _alone(session: Session, target: TableTarget, delivery: Delivery, work: Workspace, *, known: bool) -> Claim:
    """A claim for what no other run may do meanwhile; ``known`` is whether there is a ledger."""
    if delivery.idempotency_key is not None:
        holder = _held(session, f"key {delivery.key}", "the idempotency key", delivery, work)
        if holder:
            return Claim(delivery, Loaded(0, skipped=f"{holder} has the idempotency key"))
        done = _done(session, delivery)
        if done is not None or delivery.position is None:
            return Claim(_begun(session, delivery), done)
    table = Table(target.table_name, target.schema_)
    place = session.place(table)
    stream = delivery.position.stream if delivery.position else ""
    holder = _held(session, f"increments {stream} of {place}", "the increment", delivery, work)
    if holder:
        return Claim(delivery, Loaded(0, skipped=f"{holder} has the increment"))
    known = known or session.exists(ledger_table(session))  # which a file may have got while this run waited
    position = _position(session, table, place, stream, work) if known else Position(stream)
    return Claim(_begun(session, dataclasses.replace(delivery, position=position)))


def _held(session: Session, name: str, what: str, delivery: Delivery, work: Workspace) -> str | None:
    """Take a lock; who has it, if that one is to be left alone."""
    holder = session.lock(name, delivery.run_id)
    if holder and delivery.if_running == "skip":
        return holder
    if holder and delivery.if_running == "fail":
        raise InProgress(f"{holder} has {what}", hint="Wait for it, or use if_running='wait' or 'skip'")
    if holder:
        wait_for(lambda: session.lock(name, delivery.run_id), holder, f"which has {what}", work)
    return None


def _position(session: Session, table: Table, place: str, stream: str, work: Workspace) -> Position:
    found = ledger.find_position(session, place, stream)
    if found.watermark is None or not found.watermark.loaded or session.exists(table):
        return found
    if isinstance(found.watermark, Files):
        work.tell("the table is gone, so no file counts as loaded, and all are read")
    else:
        work.tell(f"the table is gone, so the watermark that run {found.run_id[:8]} has left does not count")
    return dataclasses.replace(found, watermark=None)


def _lacks_rejects(session: Session, delivery: Delivery) -> bool:
    return delivery.quarantines and not session.exists(rejects_table(session))


def internal_ddl(session: Session, delivery: Delivery) -> tuple[str, ...]:
    """The statements for those of datapipe's own tables that are needed and not there."""
    lacking = () if session.exists(ledger_table(session)) else ledger.ledger_ddl(session)
    further = rejects.rejects_ddl(session) if _lacks_rejects(session, delivery) else ()
    return (*lacking, *(statement for statement in further if statement not in lacking))


def create_internal(target: TableTarget, delivery: Delivery, work: Workspace) -> None:
    """Create datapipe's own tables beside the target, in a transaction of their own.

    Raises
    ------
    PlanError
        With the statements, if the role may not.
    """
    ddl: tuple[str, ...] = ()
    mark = '"'
    try:
        with open_session(target, work) as session:
            take_turn(session, "internal objects", "datapipe", work)
            session.begin()
            ddl, mark = internal_ddl(session, delivery), session.words.mark
            if not ddl:
                return
            is_ledger_new = not session.exists(ledger_table(session))
            session.define(ddl)
            session.commit()
            if is_ledger_new:
                work.tell(f"created {ledger_table(session)}, where datapipe records loads", lasting=True)
            if delivery.quarantines:
                work.tell(f"created {rejects_table(session)}, where datapipe keeps rejected rows", lasting=True)
    except CommitLost:
        raise TransientError("the connection broke while the ledger was created", hint="Try again") from None
    except (FatalError, PlanError) as error:
        if not ddl:
            raise
        shown = "; ".join(ddl).replace('"', mark)
        off = "" if delivery.quarantines else "; or set DATAPIPE_LEDGER=off to load without it"
        hint = f"Have it created: {shown}{off}"
        raise PlanError(f"the ledger cannot be created ({error.message})", hint=hint) from None

"""How a load takes effect exactly once: the key, the turn, the transaction, and what to do when COMMIT is lost."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from datapipe.data.filemarks import Files
from datapipe.data.stream import Stream, Workspace
from datapipe.data.watermark import Position
from datapipe.errors import FatalError, InProgress, OutcomeUnknown, PlanError, RunCancelled, TransientError
from datapipe.persistence import ledger, rejects
from datapipe.persistence.deletes import Comparison, OpenKeys
from datapipe.persistence.internal import ledger_table, rejects_table
from datapipe.persistence.ledger import Delivery
from datapipe.persistence.load import Load, Loaded, plan_load, run_load
from datapipe.persistence.session import CommitLost, Session
from datapipe.persistence.sessions import open_session
from datapipe.persistence.stages import Staged, merge
from datapipe.persistence.standing import table_subject
from datapipe.persistence.tables import Layout, Table
from datapipe.plan import TableTarget, WriteStrategy
from datapipe.settings import settings

_RESOLVE_SECONDS = 60.0
_POLL_SECONDS = (0.02, 0.5)  # the first pause of a wait, and the longest


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
            delivery = dataclasses.replace(delivery, started=str(session.scalar(f"SELECT {session.words.now}")))
            if alone:
                yield _alone(session, target, delivery, work, known=known)
                return
            claim = Claim(delivery, ledger.find_load(session, delivery) if known else None)
    if claim is None:
        create_internal(target, delivery, work)
        with claimed(target, delivery, work) as again:
            yield again
    else:
        yield claim  # the connection is back in its pool while the source is read


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
            return Claim(delivery, done)
    table = Table(target.table_name, target.schema_)
    place = session.place(table)
    stream = delivery.position.stream if delivery.position else ""
    holder = _held(session, f"increments {stream} of {place}", "the increment", delivery, work)
    if holder:
        return Claim(delivery, Loaded(0, skipped=f"{holder} has the increment"))
    known = known or session.exists(ledger_table(session))  # which a file may have got while this run waited
    position = _position(session, table, place, stream, work) if known else Position(stream)
    return Claim(dataclasses.replace(delivery, position=position))


def _held(session: Session, name: str, what: str, delivery: Delivery, work: Workspace) -> str | None:
    """Take a lock; who has it, if that one is to be left alone."""
    holder = session.lock(name, delivery.run_id)
    if holder and delivery.if_running == "skip":
        return holder
    if holder and delivery.if_running == "fail":
        raise InProgress(f"{holder} has {what}", hint="Wait for it, or use if_running='wait' or 'skip'")
    if holder:
        _wait(lambda: session.lock(name, delivery.run_id), holder, f"which has {what}", work)
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


def _internal_ddl(session: Session, delivery: Delivery) -> tuple[str, ...]:
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
            ddl, mark = _internal_ddl(session, delivery), session.words.mark
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


def take_turn(session: Session, name: str, owner: str, work: Workspace) -> bool:
    """Wait for a lock, in view of the user; whether there was a wait.

    Raises
    ------
    InProgress
        If DATAPIPE_LOCK_TIMEOUT passes, naming who has it.
    RunCancelled
        If the run is cancelled meanwhile.
    """
    holder = session.lock(name, owner)
    if holder:
        _wait(lambda: session.lock(name, owner), holder, f"which has {name}", work)
    return bool(holder)


def _wait(attempt: Callable[[], str | None], holder: str, what: str, work: Workspace) -> None:
    work.tell(f"waiting for {holder}, {what}")
    patience, began = settings().lock_timeout, time.monotonic()
    pause, longest = _POLL_SECONDS
    current: str | None = holder
    while current:
        if time.monotonic() - began > patience:
            hint = "Try again when it has ended, or raise DATAPIPE_LOCK_TIMEOUT"
            raise InProgress(f"{current}, {what}, did not end within {patience:g} s", hint=hint)
        work.cancel.wait(pause)
        work.cancel.check()
        pause = min(2 * pause, longest)
        current = attempt()


def deliver(target: TableTarget, given: Stream | Staged, work: Workspace, delivery: Delivery | None) -> Loaded:
    """Write rows in one transaction, the ledger's row included.

    Parameters
    ----------
    delivery : Delivery, optional
        Without it nothing is recorded: the load is atomic, but a repeated one is not recognised.

    Raises
    ------
    StaleRun
        If a run that began later has replaced the target.
    OutcomeUnknown
        If the connection broke at COMMIT and the ledger cannot be asked.
    """
    loaded: Loaded | None = None
    try:
        with open_session(target, work) as session:
            table = Table(target.table_name, target.schema_)
            place, owner = session.place(table), delivery.run_id if delivery else "without a ledger"
            if take_turn(session, session.turn(place), owner, work):
                place = session.place(table)  # whom we have waited for may have changed it
            session.begin()
            if delivery is not None and session.words.together:
                session.define(_internal_ddl(session, delivery))
            if delivery is not None:
                done = _done_or_free(session, place, target, delivery)
                if done is not None:
                    return done
            load = plan_load(session, target, given.schema, lambda: ledger.has_created(session, place))
            loaded = _carry_out(session, target, load, given, work, delivery.keys if delivery else None)
            loaded = dataclasses.replace(loaded, subject=table_subject(target, place))
            if delivery is not None:
                _record(session, place, load, loaded, delivery, work)
            work.cancel.check()
            session.commit()
            return loaded
    except CommitLost:
        if delivery is None or loaded is None:
            raise _unknown("there is no ledger to ask") from None
        return _resolved(target, delivery, loaded, work)


def _done_or_free(session: Session, place: str, target: TableTarget, delivery: Delivery) -> Loaded | None:
    """The load, if it has happened; if not, the ledger has nothing against it."""
    done = ledger.find_load(session, delivery)
    if done is not None:
        return done
    if delivery.position is not None:
        ledger.check_position(session, place, delivery.position)
        if delivery.keys is not None and session.exists(Table(target.table_name, target.schema_)):
            ledger.check_alone(session, place, delivery.position)
    if target.strategy is WriteStrategy.REPLACE:
        ledger.check_newest(session, place, delivery)
    return None


def _record(session: Session, place: str, load: Load, loaded: Loaded, delivery: Delivery, work: Workspace) -> None:
    """Write what is to be known of a load: the rows it refused, those it brought in at last, and itself."""
    is_append = load.strategy is WriteStrategy.APPEND and delivery.position is None
    if is_append and (note := ledger.repeated(session, place, delivery)):
        work.tell(note)
    if work.rejects is not None and work.rejects.rows:
        rejects.record_rejects(session, place, delivery.run_id, work.rejects)
    if delivery.replay is not None:
        rejects.mark_replayed(session, place, delivery.replay, delivery.run_id)
    ledger.record(session, place, load, loaded, delivery)


def _carry_out(
    session: Session, target: TableTarget, load: Load, given: Stream | Staged, work: Workspace, keys: OpenKeys | None
) -> Loaded:
    layout = _define(session, load)
    for note in load.notes:
        work.tell(note, lasting=session.words.lasting)
    if isinstance(given, Staged):
        loaded = merge(session, load, given, work)
    elif keys is None:
        loaded = run_load(session, load, layout, given, work)
    else:
        loaded = Comparison(load, target.deletes == "remove").run(session, layout, given, work, keys)
    return dataclasses.replace(loaded, columns=tuple(column.spec for column in layout.columns))


def _define(session: Session, load: Load) -> Layout:
    """Run the load's DDL; the table's layout after it.

    Raises
    ------
    PlanError
        With the statements, if the role may not alter the table.
    """
    try:
        session.define([ddl.sql for ddl in load.ddl])
    except (FatalError, PlanError) as error:
        if not load.changes:
            raise
        shown = "; ".join(ddl.sql for ddl in load.ddl).replace('"', session.words.mark)
        hint = f"Have it run: {shown}; or use schema_mode='strict'"
        raise PlanError(f"table {load.table} cannot be altered: {error.message}", hint=hint) from None
    found = session.layout(load.table, keyed=False) if load.ddl or load.layout is None else load.layout
    if found is None:
        raise FatalError(f"table {load.table} was created and is not there", hint="See the server's log")
    return found


def _resolved(target: TableTarget, delivery: Delivery, loaded: Loaded, work: Workspace) -> Loaded:
    """Whether a load whose COMMIT was lost took effect, from the ledger.

    The lock of the target comes first: the old transaction holds it until it is over, one way or the other.
    """
    deadline, pause = time.monotonic() + _RESOLVE_SECONDS, _POLL_SECONDS[0]
    while True:
        if work.cancel.cancelled:
            raise _unknown(f"the run was cancelled before the ledger was asked; its key is {delivery.key}")
        try:
            with open_session(target, work) as session:
                place = session.place(Table(target.table_name, target.schema_))
                take_turn(session, session.turn(place), delivery.run_id, work)
                session.begin()
                done = ledger.find_load(session, delivery)
            break
        except RunCancelled:
            continue
        except TransientError as error:
            if time.monotonic() > deadline:
                raise _unknown(f"the server does not answer ({error.message}); its key is {delivery.key}") from None
            work.cancel.wait(pause)
            pause = min(2 * pause, 2.0)
    if done is None:
        raise TransientError("the connection broke at COMMIT; nothing was written, says the ledger", hint="Try again")
    if (done.replayed or {}).get("run_id", delivery.run_id) != delivery.run_id:
        work.tell("the connection broke at COMMIT; the ledger says that another run with its key made the load")
        return done
    work.tell("the connection broke at COMMIT; the ledger says that the load took effect")
    return loaded


def _unknown(why: str) -> OutcomeUnknown:
    return OutcomeUnknown(
        f"the connection broke at COMMIT, and whether the rows were written is unknown: {why}",
        hint="Look for the key in the ledger (_datapipe.loads): if it is there, the load took effect",
    )

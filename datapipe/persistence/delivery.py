"""How a load takes effect exactly once: the turn, the transaction, and what to do when COMMIT is lost."""

from __future__ import annotations

import dataclasses
import time

from datapipe.data.stream import Stream, Workspace
from datapipe.errors import FatalError, OutcomeUnknown, PlanError, RunCancelled, TransientError
from datapipe.persistence import ledger, rejects
from datapipe.persistence.claims import internal_ddl
from datapipe.persistence.deletes import Comparison, OpenKeys
from datapipe.persistence.internal import ledger_table
from datapipe.persistence.ledger import Delivery
from datapipe.persistence.load import Load, Loaded, plan_load, run_load
from datapipe.persistence.session import CommitLost, Session
from datapipe.persistence.sessions import open_session
from datapipe.persistence.stages import Staged, merge
from datapipe.persistence.standing import table_subject
from datapipe.persistence.tables import Layout, Table
from datapipe.persistence.turns import POLL_SECONDS, take_turn
from datapipe.plan import TableTarget, WriteStrategy

_RESOLVE_SECONDS = 60.0
_LOST = "the connection broke at COMMIT, and whether the rows were written is unknown"


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
    ledger_name = ""
    try:
        with open_session(target, work) as session:
            ledger_name = str(ledger_table(session))
            table = Table(target.table_name, target.schema_)
            place, owner = session.place(table), delivery.run_id if delivery else "without a ledger"
            if take_turn(session, session.turn(place), owner, work):
                place = session.place(table)  # whom we have waited for may have changed it
            session.begin()
            if delivery is not None and session.words.together:
                session.define(internal_ddl(session, delivery))
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
            raise OutcomeUnknown(f"{_LOST}: there is no ledger to ask", hint="Look into the target") from None
        return _resolved(target, delivery, loaded, work, ledger_name)


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


def _resolved(target: TableTarget, delivery: Delivery, loaded: Loaded, work: Workspace, ledger_name: str) -> Loaded:
    """Whether a load whose COMMIT was lost took effect, from the ledger, whose table is called ``ledger_name``.

    The lock of the target comes first: the old transaction holds it until it is over, one way or the other.
    """
    deadline, pause = time.monotonic() + _RESOLVE_SECONDS, POLL_SECONDS[0]
    while True:
        if work.cancel.cancelled:
            raise _unknown("the run was cancelled before the ledger was asked", delivery, ledger_name)
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
                raise _unknown(f"the server does not answer ({error.message})", delivery, ledger_name) from None
            work.cancel.wait(pause)
            pause = min(2 * pause, 2.0)
    if done is None:
        raise TransientError("the connection broke at COMMIT; nothing was written, says the ledger", hint="Try again")
    if (done.replayed or {}).get("run_id", delivery.run_id) != delivery.run_id:
        work.tell("the connection broke at COMMIT; the ledger says that another run with its key made the load")
        return done
    work.tell("the connection broke at COMMIT; the ledger says that the load took effect")
    return loaded


def _unknown(why: str, delivery: Delivery, ledger_name: str) -> OutcomeUnknown:
    hint = f"Look for the key in the ledger ({ledger_name}): if it is there, the load took effect"
    return OutcomeUnknown(f"{_LOST}: {why}; its key is {delivery.key}", hint=hint)

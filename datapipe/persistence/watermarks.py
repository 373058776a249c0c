"""Watermarks in the ledger, looked at and set without a load."""

from __future__ import annotations

from datapipe.data.filemarks import Files
from datapipe.data.stream import Workspace
from datapipe.data.watermark import Position, Watermark
from datapipe.errors import DatapipeError, PlanError
from datapipe.persistence import ledger
from datapipe.persistence.claims import create_internal
from datapipe.persistence.internal import ledger_table
from datapipe.persistence.ledger import Delivery
from datapipe.persistence.session import CommitLost
from datapipe.persistence.sessions import STEP, open_session
from datapipe.persistence.tables import Table
from datapipe.persistence.turns import take_turn
from datapipe.plan import TableTarget


def position_at(target: TableTarget, stream: str, work: Workspace) -> Position:
    """Where the loads of a source into a table stand; nothing is changed.

    Raises
    ------
    PlanError, TransientError, FatalError
        Naming the step.
    """
    try:
        with open_session(target, work, create=False) as session:
            table = Table(target.table_name, target.schema_)
            if not session.exists(ledger_table(session)):
                return Position(stream)
            return ledger.find_position(session, session.place(table), stream)
    except DatapipeError as error:
        raise error.at(STEP) from error.__cause__


def move_watermark(target: TableTarget, stream: str, watermark: Watermark | Files, work: Workspace) -> Position:
    """Have the next load begin elsewhere; the ledger keeps it as a row of its own, and the earlier ones stay.

    Raises
    ------
    PlanError, TransientError, FatalError
        Naming the step.
    """
    try:
        with open_session(target, work) as session:
            is_there = session.words.together or session.exists(ledger_table(session))
        if not is_there:
            create_internal(target, Delivery(work.run_id), work)
        with open_session(target, work) as session:
            place = session.place(Table(target.table_name, target.schema_))
            take_turn(session, session.turn(place), f"whoever sets the watermark of {place}", work)
            session.begin()
            if session.words.together and not session.exists(ledger_table(session)):
                session.define(ledger.ledger_ddl(session))
            ledger.record_watermark(session, place, work.run_id, Position(stream), watermark)
            session.commit()
    except CommitLost:
        raise PlanError(
            "the connection broke at COMMIT", step=STEP, hint="Look whether it was set: .watermark"
        ) from None
    except DatapipeError as error:
        raise error.at(STEP) from error.__cause__
    return position_at(target, stream, work)

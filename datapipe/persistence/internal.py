"""Where a database keeps datapipe's own tables."""

from __future__ import annotations

from datapipe.persistence.load import Session
from datapipe.persistence.tables import Table
from datapipe.settings import settings


def ledger_table(session: Session) -> Table:
    """The table of the loads that happened."""
    return _internal(session, "loads")


def rejects_table(session: Session) -> Table:
    """The table of refused rows."""
    return _internal(session, "rejects")


def _internal(session: Session, what: str) -> Table:
    name = settings().internal_schema
    return Table(what, name) if session.words.schemas else Table(f"{name}_{what}")

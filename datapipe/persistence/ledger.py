"""The ledger: one row beside the data for every load that happened, inserted in the load's own transaction."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from datapipe.data.filemarks import Files
from datapipe.data.names import quoted
from datapipe.data.watermark import Position, Watermark
from datapipe.errors import IdempotencyConflict, PlanError, StaleRun, TransientError
from datapipe.persistence.deletes import OpenKeys
from datapipe.persistence.internal import Values, creation, ledger_table
from datapipe.persistence.load import Load, Loaded
from datapipe.persistence.rejects import Replay
from datapipe.persistence.session import Session
from datapipe.plan import WriteStrategy
from datapipe.schemas import version_of

_COLUMNS: dict[str, Values] = {
    "key": "key",
    "fingerprint": "key",
    "run_id": "key",
    "correlation_id": "key",
    "target": "key",
    "strategy": "key",
    "generation": "number",
    "rows_read": "number",
    "rows_written": "number",
    "deduplicated": "number",
    "schema_version": "key",
    "watermark": "text",
    "versions": "text",
    "result": "text",
    "started": "key",
    "committed": "key",
}


@dataclass(frozen=True)
class Delivery:
    """What identifies one load, whatever happens to the run that makes it.

    Parameters
    ----------
    run_id, correlation_id : str
    fingerprint : str
        Of the plan, its parameters included.
    idempotency_key : str, optional
        The user's; without it the run id is the key.
    if_running : {"wait", "fail", "skip"}
        What to do while another run has the key.
    versions : mapping of str to str
        The content hash of each transformation.
    started : str
        When this attempt may begin to read, by the destination's clock.
    report : callable
        The run's result, as JSON values, for what was loaded.
    quarantines : bool
        Whether rows may be refused, and kept beside the data.
    replay : Replay, optional
        The refused rows that it brings in.
    derived : bool
        Whether the key stands for the load's place in a job, so that the rows may be others.
    position : Position, optional
        Where the loads of an incremental source stand: before a claim, which stream it is; after it, all of it.
    watermark : callable, optional
        What this load leaves for the next one, once its rows have been read; None if that is nothing new.
    keys : callable, optional
        Opens all keys that the source has when it is called, where rows that it no longer has are to be found.

    Examples
    --------
    >>> Delivery("r1").key, Delivery("r1", idempotency_key="2013-05-01").key[:8]
    ('r1', 'eab6a6c0')
    """

    run_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    correlation_id: str = ""
    fingerprint: str = ""
    idempotency_key: str | None = None
    if_running: Literal["wait", "fail", "skip"] = "wait"
    versions: Mapping[str, str] = field(default_factory=dict)
    started: str = ""
    report: Callable[[Loaded], Mapping[str, Any]] = dataclasses.asdict
    quarantines: bool = False
    replay: Replay | None = None
    derived: bool = False
    position: Position | None = None
    watermark: Callable[[], Watermark | Files | None] | None = None
    keys: OpenKeys | None = None

    @property
    def key(self) -> str:
        """The ledger's key for this load."""
        return self.run_id if self.idempotency_key is None else hashed("datapipe key 1", self.idempotency_key)


def hashed(*parts: str) -> str:
    """SHA-256 over parts that each carry their length, so that no two lists of parts look alike.

    Examples
    --------
    >>> hashed("ab", "c") == hashed("a", "bc")
    False
    """
    encoded = [part.encode() for part in parts]
    return hashlib.sha256(b"".join(b"%d:" % len(part) + part for part in encoded)).hexdigest()


def ledger_ddl(session: Session) -> tuple[str, ...]:
    """The statements that create the ledger, and what stands beside it."""
    return (*session.words.further, *creation(session, ledger_table(session), _COLUMNS, ("target", "generation")))


def find_load(session: Session, delivery: Delivery) -> Loaded | None:
    """What the ledger says about this load's key; None if it did not happen.

    Raises
    ------
    IdempotencyConflict
        If another plan used the key.
    """
    text = f"SELECT fingerprint, run_id, target, committed, result, rows_written, deduplicated FROM {_from(session)}"
    rows = session.query(f"{text} WHERE {quoted(['key'])} = ?", delivery.key)
    if not rows:
        return None
    fingerprint, run_id, target, committed, result, written, double = rows[0]
    if fingerprint != delivery.fingerprint and not delivery.derived:
        raise IdempotencyConflict(
            f"the idempotency key was used by another plan: run {run_id} into {target} at {moment(committed)}",
            hint="Use another key, or the plan and the parameters it was used with",
        )
    return Loaded(int(written), int(double), replayed=json.loads(result))


def has_created(session: Session, place: str) -> bool:
    """Whether a load has created a table, as the ledger knows."""
    if not session.exists(ledger_table(session)):
        return False
    # A quote inside a text of the result has a backslash before it.
    text = f"SELECT 1 FROM {_from(session)} WHERE target = ? AND result LIKE ? ORDER BY generation LIMIT 1"
    return bool(session.query(text, place, '%"created": true%'))


def find_position(session: Session, place: str, stream: str) -> Position:
    """Where the loads of a source into a table stand, says the last one that was committed. There is a ledger.

    A cursor's load says it alone; of files, each load has left its own.
    """
    rows = _left(session, place, stream, " LIMIT 1")
    if not rows:
        return Position(stream)
    found, generation, run_id, committed = rows[0]
    form = json.loads(found)
    if "cursor" in form:
        return Position(stream, Watermark.of(form), int(generation), run_id, committed)
    forms = ((json.loads(each), run) for each, _, run, _ in _left(session, place, stream))
    return Position(stream, Files.joined(forms), int(generation), run_id, committed)


def _left(session: Session, place: str, stream: str, limit: str = "") -> list[tuple[Any, ...]]:
    """What loads of a source into a table have left, the newest first."""
    text = (
        f"SELECT watermark, generation, run_id, committed FROM {_from(session)} WHERE target = ? AND watermark LIKE ?"
    )
    return session.query(f"{text} ORDER BY generation DESC{limit}", place, f'{{"stream": "{stream}"%')


def check_position(session: Session, place: str, position: Position) -> None:
    """Refuse an increment that begins where another run's does.

    Raises
    ------
    TransientError
        So that the run begins again, after the other's.
    """
    rows = _left(session, place, position.stream, " LIMIT 1")
    if rows and int(rows[0][1]) > position.generation:
        raise TransientError(f"run {rows[0][2]} has loaded the increment meanwhile", hint="Try again")


def check_alone(session: Session, place: str, position: Position) -> None:
    """Refuse to compare a source with a table to which another one has brought rows.

    Raises
    ------
    PlanError
        Naming that one's last load.
    """
    # A table that was created anew has no rows of the loads before.
    since = f"SELECT COALESCE(MAX(generation), 0) FROM {_from(session)} WHERE target = ? AND result LIKE ?"
    text = f"SELECT run_id, committed FROM {_from(session)} WHERE target = ? AND rows_written > 0"
    others = f"{text} AND watermark IS NOT NULL AND watermark NOT LIKE ? AND generation >= ({since})"
    mine = f'{{"stream": "{position.stream}"%'
    rows = session.query(f"{others} ORDER BY generation DESC LIMIT 1", place, mine, place, '%"created": true%')
    if rows:
        run_id, committed = rows[0]
        hint = "Write each source to a table of its own, or leave deletes out; if it is the same source under another "
        hint += "query or name, drop the table, and all rows are loaded anew"
        problem = f"another incremental source has loaded rows into {place}, which deletes would take for deleted ones"
        raise PlanError(f"{problem}: run {run_id} at {moment(committed)}", hint=hint)


def check_newest(session: Session, place: str, delivery: Delivery) -> None:
    """Refuse to replace what a run that began later has put there.

    Raises
    ------
    StaleRun
        Naming the newer run.
    """
    text = f"SELECT run_id, started, committed FROM {_from(session)} WHERE target = ? AND strategy = ? AND started > ?"
    rows = session.query(text, place, WriteStrategy.REPLACE.value, delivery.started)
    if rows:
        run_id, started, committed = rows[0]
        raise StaleRun(
            f"run {run_id}, which began later ({moment(started)}), replaced {place} at {moment(committed)}",
            hint="Its rows stay; run the plan again if this one's should replace them",
        )


def repeated(session: Session, place: str, delivery: Delivery) -> str | None:
    """The note for an append whose equal has been loaded before."""
    text = f"SELECT rows_written, committed FROM {_from(session)} WHERE target = ? AND fingerprint = ?"
    rows = session.query(f"{text} ORDER BY generation DESC LIMIT 1", place, delivery.fingerprint)
    if not rows or not delivery.fingerprint:
        return None
    written, committed = rows[0]
    return (
        f"the same plan loaded {int(written):,} rows at {moment(committed)}; appended again; "
        "upsert, replace or idempotency_key avoid this"
    )


def record(session: Session, place: str, load: Load, loaded: Loaded, delivery: Delivery) -> None:
    """Insert the load's row. From here to COMMIT, nothing but COMMIT."""
    result = delivery.report(loaded)
    values = {
        "key": delivery.key,
        "fingerprint": delivery.fingerprint,
        "run_id": delivery.run_id,
        "correlation_id": delivery.correlation_id or delivery.run_id,
        "target": place,
        "strategy": load.strategy.value,
        "rows_read": int(result.get("ingestion", {}).get("row_count", loaded.rows + loaded.deduplicated)),
        "rows_written": loaded.rows,
        "deduplicated": loaded.deduplicated,
        "schema_version": version_of(loaded.columns),
        "watermark": _watermark(delivery),
        "versions": json.dumps(dict(delivery.versions)),
        "result": json.dumps(result),
        "started": delivery.started,
    }
    _insert(session, values)


def record_watermark(
    session: Session, place: str, run_id: str, position: Position, watermark: Watermark | Files
) -> None:
    """Insert a row for a watermark that no load has left."""
    now = str(session.scalar(f"SELECT {session.words.now}"))
    texts = {"fingerprint": "", "correlation_id": run_id, "strategy": "watermark", "versions": "{}", "result": "{}"}
    counts = {"rows_read": 0, "rows_written": 0, "deduplicated": 0}
    values = {"key": run_id, "run_id": run_id, "target": place, **texts, **counts, "schema_version": "", "started": now}
    _insert(session, {**values, "watermark": position.text(watermark)})


def _watermark(delivery: Delivery) -> str | None:
    if delivery.position is None or delivery.watermark is None:
        return None
    left = delivery.watermark()
    return None if left is None else delivery.position.text(left)


def _insert(session: Session, values: Mapping[str, Any]) -> None:
    table, names = _from(session), [*values, "generation", "committed"]
    marks = ", ".join("?" for _ in values)
    # A derived table, because not every database inserts into a table that the same statement reads.
    session.query(
        f"INSERT INTO {table} ({quoted(names)}) SELECT {marks}, g.n, {session.words.now} "
        f"FROM (SELECT COALESCE(MAX(generation), 0) + 1 AS n FROM {table} WHERE target = ?) AS g",
        *values.values(),
        values["target"],
    )


def moment(text: str) -> str:
    """A time of the ledger for people.

    Examples
    --------
    >>> moment("2026-11-22T14:02:11.123456Z")
    '2026-11-22 14:02:11 UTC'
    """
    return f"{text[:19].replace('T', ' ')} UTC"


def _from(session: Session) -> str:
    return ledger_table(session).sql

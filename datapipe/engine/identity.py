"""What the ledger will know of a run: its key, its plan, and where an incremental source's loads stand."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from datapipe.data.connections import resolve, to_url
from datapipe.data.filemarks import Files
from datapipe.data.stream import Workspace, scratch_directory
from datapipe.data.watermark import Position, Watermark
from datapipe.engine.deletes import compared_keys, keys_opener, keys_told
from datapipe.engine.options import RunOptions
from datapipe.errors import PlanError
from datapipe.ingestion import Increment, NewFiles, place_of
from datapipe.persistence import Delivery, Loaded, hashed, position_at, where
from datapipe.plan import (
    DatabaseUrl,
    FileSource,
    FileTarget,
    FrameSource,
    Incremental,
    Plan,
    QuerySource,
    TableSource,
    TableTarget,
    ValidateStep,
    WriteStrategy,
    incremental_of,
    is_incremental,
)
from datapipe.plan.sqltext import tokens
from datapipe.plan.values import encode_each
from datapipe.settings import settings

_SEARCH_PATH = re.compile(r"search_path\s*=\s*((?:\\.|\S)+)")  # a blank in it has a backslash


def delivery_of(
    plan: Plan,
    options: RunOptions,
    correlation: str,
    versions: Mapping[str, str],
    report: Callable[[Loaded], Mapping[str, Any]],
) -> Delivery | None:
    """What identifies a run's load; None where the ledger is off.

    Raises
    ------
    PlanError
        If the plan needs what is not there without a ledger.
    """
    target, is_off = plan.persistence, settings().ledger == "off"
    if target is not None and _quarantines(plan) and (is_off or isinstance(target, FileTarget)):
        hint = "Write to a database table, with the ledger; or use on_error='drop'"
        raise PlanError("there is no place for a quarantine", step="persistence", hint=hint)
    if is_off and options.replay is not None:
        hint = "Unset DATAPIPE_LEDGER: only with the ledger's tables is each row brought in once"
        raise PlanError("rejected rows cannot be replayed without the ledger", step="persistence", hint=hint)
    if is_off and options.idempotency_key is not None:
        hint = "Leave the key out, or unset DATAPIPE_LEDGER"
        raise PlanError("DATAPIPE_LEDGER=off leaves nothing to know a key by", hint=hint)
    if is_off and target is not None and is_incremental(plan.ingestion):
        hint = "Unset DATAPIPE_LEDGER, or leave incremental out"
        raise PlanError("DATAPIPE_LEDGER=off leaves no place for a watermark", step="persistence", hint=hint)
    compared_keys(plan)
    if is_off:
        return None
    return Delivery(
        options.run_id,
        correlation,
        plan.fingerprint,
        options.idempotency_key,
        options.if_running,
        versions,
        report=report,
        quarantines=_quarantines(plan),
        replay=options.replay,
        derived=options.derived_key,
        position=_position_of(plan) if target is not None and options.limit is None else None,
    )


def advancing(plan: Plan, delivery: Delivery) -> tuple[Delivery, Increment | NewFiles | None]:
    """A claimed delivery that will leave a watermark, and the reading that makes it."""
    if delivery.position is None:
        return delivery, None
    increment, keys = _reading(plan, delivery.position.watermark), keys_opener(plan)
    return dataclasses.replace(delivery, watermark=lambda: increment.watermark, keys=keys), increment


def _reading(plan: Plan, left: Watermark | Files | None) -> Increment | NewFiles:
    """The reading of a plan's incremental source, from what its loads have left."""
    source, target = plan.ingestion, plan.persistence
    keyed = isinstance(target, TableTarget) and target.strategy is WriteStrategy.UPSERT
    if isinstance(source, FileSource):
        return NewFiles(source, left if isinstance(left, Files) else None, keyed=keyed)
    how = incremental_of(source)
    if how is None:
        raise PlanError("the source is not incremental", step="ingestion")
    since = left if isinstance(left, Watermark) else None
    again = isinstance(target, TableTarget) and target.deletes is not None
    return Increment(how, since, keyed=keyed, again=again)


def foreseen(plan: Plan) -> tuple[Increment | NewFiles | None, str | None]:
    """What a run would read of an incremental source as its loads stand now, and that in a line."""
    how, target = incremental_of(plan.ingestion), plan.persistence
    position = _position_of(plan) if isinstance(target, TableTarget) and settings().ledger != "off" else None
    if position is None or not isinstance(target, TableTarget):
        if how is None:
            return None, None
        return Increment(how), f"watermark: none, as {'nothing is written' if how.watermark else 'this is a slice'}"
    with scratch_directory() as scratch:
        found = position_at(target, position.stream, Workspace(scratch=scratch))
    increment = _reading(plan, found.watermark)
    if isinstance(increment, NewFiles):
        return increment, increment.told()
    mark, then = found.watermark, keys_told(plan)
    if not isinstance(mark, Watermark) or (mark.values is None and mark.begin is None):
        return increment, f"watermark: none yet, the first load reads from the start{then}"
    if mark.values is None:
        return increment, f"watermark: {mark}{then}"
    back = f", and read again from {_lag(how)} before it" if how and how.lag else ""
    return increment, f"watermark: {mark}, left by run {found.run_id[:8]}{back}{then}"


def _lag(how: Incremental) -> str:
    return str(how.model_dump(mode="json")["lag"])


def _quarantines(plan: Plan) -> bool:
    steps = plan.transformation
    return any(isinstance(step, ValidateStep) and step.config.on_error == "quarantine" for step in steps)


def _position_of(plan: Plan) -> Position | None:
    how, source = incremental_of(plan.ingestion), plan.ingestion
    is_beyond = is_incremental(source) if how is None else how.watermark
    return None if isinstance(source, FrameSource) or not is_beyond else Position(stream_of(source))


def stream_of(source: QuerySource | TableSource | FileSource) -> str:
    """The hash that stands for what is read: the database, the query and its cursor, but not how far or how late.

    The steps after it are no part of it, so that a watermark outlives their changes. Of files it is the folder,
    in which each has its path, so that they are known to another pattern, too.
    """
    if isinstance(source, FileSource):
        return hashed("datapipe stream 1", "files", place_of(source.files))
    url = resolve(source.source_db_url, source.source, default="SOURCE_DB_URL", step="ingestion")
    place = (where(url), *_search_path(url))
    cursor = json.dumps(source.incremental.cursor if source.incremental else ())
    if isinstance(source, TableSource):
        return hashed("datapipe stream 1", *place, "table", source.schema_ or "", source.table, cursor)
    words = [text for kind, text in tokens(source.query) if kind != "comment" and not text.isspace()]
    given = json.dumps(encode_each(source.parameters), sort_keys=True)
    return hashed("datapipe stream 1", *place, "query", " ".join(words), given, cursor)


def _search_path(url: DatabaseUrl) -> tuple[str, ...]:
    """The search path that a URL sets, by which the same name may be another table."""
    found = to_url(url).query.get("options", ())
    return tuple(_SEARCH_PATH.findall(found if isinstance(found, str) else " ".join(found)))

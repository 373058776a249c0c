"""How many parts of a plan share its memory: those that hold rows back until they have seen the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from datapipe.data.connections import resolve
from datapipe.errors import DatapipeError
from datapipe.plan import (
    ConfigStep,
    Feed,
    FileTarget,
    Plan,
    QuerySource,
    Source,
    SqlStep,
    Step,
    TableSource,
    TableTarget,
    Target,
    ValidateStep,
)


def shares(plan: Plan) -> int:
    """Into how many equal parts a run's memory is divided, those of further tables included; at least one.

    Examples
    --------
    >>> sort = {"type": "sql", "config": {"sql_query": "SELECT * FROM input_data ORDER BY id"}}
    >>> some = {"type": "sql", "config": {"sql_query": "SELECT id + 1 AS id FROM input_data"}}
    >>> shares(Plan.model_validate({"ingestion": {"table": "a"}, "transformation": [some, sort, some, sort]}))
    2
    """
    feeds = list(_feeds(plan))
    ends = sum(_is_duckdb(feed.ingestion) for feed in feeds) + _is_duckdb_target(plan.persistence)
    steps = [step for feed in feeds for step in feed.transformation if step.type != "code"]
    if ends + len(steps) < 2:  # one has it all, and need not be looked at
        return 1
    return max(1, ends + sum(map(_holds_rows, steps)))


def _feeds(feed: Plan | Feed) -> Iterator[Plan | Feed]:
    """The plan and its further tables, and theirs."""
    yield feed
    for step in feed.transformation:
        if isinstance(step, SqlStep):
            for table in step.config.tables.values():
                yield from _feeds(table)


def _holds_rows(step: Step) -> bool:
    """Whether a step may hold rows back in a DuckDB; one that works row by row hands on what it has."""
    if isinstance(step, SqlStep):
        from datapipe.data.analysis import holds_rows  # loads DuckDB

        return bool(step.config.tables) or holds_rows(step.config.sql_query)
    if isinstance(step, ConfigStep):
        config = step.config
        return bool(config.group_by or config.aggregations or config.distinct or config.sort)
    return isinstance(step, ValidateStep)


def _is_duckdb(source: Source) -> bool:
    if not isinstance(source, QuerySource | TableSource):
        return False
    with suppress(DatapipeError):  # which reading tells
        url = resolve(source.source_db_url, source.source, default="SOURCE_DB_URL", step="ingestion")
        return url.driver == "duckdb"
    return False


def _is_duckdb_target(target: Target | None) -> bool:
    if isinstance(target, FileTarget):
        return Path(target.path).suffix.lower() in {".json", ".jsonl"}
    if isinstance(target, TableTarget):
        with suppress(DatapipeError):  # which writing tells
            url = resolve(target.dest_db_url, target.destination, default="DEST_DB_URL", step="persistence")
            return url.driver == "duckdb"
    return False

"""What goes together in a plan's fields."""

from __future__ import annotations

from collections.abc import Mapping

from datapipe.errors import PlanError
from datapipe.plan.incremental import Incremental
from datapipe.plan.urls import DatabaseUrl


def one_connection(url: DatabaseUrl | None, name: str | None, url_field: str, name_field: str) -> None:
    """Refuse a connection that is given twice, or by a name that is none."""
    if url is not None and name is not None:
        raise PlanError(f"both {url_field} and {name_field} are given", hint="Give one of them")
    if name is not None and not name.isidentifier():  # not repeated: it may hold a password
        hint = f"Give a name, or in {url_field} a URL such as postgresql://user@host/database"
        raise PlanError(f"{name_field} is not the name of a connection", hint=hint)


def check_partitions(column: str | None, count: int | None) -> None:
    """Refuse partitions of nothing."""
    if count is not None and column is None:
        hint = "Name it: partition_on='id', an integer, date, timestamp or decimal column"
        raise PlanError("partitions need a column to cut the rows by", hint=hint)


def check_incremental(how: Incremental | None, column: str | None) -> None:
    """Refuse a cursor where the rows are cut into ranges."""
    if how is not None and column is not None:
        hint = "Leave partition_on out; a first load that is large can be made in slices: until="
        raise PlanError("an incremental source is read as one, not in partitions", step="ingestion", hint=hint)


def check_deletes(deletes: str | None, how: Incremental | None) -> None:
    """Refuse to look for deleted rows where no load reads on from the one before."""
    if deletes is None:
        return
    if how is None:
        hint = "Name its cursor: incremental='updated_at'; strategy='replace' mirrors a table that is read whole"
        raise PlanError("deletes is for an incremental table or query", step="persistence", hint=hint)
    if not how.watermark:
        raise PlanError("a slice looks for no deleted rows", step="persistence", hint="Leave deletes out")


def check_rename(rename: Mapping[str, str], mode: str | None) -> None:
    """Refuse to rename where the table is not changed, and one column twice."""
    if not rename:
        return
    if mode in {"strict", "discard"}:
        hint = "Leave schema_mode out, or rename the column in the table or in a step"
        raise PlanError(f"rename changes the table, which schema_mode {mode} does not", step="persistence", hint=hint)
    names = [*rename, *rename.values()]
    if not all(names) or len(set(names)) < len(names):
        hint = "Name each column once: rename={'old': 'new'}"
        raise PlanError("rename names a column twice, or none", step="persistence", hint=hint)

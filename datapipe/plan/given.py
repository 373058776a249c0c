"""From what users write to the fields of a plan: tables, queries, paths and frames; URLs, names and engines."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

from datapipe.errors import PlanError
from datapipe.plan import names
from datapipe.plan.document import build, read_file
from datapipe.plan.model import Plan
from datapipe.plan.sources import FileSource, FrameSource, QuerySource, TableSource
from datapipe.plan.steps import Feed
from datapipe.plan.urls import DatabaseUrl

_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")


def source_of(
    given: Any,
    source: Any,
    params: Mapping[str, Any] | None,
    schema: str | None,
    columns: Mapping[str, str] | None,
    format_: str | None,
    how: Mapping[str, Any],
) -> Any:
    """The plan's field for what is read; ``how`` holds what only databases know of."""
    if not isinstance(given, (str, Path)):
        if type(given).__module__.split(".")[0] not in {"pandas", "polars", "pyarrow"}:
            raise PlanError(
                f"cannot read a {type(given).__name__}",
                step="ingestion",
                hint="Give a query, a table's name, a path, or a pandas, polars or Arrow table",
            )
        if source is not None or params or schema or columns or format_ or _partitioned(how) or how.get("incremental"):
            raise PlanError("a frame takes no other arguments", step="ingestion", hint="Use read(frame) alone")
        return FrameSource(frame=given)
    text = str(given)
    refuse_url(text, "source=")
    files = source is None and not names.is_query(text) and (names.is_path(text) or format_ is not None)
    if files:
        _check_of_files(params, schema, how)
        fields = {"files": text, "format": format_, "columns": columns, "incremental": how.get("incremental")}
        return build(FileSource, fields, step="ingestion")
    if columns or format_:
        raise PlanError("columns= and format= are for files", step="ingestion", hint="Leave them out")
    database = {**connection_of(source, "source_db_url", "source"), **how}
    if names.is_query(text) or names.is_statement(text):
        if schema:
            raise PlanError("a query takes no schema=", step="ingestion", hint="Name the schema in the query")
        return build(QuerySource, {"query": tidy(text), "parameters": dict(params or {}), **database}, step="ingestion")
    if params:
        raise PlanError("a table takes no params", step="ingestion", hint="Write a query with :name parameters")
    return build(TableSource, {"table": text, "schema": schema, **database}, step="ingestion")


def incremental_form(cursor: Any, further: Mapping[str, Any]) -> Any:
    """The plan's field for an incremental source: of files, that it is one; None if it is none."""
    given = {name: value for name, value in further.items() if value not in (None, "error")}
    if given and (cursor is None or isinstance(cursor, bool)):
        hint = "Name the column whose values grow: incremental='updated_at'; files have none"
        raise PlanError(f"{next(iter(given))}= is for an incremental source with a cursor", step="ingestion", hint=hint)
    if cursor is None or isinstance(cursor, bool):
        return cursor or None
    return {"cursor": cursor, **given}


def _check_of_files(params: Mapping[str, Any] | None, schema: str | None, how: Mapping[str, Any]) -> None:
    if params or schema:
        raise PlanError("files take no params and no schema", step="ingestion", hint="Filter in a .sql() step")
    if _partitioned(how):
        hint = "Leave partition_on= and partitions= out"
        raise PlanError("only tables and queries are read in partitions", step="ingestion", hint=hint)


def _partitioned(how: Mapping[str, Any]) -> bool:
    return how.get("partition_on") is not None or how.get("partitions") is not None


def tidy(sql: Any) -> Any:
    """A query without the indentation of the code it stands in, which a document would show.

    Examples
    --------
    >>> tidy("  SELECT 1\\n  AS a")
    'SELECT 1\\nAS a'
    """
    if not isinstance(sql, str):  # which the plan refuses
        return sql
    may_have_long_texts = "$" in sql or any("\n" in text for text in _QUOTED.findall(sql))
    return (sql if may_have_long_texts else dedent(sql)).strip()


def schema_of(given: Any) -> Any:
    """The plan's field for what rows are held to; what is no file is taken as it is."""
    if isinstance(given, Path) or (isinstance(given, str) and given.endswith((".yaml", ".yml", ".json"))):
        found = read_file(given)
        if not isinstance(found, Mapping):
            raise PlanError(f"{str(given)!r} holds no contract", hint="It is a mapping with columns, checks, unique, …")
        return found
    return given


def feed_of(name: str, value: Any) -> Feed:
    """A plan or a frame as a further table of an SQL step."""
    if isinstance(value, Plan):
        if value.persistence is not None:
            raise PlanError(f"the table {name!r} is a plan with a target", hint="Give it without .write()")
        return build(Feed, {"ingestion": value.ingestion, "transformation": value.transformation})
    if isinstance(value, str):
        raise PlanError(f"the table {name!r} is text", hint=f"Give {name}=datapipe.read({value!r}, …)")
    return Feed(ingestion=FrameSource(frame=value))


def target_of(table: str | Path, to: Any, keys: Sequence[str] | str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The plan's field for where rows go: a table, or a file where no database is named and the name is a path."""
    refuse_url(str(table), "to=")
    given = {name: value for name, value in fields.items() if value is not None}
    listed = [keys] if isinstance(keys, str) else list(keys)
    if to is None and names.is_path(str(table)):
        if listed or set(given) - {"strategy"}:
            message = "files have no keys, schema, latest, deletes, schema_mode or rename"
            raise PlanError(message, step="persistence", hint="Leave them out")
        return {"path": str(table), **given}
    return {"table_name": str(table), "upsert_keys": listed, **given, **connection_of(to, "dest_db_url", "destination")}


def variable_of(script: Path, name: str) -> Any:
    """What a Python file calls so, once it has run; None if nothing is."""
    if not script.is_file():
        raise PlanError(f"cannot read {str(script)!r}: no such file", hint="Check the path")
    module = ModuleType(f"_datapipe_script_{script.stem}")  # no name that the script itself may import
    module.__file__ = str(script)
    code = compile(script.read_text("utf-8"), str(script), "exec", dont_inherit=True)
    sys.modules[module.__name__] = module  # where a dataclass looks for the types of its fields
    try:
        exec(code, vars(module))  # noqa: S102  # the user's own script
    finally:
        sys.modules.pop(module.__name__, None)
    return vars(module).get(name)


def refuse_url(text: str, option: str) -> None:
    if re.match(r"[A-Za-z][\w+.-]*://", text):  # not repeated: it may hold a password
        raise PlanError("a URL stands where a table, a path or a query belongs", hint=f"Give it as {option}")


def connection_of(given: Any, url_field: str, name_field: str) -> dict[str, Any]:
    """The plan's field for a URL, a name or an engine."""
    if given is None:
        return {}
    if isinstance(given, str):
        return {url_field if "://" in given or "${" in given else name_field: given}
    if isinstance(given, DatabaseUrl):
        return {url_field: given}
    if hasattr(given, "url") and hasattr(given, "raw_connection"):
        safe = DatabaseUrl.parse(given.url.render_as_string(hide_password=False))
        return {url_field: DatabaseUrl(safe.safe, safe.full, given)}
    raise PlanError(
        f"{type(given).__name__} is not a connection",
        hint="Give a URL, a connection's name or a SQLAlchemy engine",
    )

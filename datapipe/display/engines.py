"""What executes each step of a plan, as far as the plan and the settings tell: nothing is opened or imported."""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePath

from datapipe.errors import PlanError
from datapipe.plan import (
    CodeStep,
    Contract,
    DatabaseUrl,
    FileSource,
    FileTarget,
    FrameSource,
    FunctionRef,
    Plan,
    Source,
    StoredTable,
    Target,
    ValidateConfig,
    ValidateStep,
    frame_kind,
)

_DATABASES = {
    "postgresql": "PostgreSQL",
    "mysql": "MySQL",
    "sqlite": "SQLite",
    "duckdb": "DuckDB",
    "mssql": "SQL Server",
    "oracle": "Oracle",
}
_FRAMES = {"pandas": "pandas", "polars": "polars", "arrow": "Arrow", "pyarrow": "Arrow"}


def engines(plan: Plan) -> tuple[str, ...]:
    """What executes the source, each transformation and the target.

    Examples
    --------
    >>> from datapipe.plan import parse
    >>> step = {"type": "sql", "config": {"sql_query": "SELECT * FROM input_data"}}
    >>> engines(parse({"ingestion": {"files": "a.parquet"}, "transformation": step, "persistence": {"path": "b.json"}}))
    ('Arrow', 'DuckDB', 'DuckDB')
    """
    target = () if plan.persistence is None else (_of_target(plan.persistence),)
    return (_of_source(plan.ingestion), *map(_of_step, plan.transformation), *target)


def _of_source(source: Source) -> str:
    if isinstance(source, FrameSource):
        library = type(source.frame).__module__.partition(".")[0]
        return "Arrow" if isinstance(source.frame, StoredTable) else _FRAMES.get(library, library)
    if isinstance(source, FileSource):
        return "Arrow" if (source.format or _ending(source.files)) in {"parquet", "pq"} else "DuckDB"
    return _database(source.source_db_url, source.source, "SOURCE_DB_URL")


def _of_target(target: Target) -> str:
    if isinstance(target, FileTarget):
        return "DuckDB" if _ending(target.path) in {"json", "jsonl", "ndjson"} else "Arrow"
    return _database(target.dest_db_url, target.destination, "DEST_DB_URL")


def _of_step(step: object) -> str:
    if isinstance(step, CodeStep):
        return _of_function(step.config.function)
    return _of_contract(step.config) if isinstance(step, ValidateStep) else "DuckDB"


def _of_function(ref: FunctionRef) -> str:
    found = ref.loaded
    call = getattr(found, "transform", found)
    return f"Python ({_FRAMES[frame_kind(call)]})" if callable(call) else "Python"


def _of_contract(config: ValidateConfig) -> str:
    """Built-in checks run in Arrow, SQL and keys in DuckDB, functions and what only Pandera knows in Pandera."""
    held = config.schema_
    own = held if isinstance(held, Contract) else None
    rules = list(own.columns.values()) if own else []
    checks = [*config.checks, *(own.checks if own else ()), *(check for rule in rules for check in rule.checks)]
    unique = bool(own and own.unique) or any(rule.unique for rule in rules)
    parts = {
        "Pandera": bool(config.functions),
        "Arrow": held is not None or any(check.check for check in checks),
        "DuckDB": unique or any(check.sql is not None for check in checks),
    }
    return " + ".join(name for name, used in parts.items() if used) or "Arrow"


def _database(url: DatabaseUrl | None, name: str | None, default: str) -> str:
    """The kind of a database; a name or a variable is looked up, and may not be set here."""
    from datapipe.data.connections import resolve  # loads SQLAlchemy

    with suppress(PlanError):
        found = resolve(url, name, default=default, step="")
        if found.safe.lower().startswith("mariadb"):
            return "MariaDB"
        return _DATABASES.get(found.driver, found.driver or "a database")
    return "a database"


def _ending(path: str) -> str:
    return PurePath(path.lower().removesuffix(".gz")).suffix.removeprefix(".")

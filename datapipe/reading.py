"""Where pipelines begin: rows to read, or a file with a whole plan."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from datapipe.errors import PlanError
from datapipe.pipeline import Pipeline
from datapipe.plan import Plan, build, document
from datapipe.plan.given import incremental_form, source_of, variable_of
from datapipe.traces import call_site, label

if TYPE_CHECKING:
    from datapipe.notebooks.job import NotebookJob


def read(  # noqa: PLR0913  # what users name, by keyword
    what: Any,
    /,
    source: Any = None,
    *,
    params: Mapping[str, Any] | None = None,
    schema: str | None = None,
    columns: Mapping[str, str] | None = None,
    format: Literal["parquet", "csv", "json"] | None = None,  # noqa: A002  # the word users expect
    zero_dates: Literal["error", "null"] = "error",
    partition_on: str | None = None,
    partitions: int | None = None,
    incremental: str | Sequence[str] | bool | None = None,
    lag: str | dt.timedelta | int | Decimal | None = None,
    start: Any = None,
    until: Any = None,
    nulls: Literal["error", "skip", "always"] = "error",
) -> Pipeline:
    """Begin a pipeline with rows to read. Nothing is opened yet.

    Parameters
    ----------
    what : str, pandas.DataFrame, polars.DataFrame or pyarrow.Table
        A query, a table's name, a path or glob of Parquet, CSV or JSON files, or the rows themselves.
    source : str or sqlalchemy.Engine, optional
        A database URL, a named connection, or an engine; SOURCE_DB_URL if left out.
    params : mapping, optional
        Values for the query's ``:name`` parameters.
    schema : str, optional
        The table's schema, if not written as ``schema.table``.
    columns : mapping of str to str, optional
        Column types of CSV or JSON files, as DuckDB names them; found from the whole file if left out.
    format : str, optional
        The files' format, ``parquet``, ``csv`` or ``json``, if their ending does not tell.
    zero_dates : {"error", "null"}
        What MySQL's 0000-00-00 and 2024-00-15 become; the result counts the NULLs.
    partition_on : str, optional
        An integer, date, timestamp or decimal column of the table or query. The rows are cut into ranges of its values,
        which are read side by side, from one state of the database. The result is the same as without it.
    partitions : int, optional
        How many ranges, at most 1,000; 4 if left out.
    incremental : str or sequence of str, or True for files, optional
        The cursor: a column of the table or query whose values grow as rows are added or changed, or several, the most
        significant first. Each run then reads what lies beyond the watermark of the last load that was committed, which
        is kept beside the rows. Times, whole numbers, decimals and text have an order; NULL has none. ``True`` is
        for files: each run then reads those that no load has seen, or that have changed since, if it upserts.
    lag : str, datetime.timedelta, int or Decimal, optional
        How far before the watermark rows are read again, such as ``"1 hour"``, for those that are committed late. Those
        that were there before are left out.
    start, until : value or sequence of values, optional
        Where the first load begins, itself included, and where reading ends, itself not included.
    nulls : {"error", "skip", "always"}
        What is done with rows whose cursor is NULL: refuse them, leave them out, or look at them in each run.

    Raises
    ------
    PlanError
        If the arguments do not go together.

    Examples
    --------
    >>> read("SELECT * FROM users WHERE id > :low", source="sqlite:///crm.db", params={"low": 10})
    Plan
      read       a query on sqlite crm.db
      write      nowhere yet: add .write(table, to=…), or .collect()
    """
    how: dict[str, Any] = {"zero_dates": zero_dates, "partition_on": partition_on, "partitions": partitions}
    how["incremental"] = incremental_form(incremental, {"lag": lag, "start": start, "until": until, "nulls": nulls})
    found = source_of(what, source, params, schema, columns, format, how)
    return Pipeline(build(Plan, {"ingestion": found}), (call_site(),))


def load(path: str | Path) -> Pipeline | NotebookJob:
    """A pipeline from a YAML or JSON file, or from a Python file that has a variable ``plan``.

    A file about a notebook, and a notebook itself, give a :class:`~datapipe.notebooks.job.NotebookJob`.

    Raises
    ------
    PlanError
        If the file is missing or is not a plan.

    Examples
    --------
    >>> load("recipes/missing.yaml")
    Traceback (most recent call last):
    datapipe.errors.PlanError: cannot read 'recipes/missing.yaml': No such file or directory. Check the path
    """
    if str(path).endswith(".ipynb"):
        from datapipe.notebooks.job import notebook

        return notebook(path)
    if str(path).endswith(".py"):
        found = variable_of(Path(path), "plan")
        if not isinstance(found, Pipeline):
            raise PlanError(f"{str(path)!r} has no variable plan that is a pipeline", hint="plan = datapipe.read(…)…")
        return found
    data = document.read_file(path)
    if isinstance(data, Mapping) and "notebook" in data:
        from datapipe.notebooks.job import load_job

        return load_job(data)
    plan = document.parse(data)
    steps = 1 + len(plan.transformation) + (plan.persistence is not None)
    return Pipeline(plan, [label(str(Path(path).absolute()))] * steps)

"""CSV: the first line names the columns; types come from every value of every file, or are declared."""

from __future__ import annotations

import csv
import glob
import gzip
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from datapipe.data.casting import cast_column, check_names
from datapipe.data.duckerrors import translate
from datapipe.data.names import find_name
from datapipe.data.stream import Stream, Workspace, resized
from datapipe.data.types import TIMESTAMP, TIMESTAMPTZ, tagged
from datapipe.errors import DataError, DatapipeError, PlanError, SchemaError, did_you_mean
from datapipe.ingestion.duckdb import field_of, private, streamed
from datapipe.ingestion.rows import Array, Field
from datapipe.ingestion.texts import parse

_DELIMITERS = ",;\t|"
_MOST_HEADER = 1 << 20
_LONGEST_LINE = 32 << 20
_READ = (
    "read_csv($files, columns=$columns, auto_detect=false, header=true, delim=$delimiter, quote='\"', escape='\"', "
    f"nullstr='', allow_quoted_nulls=false, strict_mode=true, max_line_size={_LONGEST_LINE}, "
    "hive_partitioning=false)"
)

# Each form a text may have, by its bit. Whole numbers beyond 2**53 are apart: no double holds them.
_WHOLE, _LARGE, _DOUBLE, _NUMERIC, _BOOLEAN, _DATE, _TIME, _MOMENT, _INSTANT, _OTHER = (
    1 << bit for bit in range(10)
)
_NUMBER = r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?"
_DAY, _CLOCK, _ZONE = (
    r"\d{4}-\d\d-\d\d",
    r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?",
    r"(Z|[-+]\d\d(:?\d\d)?)",
)
_MOST_EXACT = 2**53
_TYPES: tuple[tuple[int, pa.DataType], ...] = (
    (_WHOLE | _LARGE, pa.int64()),
    (_WHOLE | _DOUBLE, pa.float64()),
    (_BOOLEAN, pa.bool_()),
    (_DATE, pa.date32()),
    (_TIME, pa.time64("us")),
    (_MOMENT, TIMESTAMP),
    (_INSTANT, TIMESTAMPTZ),
)


@contextmanager
def read_csv(files: Sequence[Path], columns: Mapping[str, str] | None, work: Workspace) -> Iterator[Stream]:
    """The rows of CSV files with one header, file by file.

    A column has a type other than text if every value is written in that type's one form: ``007`` stays text.
    An empty field is NULL, a quoted empty one is empty text.

    Parameters
    ----------
    columns : mapping of str to str, optional
        DuckDB types for some of the columns.

    Raises
    ------
    DataError
        If a file is not CSV, a line has another form than the header, or a value is not of its declared type.
    PlanError
        If ``columns`` names a column that is not there, or a type that is not known.
    """
    delimiter, names = _header(files[0])
    for file in files[1:]:
        if _header(file) != (delimiter, names):
            raise SchemaError(
                f"{file} has another header than {files[0]}", hint="Read them apart, or make them equal"
            )
    keys = [f"c{index}" for index in range(len(names))]
    parameters = {
        "files": [glob.escape(str(file)) for file in files],
        "columns": dict.fromkeys(keys, "VARCHAR"),
        "delimiter": delimiter,
    }
    with ExitStack() as stack:
        con = stack.enter_context(private(work))
        stack.enter_context(work.cancel.hook(con.interrupt))
        declared = declared_fields(con, columns, names)
        items = [f"bit_or({_form(key)})" for key in keys]
        try:
            row = con.execute(f"SELECT {', '.join(items)} FROM {_READ}", parameters).fetchall()[0]
        except duckdb.Error as error:
            work.cancel.check()
            raise _explained(error) from None
        schema = pa.schema(
            [declared.get(name) or _field(name, forms or 0) for name, forms in zip(names, row, strict=True)]
        )
        stream = stack.enter_context(streamed(con, f"SELECT * FROM {_READ}", parameters, work, _explained))
        yield Stream(schema, resized(parsed(stream.batches, schema), size=work.batch_bytes))


def _form(c: str) -> str:
    """The form of a text, as SQL; a number has one spelling, so that an identifier such as 007 is none."""
    return rf"""CASE
      WHEN NOT regexp_matches({c}, '^[-0-9tfTF]') THEN {_OTHER}
      WHEN CAST(TRY_CAST({c} AS BIGINT) AS VARCHAR) = {c}
        THEN CASE WHEN CAST({c} AS BIGINT) BETWEEN -{_MOST_EXACT} AND {_MOST_EXACT} THEN {_WHOLE} ELSE {_LARGE} END
      WHEN regexp_full_match({c}, '{_NUMBER}')
        THEN CASE WHEN isfinite(TRY_CAST({c} AS DOUBLE)) AND (
          CAST(CAST({c} AS DOUBLE) AS VARCHAR) = {c} OR length(regexp_replace({c}, '^[-0.]+|[eE].*|\D', '', 'g')) <= 15
        ) THEN {_DOUBLE} ELSE {_NUMERIC} END
      WHEN lower({c}) IN ('true', 'false') THEN {_BOOLEAN}
      WHEN regexp_full_match({c}, '{_CLOCK}') THEN {_TIME}
      WHEN TRY_CAST(left({c}, 10) AS DATE) IS NULL THEN {_OTHER}
      WHEN regexp_full_match({c}, '{_DAY}') THEN {_DATE}
      WHEN regexp_full_match({c}, '{_DAY}[ T]{_CLOCK}') THEN {_MOMENT}
      WHEN regexp_full_match({c}, '{_DAY}[ T]{_CLOCK}{_ZONE}') THEN {_INSTANT}
      ELSE {_OTHER} END"""


def _field(name: str, forms: int) -> Field:
    """The narrowest type whose forms include all that were seen; text if none were."""
    found = next((type_ for allowed, type_ in _TYPES if forms and not forms & ~allowed), None)
    if found is not None:
        return pa.field(name, found)
    numeric = forms and not forms & ~(_WHOLE | _LARGE | _DOUBLE | _NUMERIC)
    return tagged(name, "numeric") if numeric else pa.field(name, pa.string())


def _header(file: Path) -> tuple[str, list[str]]:
    """The delimiter and the column names. The delimiter is the one that gives the most names."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            text = stream.read(_MOST_HEADER).decode("utf-8-sig", errors="surrogateescape")
    except (gzip.BadGzipFile, EOFError):
        raise DataError(f"{file} is not compressed by gzip", hint="Rename it") from None
    try:
        found = [
            (next(csv.reader(io.StringIO(text), delimiter=mark, strict=True), []), mark)
            for mark in _DELIMITERS
        ]
    except csv.Error:
        raise DataError(
            f"{file} is not CSV: its first line has an open quote", hint="Check the quotes"
        ) from None
    names, delimiter = max(found, key=lambda item: len(item[0]))
    if not names:
        raise DataError(f"{file} has no header", hint="Its first line names the columns")
    if any(re.search(r"[\0\udc80-\udcff]", name) for name in names):
        raise DataError(
            f"{file} is not CSV in UTF-8", hint="Convert it, or name its format: format='parquet'"
        )
    names = [name or f"column{place}" for place, name in enumerate(names, 1)]
    check_names(names, what=str(file))
    return delimiter, names


def declared_fields(
    con: duckdb.DuckDBPyConnection, columns: Mapping[str, str] | None, names: Sequence[str]
) -> dict[str, Field]:
    """The fields of the columns whose DuckDB type is declared.

    Raises
    ------
    PlanError
        If a column or a type is not known.
    """
    found = {}
    for given, type_ in (columns or {}).items():
        name = find_name(given, names)
        if name is None:
            raise PlanError(f"there is no column {given!r} to declare", hint=did_you_mean(given, names))
        try:
            declared = str(duckdb.sqltype(type_))
            arrow = con.sql(f"SELECT CAST(NULL AS {declared}) AS a").to_arrow_table().schema.field(0)
        except duckdb.Error:
            raise PlanError(
                f"column {given!r}: no type is called {type_!r}", hint="Use a DuckDB type: DECIMAL(10, 2)"
            ) from None
        found[name] = field_of(name, declared, arrow)
    return found


def parsed(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The batches in ``schema``, by position; text is read as the type it stands for."""
    first_row = 1
    for batch in batches:
        arrays = [_as(values, field, first_row) for values, field in zip(batch.columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
        first_row += batch.num_rows


def _as(values: Array, field: Field, first_row: int) -> Array:
    if pa.types.is_null(field.type):
        return pa.nulls(len(values))
    if pa.types.is_string(values.type):
        return parse(values, field, first_row=first_row)
    return cast_column(values, field.type, column=field.name, first_row=first_row)


def _explained(error: Exception) -> DatapipeError:
    """The error for a message of DuckDB's CSV reader, by file and line, without the line itself."""
    text = str(error)
    line, file = re.search(r"CSV Error on Line: (\d+)", text), re.search(r"^\s*file = (.+)$", text, re.M)
    if file is None:
        return translate(error)
    reasons = {
        "unterminated quote": "a quote is not closed",
        "unicode": "the text is not UTF-8",
        "Maximum line size": f"the line is longer than {_LONGEST_LINE >> 20} MB",
        "Expected Number of Columns": "it has more or fewer fields than the header",
    }
    reason = next(
        (said for part, said in reasons.items() if part in text), "the lines do not all have one form"
    )
    where = f"{file.group(1)}, line {line.group(1)}" if line else file.group(1)
    return DataError(
        f"{where}: {reason}", hint="Correct the file; fields with the delimiter in them are quoted"
    )

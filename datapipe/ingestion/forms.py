"""The types of columns that a file holds as text: seen in every value, or declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import duckdb
import pyarrow as pa

from datapipe.data.casting import cast_column
from datapipe.data.duck import field_of
from datapipe.data.names import find_name
from datapipe.data.types import TIMESTAMP, TIMESTAMPTZ, tagged
from datapipe.errors import PlanError, did_you_mean
from datapipe.ingestion.rows import Array, Field
from datapipe.ingestion.texts import parse

MOST_EXACT = 2**53  # no double holds every whole number beyond
# Each form a text may have is one bit, so that a column's forms are one number.
_WHOLE, _LARGE, _DOUBLE, _NUMERIC, _BOOLEAN = 1, 2, 4, 8, 16
_DATE, _TIME, _MOMENT, _INSTANT, _OTHER = 32, 64, 128, 256, 512
_TYPES: tuple[tuple[int, pa.DataType], ...] = (
    (_WHOLE | _LARGE, pa.int64()),
    (_WHOLE | _DOUBLE, pa.float64()),
    (_BOOLEAN, pa.bool_()),
    (_DATE, pa.date32()),
    (_TIME, pa.time64("us")),
    (_MOMENT, TIMESTAMP),
    (_INSTANT, TIMESTAMPTZ),
)
_CASTS = {pa.int64(): "BIGINT", pa.float64(): "DOUBLE", pa.date32(): "DATE"}
_LIKELY = r"-?\d[-+\d.:eETZ ]*|[tfTF][a-zA-Z]{3,4}"  # spares long texts the other tests
_NUMBER = r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?"
_NO_DIGIT = r"^[-0.]+|[eE].*|\D"
_DAY = r"\d{4}-\d\d-\d\d"
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?"
_ZONE = r"(Z|[-+]\d\d(:?\d\d)?)"


def form_sql(c: str) -> str:
    """The form of a text column's values, as DuckDB SQL. A type has one spelling: 007 is text."""
    whole = f"CAST({c} AS BIGINT) BETWEEN -{MOST_EXACT} AND {MOST_EXACT}"
    # It has no more digits than every double keeps, or reads back from one as the same text.
    exact = (
        f"isfinite(TRY_CAST({c} AS DOUBLE)) AND (length({c}) <= 15 OR CAST(CAST({c} AS DOUBLE) AS VARCHAR) = {c} "
        f"OR length(regexp_replace({c}, '{_NO_DIGIT}', '', 'g')) <= 15)"
    )
    return f"""CASE
      WHEN substr({c}, 5, 1) = '-' AND substr({c}, 8, 1) = '-' THEN CASE
        WHEN TRY_CAST(left({c}, 10) AS DATE) IS NULL THEN {_OTHER}
        WHEN regexp_full_match({c}, '{_DAY}') THEN {_DATE}
        WHEN regexp_full_match({c}, '{_DAY}[ T]{_CLOCK}') THEN {_MOMENT}
        WHEN regexp_full_match({c}, '{_DAY}[ T]{_CLOCK}{_ZONE}') THEN {_INSTANT}
        ELSE {_OTHER} END
      WHEN NOT contains({c}, '.') AND CAST(TRY_CAST({c} AS BIGINT) AS VARCHAR) = {c}
        THEN CASE WHEN {whole} THEN {_WHOLE} ELSE {_LARGE} END
      WHEN NOT regexp_full_match({c}, '{_LIKELY}') THEN {_OTHER}
      WHEN regexp_full_match({c}, '{_NUMBER}') THEN CASE WHEN {exact} THEN {_DOUBLE} ELSE {_NUMERIC} END
      WHEN lower({c}) IN ('true', 'false') THEN {_BOOLEAN}
      WHEN regexp_full_match({c}, '{_CLOCK}') THEN {_TIME}
      ELSE {_OTHER} END"""


def is_text(forms: int) -> bool:
    """Whether a column with these forms is text, whatever other forms it has."""
    return bool(forms & _OTHER)


def cast_sql(c: str, field: Field) -> str:
    """A text column whose values all have the form of the field's type, in it where DuckDB makes it at once."""
    type_ = _CASTS.get(field.type) if not field.metadata else None
    return f"CAST({c} AS {type_})" if type_ else c


def seen_field(name: str, forms: int) -> Field:
    """The field for a column with these forms: the narrowest type that has them all; text for none."""
    for allowed, type_ in _TYPES:
        if forms and not forms & ~allowed:
            return pa.field(name, type_)
    numeric = forms and not forms & ~(_WHOLE | _LARGE | _DOUBLE | _NUMERIC)
    return tagged(name, "numeric") if numeric else pa.field(name, pa.string())


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
            declared = duckdb.sqltype(type_)
            arrow = con.sql(f"SELECT CAST(NULL AS {declared}) AS a").to_arrow_table().schema.field(0)
        except duckdb.Error:
            hint = "Use a DuckDB type, such as DECIMAL(10, 2)"
            raise PlanError(f"column {given!r}: no type is called {type_!r}", hint=hint) from None
        found[name] = field_of(name, str(declared), arrow)
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

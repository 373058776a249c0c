"""Neutral types and their carriers: one table for every database.

A column's type is its Arrow type. A type Arrow lacks travels as text and names itself in the field's metadata
under ``datapipe.type``: ``jsonb``, ``inet``, ``numeric`` (one without precision), and so on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from datapipe.errors import SchemaError

_TAG = b"datapipe.type"
TIMESTAMP = pa.timestamp("us")
TIMESTAMPTZ = pa.timestamp("us", "UTC")
INTERVAL = pa.month_day_nano_interval()
EXACT_NUMERIC = pa.decimal128(38, 20)  # what a step that computes on an unconstrained numeric gets


@dataclass(frozen=True)
class Carrier:
    """One Arrow type and the column type that holds it in each database; None where none does."""

    arrow: pa.DataType
    postgresql: str
    sqlite: str | None
    duckdb: str
    mysql: str | None


# SQLite decides how a value is stored by words in the declared type: TEXT keeps digits as they are.
CARRIERS: tuple[Carrier, ...] = (
    Carrier(pa.bool_(), "boolean", "BOOLEAN", "BOOLEAN", "tinyint(1)"),
    Carrier(pa.int8(), "smallint", "TINYINT", "TINYINT", "tinyint"),
    Carrier(pa.int16(), "smallint", "SMALLINT", "SMALLINT", "smallint"),
    Carrier(pa.int32(), "integer", "INTEGER", "INTEGER", "int"),
    Carrier(pa.int64(), "bigint", "BIGINT", "BIGINT", "bigint"),
    Carrier(pa.uint8(), "smallint", "SMALLINT", "UTINYINT", "tinyint unsigned"),
    Carrier(pa.uint16(), "integer", "INTEGER", "USMALLINT", "smallint unsigned"),
    Carrier(pa.uint32(), "bigint", "BIGINT", "UINTEGER", "int unsigned"),
    Carrier(pa.uint64(), "numeric(20,0)", "DECIMAL TEXT(20,0)", "UBIGINT", "bigint unsigned"),
    Carrier(pa.float32(), "real", "REAL", "FLOAT", "float"),
    Carrier(pa.float64(), "double precision", "DOUBLE", "DOUBLE", "double"),
    Carrier(pa.string(), "text", "TEXT", "VARCHAR", "longtext"),
    Carrier(pa.binary(), "bytea", "BLOB", "BLOB", "longblob"),
    Carrier(pa.date32(), "date", "DATE", "DATE", "date"),
    Carrier(pa.time64("us"), "time", "TIME", "TIME", "time(6)"),
    Carrier(TIMESTAMP, "timestamp", "TIMESTAMP", "TIMESTAMP", "datetime(6)"),
    Carrier(TIMESTAMPTZ, "timestamptz", "TIMESTAMPTZ", "TIMESTAMPTZ", "timestamp(6)"),
    Carrier(INTERVAL, "interval", None, "INTERVAL", None),
    Carrier(pa.uuid(), "uuid", "UUID TEXT", "UUID", "uuid"),
)
_BY_ARROW = {carrier.arrow: carrier for carrier in CARRIERS}
_TAG_NAME = re.compile(r"[a-z_][\w ]*(?:\(\d+(?:,\d+)?\))?(?:\[\])*\Z", re.I)


def tagged(name: str, declared: str, *, nullable: bool = True) -> pa.Field:
    """A text field whose values are of the database type ``declared``."""
    return pa.field(name, pa.string(), nullable, metadata={_TAG: declared.encode()})


def tag(field: pa.Field) -> str | None:
    """The database type a text field stands for, if it is not plain text."""
    found = (field.metadata or {}).get(_TAG)
    return found.decode() if found else None


def normal(type_: pa.DataType) -> pa.DataType:
    """The type datapipe uses for an Arrow type: one spelling of each.

    Raises
    ------
    SchemaError
        For types no stage can carry exactly.

    Examples
    --------
    >>> normal(pa.large_string()), normal(pa.dictionary(pa.int8(), pa.string())), normal(pa.date64())
    (DataType(string), DataType(string), DataType(date32[day]))
    """
    t = pa.types
    if t.is_dictionary(type_) or t.is_run_end_encoded(type_):
        return normal(type_.value_type)
    if any(is_list(type_) for is_list in (t.is_list, t.is_large_list, t.is_fixed_size_list, t.is_list_view)):
        return pa.list_(normal(type_.value_type))
    if t.is_struct(type_):
        return pa.struct([pa.field(f.name, normal(f.type)) for f in type_])
    if t.is_timestamp(type_):
        return TIMESTAMPTZ if type_.tz else TIMESTAMP
    if t.is_decimal(type_):
        return _normal_decimal(type_)
    return next((spelling for is_such, spelling in _SPELLINGS if is_such(type_)), type_)


_SPELLINGS: tuple[tuple[Callable[[pa.DataType], bool], pa.DataType], ...] = (
    (pa.types.is_large_string, pa.string()),
    (pa.types.is_string_view, pa.string()),
    (pa.types.is_large_binary, pa.binary()),
    (pa.types.is_binary_view, pa.binary()),
    (pa.types.is_fixed_size_binary, pa.binary()),
    (pa.types.is_date64, pa.date32()),
    (pa.types.is_time, pa.time64("us")),
    (pa.types.is_duration, INTERVAL),
    (pa.types.is_float16, pa.float32()),
)


def _normal_decimal(type_: pa.DataType) -> pa.DataType:
    """At most 38 digits: a value that has more is found when it is cast."""
    precision, scale = type_.precision, type_.scale
    if scale < 0:
        precision, scale = precision - scale, 0
    if scale > 38:
        raise SchemaError(f"{type_} has more than 38 decimal places", hint="Cast it to text before this step")
    return pa.decimal128(min(precision, 38), scale)


def normal_field(field: pa.Field) -> pa.Field:
    """A field with its normal type; its tag is kept."""
    if isinstance(field.type, pa.BaseExtensionType) and field.type != pa.uuid():
        if field.type.extension_name == "arrow.json":
            return tagged(field.name, "json", nullable=field.nullable)
        return pa.field(field.name, normal(field.type.storage_type), field.nullable)
    try:
        return pa.field(field.name, normal(field.type), field.nullable, metadata=_only_tag(field))
    except SchemaError as error:
        error.column = field.name
        error.message = f"column {field.name!r}: {error.message}"
        raise


def _only_tag(field: pa.Field) -> dict[bytes, bytes] | None:
    found = tag(field)
    return {_TAG: found.encode()} if found else None


def type_name(type_: pa.DataType) -> str:
    """A type for people: ``bigint``, ``numeric(15,2)``, ``date``.

    Examples
    --------
    >>> type_name(pa.int64()), type_name(pa.decimal128(15, 2))
    ('bigint', 'numeric(15,2)')
    """
    return describe(pa.field("", type_))


def describe(field: pa.Field) -> str:
    """A field's type for people: ``bigint``, ``numeric(15,2)``, ``text``."""
    try:
        return postgresql_type(field)
    except SchemaError:
        return str(field.type)


def postgresql_type(field: pa.Field) -> str:
    """The PostgreSQL column type for a field.

    Raises
    ------
    SchemaError
        If PostgreSQL has none for it.
    """
    declared = tag(field)
    if declared:
        return declared if _TAG_NAME.match(declared) else "text"
    return _postgresql(field.type, field.name)


def _postgresql(type_: pa.DataType, column: str) -> str:
    if pa.types.is_decimal(type_):
        return f"numeric({type_.precision},{type_.scale})"
    if pa.types.is_list(type_):
        return f"{_postgresql(type_.value_type, column)}[]"
    return _carrier(type_, column, "PostgreSQL").postgresql


def sqlite_type(field: pa.Field) -> str:
    """The type to declare for a field in SQLite, chosen so that the value is stored exactly.

    Raises
    ------
    SchemaError
        If SQLite has none for it.
    """
    declared = tag(field)
    if declared:
        return {"json": "JSON TEXT", "jsonb": "JSON TEXT", "numeric": "DECIMAL TEXT"}.get(declared, "TEXT")
    type_ = field.type
    if pa.types.is_decimal(type_):
        # 15 digits survive SQLite's doubles; more must be kept as text.
        word = "DECIMAL" if type_.precision <= 15 else "DECIMAL TEXT"
        return f"{word}({type_.precision},{type_.scale})"
    found = _carrier(type_, field.name, "SQLite").sqlite
    if found is None:
        raise _no_carrier(field.name, type_, "SQLite")
    return found


def duckdb_type(field: pa.Field) -> str:
    """The DuckDB column type for a field.

    Raises
    ------
    SchemaError
        If DuckDB has none for it.
    """
    if tag(field) in {"json", "jsonb"}:
        return "JSON"
    return _duckdb(field.type, field.name)


def _duckdb(type_: pa.DataType, column: str) -> str:
    if pa.types.is_decimal(type_):
        return f"DECIMAL({type_.precision},{type_.scale})"
    if pa.types.is_list(type_):
        return f"{_duckdb(type_.value_type, column)}[]"
    if pa.types.is_struct(type_):
        inner = ", ".join(f'"{f.name}" {_duckdb(f.type, column)}' for f in type_)
        return f"STRUCT({inner})"
    return _carrier(type_, column, "DuckDB").duckdb


_MYSQL_TEXT = re.compile(r"(?:var)?char\((\d+)\)\Z")
_MYSQL_LIST = re.compile(r"(?:enum|set)\('(?:[^'\\]|'')*'(?:,'(?:[^'\\]|'')*')*\)\Z")
_MYSQL_SIZED = re.compile(r"(numeric|bit)\((\d+)(?:,(\d+))?\)\Z")


def mysql_type(field: pa.Field, *, mariadb: bool = True) -> str:
    """The MySQL or MariaDB column type for a field.

    Raises
    ------
    SchemaError
        If there is none for it.

    Examples
    --------
    >>> mysql_type(pa.field("n", pa.uint64())), mysql_type(tagged("d", "numeric(50,10)"))
    ('bigint unsigned', 'decimal(50,10)')
    """
    declared = tag(field)
    if declared:
        return _mysql_declared(declared, mariadb=mariadb)
    if pa.types.is_decimal(field.type):
        return f"decimal({field.type.precision},{field.type.scale})"
    found = _carrier(field.type, field.name, "MySQL").mysql
    if found is None:
        raise _no_carrier(field.name, field.type, "MySQL")
    return found if mariadb or found != "uuid" else "char(36)"


def _mysql_declared(declared: str, *, mariadb: bool) -> str:
    sized, text = _MYSQL_SIZED.match(declared), _MYSQL_TEXT.match(declared)
    if sized and sized[1] == "numeric" and int(sized[2]) <= 65 and int(sized[3] or 0) <= (38 if mariadb else 30):
        return f"decimal({sized[2]},{sized[3] or 0})"
    if declared == "numeric":
        return "decimal(65,30)"
    if sized and sized[1] == "bit" and not sized[3] and int(sized[2]) <= 64:
        return declared
    if (text and int(text[1]) <= 255) or _MYSQL_LIST.match(declared):
        return declared
    # MySQL's own JSON rounds numbers; MariaDB's is the text as it is.
    return "json" if declared in {"json", "jsonb"} and mariadb else "longtext"


def _carrier(type_: pa.DataType, column: str, database: str) -> Carrier:
    found = _BY_ARROW.get(type_)
    if found is None:
        raise _no_carrier(column, type_, database)
    return found


def _no_carrier(column: str, type_: pa.DataType, database: str) -> SchemaError:
    if pa.types.is_null(type_):
        return SchemaError(
            f"column {column!r} holds only NULLs and has no type",
            column=column,
            hint=f'Give it one in a .sql() step: SELECT * REPLACE (CAST("{column}" AS VARCHAR) AS "{column}") FROM …',
        )
    return SchemaError(
        f"column {column!r} of type {type_} has no exact counterpart in {database}",
        column=column,
        hint="Cast it in a .sql() step, for example to VARCHAR",
    )


_SQLITE_WORDS: tuple[tuple[str, pa.DataType], ...] = (
    ("bool", pa.bool_()),
    ("uuid", pa.uuid()),
    ("timestamptz", TIMESTAMPTZ),
    ("with time zone", TIMESTAMPTZ),
    ("timestamp", TIMESTAMP),
    ("datetime", TIMESTAMP),
    ("date", pa.date32()),
    ("time", pa.time64("us")),
    ("int", pa.int64()),
    ("text", pa.string()),
    ("char", pa.string()),
    ("clob", pa.string()),
    ("blob", pa.binary()),
    ("real", pa.float64()),
    ("floa", pa.float64()),
    ("doub", pa.float64()),
)
_SQLITE_DECIMAL = re.compile(r"(?:decimal|numeric)(?: text)?(?:\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\))?\Z", re.I)


def sqlite_field(name: str, declared: str) -> pa.Field | None:
    """The field a declared SQLite type stands for: the inverse of :func:`sqlite_type`; None for an unknown word.

    Examples
    --------
    >>> sqlite_field("price", "DECIMAL(9,2)").type
    Decimal128Type(decimal128(9, 2))
    """
    word = declared.strip().lower()
    decimal = _SQLITE_DECIMAL.match(word)
    if decimal:
        precision, scale = decimal.groups()
        if precision is None or int(precision) > 38:
            return tagged(name, "numeric")
        return pa.field(name, pa.decimal128(int(precision), int(scale or 0)))
    if word.startswith("json"):
        return tagged(name, "json")
    return next((pa.field(name, type_) for part, type_ in _SQLITE_WORDS if part in word), None)

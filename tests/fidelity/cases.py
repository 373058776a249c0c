"""Every type of PostgreSQL with values that some pipeline or other has been seen to change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from datapipe.errors import DataError, DatapipeError, SchemaError

EXTENSIONS = ("hstore", "citext", "ltree")
OWN_TYPES = (
    "CREATE TYPE mood AS ENUM ('sad', 'it''s ok')",
    "CREATE TYPE pair AS (number int, word text)",
    "CREATE TYPE span AS RANGE (subtype = float8)",
    "CREATE DOMAIN price AS numeric(9,2) CHECK (VALUE > 0)",
    "CREATE DOMAIN email AS text",
)


@dataclass(frozen=True)
class Case:
    """A type, values as the server writes them, and what becomes of them where that is something else."""

    type: str
    texts: tuple[str, ...]
    new: str | None = None  # the type of a new column in PostgreSQL: one that holds every value
    sqlite: str | type[DatapipeError] = "TEXT"  # the declared type in SQLite, or the error
    stored: tuple[Any, ...] | None = None  # what SQLite stores
    framed: tuple[str, ...] | type[DatapipeError] | None = None  # what a function over frames gets and gives

    def __str__(self) -> str:
        return self.type


UUID, BIG = "c0ffee00-0000-4000-8000-000000000001", 9007199254740993
LARGEST, SMALLEST = 2**63 - 1, -(2**63)
INFINITE = float("inf")

CASES = (
    # Whole numbers beside NULL do not pass through a double, and keep their width.
    Case("boolean", ("true", "false"), sqlite="BOOLEAN", stored=(1, 0)),
    Case("smallint", ("-32768", "32767"), sqlite="SMALLINT", stored=(-32768, 32767)),
    Case("integer", ("-2147483648", "2147483647"), sqlite="INTEGER", stored=(-(2**31), 2**31 - 1)),
    Case("bigint", (str(BIG), str(LARGEST), str(SMALLEST)), sqlite="BIGINT", stored=(BIG, LARGEST, SMALLEST)),
    Case("oid", ("4294967295",), "bigint", "BIGINT", (2**32 - 1,)),
    # Decimals keep every digit, and their scale.
    Case("numeric(10,2)", ("1.10", "-12345678.90"), sqlite="DECIMAL(10,2)", stored=(1.1, -12345678.9)),
    Case("numeric(38,18)", ("12345678901234567890.123456789012345678",), sqlite="DECIMAL TEXT(38,18)"),
    Case("numeric(18,18)", ("0.123456789012345678",), sqlite="DECIMAL TEXT(18,18)"),
    Case("numeric(38,0)", ("9" * 38,), sqlite="DECIMAL TEXT(38,0)"),
    Case("numeric(60,30)", ("123456789012345678901234567890." + "12" * 15, "NaN")),
    Case("numeric(2,4)", ("0.0012",)),
    Case("numeric(5,-2)", ("12300",), "numeric(7,0)", "DECIMAL(7,0)", (12300,)),
    Case("numeric", ("1.10", "0.000", "-0.5"), sqlite="DECIMAL TEXT", framed=("1.1", "0", "-0.5")),
    Case("numeric", ("1" * 40 + ".0123456789",), sqlite="DECIMAL TEXT", framed=DataError),
    Case("numeric", ("NaN", "1.5"), sqlite="DECIMAL TEXT", framed=DataError),
    Case("numeric", ("Infinity", "-Infinity"), sqlite="DECIMAL TEXT", framed=DataError),
    Case("money", ("$1.10", "-$92,233,720,368,547,758.08"), stored=("1.10", "-92233720368547758.08")),
    # NaN is not NULL, zero has a sign, and a float is no double.
    Case("real", ("0.1", "-Infinity"), sqlite="REAL", stored=(0.10000000149011612, -INFINITE)),
    Case("real", ("NaN", "-0", "1e-45"), sqlite=DataError),
    Case("double precision", ("0.1", "5e-324", "Infinity"), sqlite="DOUBLE", stored=(0.1, 5e-324, INFINITE)),
    Case("double precision", ("NaN", "-0", "1.7976931348623157e+308"), sqlite=DataError),
    Case("double precision", ("-0",), sqlite="DOUBLE", stored=(0.0,)),  # SQLite has one zero
    # Text is bytes in an encoding, not what CSV or pandas make of it.
    Case("text", ("", "NULL", "\\N", "nan", "None", " pad ", "'\"", "1", "007")),
    Case("text", ("a\tb", "a\nb", "a\rb", "a\r\n", "a\\b", "a\u2028b", "\x01", "e\u0301", "\u00e9", "\U0001f600")),
    Case("varchar(5)", ("", "abc  "), "character varying(5)"),
    Case("char(5)", ("ab", ""), "character(5)", stored=("ab   ", "     ")),
    Case("bpchar", ("ab",)),
    Case("name", ("n",), "text"),
    Case('"char"', ("x", ""), "text"),
    Case("bytea", ("\\x", "\\x00ff"), sqlite="BLOB", stored=(b"", b"\x00\xff")),
    Case("uuid", (UUID,), sqlite="UUID TEXT"),
    Case("json", ('{"b":1.10, "a":null,  "b":2}', "null", " [1 ] ", '"\\u0000"'), sqlite="JSON TEXT"),
    Case("jsonb", ('{"n": 12345678901234567890.10}', "null", "1.10"), sqlite="JSON TEXT"),
    Case("xml", ("<a>b</a>",)),
    # Times keep their microseconds, however far away, and their instant.
    Case("date", ("0001-01-01", "9999-12-31"), sqlite="DATE"),
    Case("date", ("0044-03-15 BC", "12000-01-01", "5874897-12-31"), sqlite=DataError),
    Case(
        "time without time zone",
        ("00:00:00", "23:59:59.999999"),
        sqlite="TIME",
        stored=("00:00:00.000000", "23:59:59.999999"),
    ),
    Case("timetz", ("12:00:00+02", "24:00:00-15:59"), "time with time zone"),
    Case(
        "timestamp without time zone", ("1600-01-01 00:00:00.000001", "2300-12-31 23:59:59.999999"), sqlite="TIMESTAMP"
    ),
    Case("timestamp without time zone", ("0044-03-15 00:00:00 BC", "12000-01-01 00:00:00"), sqlite=DataError),
    Case(
        "timestamp(3)",
        ("2024-01-01 12:00:00.123",),
        "timestamp without time zone",
        "TIMESTAMP",
        ("2024-01-01 12:00:00.123000",),
    ),
    Case(
        "timestamp with time zone",
        ("2024-03-31 00:59:59.999999+00", "2024-03-31 01:00:00.5+00"),
        sqlite="TIMESTAMPTZ",
        stored=("2024-03-31 00:59:59.999999+00:00", "2024-03-31 01:00:00.500000+00:00"),
    ),
    Case("timestamp with time zone", ("0044-03-15 00:00:00+00 BC", "12000-01-01 00:00:00+00"), sqlite=DataError),
    Case(
        "interval",
        ("1 mon 3 days", "36:00:00", "1 day 12:00:00", "-1 mons +2 days -03:00:00.000001", "178000000 years"),
        sqlite=SchemaError,
    ),
    Case("interval year to month", ("1 year 2 mons",), "interval", SchemaError),
    # Lists keep their NULLs, and an empty one is not a missing one.
    Case("integer[]", ("{1,NULL,3}", "{}", "{NULL}"), sqlite=SchemaError),
    Case("bigint[]", (f"{{{BIG},NULL}}",), sqlite=SchemaError),
    Case("boolean[]", ("{t,f,NULL}",), sqlite=SchemaError),
    Case("real[]", ("{0.1,NaN}",), sqlite=SchemaError),
    Case("double precision[]", ("{NaN,NULL,-0,Infinity}",), sqlite=SchemaError),
    Case("text[]", ('{"a,b","q\\"x","NULL",NULL,"","a\\\\b"," x"}',), sqlite=SchemaError),
    Case("varchar(5)[]", ("{abc}",), "text[]", SchemaError),
    Case("date[]", ('{2024-01-01,NULL,12000-01-01,"0044-03-15 BC"}',), sqlite=SchemaError),
    Case("timestamp without time zone[]", ('{"2024-01-01 00:00:00.5",NULL}',), sqlite=SchemaError),
    Case("timestamp with time zone[]", ('{"2024-01-01 00:00:00.5+00",NULL}',), sqlite=SchemaError),
    Case("numeric[]", ("{1.10,NULL,NaN}",)),
    Case("uuid[]", (f"{{{UUID},NULL}}",)),
    Case("jsonb[]", ('{"{\\"a\\": 1.10}",NULL}',)),
    Case("interval[]", ('{"1 mon 3 days",NULL}',)),
    # What Arrow lacks is text on the way, and its own type again at the end.
    Case("inet", ("10.0.0.1/32", "10.0.0.1/8", "::1/64")),
    Case("cidr", ("10.0.0.0/8",)),
    Case("macaddr", ("08:00:2b:01:02:03",)),
    Case("macaddr8", ("08:00:2b:01:02:03:04:05",)),
    Case("bit(8)", ("10101010",)),
    Case("bit varying(9)", ("10110",)),
    Case("int4range", ("empty", "[1,5)", "(,5)")),
    Case("tstzrange", ("empty", '["2024-01-01 00:00:00+00","2024-01-02 00:00:00+00")')),
    Case("numrange", ("[1.10,2.20]",)),
    Case("tsvector", ("'a':1 'b'",)),
    Case("point", ("(0.1,-0)", "(0.1234567890123456,1e-300)")),
    Case("polygon", ("((0,0),(1,1),(1,0))",)),
    Case("pg_lsn", ("16/B374D848",)),
    # Types of one's own are known to their database only: text elsewhere, and at home in a column of their type.
    Case("mood", ("sad", "it's ok"), "text"),
    Case("mood[]", ("{sad,NULL}",), "text"),
    Case("pair", ('(1,"a b")', "(,)"), "text"),
    Case("span", ("[0.1,0.2)",), "text"),
    Case("price", ("1.50",), "numeric(9,2)", "DECIMAL(9,2)", (1.5,)),
    Case("email", ("A@b.c",), "text"),
    Case("hstore", ('"a"=>"1", "b"=>NULL',), "text"),
    Case("citext", ("Ab",), "text"),
    Case("ltree", ("a.b",), "text"),
)

# Values that no other type holds: an error that names column and row, before anything is written.
UNREADABLE = (
    ("numeric(10,2)", "NaN"),
    ("numeric(38,10)", "NaN"),
    ("date", "infinity"),
    ("timestamp", "-infinity"),
    ("timestamp", "294276-12-31 23:59:59.999999"),
    ("timestamptz", "infinity"),
    ("time", "24:00"),
    ("interval", "2562047788 hours"),
    ("integer[]", "{{1,2},{3,4}}"),
    ("text[]", "[0:1]={a,b}"),
    ("date[]", "{2024-01-01,infinity}"),
    ("timestamptz[]", "{-infinity}"),
)

# What goes into a column of another type: the text that arrives, or an error that names column and row.
CONVERTED: tuple[tuple[str, str, str | None], ...] = (
    ("'abc'", "varchar(2)", None),
    ("'abc'", "char(2)", None),
    ("'ab'", "char(5)", "ab"),
    ("'ab'", '"char"', None),
    ("repeat('n', 64)", "name", None),
    ("'happy'", "mood", None),
    ("'sad'", "mood", "sad"),
    ("'-1'", "price", None),
    ("1.25", "numeric(3,1)", None),
    ("1.25::float8", "numeric(3,1)", None),
    ("ARRAY[1.25]", "numeric(3,1)[]", None),
    ("1.255", "money", None),
    ("1.25", "money", "$1.25"),
    ("9007199254740993", "double precision", None),
    ("3000000000", "integer", None),
    ("ARRAY[3000000000]", "integer[]", None),
    ("2.5::float8", "integer", None),
    ("'NaN'::float8", "integer", None),
    ("'NaN'::float8", "numeric", "NaN"),
    ("0.1::float4", "double precision", "0.10000000149011612"),
    ("0.1::float8", "real", None),
    ("0.12345678901234567890", "double precision", None),
    ("'1e400'", "double precision", None),
    ("2", "boolean", None),
    ("timestamp '2024-01-01 00:00:00.5'", "timestamp(0)", None),
    ("timestamp '2024-01-01 12:00'", "date", None),
    ("timestamp '12000-01-01'", "text", None),
    ("date '12000-01-01'", "text", None),
    ("time '00:00:00.5'", "time(0)", None),
    ("interval '0.5 sec'", "interval(0)", None),
    ("interval '1 year 3 days'", "interval year", None),
    ("interval '1 year 3 days'", "interval year to month", None),
    ("B'101'", "bit(2)", None),
    ("B'101'", "bit varying(2)", None),
    ("inet '10.0.0.1/8'", "cidr", None),
    ("'2024-02-30'", "date", None),
    ("'infinity'", "date", None),
    ("' 1'", "integer", None),
    ("'{\"a\": 1'", "jsonb", None),
    ("'<a'", "xml", None),
    ("'x'", "uuid", None),
)

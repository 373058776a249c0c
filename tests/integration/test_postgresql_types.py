"""PostgreSQL to PostgreSQL: every built-in type arrives as the same text, in a column of the same type."""

from urllib.parse import urlsplit

import psycopg
import pytest

import datapipe
from datapipe.errors import DataError

TYPES = {
    "boolean": ["true", "false"],
    "smallint": ["-32768", "32767"],
    "integer": ["2147483647"],
    "bigint": ["-9223372036854775808", "9007199254740993"],
    "real": ["0.1", "NaN", "-0", "Infinity"],
    "double precision": ["0.1", "NaN", "-0", "-Infinity", "1e-300"],
    "numeric(15,2)": ["1.10", "-9999999999999.99"],
    "numeric(38,18)": ["12345678901234567890.123456789012345678"],
    "numeric(50,10)": ["1234567890123456789012345678901234567890.0123456789"],
    "numeric(5,0)": ["12345"],
    "numeric": ["1.10", "NaN", "1e40", "0.00000000000000000000000000000001"],
    "text": ["", "NULL", "\\N", "tab\there", "line\nbreak\r\u2028", "quote\"'", "\U0001f600", "e\u0301"],
    "varchar(9)": ["x", ""],
    "char(5)": ["ab"],
    "bytea": ["\\x", "\\x00ff"],
    "date": ["0001-01-01", "9999-12-31"],
    "time": ["00:00:00", "23:59:59.999999"],
    "timetz": ["12:00:00+02"],
    "timestamp": ["1900-01-01 00:00:00.000001", "9999-12-31 23:59:59.999999"],
    "timestamptz": ["2024-02-29 12:00:00+00"],
    "interval": ["1 year 2 mons 3 days 04:05:06.789", "-1 days"],
    "uuid": ["c0ffee00-0000-4000-8000-000000000001"],
    "json": ['{"b": 1.10, "a": null, "b": 2}', "null", "12345678901234567890.10"],
    "jsonb": ['{"a": 12345678901234567890.10}', "null"],
    "inet": ["10.0.0.1", "::1/64"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "bit(3)": ["101"],
    "varbit": ["10110"],
    "xml": ["<a>b</a>"],
    "int4range": ["[1,5)"],
    "tsvector": ["'a' 'b'"],
    "point": ["(1,2)"],
    "money": ["$1.10"],
    "integer[]": ["{1,NULL,3}", "{}"],
    "text[]": ['{a,"b c",NULL}'],
    "numeric[]": ["{1.10,NULL}"],
    "oid": ["4294967295"],
}
SAME_TYPE = set(TYPES) - {"oid", "timetz", "varbit"}


@pytest.fixture(scope="module")
def database(postgresql_server):
    """One database for all types: making one takes longer than a test."""
    with psycopg.connect(postgresql_server, autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS every_type")
        admin.execute("CREATE DATABASE every_type TEMPLATE template0")
        yield urlsplit(postgresql_server)._replace(path="/every_type").geturl()
        admin.execute("DROP DATABASE every_type WITH (FORCE)")


@pytest.mark.parametrize("type_", TYPES)
def test_value_and_type_arrive(database, type_):
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("SET lc_monetary TO 'C'")
        conn.execute("DROP TABLE IF EXISTS source, target, merged")
        conn.execute(f"CREATE TABLE source (id integer, v {type_})")
        for number, text in enumerate([*TYPES[type_], None]):
            conn.execute(f"INSERT INTO source VALUES ({number}, %s::{type_})", (text,))
        # Into a table of its own, then merged through SQL into one that is there already.
        datapipe.read("source", source=database).write("target", to=database).run()
        conn.execute("CREATE TABLE merged (LIKE source, PRIMARY KEY (id))")
        through = datapipe.read("source", source=database).sql("SELECT * FROM input_data")
        through.write("merged", to=database, strategy="upsert", keys=["id"]).run()
        rows = {
            name: conn.execute(f"SELECT id, v::text FROM {name} ORDER BY id").fetchall()
            for name in ("source", "target", "merged")
        }
        assert rows["target"] == rows["merged"] == rows["source"]
        if type_ in SAME_TYPE:
            assert declared(conn, "target") == declared(conn, "source")


def declared(conn, table):
    kind = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'v'"
    return conn.execute(kind, (table,)).fetchone()


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        ("timestamp", "infinity"),
        ("timestamptz", "-infinity"),
        ("date", "infinity"),
        ("time", "24:00"),
        ("integer[]", "{{1,2},{3,4}}"),
        ("integer[]", "[0:1]={1,2}"),
        ("numeric(5,2)", "NaN"),
    ],
)
def test_what_no_other_type_can_hold_is_an_error_and_nothing_is_written(database, type_, value):
    with psycopg.connect(database, autocommit=True) as conn:
        conn.execute("DROP TABLE IF EXISTS source, target")
        conn.execute(f"CREATE TABLE source AS SELECT %s::{type_} AS v", (value,))
        with pytest.raises(DataError):
            datapipe.read("source", source=database).write("target", to=database).run()
        assert conn.execute("SELECT to_regclass('target')").fetchone() == (None,)


def test_an_enum_and_a_domain_go_where_they_are_known(postgresql_url):
    with psycopg.connect(postgresql_url, autocommit=True) as conn:
        conn.execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
        conn.execute("CREATE DOMAIN price AS numeric(9,2) CHECK (VALUE > 0)")
        conn.execute("CREATE TABLE source AS SELECT 'ok'::mood AS m, 1.5::price AS p")
        conn.execute("CREATE TABLE target (LIKE source)")
        datapipe.read("source", source=postgresql_url).write("target", to=postgresql_url).run()
        assert conn.execute("SELECT m::text, p::text FROM target").fetchall() == [("ok", "1.50")]

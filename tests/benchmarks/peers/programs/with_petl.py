"""The jobs with petl: rows are Python tuples, read from a cursor of the server and written by executemany."""

from __future__ import annotations

import sqlite3

import petl
import psycopg2
import pymysql
from common import main
from queries import AGGREGATE, COMPUTE, JOIN, MERGE, SHARE
from sqlalchemy.engine import make_url


def _source(place, query):
    """A table over a cursor that the server keeps, read again for every pass."""
    conn = psycopg2.connect(place["source"])
    return petl.fromdb(lambda: conn.cursor(name="rows"), query)


def _mariadb(url):
    parts = make_url(url)
    conn = pymysql.connect(
        host=parts.host, port=parts.port, user=parts.username, password=parts.password, database=parts.database
    )
    conn.cursor().execute("SET SQL_MODE=ANSI_QUOTES")  # as petl's manual asks
    return conn


def _append(place, rows):
    petl.appenddb(rows, psycopg2.connect(place["target"]), "target")


def _made(place, rows, columns):
    conn = psycopg2.connect(place["target"])
    conn.cursor().execute(f"CREATE TABLE target ({columns})")
    petl.appenddb(rows, conn, "target")


LINE_COLUMNS = """
  l_orderkey bigint, l_partkey bigint, l_suppkey bigint, l_linenumber integer, l_quantity numeric, l_extendedprice numeric,
  l_discount numeric, l_tax numeric, l_returnflag text, l_linestatus text, l_shipdate date, l_commitdate date,
  l_receiptdate date, l_shipinstruct text, l_shipmode text, l_comment text"""
ORDER_COLUMNS = """
  o_orderkey bigint, o_custkey bigint, o_orderstatus text, o_totalprice numeric, o_orderdate date, o_orderpriority text,
  o_clerk text, o_shippriority integer, o_comment text"""
GROUP_COLUMNS = "l_suppkey bigint, l_returnflag text, quantity numeric, price numeric, lines bigint"
JOINED_COLUMNS = "l_orderkey bigint, l_linenumber integer, o_orderdate date, o_orderpriority text, net numeric"
LINES, ORDERS = "SELECT * FROM lineitem", "SELECT * FROM orders"


def copy(place):
    _append(place, _source(place, LINES))


def compute(place):
    rows = petl.selectgt(_source(place, LINES), "l_quantity", 5)
    net = petl.addfield(rows, "net", lambda row: row["l_extendedprice"] * (1 - row["l_discount"]))
    _made(place, net, LINE_COLUMNS + ", net numeric")


def compute_source(place):
    _made(place, _source(place, COMPUTE.format("lineitem")), LINE_COLUMNS + ", net numeric")


def aggregate(place):
    rows = _source(place, "SELECT l_suppkey, l_returnflag, l_quantity, l_extendedprice FROM lineitem")
    sums = {"quantity": ("l_quantity", sum), "price": ("l_extendedprice", sum), "lines": len}
    groups = petl.aggregate(rows, ("l_suppkey", "l_returnflag"), sums)
    _made(place, groups, GROUP_COLUMNS)


def aggregate_source(place):
    _made(place, _source(place, AGGREGATE.format("lineitem")), GROUP_COLUMNS)


def join(place):
    from datetime import date

    lines = _source(place, "SELECT l_orderkey, l_linenumber, l_extendedprice, l_discount FROM lineitem")
    orders = _source(place, "SELECT o_orderkey, o_orderdate, o_orderpriority FROM orders")
    later = petl.selectge(orders, "o_orderdate", date(1997, 1, 1))
    joined = petl.hashjoin(lines, later, lkey="l_orderkey", rkey="o_orderkey")
    net = petl.addfield(joined, "net", lambda row: row["l_extendedprice"] * (1 - row["l_discount"]))
    kept = petl.cut(net, "l_orderkey", "l_linenumber", "o_orderdate", "o_orderpriority", "net")
    _made(place, kept, JOINED_COLUMNS)


def join_source(place):
    _made(place, _source(place, JOIN.format("lineitem", "orders")), JOINED_COLUMNS)


def python_batch(place):
    rows = petl.addfield(_source(place, LINES), "spaces", lambda row: row["l_comment"].count(" "))
    _made(place, petl.convert(rows, "l_comment", "upper"), LINE_COLUMNS + ", spaces bigint")


def python_whole(place):
    rows = petl.wrap(_source(place, SHARE)).cache()
    sums = {}
    for key, quantity in petl.values(rows, "l_orderkey", "l_quantity"):
        sums[key] = sums.get(key, 0) + quantity
    shared = petl.addfield(rows, "share", lambda row: row["l_quantity"] / sums[row["l_orderkey"]])
    _made(place, shared, "l_orderkey bigint, l_linenumber integer, l_quantity numeric, share numeric")


def validate(place):
    from datetime import date

    constraints = [
        {"name": "key", "field": "l_orderkey", "assertion": lambda value: value >= 1},
        {"name": "quantity", "field": "l_quantity", "assertion": lambda value: 1 <= value <= 50},
        {"name": "flag", "field": "l_returnflag", "assertion": lambda value: value in "ANR"},
        {"name": "day", "field": "l_shipdate", "assertion": lambda value: value >= date(1992, 1, 1)},
        {"name": "comment", "field": "l_comment", "assertion": lambda value: len(value) <= 44},
    ]
    rows = _source(place, LINES)
    if petl.nrows(petl.validate(rows, constraints=constraints)):
        raise SystemExit("a row breaks a check")
    _append(place, rows)


def upsert(place):
    conn = psycopg2.connect(place["target"])
    conn.cursor().execute("CREATE TEMPORARY TABLE stage (LIKE target)")
    petl.appenddb(_source(place, ORDERS), conn, "stage", commit=False)
    conn.cursor().execute(MERGE.format("stage"))
    conn.commit()


def replace(place):
    petl.todb(_source(place, ORDERS), psycopg2.connect(place["target"]), "target")


def append(place):
    _append(place, _source(place, ORDERS))


def sqlite_in(place):
    _append(place, petl.fromdb(sqlite3.connect(place["sqlite"]), ORDERS))


def sqlite_out(place):
    conn = sqlite3.connect(f"{place['out']}/target.db")
    conn.execute(f"CREATE TABLE target ({ORDER_COLUMNS})")
    rows = petl.convert(
        _source(place, ORDERS), {"o_totalprice": float, "o_orderdate": str}
    )  # what SQLite has types for
    petl.appenddb(rows, conn, "target")


def mariadb_in(place):
    conn = _mariadb(place["mariadb"])
    _append(place, petl.fromdb(lambda: conn.cursor(pymysql.cursors.SSCursor), ORDERS))


def mariadb_out(place):
    conn = _mariadb(place["mariadb_target"])
    conn.cursor().execute(f"CREATE TABLE target ({ORDER_COLUMNS.replace('numeric', 'numeric(15,2)')})")
    petl.appenddb(_source(place, ORDERS), conn, "target")


def csv_in(place):
    _append(place, petl.fromcsv(place["csv"]))


def csv_out(place):
    petl.tocsv(_source(place, LINES), f"{place['out']}/target.csv")


def tiny_1(place):
    _append(place, _source(place, "SELECT * FROM tiny_1"))


def tiny_1000(place):
    _append(place, _source(place, "SELECT * FROM tiny_1000"))


def wide(place):
    _append(place, _source(place, "SELECT * FROM wide"))


def long(place):
    _append(place, _source(place, "SELECT * FROM long"))


if __name__ == "__main__":
    main(globals())

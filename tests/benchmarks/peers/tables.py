"""The columns of the tables, in SQL that PostgreSQL, MariaDB and SQLite take, and how the made-up ones are filled."""

from __future__ import annotations

_LINEITEM = """
  l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, l_linenumber integer NOT NULL,
  l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL,
  l_tax numeric(15,2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL,
  l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL,
  l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL"""
_ORDERS = """
  o_orderkey bigint NOT NULL, o_custkey bigint NOT NULL, o_orderstatus char(1) NOT NULL,
  o_totalprice numeric(15,2) NOT NULL, o_orderdate date NOT NULL, o_orderpriority char(15) NOT NULL,
  o_clerk char(15) NOT NULL, o_shippriority bigint NOT NULL, o_comment varchar(79) NOT NULL"""

_KINDS = {
    "bigint": "n * {at}",
    "double precision": "n / {at}.0",
    "numeric(12,2)": "((n * {at}) % 1000000) / 100.0",
    "text": "'value ' || n % {at}",
    "date": "DATE '2000-01-01' + (n % {at})::integer",
}
WIDE_COLUMNS = tuple((f"c{at:03}", list(_KINDS)[at % 5]) for at in range(1, 201))
_VALUES = ", ".join(
    f"CASE WHEN n % 17 <> {at % 17} THEN {_KINDS[kind].format(at=at)} END"
    for at, (_, kind) in enumerate(WIDE_COLUMNS, 1)
)

TABLES = {
    "lineitem": _LINEITEM,
    "orders": _ORDERS,
    "tiny_1": _ORDERS,
    "tiny_1000": _ORDERS,
    "wide": ", ".join(f"{name} {kind}" for name, kind in WIDE_COLUMNS),
    "long": "id bigint NOT NULL, title text NOT NULL, body text NOT NULL",
}


def filled(table: str, scale: float) -> str | None:
    """The query that gives the rows of a table that is made by SQL; None for one that is generated."""
    wide, texts = max(10, round(100_000 * scale)), max(10, round(20_000 * scale))
    body = "(SELECT string_agg(md5(n || ' ' || part), '') FROM generate_series(1, 320) AS part)"
    return {
        "tiny_1": "SELECT * FROM orders ORDER BY o_orderkey LIMIT 1",
        "tiny_1000": "SELECT * FROM orders ORDER BY o_orderkey LIMIT 1000",
        "wide": f"SELECT {_VALUES} FROM generate_series(1, {wide}) AS n",
        "long": f"SELECT n, 'text ' || n, {body} FROM generate_series(1, {texts}) AS n",
    }.get(table)

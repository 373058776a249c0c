"""What is measured: each job, how its target is made fresh, and how its rows are checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .programs.queries import AGGREGATE, COMPUTE, JOIN, SHARE
from .tables import TABLES, WIDE_COLUMNS

Kind = Literal["postgresql", "mariadb", "sqlite", "csv", "parquet"]

LINES = "count(*), sum(l_orderkey), sum(l_extendedprice), sum(l_discount), sum(length(l_comment)), min(l_shipdate), max(l_shipdate)"
ORDERS = "count(*), sum(o_orderkey), sum(o_totalprice), sum(length(o_comment)), min(o_orderdate), max(o_orderdate)"
WIDE = "count(*), " + ", ".join(
    f"sum({'length(' if kind == 'text' else ''}{name}{')' if kind == 'text' else ''})"
    for name, kind in WIDE_COLUMNS[-10:]
    if kind != "date"
)

_SEED = "INSERT INTO target SELECT * FROM orders"
_KEY = "ALTER TABLE target ADD PRIMARY KEY (o_orderkey)"


@dataclass(frozen=True)
class Job:
    """One line of the table.

    ``needs`` names tables and files as ``data.py`` makes them. ``target`` is the table whose columns the empty target
    has; without it, the tool makes the target. ``prepare`` are further statements. ``rows`` is the query whose answer
    on the source is what has to arrive, compared by ``facts``.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    rows: str
    facts: str
    kind: Kind = "postgresql"
    target: str | None = None
    prepare: tuple[str, ...] = ()

    def fresh(self) -> tuple[str, ...]:
        """The statements that make the PostgreSQL target as it has to be before a round."""
        create = (f"CREATE TABLE target ({TABLES[self.target]})",) if self.target else ()
        return ("DROP TABLE IF EXISTS target CASCADE", *create, *self.prepare)


def _lines(name: str, title: str, *needs: str, kind: Kind = "postgresql", target: str | None = "lineitem") -> Job:
    return Job(name, title, needs or ("lineitem",), "SELECT * FROM lineitem", LINES, kind, target)


def _orders(
    name: str,
    title: str,
    *needs: str,
    kind: Kind = "postgresql",
    prepare: tuple[str, ...] = (),
    rows: str = "SELECT * FROM orders",
    target: str | None = "orders",
) -> Job:
    return Job(name, title, needs or ("orders",), rows, ORDERS, kind, target, prepare)


def _computed(name: str, title: str) -> Job:
    return Job(name, title, ("lineitem",), COMPUTE.format("lineitem"), f"{LINES}, sum(net)")


def _grouped(name: str, title: str) -> Job:
    facts = "count(*), sum(l_suppkey), sum(quantity), sum(price), sum(lines)"
    return Job(name, title, ("lineitem",), AGGREGATE.format("lineitem"), facts)


def _joined(name: str, title: str) -> Job:
    facts = "count(*), sum(l_orderkey), sum(net), min(o_orderdate), max(o_orderdate)"
    return Job(name, title, ("lineitem", "orders"), JOIN.format("lineitem", "orders"), facts)


_SHARED = SHARE.replace(
    "l_quantity", "l_quantity, l_quantity / sum(l_quantity) OVER (PARTITION BY l_orderkey) AS share"
)
_UPPER = (
    "SELECT *, length(l_comment) - length(replace(l_comment, ' ', '')) AS spaces FROM"
    " (SELECT l_orderkey, l_extendedprice, l_discount, l_shipdate, upper(l_comment) AS l_comment FROM lineitem) AS upper"
)
_APPENDED = (
    "SELECT o_orderkey, o_totalprice, o_comment, o_orderdate FROM orders UNION ALL"
    " SELECT o_orderkey - 10000000000, o_totalprice, o_comment, o_orderdate FROM orders WHERE o_orderkey % 2 = 0"
)

JOBS = (
    _lines("copy", "copy"),
    _computed("compute", "filter and compute, between read and write"),
    _computed("compute-source", "filter and compute, in the source's query"),
    _grouped("aggregate", "aggregate, between read and write"),
    _grouped("aggregate-source", "aggregate, in the source's query"),
    _joined("join", "join two tables, between read and write"),
    _joined("join-source", "join two tables, in the source's query"),
    Job(
        "python-whole",
        "Python function over the whole table",
        ("lineitem",),
        _SHARED,
        "count(*), sum(l_orderkey), sum(l_quantity), sum(share)",
    ),
    Job(
        "python-batch",
        "Python function per batch",
        ("lineitem",),
        _UPPER,
        f"{LINES}, sum(spaces), sum(CASE WHEN l_comment = upper(l_comment) THEN 1 ELSE 0 END)",
    ),
    _lines("validate", "copy with five checks"),
    _orders(
        "upsert",
        "upsert, half of the rows exist",
        prepare=(
            "INSERT INTO target SELECT * FROM orders WHERE o_orderkey % 2 = 0",
            "UPDATE target SET o_totalprice = 0, o_comment = 'old'",
            _KEY,
            "VACUUM FULL target",
        ),
    ),
    _orders("replace", "replace as many rows", prepare=(_SEED, _KEY)),
    _orders(
        "append",
        "append to a table with a primary key",
        prepare=(
            f"{_SEED} WHERE o_orderkey % 2 = 0",
            "UPDATE target SET o_orderkey = o_orderkey - 10000000000",
            _KEY,
            "VACUUM FULL target",
        ),
        rows=_APPENDED,
    ),
    _orders("sqlite-in", "from SQLite", "orders", "sqlite"),
    _orders("sqlite-out", "to SQLite", kind="sqlite", target=None),
    _orders("mariadb-in", "from MariaDB", "orders", "mariadb"),
    _orders("mariadb-out", "to MariaDB", kind="mariadb", target=None),
    _lines("csv-in", "from CSV", "lineitem", "csv"),
    _lines("csv-out", "to CSV", kind="csv", target=None),
    _lines("parquet-in", "from Parquet", "lineitem", "parquet"),
    _lines("parquet-out", "to Parquet", kind="parquet", target=None),
    Job("tiny-1", "one row", ("tiny_1",), "SELECT * FROM tiny_1", ORDERS, target="orders"),
    Job("tiny-1000", "1,000 rows", ("tiny_1000",), "SELECT * FROM tiny_1000", ORDERS, target="orders"),
    Job("wide", "200 columns", ("wide",), "SELECT * FROM wide", WIDE, target="wide"),
    Job(
        "long",
        "long texts (10 kB each)",
        ("long",),
        "SELECT * FROM long",
        "count(*), sum(id), sum(length(body))",
        target="long",
    ),
)

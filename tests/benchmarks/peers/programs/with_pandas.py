"""The jobs with pandas: ``read_sql`` and ``to_sql`` in chunks over SQLAlchemy, with COPY as its manual's ``method``."""

from __future__ import annotations

import csv
import io

import pandas as pd
from common import main
from queries import AGGREGATE, COMPUTE, JOIN, MERGE, SHARE
from sqlalchemy import create_engine, text

CHUNK = 100_000
LINES, ALL_ORDERS = "SELECT * FROM lineitem", "SELECT * FROM orders"


def _engine(url):
    url = url.replace("postgresql:", "postgresql+psycopg:").replace("mysql:", "mysql+pymysql:")
    return create_engine(url)


def _chunks(url, query):
    """The rows of a query, from a cursor of the server, so that memory stays bounded."""
    with _engine(url).connect().execution_options(stream_results=True) as conn:
        yield from pd.read_sql(text(query), conn, chunksize=CHUNK)


def _copy(table, conn, keys, rows):
    """The ``method`` for PostgreSQL that the manual of pandas shows: COPY of a CSV text."""
    lines = io.StringIO()
    csv.writer(lines).writerows(rows)
    names = ", ".join(f'"{name}"' for name in keys)
    with (
        conn.connection.cursor() as cursor,
        cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN (FORMAT csv)') as copy,
    ):
        copy.write(lines.getvalue())


def _write(place, chunks, first="append", table="target"):
    with _engine(place["target"]).begin() as conn:
        for at, frame in enumerate(chunks):
            mode = "append" if at else first
            frame.to_sql(table, conn, if_exists=mode, index=False, method=_copy)


def _made(place, frames):
    _write(place, frames, first="replace")


def copy(place):
    _write(place, _chunks(place["source"], LINES))


def _computed(lines):
    lines = lines[lines["l_quantity"] > 5]
    return lines.assign(net=lines["l_extendedprice"] * (1 - lines["l_discount"]))


def compute(place):
    _made(place, map(_computed, _chunks(place["source"], LINES)))


def compute_source(place):
    _made(place, _chunks(place["source"], COMPUTE.format("lineitem")))


def aggregate(place):
    query = "SELECT l_suppkey, l_returnflag, l_quantity, l_extendedprice FROM lineitem"
    parts = [
        lines.groupby(["l_suppkey", "l_returnflag"], as_index=False).agg(
            quantity=("l_quantity", "sum"), price=("l_extendedprice", "sum"), lines=("l_quantity", "size")
        )
        for lines in _chunks(place["source"], query)
    ]
    _made(place, [pd.concat(parts).groupby(["l_suppkey", "l_returnflag"], as_index=False).sum()])


def aggregate_source(place):
    _made(place, _chunks(place["source"], AGGREGATE.format("lineitem")))


def join(place):
    orders = pd.concat(_chunks(place["source"], "SELECT o_orderkey, o_orderdate, o_orderpriority FROM orders"))
    orders = orders[pd.to_datetime(orders["o_orderdate"]) >= "1997-01-01"]

    def joined(lines):
        both = lines.merge(orders, left_on="l_orderkey", right_on="o_orderkey")
        both["net"] = both["l_extendedprice"] * (1 - both["l_discount"])
        return both[["l_orderkey", "l_linenumber", "o_orderdate", "o_orderpriority", "net"]]

    query = "SELECT l_orderkey, l_linenumber, l_extendedprice, l_discount FROM lineitem"
    _made(place, map(joined, _chunks(place["source"], query)))


def join_source(place):
    _made(place, _chunks(place["source"], JOIN.format("lineitem", "orders")))


def python_whole(place):
    lines = pd.concat(_chunks(place["source"], SHARE))
    quantity = lines["l_quantity"].astype(float)
    _made(place, [lines.assign(share=quantity / quantity.groupby(lines["l_orderkey"]).transform("sum"))])


def python_batch(place):
    def upper(lines):
        comment = lines["l_comment"].str
        return lines.assign(spaces=comment.count(" "), l_comment=comment.upper())

    _made(place, map(upper, _chunks(place["source"], LINES)))


def validate(place):
    def checked(lines):
        kept = (
            (lines["l_orderkey"] >= 1)
            & lines["l_quantity"].between(1, 50)
            & lines["l_returnflag"].isin(["A", "N", "R"])
            & (pd.to_datetime(lines["l_shipdate"]) >= "1992-01-01")
            & (lines["l_comment"].str.len() <= 44)
        )
        if not kept.all():
            raise SystemExit("a row breaks a check")
        return lines

    _write(place, map(checked, _chunks(place["source"], LINES)))


def upsert(place):
    with _engine(place["target"]).begin() as conn:
        conn.execute(text("CREATE TEMPORARY TABLE stage (LIKE target) ON COMMIT DROP"))
        for frame in _chunks(place["source"], ALL_ORDERS):
            frame.to_sql("stage", conn, if_exists="append", index=False, method=_copy)
        conn.execute(text(MERGE.format("stage")))


def replace(place):
    _made(place, _chunks(place["source"], ALL_ORDERS))


def append(place):
    _write(place, _chunks(place["source"], ALL_ORDERS))


def sqlite_in(place):
    _write(place, _chunks(f"sqlite:///{place['sqlite']}", ALL_ORDERS))


def sqlite_out(place):
    with _engine(f"sqlite:///{place['out']}/target.db").begin() as conn:
        for frame in _chunks(place["source"], ALL_ORDERS):
            prices = frame["o_totalprice"].astype(float)  # SQLite has no decimals
            frame.assign(o_totalprice=prices).to_sql("target", conn, if_exists="append", index=False)


def mariadb_in(place):
    _write(place, _chunks(place["mariadb"], ALL_ORDERS))


def mariadb_out(place):
    with _engine(place["mariadb_target"]).begin() as conn:
        for frame in _chunks(place["source"], ALL_ORDERS):
            frame.to_sql("target", conn, if_exists="append", index=False, method="multi", chunksize=1_000)


def csv_in(place):
    _write(place, pd.read_csv(place["csv"], chunksize=CHUNK))


def csv_out(place):
    for at, frame in enumerate(_chunks(place["source"], LINES)):
        frame.to_csv(f"{place['out']}/target.csv", mode="a", header=not at, index=False)


def parquet_in(place):
    import pyarrow.parquet

    batches = pyarrow.parquet.ParquetFile(place["parquet"]).iter_batches(CHUNK)
    _write(place, (batch.to_pandas() for batch in batches))


def parquet_out(place):
    pd.concat(_chunks(place["source"], LINES)).to_parquet(f"{place['out']}/target.parquet", index=False)


def tiny_1(place):
    _write(place, _chunks(place["source"], "SELECT * FROM tiny_1"))


def tiny_1000(place):
    _write(place, _chunks(place["source"], "SELECT * FROM tiny_1000"))


def wide(place):
    # Without nullable types, an integer with a NULL would become a float.
    with _engine(place["source"]).connect().execution_options(stream_results=True) as conn:
        chunks = pd.read_sql(text("SELECT * FROM wide"), conn, chunksize=10_000, dtype_backend="numpy_nullable")
        _write(place, (frame.astype(object).where(frame.notna(), None) for frame in chunks))


def long(place):
    _write(place, _chunks(place["source"], "SELECT * FROM long"))


if __name__ == "__main__":
    main(globals())

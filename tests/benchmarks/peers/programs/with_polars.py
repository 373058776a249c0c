"""The jobs with polars: ConnectorX reads, ADBC writes, and its own expressions between the two."""

from __future__ import annotations

import polars as pl
from common import main
from queries import AGGREGATE, COMPUTE, JOIN, MERGE, SHARE


def _read(place, query="SELECT * FROM lineitem"):
    return pl.read_database_uri(query, place["source"], engine="connectorx")


def _write(place, frame, table="target", mode="replace"):
    frame.write_database(table, place["target"], if_table_exists=mode, engine="adbc")


def copy(place):
    _write(place, _read(place))


def compute(place):
    net = pl.col("l_extendedprice") * (1 - pl.col("l_discount"))
    _write(place, _read(place).lazy().filter(pl.col("l_quantity") > 5).with_columns(net=net).collect())


def compute_source(place):
    _write(place, _read(place, COMPUTE.format("lineitem")))


def aggregate(place):
    lines = _read(place, "SELECT l_suppkey, l_returnflag, l_quantity, l_extendedprice FROM lineitem")
    quantity, price = pl.col("l_quantity").sum(), pl.col("l_extendedprice").sum()
    groups = lines.group_by("l_suppkey", "l_returnflag")
    _write(place, groups.agg(quantity=quantity, price=price, lines=pl.len().cast(pl.Int64)))


def aggregate_source(place):
    _write(place, _read(place, AGGREGATE.format("lineitem")))


def join(place):
    lines = _read(place, "SELECT l_orderkey, l_linenumber, l_extendedprice, l_discount FROM lineitem")
    orders = _read(place, "SELECT o_orderkey, o_orderdate, o_orderpriority FROM orders")
    later = orders.lazy().filter(pl.col("o_orderdate") >= pl.date(1997, 1, 1))
    net = (pl.col("l_extendedprice") * (1 - pl.col("l_discount"))).alias("net")
    joined = lines.lazy().join(later, left_on="l_orderkey", right_on="o_orderkey")
    _write(place, joined.select("l_orderkey", "l_linenumber", "o_orderdate", "o_orderpriority", net).collect())


def join_source(place):
    _write(place, _read(place, JOIN.format("lineitem", "orders")))


def python_whole(place):
    quantity = pl.col("l_quantity").cast(pl.Float64)
    _write(place, _read(place, SHARE).with_columns(share=quantity / quantity.sum().over("l_orderkey")))


def python_batch(place):
    upper = pl.col("l_comment").str.to_uppercase()
    spaces = pl.col("l_comment").str.count_matches(" ", literal=True).cast(pl.Int64).alias("spaces")
    _write(place, _read(place).with_columns(upper, spaces))


def validate(place):
    lines = _read(place)
    kept = (
        (pl.col("l_orderkey") >= 1)
        & pl.col("l_quantity").is_between(1, 50)
        & pl.col("l_returnflag").is_in(["A", "N", "R"])
        & (pl.col("l_shipdate") >= pl.date(1992, 1, 1))
        & (pl.col("l_comment").str.len_chars() <= 44)
    )
    if not lines.select(kept.all()).item():
        raise SystemExit("a row breaks a check")
    _write(place, lines)


def _orders(place):
    return _read(place, "SELECT * FROM orders")


def upsert(place):
    import adbc_driver_postgresql.dbapi as adbc

    with adbc.connect(place["target"]) as conn, conn.cursor() as cursor:
        cursor.adbc_ingest("stage", _orders(place).to_arrow(), mode="create", temporary=True)
        cursor.execute(MERGE.format("stage"))
        conn.commit()


def replace(place):
    _write(place, _orders(place))


def append(place):
    import adbc_driver_postgresql.dbapi as adbc

    with adbc.connect(place["target"]) as conn, conn.cursor() as cursor:
        cursor.adbc_ingest("target", _orders(place).to_arrow(), mode="append")
        conn.commit()


def sqlite_in(place):
    _write(place, pl.read_database_uri("SELECT * FROM orders", f"sqlite://{place['sqlite']}"))


def sqlite_out(place):
    prices = pl.col("o_totalprice").cast(pl.Float64)  # ADBC's driver for SQLite takes no decimals
    _orders(place).with_columns(prices).write_database("target", f"sqlite:///{place['out']}/target.db", engine="adbc")


def mariadb_in(place):
    _write(place, pl.read_database_uri("SELECT * FROM orders", place["mariadb"]))


def mariadb_out(place):
    url = place["mariadb_target"].replace("mysql:", "mysql+pymysql:")
    prices = pl.col("o_totalprice").cast(pl.Float64)  # ADBC's driver for SQLite takes no decimals
    _orders(place).with_columns(prices).write_database("target", url, engine="sqlalchemy")


def csv_in(place):
    _write(place, pl.read_csv(place["csv"], try_parse_dates=True))


def csv_out(place):
    _read(place).write_csv(f"{place['out']}/target.csv")


def parquet_in(place):
    _write(place, pl.read_parquet(place["parquet"]))


def parquet_out(place):
    _read(place).write_parquet(f"{place['out']}/target.parquet")


def tiny_1(place):
    _write(place, _read(place, "SELECT * FROM tiny_1"))


def tiny_1000(place):
    _write(place, _read(place, "SELECT * FROM tiny_1000"))


def wide(place):
    _write(place, _read(place, "SELECT * FROM wide"))


def long(place):
    _write(place, _read(place, "SELECT * FROM long"))


if __name__ == "__main__":
    main(globals())

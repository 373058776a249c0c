"""The jobs with dlt: ``with_dlt.py JOB [BACKEND FORMAT]``; without them, the backend and the format that are its fastest.

Telemetry is off, and dlt's own columns are not added to Arrow rows, which is its default for them.
"""

from __future__ import annotations

import os
import sys
from datetime import date
from decimal import Decimal

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"
os.environ["DATA_WRITER__DISABLE_COMPRESSION"] = "true"
os.environ["NORMALIZE__DATA_WRITER__DISABLE_COMPRESSION"] = "true"

import dlt
from common import main
from dlt.sources.sql_database import sql_table
from queries import AGGREGATE, COMPUTE, JOIN

BACKEND, FORMAT = sys.argv[2:] or ("connectorx", "parquet")


def _table(url, name, **more):
    """A table of a database, in chunks."""
    # SQLite's types are those that are reflected; ConnectorX would make texts of them.
    backend = "pyarrow" if url.startswith("sqlite") else BACKEND
    options = {"return_type": "arrow_stream", "conn": url} if backend == "connectorx" else {}
    named = url.replace("postgresql:", "postgresql+psycopg2:").replace("mysql:", "mysql+pymysql:")
    return sql_table(
        named,
        name,
        backend=backend,
        chunk_size=100_000,
        backend_kwargs=options | ({"tz": "UTC"} if backend == "pyarrow" else {}),
        reflection_level="full_with_precision",
        **more,
    )


def _load(place, resource, destination=None, form=None, **options):
    target = destination or dlt.destinations.postgres(place["target"])
    pipeline = dlt.pipeline("bench", destination=target, dataset_name="public", pipelines_dir=place["out"] + "/dlt")
    resource.apply_hints(table_name="target")
    pipeline.run(resource, loader_file_format=form or FORMAT, **options).raise_on_failed_jobs()


def _queried(place, query):
    """What the source answers to a query."""
    import connectorx as cx

    @dlt.resource(name="target")
    def answer():
        yield from cx.read_sql(place["source"], query, return_type="arrow_stream", batch_size=100_000)

    _load(place, answer)


def copy(place):
    _load(place, _table(place["source"], "lineitem"))


def compute(place):
    import pyarrow as pa
    import pyarrow.compute as pc

    def computed(lines):
        lines = lines.filter(pc.greater(lines["l_quantity"], 5))
        price, discount = (lines[name].cast(pa.decimal128(15, 2)) for name in ("l_extendedprice", "l_discount"))
        return lines.append_column("net", pc.multiply(price, pc.subtract(pa.scalar(Decimal(1)), discount)))

    _load(place, _table(place["source"], "lineitem").add_map(computed))


def compute_source(place):
    _queried(place, COMPUTE.format("lineitem"))


def aggregate_source(place):
    _queried(place, AGGREGATE.format("lineitem"))


def join_source(place):
    _queried(place, JOIN.format("lineitem", "orders"))


def python_batch(place):
    import pyarrow.compute as pc

    def upper(lines):
        comment = lines["l_comment"]
        lines = lines.set_column(lines.column_names.index("l_comment"), "l_comment", pc.utf8_upper(comment))
        return lines.append_column("spaces", pc.count_substring(comment, " "))

    _load(place, _table(place["source"], "lineitem").add_map(upper))


def validate(place):
    import pyarrow as pa
    import pyarrow.compute as pc

    first = date(1992, 1, 1)

    def checked(lines):
        kept = (
            pc.greater_equal(lines["l_orderkey"], 1),
            pc.and_(pc.greater_equal(lines["l_quantity"], 1), pc.less_equal(lines["l_quantity"], 50)),
            pc.is_in(lines["l_returnflag"], pa.array(["A", "N", "R"], lines["l_returnflag"].type)),
            pc.greater_equal(lines["l_shipdate"], first),
            pc.less_equal(pc.utf8_length(lines["l_comment"]), 44),
        )
        if not all(pc.all(rows).as_py() for rows in kept):
            raise SystemExit("a row breaks a check")
        return lines

    _load(place, _table(place["source"], "lineitem").add_map(checked))


def upsert(place):
    orders = _table(place["source"], "orders", primary_key="o_orderkey")
    _load(place, orders, write_disposition={"disposition": "merge", "strategy": "upsert"})


def replace(place):
    _load(place, _table(place["source"], "orders"), write_disposition="replace")


def append(place):
    _load(place, _table(place["source"], "orders"), write_disposition="append")


def sqlite_in(place):
    _load(place, _table(f"sqlite:///{place['sqlite']}", "orders"))


def sqlite_out(place):
    lite = dlt.destinations.sqlalchemy(f"sqlite:///{place['out']}/target.db")
    pipeline = dlt.pipeline("bench", destination=lite, dataset_name="main", pipelines_dir=place["out"] + "/dlt")
    orders = _table(place["source"], "orders")
    orders.apply_hints(table_name="target")
    pipeline.run(orders, loader_file_format="parquet").raise_on_failed_jobs()


def mariadb_in(place):
    _load(place, _table(place["mariadb"], "orders"))


def mariadb_out(place):
    url = place["mariadb_target"].replace("mysql:", "mysql+pymysql:")
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.sqlalchemy(url),
        dataset_name=url.rsplit("/", 1)[1],
        pipelines_dir=place["out"] + "/dlt",
    )
    orders = _table(place["source"], "orders")
    orders.apply_hints(table_name="target")
    pipeline.run(orders, loader_file_format="parquet").raise_on_failed_jobs()


def csv_in(place):
    import pyarrow.csv

    @dlt.resource(name="target")
    def lines():
        yield from pyarrow.csv.open_csv(place["csv"])

    _load(place, lines)


def csv_out(place):
    _load(place, _table(place["source"], "lineitem"), dlt.destinations.filesystem(place["out"] + "/files"), "csv")


def parquet_in(place):
    import pyarrow.parquet

    @dlt.resource(name="target")
    def lines():
        yield from pyarrow.parquet.ParquetFile(place["parquet"]).iter_batches(100_000)

    _load(place, lines)


def parquet_out(place):
    _load(place, _table(place["source"], "lineitem"), dlt.destinations.filesystem(place["out"] + "/files"), "parquet")


def tiny_1(place):
    _load(place, _table(place["source"], "tiny_1"))


def tiny_1000(place):
    _load(place, _table(place["source"], "tiny_1000"))


def wide(place):
    _load(place, _table(place["source"], "wide"))


def long(place):
    _load(place, _table(place["source"], "long"))


if __name__ == "__main__":
    main(globals())

"""The jobs with ConnectorX, which only reads, streaming Arrow batches; ADBC writes them."""

from __future__ import annotations

from datetime import date

import adbc_driver_postgresql.dbapi as adbc
import connectorx as cx
import pyarrow as pa
from common import main
from queries import AGGREGATE, COMPUTE, JOIN, MERGE, SHARE

BATCH = 100_000


def _read(url, query):
    return cx.read_sql(url, query, return_type="arrow_stream", batch_size=BATCH)


def _write(place, rows, mode="replace"):
    with adbc.connect(place["target"]) as conn, conn.cursor() as cursor:
        cursor.adbc_ingest("target", rows, mode=mode)
        conn.commit()


def _piped(place, query, mode="replace"):
    _write(place, _read(place["source"], query), mode)


def copy(place):
    _piped(place, "SELECT * FROM lineitem")


def compute_source(place):
    _piped(place, COMPUTE.format("lineitem"))


def aggregate_source(place):
    _piped(place, AGGREGATE.format("lineitem"))


def join_source(place):
    _piped(place, JOIN.format("lineitem", "orders"))


def python_whole(place):
    lines = cx.read_sql(place["source"], SHARE, return_type="pandas")
    lines["share"] = lines["l_quantity"] / lines.groupby("l_orderkey")["l_quantity"].transform("sum")
    _write(place, pa.Table.from_pandas(lines, preserve_index=False))


def python_batch(place):
    import pyarrow.compute as pc

    reader = _read(place["source"], "SELECT * FROM lineitem")
    at = reader.schema.names.index("l_comment")

    def upper(lines):
        comment, spaces = lines.column(at), pc.count_substring(lines.column(at), " ")
        return lines.set_column(at, "l_comment", pc.utf8_upper(comment)).append_column(counted, spaces)

    counted = pa.field("spaces", pc.count_substring(pa.array([], reader.schema.field(at).type), " ").type)
    batches = (upper(lines) for lines in reader)
    _write(place, pa.RecordBatchReader.from_batches(reader.schema.append(counted), batches))


def validate(place):
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

    reader = _read(place["source"], "SELECT * FROM lineitem")
    _write(place, pa.RecordBatchReader.from_batches(reader.schema, map(checked, reader)))


def upsert(place):
    with adbc.connect(place["target"]) as conn, conn.cursor() as cursor:
        cursor.adbc_ingest("stage", _read(place["source"], "SELECT * FROM orders"), mode="create", temporary=True)
        cursor.execute(MERGE.format("stage"))
        conn.commit()


def replace(place):
    _piped(place, "SELECT * FROM orders")


def append(place):
    _piped(place, "SELECT * FROM orders", "append")


def sqlite_in(place):
    _write(place, _read(f"sqlite://{place['sqlite']}", "SELECT * FROM orders"))


def mariadb_in(place):
    _write(place, _read(place["mariadb"], "SELECT * FROM orders"))


def csv_out(place):
    import pyarrow.csv

    reader = _read(place["source"], "SELECT * FROM lineitem")
    with pyarrow.csv.CSVWriter(f"{place['out']}/target.csv", reader.schema) as writer:
        for lines in reader:
            writer.write_batch(lines)


def parquet_out(place):
    import pyarrow.parquet as pq

    reader = _read(place["source"], "SELECT * FROM lineitem")
    with pq.ParquetWriter(f"{place['out']}/target.parquet", reader.schema, compression="zstd") as writer:
        for lines in reader:
            writer.write_batch(lines)


def tiny_1(place):
    _piped(place, "SELECT * FROM tiny_1")


def tiny_1000(place):
    _piped(place, "SELECT * FROM tiny_1000")


def wide(place):
    _piped(place, "SELECT * FROM wide")


def long(place):
    _piped(place, "SELECT * FROM long")


if __name__ == "__main__":
    main(globals())

"""The jobs with DuckDB and its extensions for PostgreSQL, MySQL and SQLite, which come from wheels here."""

from __future__ import annotations

import importlib.resources

import duckdb
from common import main
from queries import AGGREGATE, CHECKS, COMPUTE, JOIN, MERGE, SHARE

_EXTENSIONS = {"postgres": "postgres_scanner", "mysql": "mysql_scanner", "sqlite": "sqlite_scanner"}


def _attached(place, **others):
    """A connection with the source and the target, and with ``name=(kind, address)`` of others."""
    conn = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    wanted = {"source": ("postgres", place["source"]), "target": ("postgres", place["target"])} | others
    for name, (kind, address) in wanted.items():
        package = importlib.resources.files(f"duckdb_extension_{_EXTENSIONS[kind]}")
        file = package / "extensions" / f"v{duckdb.__version__}" / f"{_EXTENSIONS[kind]}.duckdb_extension"
        conn.execute(f"LOAD '{file}'")
        read_only = ", READ_ONLY" if name == "source" else ""
        conn.execute(f"ATTACH '{address}' AS {name} (TYPE {kind}{read_only})")
    return conn


def _made(place, query):
    """The target is made by a query."""
    _attached(place).execute(f"CREATE TABLE target.public.target AS {query}")


def _filled(place, query, **others):
    """The target, which is there, is filled by a query."""
    _attached(place, **others).execute(f"INSERT INTO target.public.target {query}")


def _at_source(place, query):
    escaped = query.replace("'", "''")
    _made(place, f"SELECT * FROM postgres_query('source', '{escaped}')")


def copy(place):
    _filled(place, "SELECT * FROM source.public.lineitem")


def compute(place):
    _made(place, COMPUTE.format("source.public.lineitem"))


def compute_source(place):
    _at_source(place, COMPUTE.format("lineitem"))


def aggregate(place):
    _made(place, AGGREGATE.format("source.public.lineitem"))


def aggregate_source(place):
    _at_source(place, AGGREGATE.format("lineitem"))


def join(place):
    _made(place, JOIN.format("source.public.lineitem", "source.public.orders"))


def join_source(place):
    _at_source(place, JOIN.format("lineitem", "orders"))


def python_whole(place):
    conn = _attached(place)
    lines = conn.execute(SHARE.replace("lineitem", "source.public.lineitem")).df()
    lines["share"] = lines["l_quantity"] / lines.groupby("l_orderkey")["l_quantity"].transform("sum")
    conn.execute("CREATE TABLE target.public.target AS SELECT * FROM lines")


def python_batch(place):
    import pyarrow as pa
    import pyarrow.compute as pc

    reader = _attached(place).execute("SELECT * FROM source.public.lineitem").to_arrow_reader(100_000)
    at = reader.schema.names.index("l_comment")

    def upper(lines):
        spaces = pc.count_substring(lines.column(at), " ")
        return lines.set_column(at, "l_comment", pc.utf8_upper(lines.column(at))).append_column("spaces", spaces)

    schema = reader.schema.append(pa.field("spaces", pa.int32()))
    changed = pa.RecordBatchReader.from_batches(schema, (upper(lines) for lines in reader))
    writer = _attached(place)
    writer.register("changed", changed)
    writer.execute("CREATE TABLE target.public.target AS SELECT * FROM changed")


def validate(place):
    broken = " OR ".join(f"NOT ({check})" for check in CHECKS)
    query = f"SELECT * FROM source.public.lineitem WHERE CASE WHEN {broken} THEN error('a row breaks a check') ELSE true END"
    _filled(place, query)


def upsert(place):
    conn = _attached(place)
    conn.execute("CALL postgres_execute('target', 'CREATE UNLOGGED TABLE stage (LIKE target)')")
    conn.execute("CALL pg_clear_cache()")
    conn.execute("INSERT INTO target.public.stage SELECT * FROM source.public.orders")
    conn.execute(f"CALL postgres_execute('target', '{MERGE.format('stage')}')")
    conn.execute("CALL postgres_execute('target', 'DROP TABLE stage')")


def replace(place):
    conn = _attached(place)
    conn.execute("BEGIN")
    conn.execute("CALL postgres_execute('target', 'TRUNCATE target')")
    conn.execute("INSERT INTO target.public.target SELECT * FROM source.public.orders")
    conn.execute("COMMIT")


def append(place):
    _filled(place, "SELECT * FROM source.public.orders")


def sqlite_in(place):
    _filled(place, "SELECT * FROM lite.orders", lite=("sqlite", place["sqlite"]))


def sqlite_out(place):
    conn = _attached(place, lite=("sqlite", f"{place['out']}/target.db"))
    conn.execute("CREATE TABLE lite.target AS SELECT * FROM source.public.orders")


def mariadb_in(place):
    _filled(place, "SELECT * FROM maria.orders", maria=("mysql", place["mariadb"]))


def mariadb_out(place):
    conn = _attached(place, maria=("mysql", place["mariadb_target"]))
    conn.execute("CREATE TABLE maria.target AS SELECT * FROM source.public.orders")


def csv_in(place):
    _filled(place, f"SELECT * FROM '{place['csv']}'")


def csv_out(place):
    _attached(place).execute(f"COPY (SELECT * FROM source.public.lineitem) TO '{place['out']}/target.csv' (HEADER)")


def parquet_in(place):
    _filled(place, f"SELECT * FROM '{place['parquet']}'")


def parquet_out(place):
    file = f"{place['out']}/target.parquet"
    _attached(place).execute(
        f"COPY (SELECT * FROM source.public.lineitem) TO '{file}' (FORMAT parquet, COMPRESSION zstd)"
    )


def tiny_1(place):
    _filled(place, "SELECT * FROM source.public.tiny_1")


def tiny_1000(place):
    _filled(place, "SELECT * FROM source.public.tiny_1000")


def wide(place):
    _filled(place, "SELECT * FROM source.public.wide")


def long(place):
    _filled(place, "SELECT * FROM source.public.long")


if __name__ == "__main__":
    main(globals())

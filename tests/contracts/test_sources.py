"""What every kind of source promises, whatever it is."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import psutil
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from contracts.sinks import mysql_many, mysql_rows

from datapipe.data.stream import Workspace
from datapipe.errors import DataError, DatapipeError, PlanError, RunCancelled
from datapipe.ingestion import open_source
from datapipe.plan import FileSource, FrameSource, QuerySource, Source, TableSource, build

SCHEMA = pa.schema([("id", pa.int64()), ("n", pa.int64()), ("text", pa.string()), ("f", pa.float64())])
TYPES = {"id": "BIGINT", "n": "BIGINT", "text": "TEXT", "f": "DOUBLE"}
ROWS = [
    {"id": 1, "n": 2**63 - 1, "text": "plain", "f": 0.1},
    {"id": 2, "n": None, "text": 'it\'s "quoted", with; separators | and\ttabs', "f": None},
    {"id": 3, "n": -(2**63), "text": "two\nlines\r\n", "f": -1.5e300},
    {"id": 4, "n": None, "text": "back\\slash \\n \\N %s :name $1 {}", "f": 1.0},
    {"id": 5, "n": 0, "text": "Ünïcødé 漢字 🎈 e\u0301", "f": 5e-324},
    {"id": 6, "n": 7, "text": "", "f": 0.0},
    {"id": 7, "n": None, "text": None, "f": None},
    {"id": 8, "n": 8, "text": "NULL", "f": 123456.789},
]


@dataclass(frozen=True)
class Kind:
    """A kind of source: how rows get into one, and what its mistakes look like."""

    put: Callable[[pa.Table, Path, Any], Source]
    twice: Callable[[Path, Any], Source] | None  # two columns called "a"
    missing: Callable[[Path, Any], Source] | None  # no such table or file called "nope"


def _ddl(double: str) -> str:
    types = TYPES | {"f": double}
    return f"CREATE TABLE rows ({', '.join(f'{name} {type_}' for name, type_ in types.items())})"


def _values(table: pa.Table) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in table.to_pylist()]


def _sqlite(table: pa.Table, folder: Path, _: Any) -> Source:
    connection = sqlite3.connect(folder / "rows.db")
    connection.execute(_ddl("DOUBLE"))
    connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?)", _values(table))
    connection.commit()
    connection.close()
    return _table(f"sqlite:///{folder / 'rows.db'}")


def _duckdb(table: pa.Table, folder: Path, _: Any) -> Source:
    connection = duckdb.connect(folder / "rows.duckdb")
    connection.register("given", table)
    connection.execute("CREATE TABLE rows AS SELECT * FROM given").complete()
    connection.close()
    return _table(f"duckdb:///{folder / 'rows.duckdb'}")


def _postgresql(table: pa.Table, _: Path, request: pytest.FixtureRequest) -> Source:
    url = request.getfixturevalue("postgresql_url")
    with psycopg.connect(url) as connection:
        connection.execute(_ddl("DOUBLE PRECISION"))
        connection.cursor().executemany("INSERT INTO rows VALUES (%s, %s, %s, %s)", _values(table))
    return _table(url)


def _mysql(table: pa.Table, _: Path, request: pytest.FixtureRequest) -> Source:
    url = request.getfixturevalue("mysql_url")
    mysql_rows(url, _ddl("DOUBLE").replace("rows", '"rows"'))
    if table.num_rows:
        mysql_many(url, 'INSERT INTO "rows" VALUES (%s, %s, %s, %s)', _values(table))
    return _table(url)


def _csv(table: pa.Table, folder: Path, _: Any) -> Source:
    lines = [table.column_names, *_values(table)]
    text = "".join(",".join(map(_csv_value, line)) + "\n" for line in lines)
    (folder / "rows.csv").write_bytes(text.encode())
    return FileSource(files=str(folder / "rows.csv"), columns=TYPES if not table.num_rows else None)


def _csv_value(value: Any) -> str:
    return "" if value is None else '"' + str(value).replace('"', '""') + '"'


def _parquet(table: pa.Table, folder: Path, _: Any) -> Source:
    pq.write_table(table, folder / "rows.parquet", row_group_size=3)
    return FileSource(files=str(folder / "rows.parquet"))


def _json(table: pa.Table, folder: Path, _: Any) -> Source:
    (folder / "rows.json").write_text(json.dumps(table.to_pylist()), encoding="utf-8")
    return FileSource(files=str(folder / "rows.json"), columns=TYPES if not table.num_rows else None)


def _jsonl(table: pa.Table, folder: Path, _: Any) -> Source:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist())
    (folder / "rows.jsonl").write_text(lines or "\n", encoding="utf-8")
    return FileSource(files=str(folder / "rows.jsonl"), columns=TYPES if not table.num_rows else None)


def _pandas(table: pa.Table, _: Path, __: Any) -> Source:
    dtypes = {pa.int64(): pd.Int64Dtype(), pa.string(): pd.StringDtype(), pa.float64(): None}
    return FrameSource(frame=table.to_pandas(types_mapper=dtypes.get))


def _polars(table: pa.Table, _: Path, __: Any) -> Source:
    return FrameSource(frame=pl.from_arrow(table))


def _arrow(table: pa.Table, _: Path, __: Any) -> Source:
    return FrameSource(frame=table)


def _table(url: str, name: str = "rows") -> Source:
    return build(TableSource, {"table": name, "source_db_url": url})


def _query(make: Callable[[pa.Table, Path, Any], Source], name: str = "rows") -> Callable[[Path, Any], Source]:
    def twice(folder: Path, request: Any) -> Source:
        url = make(SCHEMA.empty_table(), folder, request).source_db_url  # type: ignore[union-attr]  # a table's
        return build(QuerySource, {"query": f"SELECT id AS a, n AS a FROM {name}", "source_db_url": url})

    return twice


def _nope(make: Callable[[pa.Table, Path, Any], Source]) -> Callable[[Path, Any], Source]:
    def missing(folder: Path, request: Any) -> Source:
        source = make(SCHEMA.empty_table(), folder, request)
        if isinstance(source, FileSource):
            return FileSource(files=str(folder / f"nope{Path(source.files).suffix}"))
        return source.model_copy(update={"table": "nope"})

    return missing


def _file(name: str, content: str) -> Callable[[Path, Any], Source]:
    def made(folder: Path, _: Any) -> Source:
        (folder / name).write_text(content)
        return FileSource(files=str(folder / name))

    return made


def _parquet_twice(folder: Path, _: Any) -> Source:
    pq.write_table(pa.table([[1], [2]], names=["a", "a"]), folder / "t.parquet")
    return FileSource(files=str(folder / "t.parquet"))


KINDS = {
    "sqlite": Kind(_sqlite, _query(_sqlite), _nope(_sqlite)),
    "duckdb": Kind(_duckdb, _query(_duckdb), _nope(_duckdb)),
    "postgresql": Kind(_postgresql, _query(_postgresql), _nope(_postgresql)),
    "mysql": Kind(_mysql, _query(_mysql, "`rows`"), _nope(_mysql)),
    "csv": Kind(_csv, _file("t.csv", "a,a\n1,2\n"), _nope(_csv)),
    "parquet": Kind(_parquet, _parquet_twice, _nope(_parquet)),
    "json": Kind(_json, _file("t.json", '[{"a": 1, "a": 2}]'), _nope(_json)),
    "jsonl": Kind(_jsonl, _file("t.jsonl", '{"a": 1, "a": 2}\n'), _nope(_jsonl)),
    "pandas": Kind(_pandas, lambda *_: FrameSource(frame=pd.DataFrame([[1, 2]], columns=["a", "a"])), None),
    "polars": Kind(_polars, None, None),
    "arrow": Kind(_arrow, lambda *_: FrameSource(frame=pa.table([[1], [2]], names=["a", "a"])), None),
}
Put = Callable[[pa.Table], Source]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def put(kind: Kind, tmp_path: Path, request: pytest.FixtureRequest) -> Put:
    """Puts a table into a source of this kind."""
    return lambda table: kind.put(table, tmp_path, request)


def read(source: Source, work: Workspace | None = None) -> pa.Table:
    with open_source(source, work or Workspace()) as stream:
        return pa.Table.from_batches(list(stream.batches), stream.schema)


def many(rows: int) -> pa.Table:
    table = {
        "id": range(rows),
        "n": [None if i % 3 else i for i in range(rows)],
        "text": [f"row {i}" for i in range(rows)],
    }
    return pa.table({**table, "f": [i / 7 for i in range(rows)]}, schema=SCHEMA)


def test_every_value_arrives_exactly_and_in_its_type(put: Put) -> None:
    table = read(put(pa.Table.from_pylist(ROWS, schema=SCHEMA)))
    assert table.schema.equals(SCHEMA)
    assert sorted(table.to_pylist(), key=lambda row: row["id"]) == ROWS


def test_a_source_without_rows_keeps_its_schema(put: Put) -> None:
    table = read(put(SCHEMA.empty_table()))
    assert table.schema.equals(SCHEMA)
    assert table.num_rows == 0


@pytest.mark.parametrize("limit", [0, 1, 7, 5000])
def test_a_limit_gives_that_many_rows(put: Put, limit: int) -> None:
    source = put(many(3000))
    assert read(source, Workspace(limit=limit)).num_rows == min(limit, 3000)


def test_the_size_of_batches_changes_nothing_else(put: Put) -> None:
    source = put(many(30_000))
    small, large = Workspace(memory=1 << 20), Workspace(memory=1 << 30)
    with open_source(source, small) as stream:
        batches = list(stream.batches)
    assert len(batches) > 1
    assert all(batch.schema.equals(stream.schema) for batch in batches)
    joined, whole = pa.Table.from_batches(batches), read(source, large)
    assert joined.sort_by("id").equals(whole.sort_by("id"))
    assert whole.sort_by("id").equals(many(30_000))


def test_the_number_of_rows_is_right_if_it_is_known(put: Put) -> None:
    source = put(many(100))
    for work, rows in ((Workspace(), 100), (Workspace(limit=30), 30)):
        with open_source(source, work) as stream:
            assert stream.total is None or min(stream.total, work.limit or stream.total) == rows


def test_two_columns_of_one_name_are_refused(kind: Kind, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if kind.twice is None:
        pytest.skip("cannot have them")
    with pytest.raises(DataError) as caught:
        read(kind.twice(tmp_path, request))
    assert caught.value.step == "ingestion"


def test_what_is_missing_is_named(kind: Kind, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if kind.missing is None:
        pytest.skip("cannot be missing")
    with pytest.raises(PlanError, match="nope") as caught:
        read(kind.missing(tmp_path, request))
    assert caught.value.step == "ingestion"


def test_a_cancelled_run_raises_and_never_just_ends(put: Put) -> None:
    work = Workspace(memory=1 << 20)
    with open_source(put(many(30_000)), work) as stream:
        next(stream.batches)
        work.cancel.cancel()
        with pytest.raises(RunCancelled):
            list(stream.batches)


@pytest.mark.parametrize("batches", [0, 1])
def test_a_source_left_early_leaves_nothing_open(put: Put, tmp_path: Path, batches: int) -> None:
    source = put(many(30_000))
    with open_source(source, Workspace(memory=1 << 20)) as stream:
        for _ in range(batches):
            next(stream.batches)
    assert [file.path for file in psutil.Process().open_files() if file.path.startswith(str(tmp_path))] == []
    url = getattr(source, "source_db_url", None)
    if url is not None and url.driver == "postgresql":
        with psycopg.connect(url.full, autocommit=True) as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle'"
            until = time.monotonic() + 2
            while connection.execute(query).fetchone() != (1,) and time.monotonic() < until:
                time.sleep(0.05)  # the backend may be ending still
            assert connection.execute(query).fetchone() == (1,)


def test_the_same_source_is_read_again(put: Put) -> None:
    source = put(many(10))
    assert read(source).equals(read(source))


def test_an_error_of_the_caller_closes_the_source_and_stays_itself(put: Put) -> None:
    with pytest.raises(DatapipeError, match="mine") as caught, open_source(put(many(10)), Workspace()):
        raise DataError("mine")
    assert caught.value.step is None

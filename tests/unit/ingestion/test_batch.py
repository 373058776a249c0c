from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator

import pandas as pd
import pytest
import sqlalchemy as sa

from datapipe.errors import DataError, PlanError
from datapipe.ingestion import BatchIngestor


@pytest.fixture
def ingestor(sqlite_url: str) -> BatchIngestor:
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    connection.execute("CREATE TABLE users (id INTEGER, name TEXT)")
    rows: Iterator[tuple[int | None, str]] = ((i if i % 2 else None, f"user {i}") for i in range(25))
    connection.executemany("INSERT INTO users VALUES (?, ?)", rows)
    connection.commit()
    connection.close()
    return BatchIngestor(sqlite_url, batch_size=10)


def test_every_row_comes_as_one_frame_with_exact_types(ingestor: BatchIngestor) -> None:
    frame = ingestor.ingest("SELECT * FROM users")
    assert frame.dtypes.astype(str).to_dict() == {"id": "Int64", "name": "string"}
    assert len(frame) == 25
    assert frame["id"].isna().sum() == 13


def test_a_query_takes_parameters_and_a_table_its_name(ingestor: BatchIngestor) -> None:
    assert ingestor.ingest("SELECT id FROM users WHERE id > :low", params={"low": 20})["id"].tolist() == [21, 23]
    pd.testing.assert_frame_equal(ingestor.ingest("users"), ingestor.ingest("SELECT * FROM users"))


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(None, [10, 10, 5]), (25, [25]), (7, [7, 7, 7, 4]), (1, [1] * 25), (100, [25])]
)
def test_frames_have_exactly_the_size_asked_for(
    ingestor: BatchIngestor, batch_size: int | None, sizes: list[int]
) -> None:
    frames = list(ingestor.stream("SELECT * FROM users", batch_size=batch_size))
    assert [len(frame) for frame in frames] == sizes
    assert len({tuple(frame.dtypes) for frame in frames}) == 1
    pd.testing.assert_frame_equal(pd.concat(frames, ignore_index=True), ingestor.ingest("users"))


def test_the_default_size_is_the_setting(
    ingestor: BatchIngestor, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCH_SIZE", "20")
    assert [len(frame) for frame in BatchIngestor(sqlite_url).stream("users")] == [20, 5]


def test_a_result_without_rows_keeps_its_columns(ingestor: BatchIngestor) -> None:
    frame = ingestor.ingest("SELECT * FROM users WHERE 1 = 0")
    assert frame.dtypes.astype(str).to_dict() == {"id": "Int64", "name": "string"}
    assert list(ingestor.stream("SELECT * FROM users WHERE 1 = 0")) == []


def test_a_stream_left_early_closes_the_database(ingestor: BatchIngestor, sqlite_url: str) -> None:
    frames = ingestor.stream("users", batch_size=1)
    next(frames)
    frames.close()  # type: ignore[attr-defined]  # it is a generator
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), timeout=0, isolation_level=None)
    connection.execute("DROP TABLE users")
    connection.close()


def test_an_engine_is_borrowed(sqlite_url: str, ingestor: BatchIngestor) -> None:
    engine = sa.create_engine(sqlite_url)
    assert len(BatchIngestor(engine).ingest("users")) == 25
    with engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM users").scalar() == 25
    engine.dispose()


@pytest.mark.parametrize(
    ("query", "params", "message"),
    [
        ("DELETE FROM users", None, "the text is not a query: it begins with 'DELETE'"),
        ("SELECT 1; DROP TABLE users", None, "more than one statement"),
        ("SELECT :a AS a", None, "parameter :a has no value"),
        ("users", {"a": 1}, "a table takes no parameters"),
        ("usres", None, "no such table: usres. Did you mean 'users'"),
    ],
)
def test_a_mistake_is_a_plan_error_that_names_it(
    ingestor: BatchIngestor, query: str, params: dict[str, int] | None, message: str
) -> None:
    with pytest.raises(PlanError) as caught:
        ingestor.ingest(query, params)
    assert message in str(caught.value)
    assert caught.value.step == "ingestion"


def test_a_wrong_batch_size_is_refused_before_anything_is_read(ingestor: BatchIngestor, sqlite_url: str) -> None:
    with pytest.raises(PlanError, match="batch_size is 0"):
        BatchIngestor(sqlite_url, batch_size=0)
    with pytest.raises(PlanError, match="batch_size is -1"):
        ingestor.stream("users", batch_size=-1)


def test_a_value_of_another_type_is_a_data_error(ingestor: BatchIngestor) -> None:
    with pytest.raises(DataError, match="column 'a'"):
        ingestor.ingest("SELECT id AS a FROM users UNION ALL SELECT name FROM users")


def test_importing_the_ingestor_loads_no_database_library_and_no_pandas() -> None:
    code = "import datapipe.ingestion, sys; print([m for m in ('pandas', 'polars', 'duckdb', 'psycopg', 'adbc_driver_manager') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"

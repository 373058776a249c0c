"""One bad row fails the run, names itself, and nothing lands."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from contracts.sinks import Sink

import datapipe
from datapipe.data.stream import Workspace
from datapipe.errors import DataError

ROWS = [20_000, pytest.param(200_000, marks=pytest.mark.soak)]
SECRET = "s3cret"
NUMBER = 99999123
PLACES = ("first", "middle", "last")
STRATEGIES = ("append", "insert", "upsert", "replace")
BEFORE = -1


@dataclass(frozen=True)
class Case:
    """A table with the columns id and v, what fits into v, and what does not."""

    column: str  # v's type and constraint
    type: pa.DataType
    good: Any
    bad: Any
    names: bool = True  # whether the database tells the column


CASES = {
    "NUL": Case("text", pa.string(), "fits", f"{SECRET}\0"),
    "out of range": Case("smallint", pa.int64(), 1, NUMBER),
    "out of the range of 64 bits": Case("bigint", pa.uint64(), 1, 2**64 - 1 - NUMBER),
    "too many digits": Case("numeric(7,2)", pa.decimal128(12, 3), Decimal("1.25"), Decimal("99999.123")),
    "too long": Case("varchar(4)", pa.string(), "fits", SECRET),
    "no date": Case("date", pa.string(), "2024-02-29", f"{SECRET}-02-30"),
    "a date that is none": Case("date", pa.string(), "2024-02-29", "2023-02-29"),
    "no timestamp": Case("timestamp", pa.string(), "2024-02-29 12:00:00", SECRET),
    "CHECK": Case("bigint CHECK (v < 1000)", pa.int64(), 1, NUMBER, names=False),
    "NOT NULL": Case("text NOT NULL", pa.string(), "fits", None),
    "foreign key": Case("bigint REFERENCES parent (id)", pa.int64(), 1, NUMBER, names=False),
    "UNIQUE": Case("bigint UNIQUE", pa.int64(), None, NUMBER),
}
SQLITE_TAKES = {"NUL", "out of range", "too long"}  # it stores them as they are
COMBINATIONS = [
    (kind, name, strategy, place)
    for kind in ("postgresql", "sqlite")
    for name in CASES
    for strategy in STRATEGIES
    for place in (PLACES if strategy in {"append", "upsert"} else ["middle"])  # the others go append's way
    if not (kind == "sqlite" and name in SQLITE_TAKES)
    and not (name == "UNIQUE" and strategy == "replace")  # the row it repeats is replaced
]


@pytest.fixture(params=["postgresql", "sqlite"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Sink:
    """PostgreSQL and SQLite, which can name the row."""
    if request.param == "postgresql":
        found: Sink = request.getfixturevalue("postgresql_sink")
        return found
    return Sink("sqlite", f"sqlite:///{tmp_path / 'test.db'}")


@pytest.fixture
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows then take as many batches as many do."""
    monkeypatch.setattr(Workspace, "batch_bytes", 1 << 16)


def values(case: Case, rows: int, place: int) -> Iterable[Any]:
    """The values of v; where they have to be unique, the bad one is that of the table's own row."""
    for number in range(rows):
        yield case.bad if number == place else number if case.good is None else case.good


@pytest.mark.usefixtures("_small_batches")
@pytest.mark.parametrize("count", ROWS)
@pytest.mark.parametrize(("target", "name", "strategy", "place"), COMBINATIONS, indirect=["target"])
def test_a_bad_row(target: Sink, name: str, strategy: str, place: str, count: int) -> None:
    case, at = CASES[name], {"first": 0, "middle": count // 2, "last": count - 1}[place]
    existing = {"UNIQUE": NUMBER, "NOT NULL": "before"}.get(name)
    target.sql(
        "CREATE TABLE parent (id bigint PRIMARY KEY)",
        "INSERT INTO parent VALUES (1)",
        f"CREATE TABLE t (id bigint PRIMARY KEY, v {case.column})",
        f"INSERT INTO t VALUES ({BEFORE}, {'NULL' if existing is None else repr(existing)})",
    )
    rows = pa.table({"id": pa.array(range(count)), "v": pa.array(values(case, count, at), case.type)})
    keys = ["id"] if strategy in {"insert", "upsert"} else []
    with pytest.raises(DataError) as caught:
        datapipe.read(rows).write("t", to=target.url, strategy=strategy, keys=keys).run("64MB")
    error = caught.value
    # PostgreSQL looks at foreign keys when every row is there, and then tells the column rather than the row.
    at_the_end = target.kind == "postgresql" and name == "foreign key"
    if not at_the_end or strategy == "upsert":
        assert error.row == at + 1
        assert f"row {error.row}" in str(error)
    if case.names or at_the_end:
        assert error.column == "v"
        assert "v" in error.message
    assert error.step == "persistence"
    assert error.hint
    for secret in (SECRET, str(NUMBER), str(case.bad or SECRET)):
        assert secret not in f"{error} {error.hint} {error.result}"
    assert target.rows() == [(BEFORE, existing)]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_constraint_that_is_looked_at_with_commit(postgresql_sink: Sink, strategy: str) -> None:
    postgresql_sink.sql(
        "CREATE TABLE parent (id bigint PRIMARY KEY)",
        "CREATE TABLE t (id bigint PRIMARY KEY, v bigint REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
    )
    keys = ["id"] if strategy in {"insert", "upsert"} else []
    rows = pa.table({"id": [1], "v": [NUMBER]})
    with pytest.raises(DataError) as caught:
        datapipe.read(rows).write("t", to=postgresql_sink.url, strategy=strategy, keys=keys).run("64MB")
    assert (caught.value.column, str(NUMBER) in str(caught.value)) == ("v", False)
    assert postgresql_sink.rows() == []


def test_a_bad_row_among_rows_of_one_key_is_named_without_a_number(target: Sink) -> None:
    """Of rows with one key the latest counts, and what is written has other numbers than what was read."""
    target.sql("CREATE TABLE t (id bigint PRIMARY KEY, v bigint CHECK (v < 1000), at date)")
    days = [dt.date(2024, 1, day) for day in (1, 2, 3)]
    rows = pa.table({"id": [1, 1, 2], "v": [1, NUMBER, 2], "at": days})
    with pytest.raises(DataError, match=r"(?i)check") as caught:
        datapipe.read(rows).write("t", to=target.url, strategy="upsert", keys="id", latest="at").run()
    assert caught.value.row is None
    assert target.rows() == []


def test_columns_may_have_the_names_of_row_numbers(target: Sink) -> None:
    target.sql("CREATE TABLE t (rowid bigint PRIMARY KEY, v bigint CHECK (v < 1000))")
    rows = pa.table({"rowid": [30, 10, 20], "v": [1, NUMBER, 2]})
    with pytest.raises(DataError) as caught:
        datapipe.read(rows).write("t", to=target.url, strategy="upsert", keys="rowid").run()
    assert caught.value.row == 2


def test_a_constraint_that_rolls_back(tmp_path: Path) -> None:
    """SQLite then ends the transaction itself, and nobody can look for the row of an upsert."""
    target = Sink("sqlite", f"sqlite:///{tmp_path / 'test.db'}")
    target.sql("CREATE TABLE t (id bigint PRIMARY KEY, v text NOT NULL ON CONFLICT ROLLBACK)")
    rows = pa.table({"id": [1, 2], "v": ["fits", None]})
    with pytest.raises(DataError) as caught:
        datapipe.read(rows).write("t", to=target.url, strategy="upsert", keys="id").run()
    assert (caught.value.column, target.rows()) == ("v", [])

"""Tables that change with their data: every change in every mode on every database, as the documentation's table says."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from contracts.sinks import KINDS, Sink

import datapipe
from datapipe.data.types import tagged
from datapipe.errors import DatapipeError, PlanError, SchemaError

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "schema-evolution.md"
MODES = ("evolve", "strict", "discard")
SCHEMA = pa.schema(
    [
        pa.field("id", pa.int32()),
        pa.field("qty", pa.int32()),
        pa.field("price", pa.decimal128(8, 2)),
        tagged("name", "varchar(20)"),
        pa.field("note", pa.string()),
    ]
)
ROW: dict[str, Any] = {"id": 1, "qty": 7, "price": Decimal("1.25"), "name": "ann", "note": "first"}
NEXT = ROW | {"id": 2, "note": "next"}


def rows(schema: pa.Schema = SCHEMA, **values: Any) -> pa.Table:
    """A table of one row."""
    return pa.Table.from_pylist([{name: (NEXT | values).get(name) for name in schema.names}], schema=schema)


def changed(**fields: pa.DataType | pa.Field | None) -> pa.Schema:
    """The usual schema with some columns of another type, further ones, or without some."""
    found = {field.name: field for field in SCHEMA}
    for name, given in fields.items():
        if given is None:
            del found[name]
        else:
            found[name] = given if isinstance(given, pa.Field) else pa.field(name, given)
    return pa.schema(list(found.values()))


RENAMED = pa.schema([pa.field("remark", field.type) if field.name == "note" else field for field in SCHEMA])
WITH_COLOR = {"color": pa.string()}
CASES: dict[str, tuple[pa.Table, dict[str, Any]]] = {
    "a new column": (rows(changed(**WITH_COLOR), color="red"), {}),
    "`bigint` for `integer`": (rows(changed(qty=pa.int64())), {}),
    "`numeric(10,4)` for `numeric(8,2)`": (rows(changed(price=pa.decimal128(10, 4))), {}),
    "`numeric(6,1)` for `integer`": (rows(changed(qty=pa.decimal128(6, 1)), qty=Decimal(7)), {}),
    "`text` for `varchar(20)`": (rows(changed(name=pa.string())), {}),
    "`smallint` for `integer`": (rows(changed(qty=pa.int16())), {}),
    "no column that may be NULL": (rows(changed(note=None)), {}),
    "no column that is needed": (rows(changed(qty=None)), {}),
    "another name, with `rename=`": (rows(RENAMED, remark="next"), {"rename": {"note": "remark"}}),
    "another name, without `rename=`": (rows(RENAMED, remark="next"), {}),
    "a NULL in a `NOT NULL` column": (rows(qty=None), {}),
    "`text` for `integer`": (rows(changed(qty=pa.string()), qty="7"), {}),
    "other keys, without a unique index": (rows(), {"strategy": "upsert", "keys": ["note"]}),
    "a new column and `bigint` for `integer`": (rows(changed(qty=pa.int64(), **WITH_COLOR), color="red"), {}),
}


REQUIRE = {
    "mysql": ("ALTER TABLE t MODIFY qty int NOT NULL",),
    "sqlite": ("CREATE TABLE u (id INTEGER, qty INTEGER NOT NULL, price DECIMAL(8,2), name TEXT, note TEXT)",)
    + ("INSERT INTO u SELECT * FROM t", "DROP TABLE t", "ALTER TABLE u RENAME TO t"),
}


@pytest.fixture(params=KINDS)
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sink]:
    kind = request.param
    is_server = kind in {"postgresql", "mysql"}
    yield Sink(kind, request.getfixturevalue(f"{kind}_url") if is_server else f"{kind}:///{tmp_path / 'evolving.db'}")


@pytest.fixture
def postgresql(postgresql_url: str) -> Sink:
    return Sink("postgresql", postgresql_url)


@pytest.fixture
def mysql(mysql_url: str) -> Sink:
    return Sink("mysql", mysql_url)


@pytest.fixture
def sqlite(tmp_path: Path) -> Sink:
    return Sink("sqlite", f"sqlite:///{tmp_path / 'evolving.db'}")


def plan(sink: Sink, data: pa.Table, **options: Any) -> datapipe.Pipeline:
    return datapipe.read(data).write("t", to=sink.url, **options)


def created(sink: Sink, data: pa.Table | None = None) -> None:
    """The table, made by a run: one column has no NULLs."""
    plan(sink, rows(**ROW) if data is None else data).run()
    for statement in REQUIRE.get(sink.kind, ("ALTER TABLE t ALTER COLUMN qty SET NOT NULL",)):
        sink.sql(statement)


def expected(kind: str) -> dict[tuple[str, str], str]:
    """The documentation's table for a database: what becomes of a change in a mode."""
    cells = [[c.strip() for c in line.strip("| \n").split("|")] for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| ")][2:]
    found = {(row[0], mode): cell.replace("`", "") for row in cells for mode, cell in zip(MODES, row[1:], strict=True)}
    for key, cell in found.items():
        for mark, kinds in {"¹": {"sqlite"}, "²": {"sqlite", "duckdb"}}.items():
            if mark in cell:
                rest = cell.replace(mark, "").strip()
                here = ", ".join(word for word in rest.split(", ") if word != "widened") or "unchanged"
                found[key] = here if kind in kinds else rest
    return found


def outcome(sink: Sink, data: pa.Table, **options: Any) -> str:
    """What became of a load, in the documentation's words."""
    try:
        result = plan(sink, data, **options).run()
    except DatapipeError as error:
        return type(error).__name__
    told = [note for note in result.notices if note.startswith(("renamed ", "widened ", "added ", "left out "))]
    return ", ".join(" ".join(note.split()[: 2 if note.startswith("left") else 1]) for note in told) or "unchanged"


def test_every_case_is_in_the_documentation() -> None:
    assert set(expected("postgresql")) == {(case, mode) for case in CASES for mode in MODES}


@pytest.mark.parametrize("mode", MODES)
def test_a_table_walks_through_the_changes(sink: Sink, mode: str) -> None:
    wrong = {}
    for case, (data, options) in CASES.items():
        created(sink)
        before, there = sink.columns(), sink.rows()
        found, wanted = outcome(sink, data, schema_mode=mode, **options), expected(sink.kind)[case, mode]
        if found != wanted:
            wrong[case] = (found, wanted)
        failed = wanted.endswith("Error")
        assert (sink.columns() == before) == (failed or wanted in {"unchanged", "left out"}), case
        assert len(sink.rows()) == len(there) + (not failed), case
        if not failed and mode == "evolve":  # once evolved, there is nothing more to do
            after = sink.columns()
            assert outcome(sink, data, schema_mode=mode, **options) == "unchanged", case
            assert sink.columns() == after, case
        sink.sql("DROP TABLE t")
    assert wrong == {}

"""Tables that change with their data: every change in every mode on every database, as the documentation's table says."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from contracts.sinks import KINDS, Sink, on_two
from forked import forked_python

import datapipe
from datapipe.data.types import tagged
from datapipe.errors import DatapipeError, SchemaError

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
    "sqlite": (
        "CREATE TABLE u (id INTEGER, qty INTEGER NOT NULL, price DECIMAL(8,2), name TEXT, note TEXT)",
        "INSERT INTO u SELECT * FROM t",
        "DROP TABLE t",
        "ALTER TABLE u RENAME TO t",
    ),
}


@pytest.fixture(params=KINDS)
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sink]:
    kind = request.param
    is_server = kind in {"postgresql", "mysql"}
    yield Sink(kind, request.getfixturevalue(f"{kind}_url") if is_server else f"{kind}:///{tmp_path / 'evolving.db'}")


def plan(sink: Sink, data: pa.Table, **options: Any) -> datapipe.Pipeline:
    return datapipe.read(data).write("t", to=sink.url, **options)


def created(sink: Sink, data: pa.Table | None = None) -> None:
    """The table, made by a run: one column has no NULLs."""
    plan(sink, rows(**ROW) if data is None else data).run()
    for statement in REQUIRE.get(sink.kind, ("ALTER TABLE t ALTER COLUMN qty SET NOT NULL",)):
        sink.sql(statement)


def expected(kind: str) -> dict[tuple[str, str], str]:
    """The documentation's table for a database: what becomes of a change in a mode."""
    table = PAGE.read_text("utf-8").partition("## What becomes of each change")[2].partition("\n¹")[0]
    rows = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")]
    found = {(change, mode): cell for change, *cells in rows[2:] for mode, cell in zip(MODES, cells, strict=True)}
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


def test_a_table_walks_through_the_changes(sink: Sink) -> None:
    walked(sink, "evolve")


@on_two  # nothing is done to the table
@pytest.mark.parametrize("mode", ["strict", "discard"])
def test_a_table_stays_as_it_is_through_the_changes(sink: Sink, mode: str) -> None:
    walked(sink, mode)


def walked(sink: Sink, mode: str) -> None:
    """Every case on a table of its own, with the outcome that the documentation tells."""
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


# --- the default ----------------------------------------------------------------------------------------------


def test_tables_that_datapipe_created_evolve_and_all_others_are_strict(sink: Sink) -> None:
    data, wide = pa.table({"id": [1]}), pa.table({"id": [2], "color": ["red"]})
    plan(sink, data).run()
    result = plan(sink, wide).run()
    assert [note for note in result.notices if note.startswith("added")] == [f"added color: {sink.columns()['color']}"]
    assert sink.rows() == [(1, None), (2, "red")]
    sink.sql("CREATE TABLE other (id BIGINT)")
    for _ in range(2):  # it has loads in the ledger, and none of them created it
        datapipe.read(data).write("other", to=sink.url).run()
    with pytest.raises(SchemaError, match=r"schema_mode strict.*\n +breaking: added color: .*the table lacks it"):
        datapipe.read(wide).write("other", to=sink.url).run()
    assert len(sink.rows("other")) == 2


@on_two
def test_without_a_ledger_nobody_knows_who_created_a_table(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_LEDGER", "off")
    plan(sink, pa.table({"id": [1]})).run()
    with pytest.raises(SchemaError, match="schema_mode strict"):
        plan(sink, pa.table({"id": [2], "color": ["red"]})).run()
    result = plan(sink, pa.table({"id": [2], "color": ["red"]}), schema_mode="evolve").run()
    assert result.schema_version is not None


@on_two
def test_a_batch_writer_takes_the_mode_too(sink: Sink) -> None:
    writer = datapipe.persistence.BatchWriter(sink.url)
    writer.write(pa.table({"id": [1], "colour": ["red"]}), "t")
    writer.write(pa.table({"id": [2], "size": [3]}), "t", schema_mode="discard")
    writer.write(pa.table({"id": [3], "size": [4]}), "t", schema_mode="evolve")
    writer.write(pa.table({"id": [4], "color": ["blue"]}), "t", rename={"colour": "color"})
    assert list(sink.columns()) == ["id", "color", "size"]
    assert sink.rows() == [(1, "red", None), (2, None, None), (3, None, 4), (4, "blue", None)]


# --- what a run tells -----------------------------------------------------------------------------------------


def test_the_result_and_the_ledger_name_the_version_of_the_schema(sink: Sink) -> None:
    first = plan(sink, pa.table({"id": [1]})).run()
    same = plan(sink, pa.table({"id": [2]})).run()
    other = plan(sink, pa.table({"id": [3], "color": ["red"]})).run()
    known = plan(sink, pa.table({"id": [4]})).run()  # the table's schema, not the data's
    assert first.created and not other.created
    assert first.schema_version == same.schema_version != other.schema_version == known.schema_version
    name = "_datapipe_loads" if sink.kind in {"sqlite", "mysql"} else "_datapipe.loads"
    versions = [version for (version,) in sink.sql(f"SELECT schema_version FROM {name} ORDER BY generation")]
    assert versions == [run.schema_version for run in (first, same, other, known)]


def test_explain_shows_the_statements_and_what_they_cost(sink: Sink) -> None:
    created(sink)
    data = rows(changed(price=pa.decimal128(10, 4), color=pa.string()), color="red")
    text = str(plan(sink, data).explain())
    lines = [line.strip() for line in text[text.index("persistence") :].splitlines()]
    costs = {
        "postgresql": ["-- ACCESS EXCLUSIVE lock until the load commits, rewrites the table and its indexes"],
        "mysql": ["-- commits before the rows come; copies the table, writers wait"],
        "sqlite": ["-- no rewrite", "-- no rewrite"],
        "duckdb": ["-- rewrites the column", "-- no rewrite"],
    }
    assert [line for line in lines if line.startswith("--")] == costs[sink.kind]
    assert list(sink.columns()) == SCHEMA.names


# --- a crash in the middle ------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys
import pyarrow as pa
import datapipe
from datapipe.persistence import ledger

ledger.record = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # after the rows, before COMMIT
data = pa.table({"id": [2], "price": pa.array([7], pa.decimal128(12, 4)), "remark": ["b"], "color": ["red"]})
datapipe.read(data).write("t", to=sys.argv[1], rename={"note": "remark"}).run()
"""


def test_a_kill_in_the_middle_leaves_the_old_schema_and_rows(sink: Sink) -> None:
    plan(sink, pa.table({"id": [1], "price": pa.array([1], pa.decimal128(8, 2)), "note": ["a"]})).run()
    before = sink.columns()
    done = subprocess.run([forked_python(), "-c", KILLED, sink.url], check=False, capture_output=True)
    assert done.returncode == -9, done.stderr.decode()
    if sink.kind == "mysql":  # commits DDL by itself
        assert list(sink.columns()) == ["id", "price", "remark", "color"]
        assert sink.rows() == [(1, Decimal(1), "a", None)]
    else:
        assert sink.columns() == before
        assert sink.sql("SELECT id, note FROM t") == [(1, "a")]
    script = KILLED.replace("ledger.record = ", "unused = ")
    subprocess.run([forked_python(), "-c", script, sink.url], check=True)
    assert sink.sql("SELECT id, remark, color FROM t ORDER BY id") == [(1, "a", None), (2, "b", "red")]


def test_a_failed_load_leaves_the_old_schema(sink: Sink) -> None:
    plan(sink, pa.table({"id": [1], "n": pa.array([1], pa.decimal128(4, 0))}), strategy="insert", keys=["id"]).run()
    before = sink.columns()
    with pytest.raises(DatapipeError, match="is there already"):
        wide = pa.table({"id": [2, 1], "n": pa.array([7, 8], pa.decimal128(9, 0)), "color": ["red", "blue"]})
        plan(sink, wide, strategy="insert", keys=["id"]).run()
    assert (sink.columns() == before) == (sink.kind != "mysql")
    assert len(sink.rows()) == 1


def test_two_runs_that_add_the_same_column_wait_for_each_other(sink: Sink) -> None:
    plan(sink, pa.table({"id": [0]})).run()
    results: list[Any] = []

    def run(number: int) -> None:
        results.append(plan(sink, pa.table({"id": [number], "color": ["red"]})).run())

    threads = [threading.Thread(target=run, args=(number,)) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(sink.rows()) == 4
    assert sum("added color" in " ".join(result.notices) for result in results) == 1


# --- strategies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["append", "insert", "upsert", "replace"])
def test_every_strategy_evolves(sink: Sink, strategy: str) -> None:
    keys = ["id"] if strategy in {"insert", "upsert"} else []
    plan(sink, pa.table({"id": [1, 2], "n": pa.array([1, 2], pa.int16())}), strategy=strategy, keys=keys).run()
    number = 2 if strategy in {"upsert", "replace"} else 3
    wide = pa.table({"color": ["red"], "n": pa.array([2**40], pa.int64()), "id": [number]})
    plan(sink, wide, strategy=strategy, keys=keys).run()
    assert sink.sql("SELECT n, color FROM t WHERE id = " + str(number)) == [(2**40, "red")]
    assert len(sink.rows()) == {"append": 3, "insert": 3, "upsert": 2, "replace": 1}[strategy]


@on_two
@pytest.mark.parametrize("options", [{"keys": ["id"]}, {"keys": ["k"], "latest": "id"}])
def test_what_the_write_needs_is_not_discarded(sink: Sink, options: dict[str, Any]) -> None:
    sink.sql("CREATE TABLE t (k INTEGER PRIMARY KEY)")
    with pytest.raises(SchemaError, match="lacks 'id', which the write needs"):
        plan(sink, pa.table({"k": [1], "id": [2]}), strategy="upsert", schema_mode="discard", **options).run()
    assert sink.rows() == []

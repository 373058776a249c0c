"""plan.diff: against the own target as it is, another plan, and a version; on every kind of database. Nothing is written."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest
from contracts.sinks import Sink

import datapipe
from datapipe.errors import PlanError, SchemaError

ROWS = pa.table({"id": [1, 2], "name": ["ann", "bob"]})
MANY = pa.table(
    {
        "id": pa.array([1], pa.int64()),
        **{f"i{i}": pa.array([None], t) for i, t in enumerate((pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()))},
        **{f"n{i}": pa.array([None], pa.decimal128(p, s)) for i, (p, s) in enumerate(((5, 2), (18, 0), (38, 10)))},
        "f": pa.array([None], pa.float32()),
        "d": pa.array([None], pa.float64()),
        "ok": pa.array([None], pa.bool_()),
        "day": pa.array([dt.date(2024, 1, 1)]),
        "t": pa.array([None], pa.time64("us")),
        "at": pa.array([None], pa.timestamp("us")),
        "atz": pa.array([None], pa.timestamp("us", "UTC")),
        "raw": pa.array([None], pa.binary()),
        "text": pa.array(["a"]),
    }
)  # fmt: skip


def plan(sink: Sink, rows: pa.Table = ROWS, table: str = "users", **options: object) -> datapipe.Pipeline:
    return datapipe.read(rows).write(table, to=sink.url, **options)


def test_a_table_that_is_not_there_is_created_by_the_load_and_not_by_a_look(sink: Sink) -> None:
    found = plan(sink, strategy="upsert", keys=["id"]).diff()
    assert [(change.change, change.column, change.breaking) for change in found] == [
        ("added", "id", False),
        ("added", "name", False),
    ]
    assert "users on" in found.before and "which is not there yet" in found.before
    assert "users" not in (sink.tables() if sink.kind not in {"sqlite", "duckdb"} or sink.path.exists() else ())


def test_what_datapipe_has_created_is_as_the_plan_has_it(sink: Sink) -> None:
    for number, options in enumerate(
        ({}, {"strategy": "upsert", "keys": ["id"]}, {"strategy": "insert", "keys": ["id", "text"]})
    ):
        made = plan(sink, MANY, f"t{number}", **options)
        made.run()
        assert str(made.diff()).endswith("have the same schema")


def test_a_table_made_by_hand(sink: Sink) -> None:
    sink.sql("CREATE TABLE users (ID INTEGER PRIMARY KEY, name VARCHAR(20) NOT NULL, score REAL, note VARCHAR(5))")
    rows = pa.table({"id": pa.array([1], pa.int32()), "name": ["ann"], "score": pa.array([1.0], pa.float32())})
    found = {change.column: change for change in plan(sink, rows).diff()}
    assert found["note"].change == "removed" and not found["note"].breaking
    if sink.kind in {"postgresql", "mysql"}:
        assert (found.pop("name").change, found.pop("note").change) == ("widened", "removed")
        assert not found


def test_what_the_load_would_refuse_is_breaking(sink: Sink) -> None:
    plan(sink).run()
    sink.sql("ALTER TABLE users ADD COLUMN n INTEGER")
    rows = pa.table({"id": ["1"], "extra": [1], "n": pa.array([1], pa.int32())})
    before = sink.rows("users")
    found = plan(sink, rows).diff()
    assert [(change.change, change.column) for change in found.breaking] == [("retyped", "id")]
    assert {change.column for change in found} == {"id", "extra", "name"}
    assert sink.rows("users") == before


def test_a_column_that_the_target_needs(postgresql_sink: Sink) -> None:
    postgresql_sink.sql("CREATE TABLE users (id bigint, name text, a int NOT NULL, b int NOT NULL DEFAULT 0)")
    found = plan(postgresql_sink).diff()
    assert next((change.column, change.change) for change in found) == ("a", "removed")
    assert [change.column for change in found.breaking] == ["a"]
    postgresql_sink.sql("ALTER TABLE users ALTER a SET DEFAULT 1")
    assert not plan(postgresql_sink).diff().breaking
    postgresql_sink.sql("CREATE TABLE made (id bigint, name text GENERATED ALWAYS AS ('x') STORED)")
    with pytest.raises(SchemaError, match="generated always"):
        plan(postgresql_sink, table="made").diff()


def test_two_plans() -> None:
    old = datapipe.read(ROWS).named("old")
    new = datapipe.read(ROWS).sql("SELECT CAST(id AS VARCHAR) AS id, CURRENT_DATE AS day FROM input_data")
    found = new.diff(old)
    assert str(found) == "breaking: retyped id: bigint -> text\nremoved name: text\nadded day: date"
    assert (found.before, found.after) == ("old", "the plan")
    assert "<table>" in found._repr_html_()
    assert str(new.diff(new)) == "the other plan and the plan have the same schema"


def test_a_python_step_sees_a_few_rows_at_most() -> None:
    seen = []

    def clean(frame):
        seen.append(len(frame))
        return frame.assign(n=1)

    rows = datapipe.read(pa.table({"id": range(50_000)}))
    assert [change.column for change in rows.apply(clean).diff(rows)] == ["n"]
    assert sum(seen) <= 100


def test_a_version_in_the_registry(sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_METADATA_URL", f"sqlite:///{tmp_path / 'runs.db'}")
    result = plan(sink).run()
    wider = plan(sink, pa.table({"id": [1], "name": ["a"], "day": [dt.date(2024, 1, 1)]}), table=f"{sink.schema}.users")
    for version in (1, result.schema_version):
        (change,) = wider.diff(version)
        assert (change.change, change.column) == ("added", "day")
    assert not plan(sink).diff(1).changes
    with pytest.raises(PlanError, match=r"has no version 2\. It has version 1"):
        wider.diff(2)
    with pytest.raises(PlanError, match="no schema is registered for"):
        plan(sink, table="other").diff(1)


def test_files(tmp_path: Path) -> None:
    target = tmp_path / "users.parquet"
    written = datapipe.read(ROWS).write(target)
    assert [change.effect for change in written.diff()] == ["the load creates it"] * 2
    written.run()
    assert not written.diff().changes
    (change,) = datapipe.read(ROWS).sql("SELECT id FROM input_data").write(target).diff()
    assert (change.change, change.column) == ("removed", "name")


def test_a_plan_without_a_target() -> None:
    with pytest.raises(PlanError, match=r"writes nowhere. Add \.write"):
        datapipe.read(ROWS).diff()


def test_what_the_load_does_about_a_difference(sink: Sink) -> None:
    made = pa.table({"id": [1], "qty": pa.array([1], pa.int16()), "name": ["ann"]})
    plan(sink, made).run()
    came = pa.table({"id": [2], "qty": pa.array([2], pa.int32()), "full_name": ["bob"], "day": [dt.date(2024, 1, 1)]})
    evolving = plan(sink, came, schema_mode="evolve", rename={"name": "full_name"}).diff()
    found = {(change.change, change.column): change.effect for change in evolving}
    assert ("renamed", "name") in found
    assert ("removed", "name") not in found
    assert found["added", "day"] == "the load adds it"
    if sink.kind != "sqlite":  # its integers have 64 bits already
        assert found["widened", "qty"] == "the load widens it"
    left = {change.column: change.effect for change in plan(sink, came, schema_mode="discard").diff()}
    assert left["day"] == left["full_name"] == "the load leaves it out"
    assert [change.column for change in plan(sink, came, schema_mode="strict").diff().breaking] == ["full_name", "day"]

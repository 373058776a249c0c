"""The schema registry, the same on SQLite and PostgreSQL: versions, look-ups, promises, many writers, loads, migration."""

from __future__ import annotations

import logging
import os
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from contracts.sinks import Sink
from forked import forked_python

import datapipe
from datapipe.errors import PlanError
from datapipe.schemas import ColumnSpec, SchemaRegistry, version_of
from datapipe.store import RunStore, open_store
from datapipe.store.opening import engine_of

ONE = [ColumnSpec("id", "int", nullable=False), ColumnSpec("name", "varchar(20)")]
TWO = [ColumnSpec("id", "bigint", nullable=False), ColumnSpec("name", "varchar(20)"), ColumnSpec("day", "date")]
ROWS = pa.table({"id": [1, 2], "name": ["ann", "bob"]})


@pytest.fixture
def registry(store: RunStore) -> SchemaRegistry:
    return SchemaRegistry(store)


def test_versions_count_from_1_for_each_subject(registry: SchemaRegistry) -> None:
    assert [registry.register("a", columns) for columns in (ONE, ONE, TWO, TWO, ONE)] == [1, 1, 2, 2, 3]
    assert registry.register("b", TWO, run_id="r") == 1
    assert registry.subjects() == ["a", "b"]
    assert registry.versions("a") == [1, 2, 3]
    assert registry.get("b").run_id == "r"


def test_a_version_is_found_by_number_by_fingerprint_or_as_the_latest(registry: SchemaRegistry) -> None:
    for columns in (ONE, TWO, ONE):
        registry.register("a", columns)
    assert registry.get("a", 1).columns == tuple(ONE)
    assert registry.get("a", version_of(TWO)).version == 2
    assert registry.get("a", version_of(ONE)).version == 3, "the latest that is so"
    assert registry.get("a").version == 3
    with pytest.raises(PlanError, match=r"'a' has no version 9\. It has versions 1, 2, 3"):
        registry.get("a", 9)


def test_history_has_what_each_version_changed(registry: SchemaRegistry) -> None:
    registry.register("a", ONE, "r1")
    registry.register("a", TWO, "r2")
    first, second = registry.history("a")
    assert (first.version, first.run_id, first.fingerprint, first.changes) == (1, "r1", version_of(ONE), None)
    assert str(second.changes).splitlines() == ["widened id: int -> bigint", "added day: date"]
    assert first.created <= second.created
    assert registry.diff("a", 1, 2).changes == registry.diff("a", 1).changes == second.changes.changes
    assert {change.change for change in registry.diff("a", 2, 1)} == {"narrowed", "removed"}
    assert "  id bigint NOT NULL\n" in str(second)
    assert "<caption" in second._repr_html_()


def test_promises(registry: SchemaRegistry) -> None:
    registry.register("a", ONE)
    assert registry.compatible("a", TWO)
    forward = registry.compatible("a", TWO, "forward")
    assert not forward
    assert [change.column for change in forward.breaking] == ["id"]
    assert "not compatible with version 1 of a (forward)\nbreaking: widened id" in str(forward)
    assert "breaking" in forward._repr_html_()
    assert registry.compatible("a", ONE, "full")
    with pytest.raises(PlanError, match=r"unknown mode 'backwards'\. Did you mean 'backward'"):
        registry.compatible("a", ONE, "backwards")


def test_what_is_not_there(registry: SchemaRegistry) -> None:
    for look in (registry.get, registry.versions, registry.history, lambda name: registry.diff(name, 1)):
        with pytest.raises(PlanError, match="no schema is registered for 'nobody'"):
            look("nobody")
    with pytest.raises(PlanError, match="the subject is empty"):
        registry.register(" ", ONE)


def test_a_registry_by_url_and_without_one(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert SchemaRegistry(store_url).register("a", ONE) == 1
    monkeypatch.setenv("HERE", store_url)
    assert SchemaRegistry("${HERE}").versions("a") == [1]
    assert SchemaRegistry().versions("a") == [1]
    monkeypatch.setenv("DATAPIPE_METADATA_URL", "off")
    with pytest.raises(PlanError, match="schemas are not recorded: DATAPIPE_METADATA_URL is off"):
        SchemaRegistry()


_WRITER = """
import sys
from datapipe.schemas import ColumnSpec, SchemaRegistry
me, registry = sys.argv[1], SchemaRegistry()
print(*[registry.register("shared", [ColumnSpec("id", "int"), ColumnSpec(f"c{n}", "int")]) for n in range(30)])
print(*[registry.register("mine", [ColumnSpec(f"{me}{n}", "int")]) for n in range(30)])
"""


def test_two_processes_at_once_give_each_version_one_number(store: RunStore, store_url: str) -> None:
    environment = {**os.environ, "DATAPIPE_METADATA_URL": store_url}
    writers = [
        subprocess.Popen([forked_python(), "-c", _WRITER, me], stdout=subprocess.PIPE, text=True, env=environment)
        for me in "ab"
    ]
    told = [writer.communicate(timeout=120)[0].splitlines() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    registry = SchemaRegistry(store)
    mine = [int(number) for _, line in told for number in line.split()]
    assert sorted(mine) == registry.versions("mine") == list(range(1, 61)), "every schema is new there"
    history = registry.history("shared")
    assert [one.version for one in history] == list(range(1, len(history) + 1))
    assert 30 <= len(history) <= 60
    assert all(one.changes is None or one.changes.changes for one in history), "no version repeats the one before"


def test_an_older_store_gets_the_table(store_url: str) -> None:
    store = open_store()
    assert store is not None
    store.add("old", state="succeeded")
    with engine_of(store_url).begin() as conn:
        conn.execute(sa.text("DROP TABLE datapipe_schemas"))
        conn.execute(sa.text("ALTER TABLE datapipe_runs DROP COLUMN schema_version"))
        conn.execute(sa.text("UPDATE datapipe_meta SET value = '3' WHERE name = 'version'"))
    again = RunStore(engine_of(store_url))
    assert again.run("old").schema_version is None
    assert SchemaRegistry(again).register("a", ONE) == 1


# --- loads -----------------------------------------------------------------------------------------------------


def plan(sink: Sink, rows: Any = ROWS, table: str = "users", **options: Any) -> datapipe.Pipeline:
    return datapipe.read(rows).write(table, to=sink.url, **options)


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SchemaRegistry:
    monkeypatch.setenv("DATAPIPE_METADATA_URL", f"sqlite:///{tmp_path / 'runs.db'}")
    return SchemaRegistry()


def test_a_load_registers_its_target_once_for_each_schema(recorded: SchemaRegistry, sink: Sink) -> None:
    """The first load creates the table, the second one finds it: a database may spell its types in other words."""
    types = {"n": pa.decimal128(12, 2), "at": pa.timestamp("us", "UTC"), "x": pa.float64(), "ok": pa.bool_()}
    rows = pa.table({"id": [1], **{name: pa.array([None], type_) for name, type_ in types.items()}})
    options = {"strategy": "upsert", "keys": ["id"]}
    first = plan(sink, rows, **options).run()
    again = plan(sink, rows.select(["x", "id"]), f"{sink.schema}.users", **options).run()
    (subject,) = recorded.subjects()
    assert subject.startswith(f"{sink.schema}.users on {sink.kind} ")
    (version,) = recorded.history("users")
    assert [column.name for column in version.columns] == ["id", "n", "at", "x", "ok"], "all of the target's"
    assert (version.run_id, version.fingerprint) == (first.run_id, first.schema_version)
    assert again.schema_version == first.schema_version
    assert [column.nullable for column in version.columns] == [False, True, True, True, True]
    for result in (first, again):
        assert datapipe.attach(result.run_id).row.schema_version == 1
        assert datapipe.attach(result.run_id).result() == result
    assert "schema version 1" in repr(datapipe.attach(first.run_id))
    assert "schema version 1" in datapipe.attach(first.run_id)._repr_html_()
    assert datapipe.runs().frame["schema_version"].tolist() == [1, 1]
    assert not plan(sink, rows, **options).diff().changes


def test_the_ledger_names_the_version(recorded: SchemaRegistry, sink: Sink) -> None:
    result = plan(sink).run()
    ledger = '"_datapipe"."loads"' if sink.kind in {"postgresql", "duckdb"} else '"_datapipe_loads"'
    assert sink.sql(f"SELECT schema_version FROM {ledger}") == [(result.schema_version,)]
    assert recorded.get("users").fingerprint == result.schema_version


def test_an_altered_table_is_a_new_version(recorded: SchemaRegistry, sink: Sink) -> None:
    plan(sink).run()
    sink.sql("ALTER TABLE users ADD COLUMN note VARCHAR(20)")
    result = plan(sink).run()
    assert datapipe.attach(result.run_id).row.schema_version == 2
    (change,) = recorded.history("users")[1].changes or ()
    assert (change.change, change.column) == ("added", "note")
    assert "password" not in recorded.subjects()[0]


def test_a_replay_names_the_version_of_the_run_that_did_it(recorded: SchemaRegistry, sink: Sink) -> None:
    plan(sink).run(idempotency_key="k")
    sink.sql("ALTER TABLE users ADD COLUMN note VARCHAR(20)")
    plan(sink).run()
    replayed = plan(sink).run(idempotency_key="k")
    assert replayed.replayed
    assert recorded.versions("users") == [1, 2]
    assert datapipe.runs().frame["schema_version"].tolist() == [1, 2, 1]


def test_a_file_is_registered_too(recorded: SchemaRegistry, tmp_path: Path) -> None:
    datapipe.read(ROWS).write(tmp_path / "users.parquet").run()
    found = recorded.get("users.parquet")
    assert (found.subject, [str(column) for column in found.columns]) == (
        f"file {(tmp_path / 'users.parquet').resolve()}",
        ["id bigint", "name text"],
    )


def test_a_failed_run_registers_nothing(recorded: SchemaRegistry, sink: Sink) -> None:
    with pytest.raises(datapipe.DatapipeError):
        datapipe.read(ROWS).sql("SELECT CAST(name AS INT) AS id FROM input_data").write("users", to=sink.url).run()
    assert recorded.subjects() == []


def test_a_store_that_fails_or_is_off_is_no_run_s_failure(
    recorded: SchemaRegistry, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    with engine_of(f"sqlite:///{tmp_path / 'runs.db'}").begin() as conn:
        conn.execute(sa.text("DROP TABLE datapipe_schemas"))
    sink = Sink("sqlite", sqlite_url)
    with caplog.at_level(logging.WARNING, "datapipe"):
        result = plan(sink).run()
    row = datapipe.attach(result.run_id).row
    assert (row.state, row.schema_version) == ("succeeded", None)
    assert "the record of run" in caplog.text
    monkeypatch.setenv("DATAPIPE_METADATA_URL", "off")
    assert plan(sink).run().state == "succeeded"

"""Rows that an incremental source no longer has: marked or removed in every database, and none that it has."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from contracts.sinks import Sink

import datapipe
from datapipe.errors import DataError, PlanError, SchemaError
from datapipe.pipeline import Pipeline
from datapipe.quarantine import replay

ALIKE = [("postgresql", "postgresql"), ("mysql", "mysql"), ("sqlite", "sqlite")]
FURTHER = [("duckdb", "duckdb"), ("mysql", "postgresql"), ("postgresql", "sqlite"), ("sqlite", "mysql")]
in_all = pytest.mark.parametrize("copying", [*ALIKE, *FURTHER], indirect=True, ids="-".join)
BASE = dt.datetime(2024, 1, 1, 10)


class Copying:
    """A table of things whose keys are an id and a text, and a copy of it."""

    def __init__(self, source: Sink, target: Sink) -> None:
        self.source, self.target = source, target
        text, at = source.declared("VARCHAR"), source.declared("TIMESTAMP")
        source.sql(f"CREATE TABLE things (id INTEGER NOT NULL, k {text} NOT NULL, moment {at}, PRIMARY KEY (id, k))")
        self.add(1, 2, 3)

    def add(self, *ids: int, at: dt.datetime | None = None) -> None:
        """Rows whose cursor is as great as their ids, or as it is given."""
        for id_ in ids:
            moment = at or BASE + dt.timedelta(minutes=id_)
            self.source.sql(f"INSERT INTO things VALUES ({id_}, 'k{id_}', '{moment}')")

    def drop(self, *ids: int) -> None:
        """Delete rows of the source."""
        self.source.sql(*(f"DELETE FROM things WHERE id = {id_}" for id_ in ids))

    def plan(self, deletes: Any = "remove", read: Pipeline | None = None, **how: Any) -> Pipeline:
        """The plan that copies."""
        found = read or datapipe.read("things", source=self.source.url, incremental="moment")
        return found.write("copy", to=self.target.url, strategy="upsert", keys=["id", "k"], deletes=deletes, **how)

    def ids(self, where: str = "1 = 1") -> list[int]:
        """Those in the copy."""
        return sorted(id_ for (id_,) in self.target.sql(f"SELECT id FROM copy WHERE {where}"))


def sink_of(kind: str, name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Sink:
    """A database: a server's, or a file of this name."""
    if kind in {"postgresql", "mysql"}:
        found: Sink = request.getfixturevalue(f"{kind}_sink")
        return found
    return Sink(kind, f"{kind}:///{tmp_path / name}.db")


@pytest.fixture(params=[*ALIKE, *(pytest.param(each, marks=pytest.mark.soak) for each in FURTHER)], ids="-".join)
def copying(request: pytest.FixtureRequest, tmp_path: Path) -> Copying:
    """A source and a target of every kind."""
    return Copying(*(sink_of(k, n, request, tmp_path) for k, n in zip(request.param, ("from", "to"), strict=True)))


@pytest.fixture
def in_files(tmp_path: Path) -> Copying:
    """A source and a target in files, for what is the same everywhere."""
    return Copying(*(Sink("sqlite", f"sqlite:///{tmp_path / name}.db") for name in ("from", "to")))


@in_all
def test_rows_that_are_gone_are_removed(copying: Copying) -> None:
    plan = copying.plan("remove")
    assert plan.run().deleted == 0
    copying.drop(1, 2)
    copying.add(4)
    result = plan.run()
    assert (result.deleted, copying.ids()) == (2, [3, 4])
    assert "2 deleted" in str(result) and result.to_dict()["persistence"]["deleted"] == 2
    copying.drop(3, 4)
    result = plan.run()
    assert (result.rows_read, result.deleted, copying.ids()) == (0, 2, [])


@in_all
def test_rows_that_are_gone_are_marked_until_they_come_back(copying: Copying) -> None:
    plan = copying.plan("mark", schema=copying.target.schema)
    plan.run()
    assert copying.ids("deleted_at IS NULL") == [1, 2, 3]
    before = dt.datetime.now(dt.UTC).replace(tzinfo=None, microsecond=0)
    copying.drop(1, 3)
    assert (plan.run().deleted, plan.run().deleted) == (2, 0)
    assert (copying.ids("deleted_at IS NULL"), copying.ids()) == ([2], [1, 2, 3])
    marks = {str(mark)[:19] for (mark,) in copying.target.sql("SELECT deleted_at FROM copy WHERE id <> 2")}
    assert len(marks) == 1 and min(marks) >= str(before)
    copying.add(3)  # as it was
    copying.add(1, at=BASE)  # before the watermark: not read again, and there all the same
    assert (plan.run().deleted, copying.ids("deleted_at IS NULL")) == (0, [1, 2, 3])


def test_a_row_that_comes_back_as_it_was_is_loaded_again(in_files: Copying) -> None:
    plan = in_files.plan(
        "remove", datapipe.read("things", source=in_files.source.url, incremental="moment", lag="1 day")
    )
    plan.run()
    in_files.drop(1, 3)
    plan.run()
    in_files.add(1, 3)
    plan.run()
    assert in_files.ids() == [1, 2, 3]


def test_what_others_write_while_a_load_goes_on_is_neither_lost_nor_kept(
    copying: Copying, monkeypatch: pytest.MonkeyPatch
) -> None:
    if copying.source.kind == "duckdb":
        pytest.skip("a DuckDB file that is read is written by nobody else")
    from datapipe.engine import chain, deletes

    plan, read, scan = copying.plan("remove"), chain.open_source, deletes.open_keys
    plan.run()
    monkeypatch.setattr(chain, "open_source", lambda *given, **how: (copying.add(4), read(*given, **how))[1])
    assert (plan.run().deleted, copying.ids()) == (0, [1, 2, 3, 4])
    copying.drop(4)

    @contextmanager
    def scanning(*given: Any) -> Iterator[Any]:
        copying.add(5)
        copying.drop(4)
        with scan(*given) as stream:
            yield stream

    monkeypatch.setattr(deletes, "open_keys", scanning)
    assert (plan.run().deleted, copying.ids()) == (1, [1, 2, 3])  # the fourth was read, and deleted before the scan
    monkeypatch.undo()
    assert (plan.run().rows_read, copying.ids()) == (1, [1, 2, 3, 5])


def test_keys_are_read_when_the_rows_are_read_to_their_end(in_files: Copying, monkeypatch: pytest.MonkeyPatch) -> None:
    from datapipe.engine import chain, deletes

    order, scanned, read, scan = [], threading.Event(), chain.open_source, deletes.open_keys

    def ending(batches: Iterator[Any]) -> Iterator[Any]:
        yield from batches
        scanned.wait(0.3)
        order.append("rows")

    @contextmanager
    def reading(*given: Any, **how: Any) -> Iterator[Any]:
        with read(*given, **how) as stream:
            yield dataclasses.replace(stream, batches=ending(stream.batches))

    def scanning(*given: Any) -> Any:
        order.append("keys")
        scanned.set()
        return scan(*given)

    monkeypatch.setattr(chain, "open_source", reading)
    monkeypatch.setattr(deletes, "open_keys", scanning)
    in_files.plan().run()
    assert order == ["rows", "keys"]


def test_the_card_and_the_log_tell_how_many(in_files: Copying, caplog: pytest.LogCaptureFixture) -> None:
    in_files.plan().run()
    in_files.drop(1, 2)
    with caplog.at_level("INFO", "datapipe.runs"):
        result = in_files.plan().run()
    assert "2 deleted" in result._repr_html_()
    assert [vars(record)["rows_deleted"] for record in caplog.records if "rows_deleted" in vars(record)] == [2]
    assert datapipe.RunResult.from_dict(result.to_dict()).deleted == 2


def test_a_scan_that_fails_leaves_the_target_as_it_was(copying: Copying, monkeypatch: pytest.MonkeyPatch) -> None:
    from datapipe.engine import deletes

    plan, scan = copying.plan("remove"), deletes.open_keys
    plan.run()
    copying.drop(1)
    copying.add(4)

    @contextmanager
    def failing(*given: Any) -> Iterator[Any]:
        with scan(*given) as stream:
            next(stream.batches)
            raise DataError("it broke")

    with monkeypatch.context() as patch:
        patch.setattr(deletes, "open_keys", failing)
        with pytest.raises(DataError, match="it broke"):
            plan.run()
    assert copying.ids() == [1, 2, 3]
    assert (plan.run().deleted, copying.ids()) == (1, [2, 3, 4])


def test_only_what_the_source_lacks_is_gone(in_files: Copying) -> None:
    read = datapipe.read("things", source=in_files.source.url, incremental="moment")
    plan = in_files.plan("remove", read.sql("SELECT * FROM input_data WHERE id <> 2").transform({"filter": "id < 9"}))
    plan.run()
    in_files.plan(None).run()  # all rows, the second one too, by the same stream
    in_files.target.sql("UPDATE copy SET moment = NULL")
    in_files.plan(None).watermark.reset()
    in_files.plan(None).run()
    in_files.drop(1)
    assert (plan.run().deleted, in_files.ids()) == (1, [2, 3])


def test_a_query_is_scanned_as_it_is(in_files: Copying) -> None:
    query = "SELECT id, k, moment FROM things WHERE id < :most"
    read = datapipe.read(query, source=in_files.source.url, params={"most": 3}, incremental="moment")
    plan = in_files.plan("remove", read)
    plan.run()
    in_files.drop(1)
    assert (plan.run().deleted, in_files.ids()) == (1, [2])


def test_the_rows_of_another_source_are_not_taken_for_deleted_ones(copying: Copying) -> None:
    copying.plan("remove").run()
    other = datapipe.read(
        "SELECT id + 10 AS id, k, moment FROM things", source=copying.source.url, incremental="moment"
    )
    with pytest.raises(PlanError, match="another incremental source has loaded rows into"):
        copying.plan("remove", other).run()
    copying.plan(None, other).run()
    with pytest.raises(PlanError, match="another incremental source has loaded rows into"):
        copying.plan("remove").run()
    assert len(copying.ids()) == 6
    copying.target.sql("DROP TABLE copy")
    copying.plan("remove").run()
    copying.drop(1)
    assert (copying.plan("remove").run().deleted, copying.ids()) == (1, [2, 3])


def test_a_table_without_the_column_gets_it_or_is_refused(copying: Copying) -> None:
    copying.plan(None).run()
    with pytest.raises(SchemaError, match="deleted_at"):
        copying.plan("mark", schema_mode="strict").run()
    with pytest.raises(SchemaError, match="lacks 'deleted_at'"):
        copying.plan("mark", schema_mode="discard").run()
    assert "deleted_at" not in copying.target.columns("copy")
    copying.drop(1)
    result = copying.plan("mark").run()
    assert result.deleted == 1 and any("added deleted_at" in note for note in result.notices)
    assert copying.ids("deleted_at IS NOT NULL") == [1]


def test_a_column_that_takes_no_mark_is_refused(in_files: Copying) -> None:
    in_files.target.sql("CREATE TABLE copy (id INT, k TEXT, moment TIMESTAMP, deleted_at INT, PRIMARY KEY (id, k))")
    with pytest.raises(SchemaError, match="sets a time or NULL"):
        in_files.plan("mark", schema_mode="strict").run()


def test_rows_with_such_a_column_are_refused(in_files: Copying) -> None:
    query = "SELECT id, k, moment, moment AS Deleted_At FROM things"
    plan = in_files.plan("mark", datapipe.read(query, source=in_files.source.url, incremental="moment"))
    with pytest.raises(PlanError, match="the rows have a column 'Deleted_At'"):
        plan.run()


def test_explain_tells_that_all_keys_are_read(copying: Copying) -> None:
    found = str(copying.plan("remove").explain())
    assert "then all keys are read: SELECT " in found and "rows of the target without one are removed" in found
    assert found.partition("then all keys are read: ")[2].partition(";")[0].count(",") == 1
    assert "DELETE FROM" in found and "NOT EXISTS" in found
    assert "deleted_at" in str(copying.plan("mark").explain())
    assert copying.target.tables() == ([] if copying.target is not copying.source else ["things"])


def test_a_watermark_with_digests_is_taken_over(in_files: Copying) -> None:
    in_files.plan(None).run()
    in_files.drop(3)
    in_files.plan("remove").run()
    in_files.add(3)
    in_files.plan("remove").run()
    assert in_files.ids() == [1, 2, 3]
    assert in_files.plan("remove").run().rows_read == 1  # the row at the watermark, whatever is known of it


def test_rejected_rows_that_are_brought_in_delete_nothing(in_files: Copying) -> None:
    read = datapipe.read("things", source=in_files.source.url, incremental="moment")
    bad = in_files.plan("mark", read.validate(checks=["id < 3"], on_error="quarantine"))
    good = in_files.plan("mark", read.validate(checks=["id < 4"], on_error="quarantine"))
    result = bad.run()
    in_files.drop(1)
    assert replay(good.plan, result.run_id).deleted == 0
    assert (in_files.ids(), in_files.ids("deleted_at IS NOT NULL")) == ([1, 2, 3], [])


def test_slices_look_for_no_deleted_rows(in_files: Copying) -> None:
    in_files.plan("remove").run()
    in_files.drop(1)
    done = datapipe.backfill(in_files.plan("remove"), "2024-01-01", "2024-01-02", every="1d", tell=lambda _: None)
    assert (done.failed, in_files.ids()) == ((), [1, 2, 3])
    assert in_files.plan("remove").run().deleted == 1


def test_many_rows_in_one_file(tmp_path: Path) -> None:
    """The source is read while its own file is written, also where the pages that are written are many."""
    sink = Sink("sqlite", f"sqlite:///{tmp_path / 'both.db'}")
    sink.sql(
        "CREATE TABLE things (id INTEGER PRIMARY KEY, k TEXT NOT NULL, moment TIMESTAMP)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) "
        "INSERT INTO things SELECT i, printf('%0400d', i), '2024-01-01 00:00:00.000000' FROM n",
    )
    plan = datapipe.read("things", source=sink.url, incremental="moment").write(
        "copy", to=sink.url, strategy="upsert", keys=["id"], deletes="remove"
    )
    plan.run()
    sink.sql("DELETE FROM things WHERE id % 3 = 0")
    assert plan.run().deleted == 6_666
    assert sink.rows("copy") == sink.rows("things")


KEYS = {
    "postgresql": {
        'text COLLATE "C"': ["a", "A", "a ", "é", ""],
        "varchar(20)": ["a", "A", "a "],
        "char(4)": ["a", "b"],
        "uuid": ["c6a8669e-ee95-4c42-9ef6-4a9b61380164", "00000000-0000-0000-0000-000000000000"],
        "numeric": ["1.50", "12345678901234567890.1", "2"],
        "numeric(12,2)": ["1.50", "2.00"],
        "timestamptz": ["2024-01-01 00:00:00+00", "2024-01-01 00:00:00.000001+00"],
        "bytea": ["\\x00", "\\x0001"],
        "inet": ["10.0.0.1", "10.0.0.0/8"],
    },
    "mysql": {
        "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin": ["a", "A", "é"],
        "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci": ["a", "B", "é"],
        "varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci": ["a", "B", "é"],
        "char(5)": ["a", "b"],
        "enum('a', 'b')": ["a", "b"],
        "datetime(6)": ["2024-01-01 00:00:00", "2024-01-01 00:00:00.000001"],
        "decimal(12,2)": ["1.50", "2.00"],
        "varbinary(10)": ["a", "A"],
        "bigint unsigned": ["1", "18446744073709551615"],
    },
    "sqlite": {
        "TEXT COLLATE NOCASE": ["a", "B"],
        "TEXT": ["a", "A", "a ", "1"],
        "DATE": ["2024-01-01", "2024-01-02"],
        "INTEGER": ["1", "9223372036854775807"],
    },
    "duckdb": {"VARCHAR": ["a", "A", "a "], "UUID": ["c6a8669e-ee95-4c42-9ef6-4a9b61380164"], "HUGEINT": ["1", "2"]},
}


def test_no_key_is_taken_for_another_one(sink: Sink) -> None:
    """Rows that differ in a single part of their key, of every type."""
    target = Sink("duckdb", sink.url.replace("test.db", "target.db")) if sink.kind == "duckdb" else sink
    types, values = list(KEYS[sink.kind]), list(KEYS[sink.kind].values())
    keys = [f"k{number}" for number in range(len(types))]
    declared = ", ".join(f"{key} {type_} NOT NULL" for key, type_ in zip(keys, types, strict=True))
    for at, table in ((sink, "things"), (target, "copy")):
        moment = f"moment {sink.declared('TIMESTAMP')}"
        at.sql(f"CREATE TABLE {table} ({declared}, {moment}, PRIMARY KEY ({', '.join(keys)}))")
    usual = [each[0] for each in values]
    rows = [usual] + [[*usual[:n], value, *usual[n + 1 :]] for n, each in enumerate(values) for value in each[1:]]
    for row in rows:
        sink.sql(f"INSERT INTO things VALUES ({', '.join(map(repr, row))}, '2024-01-01 00:00:00.000000')")
    read = datapipe.read("things", source=sink.url, incremental="moment")
    plan = read.write("copy", to=target.url, strategy="upsert", keys=keys, deletes="remove")
    assert (plan.run().deleted, plan.run().deleted) == (0, 0)
    assert target.rows("copy") == sink.rows("things")
    sink.sql("DELETE FROM things WHERE " + " AND ".join(f"{k} = {v!r}" for k, v in zip(keys, usual, strict=True)))
    assert plan.run().deleted == 1
    assert len(sink.rows("things")) == len(rows) - 1 and target.rows("copy") == sink.rows("things")


@pytest.mark.parametrize(
    ("sink", "type_"),
    [
        ("postgresql", "text COLLATE ignores_case"),
        ("mysql", "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"),
        ("sqlite", "TEXT COLLATE NOCASE"),
    ],
    indirect=["sink"],
)
def test_a_key_that_the_target_takes_for_another_one_is_there(sink: Sink, type_: str) -> None:
    if sink.kind == "postgresql":
        how = "provider = icu, locale = 'und-u-ks-level2', deterministic = false"
        sink.sql(f"CREATE COLLATION ignores_case ({how})")
    sink.sql(f"CREATE TABLE copy (k {type_} NOT NULL PRIMARY KEY, moment {sink.declared('TIMESTAMP')})")
    exact = sink.declared("VARCHAR") + (" COLLATE utf8mb4_bin" if sink.kind == "mysql" else "")
    sink.sql(f"CREATE TABLE things (k {exact} NOT NULL PRIMARY KEY, moment {sink.declared('TIMESTAMP')})")
    sink.sql("INSERT INTO copy VALUES ('ann', NULL), ('bob', NULL)", "INSERT INTO things VALUES ('ANN', NULL)")
    plan = datapipe.read("things", source=sink.url, incremental="moment", nulls="skip").write(
        "copy", to=sink.url, strategy="upsert", keys=["k"], deletes="remove"
    )
    assert (plan.run().deleted, sink.sql("SELECT k FROM copy")) == (1, [("ann",)])


@in_all
def test_a_table_may_have_any_name(copying: Copying) -> None:
    read = datapipe.read("things", source=copying.source.url, incremental="moment")
    plan = read.write("s", to=copying.target.url, strategy="upsert", keys=["id", "k"], deletes="remove")
    plan.run()
    copying.drop(2)
    assert (plan.run().deleted, copying.target.sql("SELECT count(*) FROM s")) == (1, [(2,)])

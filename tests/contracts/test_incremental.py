"""Incremental loads from and into every database: what is new arrives once, and the watermark is the ledger's."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from contracts.sinks import Sink, errors_at_once

import datapipe
from datapipe.errors import DataError, PlanError
from datapipe.pipeline import Pipeline

BASE = dt.datetime(2024, 1, 1, 10)


def target_of(sink: Sink) -> Sink:
    """Where the copies go: the same database, where it can be read and written at once."""
    return Sink("duckdb", sink.url.replace("test.db", "target.db")) if sink.kind == "duckdb" else sink


class Orders:
    """A table that grows, and its copies."""

    def __init__(self, sink: Sink, cursor: str = "TIMESTAMP", name: str = "orders") -> None:
        self.sink, self.name, self.target = sink, name, target_of(sink)
        type_ = "TEXT" if sink.kind == "sqlite" and cursor == "VARCHAR" else sink.declared(cursor)
        sink.sql(f"CREATE TABLE {name} (id INTEGER NOT NULL PRIMARY KEY, moment {type_}, v {sink.declared('VARCHAR')})")
        if sink.kind != "duckdb":
            sink.sql(f"CREATE INDEX {name}_at ON {name} (moment)")

    def add(self, id_: int, moment: Any, text: str = "x") -> None:
        """One row more."""
        value = "NULL" if moment is None else str(moment) if isinstance(moment, int | Decimal) else f"'{moment}'"
        self.sink.sql(f"INSERT INTO {self.name} VALUES ({id_}, {value}, '{text}')")

    def plan(self, strategy: str = "append", table: str = "copy", **how: Any) -> Pipeline:
        """The plan that copies it."""
        keys = {"keys": ["id"]} if strategy in {"upsert", "insert"} else {}
        read = datapipe.read(self.name, source=self.sink.url, incremental="moment", **how)
        return read.write(table, to=self.target.url, strategy=strategy, **keys)

    def ids(self, table: str = "copy") -> list[int]:
        """The ids that have arrived."""
        return sorted(id_ for (id_,) in self.target.sql(f"SELECT id FROM {table}"))


@pytest.fixture
def orders(sink: Sink) -> Orders:
    """Two orders, the second of which is a microsecond younger."""
    made = Orders(sink)
    made.add(1, BASE)
    made.add(2, BASE.replace(microsecond=1))
    return made


@pytest.mark.parametrize("strategy", ["append", "insert", "upsert"])
def test_each_row_arrives_once(orders: Orders, strategy: str) -> None:
    plan = orders.plan(strategy)
    assert plan.run().rows_written == 2
    assert plan.run().rows_read == 0
    orders.add(3, BASE.replace(microsecond=1))  # as young as the last one that was seen
    orders.add(4, BASE.replace(microsecond=2))
    result = plan.run()
    assert (result.rows_read, orders.ids()) == (2, [1, 2, 3, 4])
    assert result.watermark == {"moment": "2024-01-01 10:00:00.000002"}
    assert plan.run().watermark == result.watermark


def test_an_updated_row_is_read_again(orders: Orders) -> None:
    plan = orders.plan("upsert")
    plan.run()
    orders.sink.sql("UPDATE orders SET moment = '2024-01-02 00:00:00', v = 'changed' WHERE id = 1")
    assert plan.run().rows_written == 1
    assert orders.target.sql("SELECT v FROM copy WHERE id = 1") == [("changed",)]


def test_late_rows_are_found_within_the_lag_and_never_doubled(orders: Orders) -> None:
    plan = orders.plan(lag="1 hour")
    plan.run()
    orders.add(3, BASE - dt.timedelta(minutes=59))
    orders.add(4, BASE - dt.timedelta(minutes=61))
    assert plan.run().rows_read == 1
    assert plan.run().rows_read == 0
    assert orders.ids() == [1, 2, 3]


@pytest.mark.parametrize(
    ("cursor", "values"),
    [
        ("INTEGER", [1, 2, 10]),
        ("BIGINT", [2**53, 2**53 + 1, 2**53 + 2]),
        ("DECIMAL(20,4)", [Decimal("9.5000"), Decimal("10.0001"), Decimal("10.0002")]),
        ("DATE", [dt.date(2024, 1, 1), dt.date(2024, 1, 2), dt.date(2024, 1, 3)]),
        ("VARCHAR", ["B", "a", "é"]),
    ],
)
def test_every_kind_of_cursor(sink: Sink, cursor: str, values: list[Any]) -> None:
    orders = Orders(sink, cursor)
    plan = orders.plan()
    for number, value in enumerate(values, 1):
        orders.add(number, value)
        assert plan.run().rows_read == 1
        assert plan.run().rows_read == 0
    assert orders.ids() == [1, 2, 3]
    assert list(plan.watermark.values or ()) == [values[-1]]


def test_moments_with_a_zone(sink: Sink) -> None:
    if sink.kind == "sqlite":
        pytest.skip("SQLite has no such type of its own; its texts are tested in tests/unit/ingestion/test_bounds.py")
    orders = Orders(sink, "TIMESTAMPTZ")
    offset = "" if sink.kind == "mysql" else "+00"
    orders.add(1, f"2024-07-01 10:00:00.000001{offset}")
    plan = orders.plan()
    plan.run()
    orders.add(2, f"2024-07-01 10:00:00.000002{offset}")
    assert (plan.run().rows_read, plan.run().rows_read) == (1, 0)


def test_several_columns_are_one_cursor(sink: Sink) -> None:
    sink.sql("CREATE TABLE orders (day DATE NOT NULL, n INTEGER NOT NULL)")
    read = datapipe.read("orders", source=sink.url, incremental=["day", "n"])
    plan = read.write("copy", to=target_of(sink).url)
    for number, row in enumerate(["'2024-01-01', 5", "'2024-01-01', 6", "'2024-01-02', 1", "'2024-01-02', 2"], 1):
        sink.sql(f"INSERT INTO orders VALUES ({row})")
        assert (plan.run().rows_read, plan.run().rows_read) == (1, 0)
        assert target_of(sink).sql("SELECT COUNT(*) FROM copy") == [(number,)]


def test_null_is_refused_left_out_or_looked_at_each_time(orders: Orders) -> None:
    orders.add(3, None)
    with pytest.raises(DataError, match="the cursor 'moment' is NULL"):
        orders.plan(table="refused").run()
    assert orders.plan(table="skipped", nulls="skip").run().rows_read == 2
    always = orders.plan(table="looked_at", nulls="always")
    assert (always.run().rows_read, always.run().rows_read) == (3, 0)
    orders.add(4, None)
    assert always.run().rows_read == 1
    with pytest.raises(DataError, match="the cursor 'moment' is NULL"):
        orders.plan(table="skipped").run()  # also behind the watermark


def test_start_and_until(orders: Orders) -> None:
    plan = orders.plan(start=BASE.replace(microsecond=1), until="2024-01-03")
    orders.add(3, "2024-01-02 00:00:00")
    orders.add(4, "2024-01-03 00:00:00")
    assert plan.run().rows_read == 2
    assert orders.ids() == [2, 3]


def test_a_query_with_steps_behind_it(orders: Orders) -> None:
    query = "SELECT id, moment, v FROM orders WHERE id <> :id"
    read = datapipe.read(query, source=orders.sink.url, params={"id": 2}, incremental="moment")
    plan = read.sql("SELECT id, upper(v) AS v FROM input_data").write("copy", to=orders.target.url)
    assert (plan.run().rows_read, plan.run().rows_read) == (1, 0)
    orders.add(3, BASE.replace(microsecond=5))
    changed = read.sql("SELECT id, lower(v) AS v FROM input_data").write("copy", to=orders.target.url)
    assert changed.run().rows_read == 1  # the watermark outlives a change of the steps
    assert orders.ids() == [1, 3]


def test_each_target_and_each_source_has_its_own_watermark(orders: Orders) -> None:
    other = Orders(orders.sink, name="others")
    other.add(7, BASE)
    assert orders.plan().run().rows_read == 2
    assert orders.plan(table="second").run().rows_read == 2
    assert other.plan().run().rows_read == 1
    assert orders.plan().run().rows_read == 0


def test_a_failed_run_moves_nothing(orders: Orders) -> None:
    def fail(_: Any) -> Any:
        raise ValueError

    read = datapipe.read("orders", source=orders.sink.url, incremental="moment")
    with pytest.raises(DataError):
        read.apply(fail).write("copy", to=orders.target.url).run()
    plan = read.write("copy", to=orders.target.url)
    assert plan.watermark.values is None
    assert plan.run().rows_read == 2


def test_a_table_that_is_gone_is_loaded_anew(orders: Orders) -> None:
    plan = orders.plan()
    plan.run()
    orders.target.sql("DROP TABLE copy")
    result = plan.run()
    assert result.rows_read == 2
    assert any("the table is gone" in note for note in result.notices)


def test_the_watermark_is_shown_set_and_reset(orders: Orders) -> None:
    plan = orders.plan()
    assert str(plan.watermark) == "moment: nothing loaded yet; the next run begins at the start"
    assert str(plan.watermark.set("2024-01-01 10:00:00.000001")).startswith("set to moment 2024-01-01 10:00:00.000001")
    assert plan.run().rows_read == 1
    mark = plan.watermark
    assert mark.values == (BASE.replace(microsecond=1),) and mark.run_id[:8] in str(mark)
    assert mark.to_dict()["values"] == ["2024-01-01 10:00:00.000001"]
    assert "nothing loaded yet" in str(plan.watermark.reset())
    assert plan.run().rows_read == 2
    with pytest.raises(PlanError, match="'soon' is no value of the cursor 'moment'"):
        plan.watermark.set("soon")


def test_explain_shows_where_reading_begins(orders: Orders) -> None:
    plan = orders.plan(lag="1 minute")
    assert "none yet" in str(plan.explain())
    plan.run()
    found = str(plan.explain())
    assert "watermark: moment 2024-01-01 10:00:00.000001" in found and "1 minute before it" in found
    assert "moment >= 2024-01-01 09:59:00.000001 is applied by the source" in found
    assert "2024-01-01 09:59:00" in found.partition("(watermark")[0]


def test_runs_at_once_load_each_row_once(orders: Orders) -> None:
    errors = errors_at_once(orders.plan().run)
    assert (errors, orders.ids()) == ([], [1, 2])


def test_without_a_ledger_there_is_no_place_for_a_watermark(orders: Orders, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_LEDGER", "off")
    with pytest.raises(PlanError, match="no place for a watermark"):
        orders.plan().run()


def test_looking_reads_as_the_first_load_would(orders: Orders) -> None:
    plan = orders.plan(start=BASE.replace(microsecond=1))
    plan.run()
    assert len(plan.collect()) == 1
    assert plan.preview(5).rows == 1


def test_a_range_is_loaded_in_slices_each_once(orders: Orders) -> None:
    for number in range(3, 9):
        orders.add(number, f"2024-01-0{number} 00:00:00")
    seen: list[str] = []
    plan = orders.plan()
    done = datapipe.backfill(plan, "2024-01-01", "2024-01-06", every="2 days", tell=lambda each: seen.append(str(each)))
    assert seen == [
        "2024-01-01 to 2024-01-03: succeeded, 2 rows",
        "2024-01-03 to 2024-01-05: succeeded, 2 rows",
        "2024-01-05 to 2024-01-06: succeeded, 1 rows",
    ]
    assert str(done) == "3 of 3 slices are loaded: 5 rows"
    again = datapipe.backfill(plan, "2024-01-01", "2024-01-06", every="2 days", tell=lambda _: None)
    assert str(again) == "3 of 3 slices are loaded, 3 of them before: 5 rows"
    assert orders.ids() == [1, 2, 3, 4, 5]
    assert plan.watermark.values is None


def test_a_row_without_a_cursor_is_in_no_slice(orders: Orders) -> None:
    orders.add(3, None)
    plan = orders.plan(nulls="always")
    done = datapipe.backfill(plan, "2024-01-01", "2024-01-04", every="1 day", tell=lambda _: None)
    assert done.failed == () and orders.ids() == [1, 2]


def test_a_slice_that_fails_keeps_none_of_the_others_from_being_loaded(orders: Orders) -> None:
    orders.add(3, "2024-01-02 00:00:00", "bad")
    orders.add(4, "2024-01-03 00:00:00")

    def check(frame: Any) -> Any:
        if (frame["v"] == "bad").any():
            raise ValueError
        return frame

    read = datapipe.read("orders", source=orders.sink.url, incremental="moment")
    plan = read.apply(check).write("copy", to=orders.target.url)
    done = datapipe.backfill(plan, "2024-01-01", "2024-01-04", every="1d", tell=lambda _: None)
    assert [each.state for each in done.slices] == ["succeeded", "failed", "succeeded"]
    assert "check" in done.failed[0].error and orders.ids() == [1, 2, 4]
    orders.sink.sql("UPDATE orders SET v = 'good' WHERE id = 3")
    assert datapipe.backfill(plan, "2024-01-01", "2024-01-04", every="1d", tell=lambda _: None).failed == ()
    assert orders.ids() == [1, 2, 3, 4]


def test_a_watermark_counts_wherever_the_search_path_finds_the_table(postgresql_sink: Sink) -> None:
    path = f"{postgresql_sink.url}?options=-csearch_path%3Down,public"
    postgresql_sink.sql("CREATE SCHEMA own", "CREATE TABLE public.copy (id integer, moment timestamp, v text)")
    made = Orders(postgresql_sink)
    made.add(1, BASE)
    plan = datapipe.read("orders", source=path, incremental="moment").write("copy", to=path)
    assert [plan.run().rows_written for _ in range(2)] == [1, 0]
    assert postgresql_sink.sql("SELECT id FROM public.copy") == [(1,)]


def test_a_watermark_counts_in_a_file_that_an_engine_attaches(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/main.db")
    attach = f"ATTACH '{tmp_path}/other.db' AS other"
    sa.event.listen(engine, "connect", lambda raw, _: raw.execute(attach))
    rows = pa.table({"id": [1], "moment": [BASE]})
    datapipe.read(rows).write("orders", to=f"sqlite:///{tmp_path}/source.db").run()
    source = datapipe.read("orders", source=f"sqlite:///{tmp_path}/source.db", incremental="moment")
    plan = source.write("copy", to=engine, schema="other")
    assert [plan.run().rows_written for _ in range(2)] == [1, 0]
    with engine.connect() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM other.copy").scalar() == 1
    engine.dispose()


def test_tables_of_one_name_on_two_search_paths_are_two_sources(postgresql_sink: Sink) -> None:
    postgresql_sink.sql("CREATE SCHEMA a", "CREATE TABLE a.t AS SELECT generate_series(1, 3) AS id")
    postgresql_sink.sql("CREATE SCHEMA b", "CREATE TABLE b.t AS SELECT generate_series(1, 2) AS id")
    for schema, rows in (("a", 3), ("b", 2), ("a", 0), ("b", 0)):
        source = f"{postgresql_sink.url}?options=-csearch_path%3D{schema}"
        plan = datapipe.read("t", source=source, incremental="id").write("all_t", to=postgresql_sink.url)
        assert plan.run().rows_written == rows


@pytest.mark.parametrize("type_", ["SMALLINT", "DECIMAL(4,1)"])
def test_a_lag_may_reach_below_all_that_a_type_can_hold(sink: Sink, type_: str) -> None:
    orders = Orders(sink, type_)
    plan = orders.plan(lag=2000)
    orders.add(1, -32000 if type_ == "SMALLINT" else 5)
    assert plan.run().rows_written == 1
    orders.add(2, -31000 if type_ == "SMALLINT" else 6)
    assert (plan.run().rows_written, orders.ids()) == (1, [1, 2])


def test_a_lag_below_zero_of_an_unsigned_cursor(mysql_sink: Sink) -> None:
    mysql_sink.sql(
        "CREATE TABLE things (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY)", "INSERT INTO things VALUES (1), (2)"
    )
    plan = datapipe.read("things", source=mysql_sink.url, incremental="id", lag=1000).write("copy", to=mysql_sink.url)
    assert (plan.run().rows_written, plan.run().rows_written) == (2, 0)

"""A source that is read in partitions gives what it gives when it is read as one, whatever follows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from contracts.sinks import Sink

import datapipe
from datapipe.data.connections import shared
from datapipe.data.stream import Stream, Workspace
from datapipe.errors import DataError, PlanError, TransientError
from datapipe.ingestion import pgranges
from datapipe.ingestion.pgrepeat import differs
from datapipe.persistence import Staged, Stages, drop_stages, stage, write
from datapipe.persistence.sessions import open_session
from datapipe.persistence.stages import lock_of
from datapipe.plan import DatabaseUrl, TableTarget, build

COUNT = 5000
_TABLE = f"""
CREATE TABLE source AS
SELECT n AS id, n % 100 AS small, (n % 7) / 2.0 AS price, (n * 1.5)::numeric(12, 2) AS cost, 'name ' || n % 13 AS name,
       DATE '2024-01-01' + n % 400 AS day, TIMESTAMP '2024-01-01' + n * INTERVAL '1.000001 s' AS moment,
       TIMESTAMPTZ '2024-01-01 00:00+02' + n * INTERVAL '1 h' AS at, NULLIF(n % 5, 0) AS maybe
FROM generate_series(-100, {COUNT - 101}) AS n"""


@pytest.fixture(scope="module")
def source(module_postgresql_url: str) -> Iterator[str]:
    with psycopg.connect(module_postgresql_url, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA crm; SET search_path = crm; " + _TABLE)
        conn.execute("CREATE TABLE crm.empty (LIKE crm.source)")
        conn.execute("CREATE VIEW crm.first_ones AS SELECT * FROM crm.source LIMIT 10")
    yield module_postgresql_url
    with psycopg.connect(module_postgresql_url, autocommit=True) as conn:
        conn.execute("DROP SCHEMA crm CASCADE")
    shared().dispose()


@pytest.fixture
def target(tmp_path: Path) -> Sink:
    return Sink("sqlite", f"sqlite:///{tmp_path / 'target.db'}")


def rows(pipeline: datapipe.Pipeline) -> list[tuple[Any, ...]]:
    return sorted((tuple(row.values()) for row in pipeline.collect("arrow").to_pylist()), key=repr)


def notes(pipeline: datapipe.Pipeline, target: Sink) -> str:
    return "; ".join(pipeline.write("notes", to=target.url).run().notices)


@pytest.mark.parametrize("column", ["ID", "small", "price", "cost", "day", "at", "maybe"])
def test_all_rows_come_once_whatever_they_are_cut_by(source, column):
    whole = datapipe.read("crm.source", source=source)
    cut = datapipe.read("crm.source", source=source, partition_on=column, partitions=7)
    assert rows(cut) == rows(whole)
    assert cut.collect("arrow").schema.equals(whole.collect("arrow").schema, check_metadata=True)


STEPS = {
    "none": lambda plan: plan,
    "sql": lambda plan: plan.sql("SELECT id, upper(name) AS name, cost * 2 AS cost FROM input_data WHERE small < 50"),
    "aggregate": lambda plan: plan.sql("SELECT name, sum(cost) AS cost, count(*) AS n FROM input_data GROUP BY name"),
    "whole": lambda plan: plan.apply(lambda df: df.assign(share=df["small"] / df["small"].sum())),
    "batch": lambda plan: plan.apply(lambda df: df.assign(double=df["id"] * 2), per_batch=True),
    "validate": lambda plan: plan.validate(checks=["small < 90"], on_error="drop"),
    "unique": lambda plan: plan.validate({"columns": {"id": {"type": "integer", "unique": True}}}),
    "join": lambda plan: plan.sql(
        "SELECT id, label FROM input_data JOIN labels USING (small)",
        labels=pa.table({"small": pa.array([1, 2], pa.int32()), "label": ["one", "two"]}),
    ),
}


@pytest.mark.parametrize("steps", STEPS)
def test_every_step_sees_all_rows(source, steps):
    query = "SELECT * FROM crm.source WHERE id > :low"
    whole = datapipe.read(query, source=source, params={"low": -50})
    cut = datapipe.read(query, source=source, params={"low": -50}, partition_on="id", partitions=5)
    assert rows(STEPS[steps](cut)) == rows(STEPS[steps](whole))


@pytest.mark.parametrize("strategy", ["append", "insert", "upsert", "replace"])
def test_every_strategy_writes_the_same_rows(source, postgresql_url, strategy):
    options = {"keys": ["id"]} if strategy in {"insert", "upsert"} else {}
    found = []
    for how in ({}, {"partition_on": "small", "partitions": 6}):
        sink, name = Sink("postgresql", postgresql_url), f"t{len(found)}"
        plan = datapipe.read("SELECT id, small, cost, at FROM crm.source", source=source, **how)
        for _ in range(1 if strategy == "insert" else 2):
            result = plan.write(name, to=sink.url, strategy=strategy, **options).run()
            assert (result.state, result.rows_written) == ("succeeded", COUNT)
        found.append(sink.rows(name))
    assert found[0] == found[1]


def test_the_result_says_how_it_was_read(source, target):
    told = notes(datapipe.read("crm.source", source=source, partition_on="id", partitions=3), target)
    assert "read in 3 partitions on id" in told
    assert "read in 1 partition on id" in notes(datapipe.read("crm.empty", source=source, partition_on="id"), target)


OTHERWISE = {
    "SELECT * FROM crm.source LIMIT 10": "Limit",
    "SELECT * FROM crm.first_ones": "Limit",
    "SELECT id, random() AS r FROM crm.source": "random()",
    "SELECT id, now() AS r FROM crm.source": "now()",
    "SELECT id, current_date AS r FROM crm.source": "CURRENT_DATE",
    "SELECT id, 'now'::timestamp AS r FROM crm.source": "a time that is now",
    "SELECT id, age(at) AS r FROM crm.source": "CURRENT_DATE",
    "SELECT max(id) AS id FROM crm.source GROUP BY name": "Aggregate",
    "SELECT id, row_number() OVER (ORDER BY name) AS r FROM crm.source": "WindowAgg",
    "SELECT * FROM crm.source TABLESAMPLE SYSTEM (50)": "Sample Scan",
    "SELECT DISTINCT ON (small) * FROM crm.source": "Unique",
    "SELECT * FROM crm.source WHERE id IN (SELECT id FROM crm.source ORDER BY name LIMIT 3)": "Limit",
    'SELECT id, "Odd f"(id) AS r FROM crm.source': "Odd f()",
}
ALIKE = (
    "SELECT s.id, e.name FROM crm.source s JOIN crm.source e USING (id) WHERE s.small IN (1, 2)",
    "SELECT id, to_char(at, 'YYYY') AS year, upper(name) AS name, date_trunc('day', at) AS day FROM crm.source",
    "SELECT id FROM crm.source UNION ALL SELECT id FROM crm.source",
    "SELECT id FROM generate_series(1, 100) AS id",
    "WITH few AS (SELECT * FROM crm.source WHERE small < 10) SELECT * FROM few ORDER BY name",
    "SELECT id, price::numeric(10, 4) AS price, name::varchar(3) AS name, at::timestamp(3) AS at FROM crm.source",
    """SELECT id, 'now()' AS "random()", CASE WHEN small > 3 THEN 'CURRENT_DATE' END AS "current_date" FROM crm.source""",
)


def test_what_another_connection_might_read_otherwise_is_known_from_the_servers_plan(source):
    with psycopg.connect(source) as conn:
        conn.execute("""CREATE FUNCTION "Odd f"(n int) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN n; END'""")
        assert {query: differs(conn, query) for query in OTHERWISE} == OTHERWISE
        assert {query: differs(conn, query) for query in ALIKE} == dict.fromkeys(ALIKE)
        conn.rollback()


def test_what_another_connection_might_read_otherwise_is_read_as_one(source, target):
    told = notes(datapipe.read("crm.first_ones", source=source, partition_on="id"), target)
    assert "read as one, not in partitions: Limit may give other rows on another connection" in told


def test_all_partitions_show_one_state_while_others_write(postgresql_url, tmp_path):
    """Each transaction moves an amount from one row to another, so that every state has the same sum."""
    with psycopg.connect(postgresql_url, autocommit=True) as conn:
        conn.execute("CREATE TABLE account AS SELECT n AS id, 10 AS amount FROM generate_series(1, 2000) AS n")
    over = threading.Event()

    def move() -> None:
        with psycopg.connect(postgresql_url, autocommit=True) as conn:
            while not over.is_set():
                conn.execute("UPDATE account SET amount = amount + CASE WHEN id < 1000 THEN 1 ELSE -1 END")

    thread = threading.Thread(target=move)
    thread.start()
    try:
        for _ in range(5):
            found = datapipe.read("account", source=postgresql_url, partition_on="id", partitions=16).collect("arrow")
            low = {row["amount"] for row in found.to_pylist() if row["id"] < 1000}
            high = {row["amount"] for row in found.to_pylist() if row["id"] >= 1000}
            assert len(low) == len(high) == 1 and found.num_rows == 2000
            assert low.pop() + high.pop() == 20
    finally:
        over.set()
        thread.join()


def test_a_bad_value_is_an_error_that_says_where(source):
    query = "SELECT id, CASE WHEN id = 77 THEN 'NaN'::numeric(10, 2) ELSE id END::numeric(10, 2) AS n FROM crm.source"
    with pytest.raises(DataError, match=r"column 'n', row \d+: .*NaN.* \(of partition 1 of 4\)") as caught:
        datapipe.read(query, source=source, partition_on="id").collect()
    assert caught.value.step == "ingestion"


def test_a_column_that_cannot_be_cut_is_refused_before_anything_is_read(source, tmp_path):
    with pytest.raises(PlanError, match="'name' is text") as caught:
        datapipe.read("crm.source", source=source, partition_on="name").collect()
    assert caught.value.step == "ingestion"
    with pytest.raises(PlanError, match="there is no column 'idd'"):
        datapipe.read("crm.source", source=source, partition_on="idd").explain()


@pytest.mark.parametrize(
    ("query", "step", "line"),
    [
        (
            "crm.source",
            "SELECT id FROM input_data",
            "4 partitions on id: read in parallel; on workers, each is computed",
        ),
        (
            "crm.source",
            "SELECT sum(price) AS s FROM input_data",
            "4 partitions on id; transformation step 1 (sql): the SQL gathers (sum()): read in parallel, computed as one",
        ),
        ("crm.first_ones", "FROM input_data", "read as one, not in partitions: Limit may give other rows"),
    ],
)
def test_explain_says_what_it_will_be(source, query, step, line):
    plan = datapipe.read(query, source=source, partition_on="id").sql(step).write("t", to=source, strategy="replace")
    assert f"-- {line}" in str(plan.explain())


def test_a_preview_reads_a_sample_as_always(source):
    assert datapipe.read("crm.source", source=source, partition_on="id").preview(5).rows == COUNT


def test_nothing_is_left_open(source):
    cut = datapipe.read("crm.source", source=source, partition_on="id", partitions=9)
    cut.sql("SELECT * FROM input_data LIMIT 3").collect()
    cut.collect()
    shared().dispose()
    with psycopg.connect(source) as conn:
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        assert conn.execute(others).fetchone() == (0,)
    assert not [thread.name for thread in threading.enumerate() if "range" in thread.name]


def test_a_snapshot_that_is_gone_is_tried_again(source, monkeypatch):
    """Whoever holds it may be ended by the server, as an idle transaction is."""
    found, known = [], pgranges.snapshot_of

    @contextmanager
    def ended_at_first(*args: Any) -> Iterator[pgranges.Ranges]:
        with ExitStack() as stack:
            found.append(stack.enter_context(known(*args)))
            if len(found) == 1:
                stack.close()
            yield found[-1]

    monkeypatch.setattr(pgranges, "snapshot_of", ended_at_first)
    monkeypatch.setenv("MAX_RETRIES", "1")
    monkeypatch.setenv("RETRY_BACKOFF_BASE", "0.1")
    assert datapipe.read("crm.source", source=source, partition_on="id").collect("arrow").num_rows == COUNT
    assert len(found) == 2


def staged(url: str, *parts: pa.Table, **options: Any) -> tuple[TableTarget, Staged, Stages]:
    """Parts in tables of their own, and a target for them."""
    target = build(TableTarget, {"table_name": "t", "dest_db_url": url, **options})
    stages, tables, rows = Stages("run", "lease"), [], 0
    with psycopg.connect(url) as conn:
        conn.execute("CREATE SCHEMA IF NOT EXISTS _datapipe")
    for number, part in enumerate(parts, 1):
        tables.append(stages.table(number, 1))
        count, columns = stage(target, Stream(part.schema, iter(part.to_batches())), Workspace(), tables[-1])
        rows += count
    return target, Staged(parts[0].schema, tables, columns, rows), stages


def test_parts_are_merged_as_one_table_would_be(postgresql_url):
    """Rows that are in two parts count once; a key in two parts is a clash, and is not written."""
    parts = [pa.table({"id": [1, 2], "name": ["a", "b"]}), pa.table({"id": [2, 3], "name": ["b", "c"]})]
    target, rows, _ = staged(postgresql_url, *parts, strategy="upsert", upsert_keys=["id"])
    loaded = write(target, rows, Workspace())
    assert (loaded.rows, loaded.deduplicated) == (3, 1)
    sink = Sink("postgresql", postgresql_url)
    assert sink.rows() == [(1, "a"), (2, "b"), (3, "c")]
    assert sink.tables() == ["t"]
    target, rows, stages = staged(
        postgresql_url, parts[0], pa.table({"id": [2], "name": ["x"]}), strategy="upsert", upsert_keys=["id"]
    )
    with pytest.raises(DataError, match="different rows have one key"):
        write(target, rows, Workspace())
    assert sink.rows() == [(1, "a"), (2, "b"), (3, "c")]
    with stages.held(target, Workspace()):
        assert sink.tables() == ["t"]  # what a failed attempt has left is gone


@pytest.mark.parametrize(
    ("ddl", "values", "match"),
    [
        ("CREATE TABLE t (id int, u uuid)", ["00000000-0000-0000-0000-000000000000", "wrong"], "column 'u', row 4"),
        ("CREATE TABLE t (id int, u text CHECK (u <> 'wrong'))", ["good", "wrong"], r"\(row 4\)"),
    ],
)
def test_a_row_that_is_refused_is_counted_over_all_parts(postgresql_url, ddl, values, match):
    sink = Sink("postgresql", postgresql_url)
    sink.sql(ddl)
    first = pa.table({"id": pa.array([1, 2], pa.int32()), "u": [values[0]] * 2})
    target, rows, _ = staged(postgresql_url, first, pa.table({"id": pa.array([3, 4], pa.int32()), "u": values}))
    with pytest.raises(DataError, match=match):
        write(target, rows, Workspace())
    assert sink.rows() == []


def test_parts_that_have_lost_rows_are_not_merged(postgresql_url):
    """As unlogged tables do in a crash of the server."""
    target, rows, _ = staged(postgresql_url, pa.table({"id": [1, 2]}))
    Sink("postgresql", postgresql_url).sql(f"TRUNCATE {rows.tables[0].sql}")
    with pytest.raises(TransientError, match="2 rows were staged, and 0 are there"):
        write(target, rows, Workspace())


def test_a_cleanup_drops_the_parts_of_the_dead_only(postgresql_url):
    target, rows, _ = staged(postgresql_url, pa.table({"id": [1]}))
    url = DatabaseUrl.parse(postgresql_url)
    with open_session(target, Workspace()) as session:
        session.lock(str(lock_of(rows.tables[0].name)), "run")
        assert drop_stages(url) == ()
    assert [found.name for found in drop_stages(url)] == [str(rows.tables[0])]
    assert Sink("postgresql", postgresql_url).tables() == []


@pytest.mark.parametrize("kind", ["sqlite", "duckdb", "mysql"])
def test_other_databases_are_read_as_one(kind, request, tmp_path, target):
    url = request.getfixturevalue("mysql_url") if kind == "mysql" else f"{kind}:///{tmp_path / 'source.db'}"
    sink = Sink(kind, url)
    sink.sql("CREATE TABLE s (id INTEGER, name VARCHAR(10))", "INSERT INTO s VALUES (1, 'a'), (2, 'b'), (NULL, 'c')")
    cut = datapipe.read("s", source=url, partition_on="id")
    assert rows(cut) == rows(datapipe.read("s", source=url))
    assert "the source was read as one: only PostgreSQL shows one state to several connections" in notes(cut, target)
    with pytest.raises(PlanError, match="'name' is"):
        datapipe.read("s", source=url, partition_on="name").collect()

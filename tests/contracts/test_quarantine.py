"""Rejected rows on every database: with the load or not at all, with their reasons, and replayed once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from contracts.sinks import Sink, on_two
from forked import forked_python

import datapipe
from datapipe.errors import DataError, DatapipeError, PlanError, StaleRun, TransientError

ROOT = Path(__file__).parents[2]
PEOPLE = pa.table(
    {"id": pa.array([1, 2, 3, 4], pa.int64()), "price": [1.5, -1.0, None, -7.0], "name": ["a", "ü'\\\n", None, ""]}
)
STRICT = {"columns": {"id": {"type": "int", "unique": True}, "price": {"type": "float", "checks": {"ge": 0}}}}
LAX = {"columns": {"id": "int", "price": {"type": "float", "nullable": True}}}


@pytest.fixture(autouse=True)
def _recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_METADATA_URL", f"sqlite:///{tmp_path / 'runs.db'}")


def rejects_table(sink: Sink) -> str:
    return '"_datapipe"."rejects"' if sink.kind in {"postgresql", "duckdb"} else '"_datapipe_rejects"'


def kept(
    sink: Sink, columns: str = "run_id, step, row_number, column_name, check_name, reason, data, replayed"
) -> list[Any]:
    exists = any(name in {"rejects", "_datapipe_rejects"} for name in sink.tables())
    columns = columns.replace("row_number", '"row_number"')
    return sink.sql(f'SELECT {columns} FROM {rejects_table(sink)} ORDER BY run_id, "row_number"') if exists else []


def plan(
    sink: Sink, schema: Any = STRICT, table: Any = PEOPLE, on_error: Any = "quarantine", **options: Any
) -> datapipe.Pipeline:
    return datapipe.read(table).validate(schema, on_error=on_error).write("t", to=sink.url, **options)


def ids(sink: Sink) -> list[int]:
    return sorted(row[0] for row in sink.sql('SELECT id FROM "t"'))


def test_rows_land_with_reason_and_content(sink: Sink) -> None:
    result = plan(sink).run()
    assert ids(sink) == [1]
    assert (result.rows_written, result.rejected, result.steps[1].rows_in, result.steps[1].rows_out) == (1, 3, 4, 1)
    step = "transformation step 1 (validate)"
    check = "greater_than_or_equal_to(0)"
    assert kept(sink, "run_id, step, row_number, column_name, check_name, reason, replayed") == [
        (result.run_id, step, 2, "price", check, f"price: {check}", None),
        (result.run_id, step, 3, "price", "not NULL", "price: not NULL", None),
        (result.run_id, step, 4, "price", check, f"price: {check}", None),
    ]
    rows = [json.loads(row[0]) for row in kept(sink, "data")]
    assert rows == [
        {"id": 2, "price": -1.0, "name": "ü'\\\n"},
        {"id": 3, "price": None, "name": None},
        {"id": 4, "price": -7.0, "name": ""},
    ]
    frame = datapipe.attach(result.run_id).rejects(plan(sink))
    assert frame["row_number"].tolist() == [2, 3, 4]
    assert any("rejects" in note for note in result.notices if "created" in note) or sink.kind in {"sqlite", "duckdb"}


def test_nothing_is_kept_when_the_load_fails(sink: Sink) -> None:
    sink.sql(
        'CREATE TABLE "t" (id integer PRIMARY KEY, price double precision, name varchar(100))',
        "INSERT INTO t VALUES (1, 0, 'x')",
    )
    with pytest.raises(DatapipeError):
        plan(sink, strategy="insert", keys=["id"]).run()
    assert kept(sink) == []


@on_two
def test_a_check_of_the_table_fails_the_load_and_keeps_nothing(sink: Sink) -> None:
    with pytest.raises(DataError, match="whole table"):
        datapipe.read(PEOPLE).validate(STRICT, checks=["COUNT(*) > 3"], on_error="quarantine").write(
            "t", to=sink.url
        ).run()
    assert kept(sink) == []
    assert "t" not in sink.tables()


def test_replay_after_a_fix(sink: Sink) -> None:
    run = datapipe.attach(plan(sink).run().run_id)
    again = run.replay_rejects(plan(sink, LAX))
    assert (again.rows_read, again.rows_written, again.rejected) == (3, 3, 0)
    assert ids(sink) == [1, 2, 3, 4]
    assert sorted(sink.sql('SELECT id, name FROM "t"')) == [(1, "a"), (2, "ü'\\\n"), (3, None), (4, "")]
    assert {row[0] for row in kept(sink, "replayed")} == {again.run_id}
    with pytest.raises(PlanError, match="no rejected rows that wait for this target"):
        run.replay_rejects(plan(sink, LAX))


@on_two
def test_rows_that_still_fail_are_rejects_of_the_replay(sink: Sink) -> None:
    run = datapipe.attach(plan(sink).run().run_id)
    nullable = {"columns": {"price": {"nullable": True, "checks": {"ge": 0}}}}
    again = run.replay_rejects(plan(sink, nullable))
    assert (again.rows_written, again.rejected) == (1, 2)
    last = datapipe.attach(again.run_id).replay_rejects(plan(sink, LAX))
    assert last.rows_written == 2
    assert ids(sink) == [1, 2, 3, 4]


@on_two
def test_a_replay_that_fails_leaves_the_rows_waiting(sink: Sink) -> None:
    run = datapipe.attach(plan(sink).run().run_id)
    with pytest.raises(DataError, match="break the contract"):
        run.replay_rejects(plan(sink, on_error="raise"))
    assert {row[0] for row in kept(sink, "replayed")} == {None}
    assert run.replay_rejects(plan(sink, LAX)).rows_written == 3


def test_replay_of_a_replace(sink: Sink) -> None:
    first = datapipe.attach(plan(sink, strategy="replace").run().run_id)
    assert first.replay_rejects(plan(sink, LAX, strategy="replace")).rows_written == 3
    assert ids(sink) == [1, 2, 3, 4]
    second = datapipe.attach(plan(sink, strategy="replace").run().run_id)
    plan(sink, LAX, PEOPLE.slice(0, 1), strategy="replace").run()
    with pytest.raises(StaleRun, match="has replaced"):
        second.replay_rejects(plan(sink, LAX, strategy="replace"))
    assert ids(sink) == [1]


@on_two
def test_upserts_and_duplicates_reconcile(sink: Sink) -> None:
    table = pa.table({"id": pa.array([1, 1, 2, 3], pa.int64()), "price": [1.0, 1.0, -1.0, 2.0]})
    contract = {"columns": {"price": {"checks": {"ge": 0}}}}
    result = plan(sink, contract, table, strategy="upsert", keys=["id"]).run()
    assert result.steps[-1].rows_in == result.rows_written + result.deduplicated == 3
    assert result.rejected == 1


@on_two
def test_a_key_that_ran_is_not_quarantined_twice(sink: Sink) -> None:
    made = plan(sink)
    first = made.run(idempotency_key="day")
    again = made.run(idempotency_key="day")
    assert (again.replayed, again.run_id, again.rejected) == (True, first.run_id, 3)
    assert len(kept(sink)) == 3


@on_two
def test_two_validations(sink: Sink) -> None:
    made = (
        datapipe.read(PEOPLE)
        .validate(checks=["id <> 2"], on_error="quarantine")
        .sql("SELECT id, price FROM input_data")
    )
    made = made.validate({"columns": {"price": "float"}}, on_error="quarantine").write("t", to=sink.url)
    run = datapipe.attach(made.run().run_id)
    assert ids(sink) == [1, 4]
    lax = (
        datapipe.read(PEOPLE).validate(checks=["id > 0"], on_error="quarantine").sql("SELECT id, price FROM input_data")
    )
    lax = lax.validate(LAX).write("t", to=sink.url)
    with pytest.raises(PlanError, match="several steps"):
        run.replay_rejects(lax)
    with pytest.raises(PlanError, match="no rejected rows of"):
        run.replay_rejects(lax, step="transformation step 9 (validate)")
    assert run.replay_rejects(lax, step="transformation step 1 (validate)").rows_written == 1
    again = run.replay_rejects(lax, step="transformation step 3 (validate)")
    assert again.steps[1].name == "transformation step 3 (validate)"
    assert ids(sink) == [1, 2, 3, 4]


@on_two
def test_another_plan_has_no_such_step(sink: Sink) -> None:
    run = datapipe.attach(plan(sink).run().run_id)
    with pytest.raises(PlanError, match="the plan has no transformation step 1"):
        run.replay_rejects(datapipe.read(PEOPLE).write("t", to=sink.url))


# --- processes ------------------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys
import datapipe
from datapipe.persistence import delivery, rejects
kill, action, path, url, run_id = sys.argv[1:]

def dies(function):
    def called(*given):
        function(*given)
        os.kill(os.getpid(), signal.SIGKILL)
    return called

if kill == "written":
    rejects.record_rejects = dies(rejects.record_rejects)
if kill == "marked":
    rejects.mark_replayed = dies(rejects.mark_replayed)
contract = {"columns": {"price": {"type": "float", "checks": {"ge": 0}}}}
lax = {"columns": {"price": {"type": "float", "nullable": True}}}
plan = lambda schema: datapipe.read(path).validate(schema, on_error="quarantine").write("t", to=url)
if action == "run":
    print(plan(contract).run().run_id)
else:
    print(datapipe.attach(run_id).replay_rejects(plan(lax)).rows_written)
"""


@pytest.fixture
def child(tmp_path: Path, sink: Sink) -> Iterator[Any]:
    """Runs the plan, or replays its rejects, in a process of its own."""
    import pyarrow.parquet as pq

    pq.write_table(PEOPLE, tmp_path / "people.parquet")
    (tmp_path / "child.py").write_text(textwrap.dedent(CHILD))

    def start(action: str, run_id: str = "", kill: str = "") -> subprocess.CompletedProcess[str]:
        command = [
            forked_python(),
            str(tmp_path / "child.py"),
            kill,
            action,
            str(tmp_path / "people.parquet"),
            sink.url,
            run_id,
        ]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)

    return start


def test_a_run_killed_before_commit(sink: Sink, child: Any) -> None:
    assert child("run", kill="written").returncode == -signal.SIGKILL
    assert kept(sink) == []
    assert plan(sink).run().rejected == 3
    assert len(kept(sink)) == 3


def test_a_replay_killed_before_commit(sink: Sink, child: Any) -> None:
    run_id = plan(sink).run().run_id
    assert child("replay", run_id, kill="marked").returncode == -signal.SIGKILL
    assert {row[0] for row in kept(sink, "replayed")} == {None}
    assert ids(sink) == [1]
    assert datapipe.attach(run_id).replay_rejects(plan(sink, LAX)).rows_written == 3
    assert ids(sink) == [1, 2, 3, 4]


def test_two_replays_at_once(sink: Sink, child: Any) -> None:
    run_id = plan(sink).run().run_id
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: child("replay", run_id), range(2)))
    assert sorted(found.returncode for found in both) == [0, 1], [found.stderr[-400:] for found in both]
    assert ids(sink) == [1, 2, 3, 4]


# --- where there is no quarantine -----------------------------------------------------------------------------


def test_files_have_none(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no place for a quarantine"):
        datapipe.read(PEOPLE).validate(STRICT, on_error="quarantine").write(tmp_path / "t.parquet").run()


def test_without_a_ledger(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_LEDGER", "off")
    with pytest.raises(PlanError, match="no place for a quarantine"):
        plan(Sink("sqlite", sqlite_url)).run()
    assert plan(Sink("sqlite", sqlite_url), on_error="drop").run().rejected == 3


def test_further_tables_have_none(sqlite_url: str) -> None:
    further = datapipe.read(PEOPLE).validate(STRICT, on_error="quarantine")
    with pytest.raises(PlanError, match="further table of an SQL step has no quarantine"):
        datapipe.read(PEOPLE).sql("SELECT * FROM input_data JOIN o USING (id)", o=further).write(
            "t", to=sqlite_url
        ).run()


def test_no_rejects_at_all(sqlite_url: str) -> None:
    run = datapipe.attach(plan(Sink("sqlite", sqlite_url), LAX).run().run_id)
    assert run.rejects(plan(Sink("sqlite", sqlite_url))).empty
    with pytest.raises(PlanError, match="no rejected rows that wait for this target"):
        run.replay_rejects(plan(Sink("sqlite", sqlite_url)))


def test_a_role_that_may_not_create_the_table(postgresql_url: str) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as conn:
        conn.execute("DROP ROLE IF EXISTS reader")
        conn.execute("CREATE ROLE reader LOGIN PASSWORD 'hunter2'")
        conn.execute("GRANT CREATE, USAGE ON SCHEMA public TO reader")
    owner = Sink("postgresql", postgresql_url)
    owner.sql("DROP SCHEMA IF EXISTS _datapipe CASCADE")
    host = postgresql_url.rpartition("@")[2]
    made = plan(Sink("postgresql", f"postgresql://reader:hunter2@{host}"))
    try:
        with pytest.raises(PlanError) as caught:
            made.run()
        text = str(caught.value)
        assert "hunter2" not in text
        ddl = text.partition("Have it created: ")[2]
        assert 'CREATE TABLE "_datapipe"."rejects"' in ddl
        owner.sql(
            *ddl.split("; "),
            "GRANT USAGE ON SCHEMA _datapipe TO reader",
            "GRANT ALL ON ALL TABLES IN SCHEMA _datapipe TO reader",
        )
        assert made.run().rejected == 3
    finally:
        owner.sql("DROP OWNED BY reader", "DROP ROLE reader")


@on_two
def test_rejects_of_a_replay_into_a_replaced_table(sink: Sink) -> None:
    first = plan(sink, strategy="replace").run()
    second = datapipe.attach(first.run_id).replay_rejects(
        plan(sink, {"columns": {"id": "int", "price": "float"}}, strategy="replace")
    )
    assert (second.rows_written, second.rejected) == (2, 1)
    third = datapipe.attach(second.run_id).replay_rejects(plan(sink, LAX, strategy="replace"))
    assert third.rows_written == 1
    assert ids(sink) == [1, 2, 3, 4]


@on_two
def test_rejects_belong_to_their_target(sink: Sink) -> None:
    first = plan(sink).run()
    other = datapipe.read(PEOPLE).validate(LAX, on_error="quarantine").write("other", to=sink.url)
    with pytest.raises(PlanError, match="no rejected rows that wait for this target"):
        datapipe.attach(first.run_id).replay_rejects(other)
    assert datapipe.attach(first.run_id).replay_rejects(plan(sink, LAX)).rows_written == 3


@on_two
def test_a_replay_needs_the_ledger(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    first = plan(sink).run()
    monkeypatch.setenv("DATAPIPE_LEDGER", "off")
    with pytest.raises(PlanError, match="cannot be replayed without the ledger"):
        datapipe.attach(first.run_id).replay_rejects(plan(sink, LAX, on_error="raise"))
    assert ids(sink) == [1]


@pytest.mark.parametrize(
    ("step", "parameters"),
    [
        ("SELECT name, SUM(price) AS price FROM input_data GROUP BY name", {}),
        ("SELECT name, SUM(price) AS price FROM input_data WHERE price > :low GROUP BY name", {"low": 0}),
        ("SELECT DISTINCT * FROM input_data", {}),
        ("SELECT * FROM input_data LIMIT 2", {}),
    ],
)
def test_what_was_made_of_all_rows_is_not_made_of_some(sqlite_url: str, step: str, parameters: Any) -> None:
    def summed(schema: Any) -> datapipe.Pipeline:
        good = datapipe.read(PEOPLE).validate(schema, on_error="quarantine")
        return good.sql(step, parameters).write("t", to=sqlite_url)

    first = summed(STRICT).run()
    with pytest.raises(PlanError, match="would see the rejected rows alone"):
        datapipe.attach(first.run_id).replay_rejects(summed(LAX))


@on_two
def test_what_a_failed_attempt_said_goes_with_it(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_RETRIES", "2")
    monkeypatch.setenv("RETRY_BACKOFF_BASE", "0.01")
    tries: list[int] = []

    def flaky(frame: Any) -> Any:
        tries.append(len(frame))
        if len(tries) == 1:
            raise TransientError("the network was away")
        return frame

    result = datapipe.read(PEOPLE).validate(STRICT, on_error="quarantine").apply(flaky).write("t", to=sink.url).run()
    assert (result.attempts, result.rejected, result.rows_written) == (2, 3, 1)
    assert sum("kept aside" in note for note in result.notices) == 1
    assert len(kept(sink)) == 3


def test_rows_that_go_nowhere_are_told(sqlite_url: str) -> None:
    notes: list[str] = []
    plan = datapipe.read(PEOPLE).validate(STRICT, on_error="quarantine")
    assert len(plan.collect()) == 1
    from datapipe.engine import RunOptions, collect_plan

    _, result = collect_plan(plan.plan, RunOptions(listeners=(lambda event: notes.append(str(event.message)),)))
    assert result.rejected == 3
    assert any("nothing is written" in note for note in result.notices)

"""The runner: events in order, errors with their step and result, user code in the caller's thread."""

import json
import signal
import threading
import time

import pandas as pd
import pyarrow as pa
import pytest

import datapipe
from datapipe.engine import Event
from datapipe.errors import DataError, FatalError, PlanError

FRAME = pd.DataFrame({"id": range(25_000), "k": ["a", "b"] * 12_500})


def test_events_tell_the_run_from_its_start_to_its_end(sqlite_url):
    events: list[Event] = []
    plan = datapipe.read(FRAME).sql("SELECT k, COUNT(*) AS n FROM input_data GROUP BY k").write("t", to=sqlite_url)
    result = plan.run(listeners=[events.append])
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert events[0].kind == "run_started" and events[-1].kind == "run_finished"
    assert {event.run_id for event in events} == {result.run_id}
    assert events[-1].state == "succeeded" and events[-1].rows_out == 2
    finished = [event.step for event in events if event.kind == "step_finished"]
    assert finished == ["ingestion", "transformation step 1 (sql)", "persistence"]
    json.dumps([event.to_dict() for event in events])


def test_the_result_counts_rows_into_and_out_of_every_step(sqlite_url):
    plan = datapipe.read(FRAME).sql("SELECT * FROM input_data WHERE id < 100").apply(even).write("t", to=sqlite_url)
    result = plan.run()
    counts = [(step.name, step.rows_in, step.rows_out) for step in result.steps]
    assert counts == [
        ("ingestion", 0, 25_000),
        ("transformation step 1 (sql)", 25_000, 100),
        ("transformation step 2 (code)", 100, 50),
        ("persistence", 50, 50),
    ]
    assert set(result.versions) == {"transformation step 1 (sql)", "transformation step 2 (code)"}
    assert json.loads(json.dumps(result.to_dict()))["persistence"]["rows_written"] == 50
    assert "25,000 rows read, 50 written" in str(result)


def even(frame):
    return frame[frame["id"] % 2 == 0]


def test_user_code_runs_in_the_thread_that_called(sqlite_url):
    seen = []

    def where(frame):
        seen.append(threading.current_thread())
        return frame

    datapipe.read(FRAME).apply(where, per_batch=True).write("t", to=sqlite_url).run()
    assert len(seen) == 3 and set(seen) == {threading.current_thread()}


def test_a_failure_names_its_step_and_carries_the_result(sqlite_url):
    def fails(frame):
        raise ValueError("no such thing")

    plan = datapipe.read(FRAME).sql("SELECT * FROM input_data").apply(fails).write("t", to=sqlite_url)
    with pytest.raises(DataError) as caught:
        plan.run()
    assert "transformation step 2 (code)" in str(caught.value) and "no such thing" in str(caught.value)
    assert "test_runner.py" in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.result.state == "failed" and caught.value.result.rows_written == 0
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("datapipe")]


def test_a_plan_without_a_target_or_a_value_is_refused_before_anything_is_opened():
    with pytest.raises(PlanError, match="writes nowhere"):
        datapipe.read("t", source="sqlite:///missing.db").run()
    with pytest.raises(PlanError, match=r":low has no value"):
        datapipe.read("SELECT :low", source="sqlite:///missing.db").write("t", to="sqlite:///missing.db").run()


def test_the_same_run_twice_appends_twice(sqlite_url):
    plan = datapipe.read(FRAME).write("t", to=sqlite_url)
    assert plan.run().created and not plan.run().created
    assert len(datapipe.read("t", source=sqlite_url).collect()) == 50_000


def test_source_and_target_may_be_one_sqlite_file(sqlite_url):
    datapipe.read(FRAME).write("t", to=sqlite_url).run()
    datapipe.read("t", source=sqlite_url).sql("SELECT * FROM input_data LIMIT 10").write("u", to=sqlite_url).run()
    datapipe.read("u", source=sqlite_url).write("u", to=sqlite_url).run()
    assert len(datapipe.read("u", source=sqlite_url).collect()) == 20


def test_a_listener_that_fails_is_logged_and_steers_nothing(sqlite_url, caplog):
    def broken(event):
        raise RuntimeError("no listener")

    result = datapipe.read(FRAME).write("t", to=sqlite_url).run(listeners=[broken])
    assert result.rows_written == 25_000 and "no listener" in caplog.text
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("datapipe")]


def test_memory_is_a_size():
    plan = datapipe.read(FRAME).write("t", to="sqlite://")
    with pytest.raises(PlanError, match="not a size"):
        plan.run(memory="lots")
    with pytest.raises(PlanError, match="too little"):
        plan.run(memory="1MB")


def test_ctrl_c_in_a_listener_is_a_cancelled_run_with_its_result(sqlite_url):
    pressed = []

    def press(event):
        if event.kind == "step_started" and not pressed:
            pressed.append(event)
            signal.raise_signal(signal.SIGINT)

    def slow(frame):
        time.sleep(0.3)
        return frame

    plan = datapipe.read(FRAME).apply(slow, per_batch=True).write("t", to=sqlite_url)
    with pytest.raises(KeyboardInterrupt) as caught:
        plan.run(listeners=[press])
    assert caught.value.result.state == "cancelled"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("datapipe")]


def test_sys_exit_in_a_function_is_named(sqlite_url):
    def leaves(frame):
        raise SystemExit(3)

    with pytest.raises(FatalError, match=r"sys\.exit"):
        datapipe.read(FRAME).apply(leaves).write("t", to=sqlite_url).run()


def test_a_table_cannot_be_called_params():
    with pytest.raises(PlanError, match="cannot be called params"):
        datapipe.read(FRAME).sql("SELECT * FROM input_data", params=FRAME)


def test_a_row_is_shown_even_with_dates_that_python_does_not_know() -> None:
    rows = pa.table({"id": [1, -1], "day": pa.array([0, 9_999_999], pa.date32())})
    with pytest.raises(DataError) as caught:
        datapipe.read(rows).validate(checks=["id >= 0"]).collect()
    assert caught.value.row == 2
    assert caught.value.cells["id"] == "-1" and caught.value.cells["day"].endswith("-01-25")

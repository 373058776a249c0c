"""Ctrl-C, wherever a run is: within 2 s everything has stopped, the server too, and the target is unchanged."""

import contextlib
import json
import signal
import time

import psycopg
import pytest
from contracts.sinks import Sink, mysql_connected
from forked import Forked
from workerside import patient

CHILD = """
import json, sys, threading, time
import datapipe
url, case, reads = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
def slow(frame):
    print("ready", flush=True)
    time.sleep(30)
    return frame
plan = datapipe.read(reads.get(case, reads["rest"]), source=url)
if case == "sql":
    plan = plan.sql("SELECT a.id, b.t FROM input_data a, input_data b WHERE hash(a.id + b.id) = 1")
if case == "function":
    plan = plan.apply(slow)
plan = plan.write("target", to=url, strategy="append" if case != "merging" else "upsert", keys=["id"] if case == "merging" else [])
events = []
def listen(event):
    events.append(event)
    if event.kind == "run_started" and case != "function":
        threading.Timer(1.0, lambda: print("ready", flush=True)).start()
try:
    plan.run(listeners=[listen])
except KeyboardInterrupt as interrupt:
    names = [t.name for t in threading.enumerate() if t.name.startswith("datapipe")]
    print(json.dumps({"state": interrupt.result.state, "threads": names, "last": events[-1].state}), flush=True)
"""


READS = {
    "postgresql": {
        "reading": "SELECT g AS id, pg_sleep(30)::text AS t FROM generate_series(1, 2) g",
        "streaming": "SELECT g AS id, CASE WHEN g > 300000 THEN pg_sleep(0.01)::text END AS t FROM generate_series(1, 900000) g",
        "rest": "SELECT g AS id, 'x' AS t FROM generate_series(1, 200000) g",
    },
    "mysql": {
        "reading": "SELECT seq AS id, SLEEP(30) AS t FROM seq_1_to_2",
        "streaming": "SELECT seq AS id, CASE WHEN seq > 300000 THEN SLEEP(0.01) END AS t FROM seq_1_to_900000",
        "rest": "SELECT seq AS id, 'x' AS t FROM seq_1_to_200000",
    },
}
# What the writer waits for: a lock on the table, or on a row of it.
LOCKS = {
    ("postgresql", "writing"): "LOCK TABLE target IN SHARE MODE",
    ("mysql", "writing"): "LOCK TABLES target READ",
    ("postgresql", "merging"): "INSERT INTO target VALUES (5, 'mine')",
    ("mysql", "merging"): "INSERT INTO target VALUES (5, 'mine')",
}
BUSY = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'",
    "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID() AND command <> 'Sleep'",
}


@pytest.mark.parametrize("case", ["reading", "streaming", "sql", "function", "writing", "merging"])
@pytest.mark.parametrize("kind", READS)
def test_ctrl_c_stops_everything_and_changes_nothing(kind, case, request):
    sink = Sink(kind, request.getfixturevalue(f"{kind}_url"))
    sink.sql("CREATE TABLE target (id integer PRIMARY KEY, t text)", "INSERT INTO target VALUES (-1, 'before')")
    with blocked(sink, LOCKS.get((kind, case))):
        with Forked(["-c", CHILD, sink.url, case, json.dumps(READS[kind])]) as child:
            assert child.stdout.readline().strip() == "ready"
            time.sleep(0.3)
            sent = time.monotonic()
            child.send_signal(signal.SIGINT)
            found = json.loads(child.stdout.readline())
            took = time.monotonic() - sent
        assert child.returncode == 0
        assert found == {"state": "cancelled", "threads": [], "last": "cancelled"}
        assert took < patient(2)
    until = time.monotonic() + 2
    while sink.sql(BUSY[kind]) != [(0,)]:
        assert time.monotonic() < until  # a cancelled session may be ending still
        time.sleep(0.05)
    assert sink.sql("SELECT * FROM target") == [(-1, "before")]


@contextlib.contextmanager
def blocked(sink, lock):
    """Another session, which holds a lock."""
    if lock is None:
        yield
        return
    conn = mysql_connected(sink.url) if sink.kind == "mysql" else psycopg.connect(sink.url)
    with contextlib.closing(conn):
        if sink.kind == "mysql":
            conn.begin()
        conn.cursor().execute(lock)
        yield

"""Ctrl-C, wherever a run is: within 2 s everything has stopped, the server too, and the target is unchanged."""

import json
import signal
import subprocess
import sys
import time

import psycopg
import pytest

CHILD = """
import json, sys, threading, time
import datapipe
url, case = sys.argv[1], sys.argv[2]
def slow(frame):
    print("ready", flush=True)
    time.sleep(30)
    return frame
reads = {
    "reading": "SELECT g AS id, pg_sleep(30)::text AS t FROM generate_series(1, 2) g",
    "streaming": "SELECT g AS id, CASE WHEN g > 300000 THEN pg_sleep(0.01)::text END AS t FROM generate_series(1, 900000) g",
}
plan = datapipe.read(reads.get(case, "SELECT g AS id, 'x' AS t FROM generate_series(1, 200000) g"), source=url)
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


@pytest.mark.parametrize("case", ["reading", "streaming", "sql", "function", "writing", "merging"])
def test_ctrl_c_stops_everything_and_changes_nothing(postgresql_url, case):
    with psycopg.connect(postgresql_url, autocommit=True) as conn:
        conn.execute("CREATE TABLE target (id integer PRIMARY KEY, t text)")
        conn.execute("INSERT INTO target VALUES (-1, 'before')")
        if case in {"writing", "merging"}:
            # The writer waits for this lock: on the table, or on a row of it.
            blocker = psycopg.connect(postgresql_url)
            blocker.execute(
                "LOCK TABLE target IN SHARE MODE" if case == "writing" else "INSERT INTO target VALUES (5, 'mine')"
            )
        command = [sys.executable, "-c", CHILD, postgresql_url, case]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout.readline().strip() == "ready"
            time.sleep(0.3)
            sent = time.monotonic()
            child.send_signal(signal.SIGINT)
            found = json.loads(child.stdout.readline())
            took = time.monotonic() - sent
        assert child.returncode == 0
        assert found == {"state": "cancelled", "threads": [], "last": "cancelled"}
        assert took < 2
        if case in {"writing", "merging"}:
            blocker.close()
        busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
        until = time.monotonic() + 2
        while conn.execute(busy).fetchone() != (0,) and time.monotonic() < until:
            time.sleep(0.05)  # a cancelled backend may be ending still
        assert conn.execute(busy).fetchone() == (0,)
        assert conn.execute("SELECT * FROM target").fetchall() == [(-1, "before")]

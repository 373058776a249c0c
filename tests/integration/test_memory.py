"""Runs stay within ``memory`` plus 190 MB, of which 115 are Python and the libraries, whatever the number of rows."""

import json
import subprocess
import sys

import psycopg
import pytest

CHILD = """
import json, sys
import datapipe
plan = datapipe.read(sys.argv[2], source=sys.argv[1])
if sys.argv[3]:
    plan = plan.sql(sys.argv[3])
result = plan.write("target", to=sys.argv[1]).run(memory="64MB")
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
print(json.dumps({"peak_mb": peak, "rows": result.rows_written}))
"""
WIDE = "SELECT g AS id, repeat(md5(g::text), 30) AS t FROM generate_series(1, 500000) g"  # 480 MB
CASES = {
    "copy": (WIDE, "", 500_000),
    "filter": (WIDE, "SELECT * FROM input_data WHERE id % 2 = 0", 250_000),
    "aggregate": (WIDE, "SELECT id // 10 AS tens, MAX(t) AS t FROM input_data GROUP BY ALL", 50_001),
    "huge values": (
        "SELECT g AS id, repeat(md5(g::text), 30000) AS t FROM generate_series(1, 300) g",
        "SELECT id, t FROM input_data",
        300,
    ),
}


BIG = (  # 640 MB, ten times the memory
    "SELECT g AS id, (g::bigint * 7919) % 100003 AS h, repeat(md5(g::text), 6) AS t FROM generate_series(1, 2900000) g"
)
SPILLING = {
    "sort": ("SELECT * FROM input_data ORDER BY t", 2_900_000),
    "join": ("SELECT a.*, b.t AS other FROM input_data AS a JOIN input_data AS b ON a.id = b.id + 1", 2_899_999),
    "aggregate": ("SELECT t, max(id) AS id FROM input_data GROUP BY t", 2_900_000),
}


# A copy streams, and an aggregate goes through DuckDB: what streams through DuckDB is between the two.
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.soak if case == "filter" else ()) for case in CASES]
)
def test_peak_memory(postgresql_url, case):
    query, sql, rows = CASES[case]
    assert peak(postgresql_url, query, sql, rows) < 64 + 190


@pytest.mark.soak
@pytest.mark.parametrize("case", SPILLING)
def test_a_table_ten_times_the_memory_goes_through(postgresql_url, case):
    sql, rows = SPILLING[case]
    assert peak(postgresql_url, BIG, sql, rows) < 64 + 300  # what DuckDB and its allocator do not count is in it


def peak(postgresql_url, query, sql, rows):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, postgresql_url, query, sql], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["rows"] == rows
    with psycopg.connect(postgresql_url) as conn:
        assert conn.execute("SELECT count(*) FROM target").fetchone() == (rows,)
    return found["peak_mb"]

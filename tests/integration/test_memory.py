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


# A copy streams, and an aggregate goes through DuckDB: what streams through DuckDB is between the two.
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.soak if case == "filter" else ()) for case in CASES]
)
def test_peak_memory(postgresql_url, case):
    query, sql, rows = CASES[case]
    done = subprocess.run(
        [sys.executable, "-c", CHILD, postgresql_url, query, sql], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["rows"] == rows
    assert found["peak_mb"] < 64 + 190
    with psycopg.connect(postgresql_url) as conn:
        assert conn.execute("SELECT count(*) FROM target").fetchone() == (rows,)

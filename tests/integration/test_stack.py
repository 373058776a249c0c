"""``datapipe up`` and ``datapipe lab`` as a user has them: a process that is told to end by Ctrl-C."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest
from dotenv import dotenv_values
from specification import answer, finished, prepared
from specification import submitted as example

from datapipe.local.valkey_server import ValkeyServer

ROOT = Path(__file__).parents[2]
VARIABLES = {"SOURCE_DB_URL", "DEST_DB_URL", "REDIS_URL", "DATAPIPE_SIGNING_KEY", "DATAPIPE_HOME"}
SUBMIT = """
import datapipe
run = (
    datapipe.read("SELECT carrier, name FROM flights.airlines")
    .apply(lambda frame: frame.assign(name=frame["name"].str.upper()))
    .write("loud", strategy="replace")
    .submit()
)
print(run.result(90).rows_written)
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """One for all tests, so that the flights are loaded once. Not tmp_path: root's own is closed to PostgreSQL."""
    found = Path(tempfile.mkdtemp(prefix="datapipe-stack-"))
    found.chmod(0o711)
    yield found
    shutil.rmtree(found)


@dataclass
class Up:
    """A running ``datapipe up`` or ``lab``."""

    process: subprocess.Popen[bytes]
    home: Path
    folder: Path

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text(encoding="utf-8")

    def wait_for(self, text: str, times: int = 1) -> None:
        until = time.monotonic() + 120
        while self.said.count(text) < times:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < until, self.said
            time.sleep(0.1)

    def everything(self) -> list[psutil.Process]:
        """Every process that belongs to it: its descendants, and the servers, which are nobody's children."""
        servers = [self.home / "postgresql" / "data" / "postmaster.pid", self.home / "valkey" / "server.pid"]
        mine = psutil.Process(self.process.pid)
        roots = [psutil.Process(int(file.read_text().splitlines()[0])) for file in servers]
        return [mine, *mine.children(recursive=True), *roots, *(c for r in roots for c in r.children(recursive=True))]

    def child(self, word: str) -> psutil.Process:
        return next(found for found in psutil.Process(self.process.pid).children() if word in found.cmdline()[2:])


@contextmanager
def running_up(home: Path, folder: Path, *options: str, command: str = "up", **variables: str) -> Iterator[Up]:
    environment = {key: value for key, value in os.environ.items() if key != "DATAPIPE_METADATA_URL"}
    environment |= {"DATAPIPE_HOME": str(home), "PYTHONPATH": str(ROOT), **variables}
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "datapipe", command, *options],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    found = Up(process, home, folder)
    try:
        yield found
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
            process.wait()


def left(processes: list[psutil.Process], seconds: float = 5) -> list[psutil.Process]:
    """Those that still live; what ended a moment ago may not be reaped yet."""
    return psutil.wait_procs([p for p in processes if p.is_running() and p.status() != "zombie"], timeout=seconds)[1]


def submitted(file: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """A plan, submitted by a process that has its environment from a file."""
    environment = {key: value for key, value in os.environ.items() if key != "DATAPIPE_METADATA_URL"}
    environment |= {key: value or "" for key, value in dotenv_values(file).items()} | {"PYTHONPATH": str(ROOT)}
    (folder / "submit.py").write_text(SUBMIT)
    command = [sys.executable, "submit.py"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def status(url: str, login: str = "", token: str = "") -> int:
    request = urllib.request.Request(url)
    if login:
        request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
    if token:
        request.add_header("Authorization", f"token {token}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_plan_runs_with_the_environment_that_is_written(home: Path, tmp_path: Path) -> None:
    with running_up(home, tmp_path, "--env-file", "stack.env", "--concurrency", "1", "--api", "--json") as up:
        up.wait_for("Ctrl-C stops everything")
        file = tmp_path / "stack.env"
        variables = dotenv_values(file)
        assert set(variables) == VARIABLES
        assert file.stat().st_mode & 0o777 == 0o600
        for name, value in variables.items():
            assert f"export {name}={value}" in up.said
        assert (home / "signing.key").stat().st_mode & 0o777 == 0o600
        assert (home / "logs" / "worker.log").stat().st_mode & 0o777 == 0o600

        done = submitted(file, tmp_path)
        assert done.stdout.strip() == "16", done.stderr
        with psycopg.connect(str(variables["DEST_DB_URL"])) as conn:
            assert conn.execute("SELECT count(*) FROM loud WHERE name = upper(name)").fetchone() == (16,)
            sample = "SELECT count(*) FROM users UNION ALL SELECT count(*) FROM orders"
            assert conn.execute(sample).fetchall() == [(4,), (5,)]

        found = re.search(r"Flower: (\S+), user and password (\S+)", up.said)
        assert found is not None
        up.wait_for('{"ready": true')
        told = json.loads(next(line for line in up.said.splitlines() if line.startswith("{")))
        assert (told["environment"], told["flower"]) == (variables, {"address": found[1], "login": found[2]})
        assert status(found[1]) == 401
        assert status(found[1], found[2]) == 200

        check_rest(up, str(variables["DEST_DB_URL"]))
        everything = up.everything()
        shown = " ".join(word for process in everything for word in process.cmdline())
        secrets = [found[2], str(variables["DATAPIPE_SIGNING_KEY"]), *re.findall(r":([^:@/]{12,})@", file.read_text())]
        assert len(secrets) == 5
        assert [secret for secret in secrets if secret in shown] == []

        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(60) == 0, up.said
        assert left(everything) == []
        assert up.said.rstrip().endswith("stopped")
        assert "Traceback" not in up.said


def check_rest(up: Up, database: str) -> None:
    """The specification's example runs as it stands there, and so does the request that is printed to paste."""
    found = re.search(r"REST interface and web page: (http://127\.0\.0\.1:\d+);", up.said)
    assert found is not None, up.said
    port = prepared(database, up.folder / ".env")
    status_ = example(found[1], port, {})
    assert status_["pipeline_id"] == status_["task_id"]
    ended = finished(found[1], status_["run_id"])
    assert (ended["state"], ended["rows_read"], ended["rows_written"], ended["via"]) == ("succeeded", 2, 2, "rest"), (
        ended
    )
    with psycopg.connect(database) as conn:
        assert conn.execute("SELECT * FROM users_staging ORDER BY id").fetchall() == [(2, "BOB"), (3, "EVE")]
    assert "pass" not in json.dumps(ended).replace("password", "")

    pasted = re.search(r"(?m)^curl (\S+) -H 'Content-Type: application/json' -d '(.*)'$", up.said)
    assert pasted is not None, up.said
    request = urllib.request.Request(pasted[1], pasted[2].encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        assert response.status == 202
        assert finished(found[1], json.load(response)["run_id"])["state"] == "succeeded"
    assert answer(found[1], "/health")["status"] == "ok"
    assert [worker["state"] for worker in answer(found[1], "/workers")["workers"]] == ["online"]


@pytest.mark.soak  # it takes half a minute
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_ends_and_the_same_environment_next_time(home: Path, tmp_path: Path, number: signal.Signals) -> None:
    with running_up(home, tmp_path, "--env-file", "stack.env", "--concurrency", "1") as up:
        up.wait_for("Ctrl-C stops everything")
        everything = up.everything()
        up.process.send_signal(number)
        assert up.process.wait(60) == 0, up.said
    assert left(everything) == []
    text, kept = (tmp_path / "stack.env").read_text(), home / "stack.env"  # of another test
    assert not kept.exists() or kept.read_text() == text
    kept.write_text(text)


@pytest.mark.soak  # it takes half a minute
def test_worker_that_dies_is_started_again(home: Path, tmp_path: Path) -> None:
    with running_up(home, tmp_path, "--env-file", "stack.env", "--concurrency", "1") as up:
        up.wait_for("Ctrl-C stops everything")
        first = up.child("datapipe.workers.run_worker")
        family = [first, *first.children(recursive=True)]
        first.kill()
        up.wait_for("the worker ended with exit code -9")
        up.wait_for("the worker is ready again")
        assert left(family) == []
        assert up.child("datapipe.workers.run_worker") != first
        done = submitted(tmp_path / "stack.env", tmp_path)
        assert done.stdout.strip() == "16", done.stderr


@pytest.mark.soak  # it takes half a minute
def test_kill_9_leaves_no_worker_and_the_next_one_finds_the_servers(home: Path, tmp_path: Path) -> None:
    with running_up(home, tmp_path, "--concurrency", "1") as up:
        up.wait_for("Ctrl-C stops everything")
        worker = up.child("datapipe.workers.run_worker")
        family = [worker, *worker.children(recursive=True)]
        everything = up.everything()
        up.process.kill()
        up.process.wait()
        assert left(family, 60) == []
        assert ValkeyServer(Path("unused"), home / "valkey").runs()
    with running_up(home, tmp_path, "--concurrency", "1") as up:
        up.wait_for("Ctrl-C stops everything")
    assert left(everything) == []


def test_lab_opens_a_folder_whose_kernels_have_the_connections(home: Path, tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    with running_up(home, tmp_path, "--no-browser", command="lab") as lab:
        lab.wait_for("Ctrl-C stops everything")
        found = re.search(r"(http://127\.0\.0\.1:\d+)/lab\?token=(\S+)", lab.said)
        assert found is not None
        address, token = found.groups()
        assert status(f"{address}/lab", token=token) == 200
        assert status(f"{address}/api/contents", token=token) == 200
        assert status(f"{address}/api/contents") == 403

        start_kernel(address, token)
        everything = lab.everything()
        kernel = next(process for process in everything if "ipykernel_launcher" in process.cmdline())
        with psycopg.connect(kernel.environ()["SOURCE_DB_URL"]) as conn:
            assert conn.execute("SELECT count(*) FROM flights.airlines").fetchone() == (16,)

        shown = " ".join(word for process in everything for word in process.cmdline())
        assert token not in shown and str(tmp_path / "notebooks") in shown
        lab.process.send_signal(signal.SIGTERM)
        assert lab.process.wait(60) == 0, lab.said
        assert left(everything) == []
        assert lab.said.rstrip().endswith("stopped")
        assert "Traceback" not in lab.said


def start_kernel(address: str, token: str) -> None:
    headers = {"Authorization": f"token {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/api/kernels", b"{}", headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 201


def test_lab_says_what_is_missing(home: Path, tmp_path: Path) -> None:
    with running_up(home, tmp_path, "nowhere", command="lab") as lab:
        assert lab.process.wait(60) == 2
        assert "nowhere is no folder" in lab.said
    # A package that is there, and cannot be found: as if only the base were installed.
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['jupyterlab'] = None\n")
    with running_up(home, tmp_path, command="lab", PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}") as lab:
        assert lab.process.wait(60) == 2
        assert 'JupyterLab is missing. Run: pip install "datapipe-sdk[local]"' in lab.said


@pytest.mark.parametrize(
    ("options", "variables", "said"),
    [
        (["--env-file", "taken.env"], {}, "gives REDIS_URL another value"),
        ([], {"DATAPIPE_METADATA_URL": "off"}, "DATAPIPE_METADATA_URL is off"),
    ],
    ids=["env-file", "metadata"],
)
def test_what_cannot_be_is_said_and_nothing_left(
    home: Path, tmp_path: Path, options: list[str], variables: dict[str, str], said: str
) -> None:
    (tmp_path / "taken.env").write_text("REDIS_URL=redis://elsewhere\n")
    with running_up(home, tmp_path, *options, **variables) as up:
        assert up.process.wait(60) == 2
        assert said in up.said
    assert (tmp_path / "taken.env").read_text() == "REDIS_URL=redis://elsewhere\n"
    assert not ValkeyServer(Path("unused"), home / "valkey").runs()
    assert not (home / "postgresql" / "data" / "postmaster.pid").exists()

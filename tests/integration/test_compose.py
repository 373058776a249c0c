"""What docker-compose.yml says is run, without Docker: commands, environments and health checks taken from the file."""

from __future__ import annotations

import base64
import contextlib
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from composefile import Service, running, seconds
from forked import forked_python
from services import find_postgresql

GIVEN = {"POSTGRES_PASSWORD": "p0st", "REDIS_PASSWORD": "r3d", "DATAPIPE_SIGNING_KEY": "k" * 32}
SUBMIT = """
import datapipe

plan = datapipe.read("SELECT * FROM users").sql("SELECT id, upper(name) AS name FROM input_data").write("members")
print(plan.submit().result().state)
"""


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@dataclass(frozen=True)
class Site:
    """PostgreSQL and Redis, and what stands here for places that the file names."""

    folder: Path
    database: str
    places: Mapping[str, str]
    redis: Service

    def service(self, name: str, port: str | None = None, **given: str) -> Service:
        """A service of the file; ``port`` is where it listens there."""
        return Service(name, self.folder, GIVEN | given, {**self.places, **({port: free_port()} if port else {})})


@pytest.fixture
def site(tmp_path: Path, postgresql_url: str) -> Iterator[Site]:
    """With the file's own Redis."""
    if not shutil.which("redis-server") or not shutil.which("redis-cli"):
        pytest.skip("no redis-server and redis-cli")
    port = free_port()
    places = {
        f"postgresql://datapipe:{GIVEN['POSTGRES_PASSWORD']}@postgres:5432/datapipe": postgresql_url,
        "redis:6379": f"127.0.0.1:{port}",
        "6379": port,
        "0.0.0.0": "127.0.0.1",
        "/var/lib/datapipe/spool": str(tmp_path / "spool"),
    }
    extra = ("--port", port, "--bind", "127.0.0.1", "--dir", str(tmp_path))
    with running(Service("redis", tmp_path, GIVEN, places, extra)) as redis:
        yield Site(tmp_path, postgresql_url, places, redis)


def test_the_health_check_of_postgresql(postgresql_url: str, tmp_path: Path) -> None:
    service = find_postgresql()
    programs = str(service.programs) if service and service.programs else None
    program = shutil.which("pg_isready", path=programs) or shutil.which("pg_isready")
    if program is None:
        pytest.skip("no pg_isready")
    for port, answers in ((str(urlsplit(postgresql_url).port), True), (free_port(), False)):
        places = {"pg_isready": program, "5432": port}
        assert (Service("postgres", tmp_path, GIVEN, places).check() == 0) is answers


def test_redis(site: Site) -> None:
    assert site.redis.check(REDISCLI_AUTH="wrong") != 0
    ask = ["redis-cli", "-p", site.places["6379"], "-a", GIVEN["REDIS_PASSWORD"], "CONFIG", "GET"]
    for name, value in (("appendonly", "yes"), ("maxmemory-policy", "noeviction")):
        assert subprocess.run([*ask, name], capture_output=True, text=True, check=True).stdout.split() == [name, value]
    site.redis.kill()
    assert site.redis.check() != 0


def test_a_worker_does_a_plan_and_its_health_check_asks_no_other_worker(site: Site) -> None:
    with psycopg.connect(site.database) as conn:
        conn.execute("CREATE TABLE users (id int, name text)")
        conn.execute("INSERT INTO users VALUES (1, 'ann'), (2, 'bob')")
    worker = site.service("worker", WORKER_CONCURRENCY="1")
    other = Service("worker", site.folder, worker.given, {**site.places, "worker@": "other@"}, ("--name", "other"))
    host = socket.gethostname()
    with running(worker, f"worker@{host} ready."), running(other, f"other@{host} ready."):
        done = subprocess.run(
            [forked_python(), "-c", SUBMIT], env=worker.environment, capture_output=True, text=True, check=False
        )
        assert done.stdout.strip() == "succeeded", done.stderr
        with psycopg.connect(site.database) as conn:
            assert conn.execute("SELECT * FROM members ORDER BY id").fetchall() == [(1, "ANN"), (2, "BOB")]

        assert worker.process is not None
        worker.process.terminate()
        assert worker.process.wait(seconds(worker.config["stop_grace_period"])) == 0
        assert worker.check() != 0
        assert other.check() == 0
        site.redis.kill()
        assert other.check() != 0


def test_flower_asks_for_the_password(site: Site) -> None:
    service = site.service("flower", "5555", FLOWER_BASIC_AUTH="ann:fl0wer")
    with running(service):
        url = f"http://127.0.0.1:{service.places['5555']}/"
        assert (status(url), status(url, "ann:wrong"), status(url, "ann:fl0wer")) == (401, 401, 200)
        service.kill()
        assert service.check() != 0


def status(url: str, login: str = "") -> int:
    request = urllib.request.Request(url)
    if login:
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_metrics(site: Site) -> None:
    service = site.service("metrics", "9000")
    with running(service):
        with urllib.request.urlopen(f"http://127.0.0.1:{service.places['9000']}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        for part in ("broker", "metadata store", "SOURCE_DB_URL", "DEST_DB_URL"):
            assert f'datapipe_up{{part="{part}"}} 1.0' in text
        service.kill()
        assert service.check() != 0


def test_api_is_open_on_this_machine_and_by_its_name_between_services(site: Site) -> None:
    service = site.service("api", "8000")
    with running(service):
        url = f"http://127.0.0.1:{service.places['8000']}/runs"
        for host, wanted in (("localhost:8000", 200), ("api:8000", 200), ("evil.example", 421)):
            request = urllib.request.Request(url, headers={"Host": host})
            with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=20) as answer:
                assert (answer.status, wanted) == (200, 200)
                continue
            assert wanted == 421
        service.kill()
        assert service.check() != 0


@pytest.mark.parametrize(("name", "secret"), [("flower", "FLOWER_BASIC_AUTH"), ("notebook", "JUPYTER_TOKEN")])
@pytest.mark.parametrize("value", [None, ""])
def test_a_service_does_not_start_without_its_secret(name: str, secret: str, value: str | None, tmp_path: Path) -> None:
    service = Service(name, tmp_path, GIVEN if value is None else {**GIVEN, secret: value}, {})
    assert service.start().wait(30) != 0
    assert f"{secret}: set it in .env" in service.log

"""The servers tests run on: one that is named, else one found here and started privately, else a wheel."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pymysql
import pytest
import redis
from psycopg.sql import SQL, Identifier

from datapipe.errors import PlanError
from datapipe.local.postgres import embedded_postgres
from datapipe.local.programs import installed_programs
from datapipe.local.valkey import installed_valkey
from datapipe.local.valkey_server import ValkeyServer

URL_VARIABLE = "DATAPIPE_TEST_POSTGRESQL_URL"
MYSQL_URL_VARIABLE = "DATAPIPE_TEST_MYSQL_URL"
REDIS_URL_VARIABLE = "DATAPIPE_TEST_REDIS_URL"

# A test server is thrown away, so nothing it writes needs to survive a crash.
_SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "2GB", "log_min_messages": "fatal"}

_NEEDED = ("initdb", "pg_ctl", "postgres")


@dataclass(frozen=True)
class PostgresqlService:
    """Where PostgreSQL comes from: ``url`` of a running server, or ``programs`` to start one."""

    kind: str
    url: str | None = None
    programs: Path | None = None


def find_postgresql() -> PostgresqlService | None:
    """The server the tests will use, not started yet; None when there is none."""
    if os.environ.get(URL_VARIABLE):
        return PostgresqlService(f"named by {URL_VARIABLE}", url=os.environ[URL_VARIABLE])
    for programs in _on_this_machine():
        return PostgresqlService(f"found here, {_version(programs)}", programs=programs)
    try:
        programs = installed_programs()
    except PlanError:
        return None
    return PostgresqlService(f"embedded wheel, {_version(programs)}", programs=programs)


@contextmanager
def running_postgresql(service: PostgresqlService) -> Iterator[str]:
    """The admin URL of the server; a private one is started, and ended afterwards."""
    if service.url is not None:
        yield service.url
        return
    folder = Path(tempfile.mkdtemp(prefix="datapipe-tests-"))
    server = embedded_postgres(folder, programs=service.programs, settings=_SETTINGS)
    try:
        with server as url:
            pid = (folder / "data" / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0]
            with watched(pid, "QUIT", folder):
                yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_USED: dict[str, list[str]] = {}  # by server: databases that are empty again, which is quicker than to make them anew
_KEPT = "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
# What a database has beside schemas; if there is any, it is made anew.
_BESIDE = """
SELECT EXISTS (SELECT FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = current_database())
    OR EXISTS (SELECT FROM pg_database WHERE datname = current_database() AND datacl IS NOT NULL)
    OR EXISTS (SELECT FROM pg_extension WHERE extname <> 'plpgsql') OR EXISTS (SELECT FROM pg_event_trigger)
    OR EXISTS (SELECT FROM pg_publication) OR EXISTS (SELECT FROM pg_largeobject_metadata)
    OR EXISTS (SELECT FROM pg_default_acl) OR EXISTS (SELECT FROM pg_foreign_data_wrapper)"""


@contextmanager
def postgresql_database(server: str) -> Iterator[str]:
    """The URL of an empty database that nobody has known by this name; emptied or dropped afterwards."""
    name, free = f"test_{uuid.uuid4().hex[:12]}", _USED.setdefault(server, [])
    with psycopg.connect(server, autocommit=True) as admin:
        if free:
            admin.execute(SQL("ALTER DATABASE {} RENAME TO {}").format(Identifier(free.pop()), Identifier(name)))
        else:
            admin.execute(SQL("CREATE DATABASE {} TEMPLATE template0").format(Identifier(name)))
        yield urlsplit(server)._replace(path=f"/{name}").geturl()
        others = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
        admin.execute(others, [name])
        if _is_emptied(server, name):
            free.append(name)
        else:
            admin.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))


def _is_emptied(server: str, name: str) -> bool:
    """Remove every schema; whether that leaves what a new database has."""
    try:
        with psycopg.connect(server, dbname=name, autocommit=True) as conn:
            if conn.info.server_version < 150_000 or conn.execute(_BESIDE).fetchone() != (False,):
                return False
            for (schema,) in conn.execute(_KEPT).fetchall():
                conn.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(schema)))
            conn.execute("CREATE SCHEMA public AUTHORIZATION pg_database_owner")
            conn.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")
    except psycopg.Error:
        return False
    return True


@dataclass(frozen=True)
class MysqlService:
    """Where MariaDB or MySQL comes from: ``url`` of a running server, or ``program`` to start one."""

    kind: str
    url: str | None = None
    program: str | None = None


def find_mysql() -> MysqlService | None:
    """The server the tests will use, not started yet; None when there is none."""
    if os.environ.get(MYSQL_URL_VARIABLE):
        return MysqlService(f"named by {MYSQL_URL_VARIABLE}", url=os.environ[MYSQL_URL_VARIABLE])
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    program = shutil.which("mariadbd", path=path)
    if program is None or shutil.which("mariadb-install-db", path=path) is None:
        return None
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return MysqlService(f"found here, {said.split('Ver ')[1].split()[0]}", program=program)


@contextmanager
def running_mysql(service: MysqlService, *options: str) -> Iterator[str]:
    """The admin URL of the server; a private one is started, with further ``options``, and ended afterwards."""
    if service.url is not None:
        yield service.url
        return
    folder = Path(tempfile.mkdtemp(prefix="datapipe-tests-"))
    try:
        with _mariadb(str(service.program), folder, *options) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def mysql_database(server: str) -> Iterator[str]:
    """The URL of an empty database, dropped afterwards."""
    name, parts = f"test_{uuid.uuid4().hex[:12]}", urlsplit(server)
    admin = pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=parts.username,
        password=parts.password or "",
        autocommit=True,
    )
    with admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        yield parts._replace(path=f"/{name}").geturl()
        cursor.execute(f"DROP DATABASE {name}")


@contextmanager
def _mariadb(program: str, folder: Path, *options: str) -> Iterator[str]:
    account = ["--user=root"] if os.geteuid() == 0 else []
    common = ["--no-defaults", f"--datadir={folder / 'data'}", *account]
    install = shutil.which("mariadb-install-db") or "/usr/bin/mariadb-install-db"
    subprocess.run([install, *common, "--skip-test-db"], check=True, capture_output=True)
    (folder / "init.sql").write_text(
        "CREATE USER datapipe@'127.0.0.1' IDENTIFIED BY 'secret';\n"
        "GRANT ALL ON *.* TO datapipe@'127.0.0.1' WITH GRANT OPTION;\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder / 's'}", f"--pid-file={folder / 'pid'}"]
    # Thrown away, so that nothing it writes needs to survive a crash of the machine.
    (folder / "tmp").mkdir()
    # A folder of its own for temporary files: a server that starts removes those of every other from a shared one.
    quick = [
        f"--tmpdir={folder / 'tmp'}",
        "--innodb-flush-log-at-trx-commit=0",
        "--skip-name-resolve",
        f"--init-file={folder / 'init.sql'}",
    ]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([program, *common, *place, *quick, *options], stdout=log, stderr=log)
    try:
        with watched(str(server.pid), "KILL", folder):
            _wait_for_mysql(server, port, folder / "log")
            yield f"mysql://datapipe:secret@127.0.0.1:{port}/mysql"
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait_for_mysql(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            pymysql.connect(host="127.0.0.1", port=port, user="datapipe", password="secret").close()
        except pymysql.Error:
            assert server.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.1)
        else:
            return


@dataclass(frozen=True)
class RedisService:
    """Where Redis or Valkey comes from: ``url`` of a running server, or ``program`` to start one."""

    kind: str
    url: str | None = None
    program: Path | None = None


def find_redis() -> RedisService | None:
    """The Redis the tests will use, not started yet; None when there is none."""
    if os.environ.get(REDIS_URL_VARIABLE):
        return RedisService(f"named by {REDIS_URL_VARIABLE}", url=os.environ[REDIS_URL_VARIABLE])
    program = shutil.which("redis-server", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/bin")
    return _service("found here", Path(program)) if program else None


def find_valkey() -> RedisService | None:
    """The Valkey the tests will use, not started yet; None when there is none."""
    program = shutil.which("valkey-server")
    if program:
        return _service("found here", Path(program))
    try:
        return _service("wheel", installed_valkey())
    except PlanError:
        return None


@dataclass
class PrivateRedis:
    """A server that belongs to the tests: it may be killed, stopped and started again at the same URL.

    It forgets everything when it ends, unless it is ``persistent``.
    """

    program: Path
    folder: Path
    persistent: bool = False
    _ends: ExitStack = field(default_factory=ExitStack, repr=False)

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def password(self) -> str:
        return urlsplit(self.url).password or ""

    @property
    def pid(self) -> int:
        return int((self.folder / "server.pid").read_text())

    @property
    def runs(self) -> bool:
        return self._server.runs()

    @property
    def client(self) -> redis.Redis:
        """A connection that gives up at once; close it, or use it in ``with``."""
        return self._server.client()

    def start(self) -> PrivateRedis:
        """Start it, and wait until it answers; nothing happens if it runs."""
        self._server.start(settings={} if self.persistent else {"appendonly": "no"})
        self._ends.close()
        self._ends.enter_context(watched(str(self.pid), "KILL", self.folder))
        return self

    def kill(self) -> None:
        """kill -9, and wait until it is gone; nothing happens if it does not run."""
        if self.runs:
            os.kill(self.pid, signal.SIGKILL)
        while self.runs:
            time.sleep(0.01)
        self._ends.close()

    def stop(self) -> None:
        """End it in the usual way."""
        self._server.stop()
        self._ends.close()

    def flush(self) -> None:
        """Forget everything."""
        with self.client as client:
            client.flushall()

    @property
    def _server(self) -> ValkeyServer:
        return ValkeyServer(self.program, self.folder)


@contextmanager
def private_redis(program: Path, *, persistent: bool = False) -> Iterator[PrivateRedis]:
    """An empty server with a password on a free port, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="datapipe-tests-"))
    server = PrivateRedis(program, folder, persistent)
    try:
        yield server.start()
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_redis(service: RedisService) -> Iterator[str]:
    """The URL of a server; a private one is started, and ended afterwards."""
    if service.url is not None:
        yield service.url
        return
    assert service.program is not None
    with private_redis(service.program) as server:
        yield server.url


def redis_program(kind: str | None = None) -> Path:
    """The program of Redis or of Valkey, or of whichever is here; else the test is skipped, or fails if it must not."""
    finders = {"redis": find_redis, "valkey": find_valkey}
    for service in (finders[kind]() if kind else find_redis(), None if kind else find_valkey()):
        if service is not None and service.program is not None:
            return service.program
    reason = f"no {kind or 'Redis'} to start here: install redis-server, or pip install 'datapipe-sdk[local]'"
    if os.environ.get("DATAPIPE_TEST_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def flush_redis(url: str) -> None:
    """Empty the database that a URL names, and no other of that server."""
    with redis.Redis.from_url(url) as client:
        client.flushdb()


def _service(place: str, program: Path) -> RedisService:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return RedisService(f"{place}, {said.split('v=')[1].split()[0]}", program=program)


@contextmanager
def watched(pid: str, number: str, folder: Path) -> Iterator[None]:
    """End the server by its process id even if the test run is killed: then the watcher's pipe closes."""
    script = f'cat >/dev/null; kill -{number} "$1" 2>/dev/null && sleep 1 && rm -rf "$2"'
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", script, "watcher", pid, str(folder)], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        watcher.kill()  # before its pipe closes: this time the server is stopped in the usual way
        watcher.communicate()


def _on_this_machine() -> list[Path]:
    """The folders with a whole server; Debian keeps them out of PATH, one for each version."""
    path = [Path(folder) for folder in os.get_exec_path()]
    debian = sorted(Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda found: -float(found.parent.name))
    return [folder for folder in (*path, *debian) if all((folder / name).is_file() for name in _NEEDED)]


def _version(programs: Path) -> str:
    asked = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True)
    return "PostgreSQL " + asked.stdout.split()[2]

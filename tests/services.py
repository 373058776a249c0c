"""The servers tests run on: one that is named, else one found here and started privately, else a wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from datapipe.errors import PlanError
from datapipe.local.postgres import embedded_postgres
from datapipe.local.programs import installed_programs

URL_VARIABLE = "DATAPIPE_TEST_POSTGRESQL_URL"

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
        with server as url, _watched(folder):
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _watched(folder: Path) -> Iterator[None]:
    """End the server by its process id even if the test run is killed: then the watcher's pipe closes."""
    script = 'cat >/dev/null; kill -QUIT "$1" 2>/dev/null && sleep 1 && rm -rf "$2"'
    pid = (folder / "data" / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0]
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

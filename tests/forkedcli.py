"""``datapipe`` and workers that start in a moment: a process that has imported everything forks for each of them.

For tests of what they do. How the programs start, and what they load, is tested with the programs themselves.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import runpy
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[1]
# All but datapipe.workers, which reads the environment when it is imported.
_MODULES = (
    *("datapipe.cli.app", "datapipe.cli.reporting", "datapipe.engine.runner", "datapipe.display.terminal"),
    *(f"datapipe.persistence.{kind}" for kind in ("postgresql", "sqlite", "mysql", "duckdb")),
    *("adbc_driver_postgresql.dbapi", "pandas", "pyarrow.compute", "pymysql"),
    *("celery.app.base", "celery.apps.worker", "celery.backends.redis", "celery.concurrency.prefork"),
    *("celery.worker.consumer", "kombu.transport.redis", "redis"),
)
# What stands for the command: it sends its arguments, environment, folder and streams, and ends as the command ends.
_CLIENT = """#!{python} -IS
import array, json, os, socket, sys
with socket.socket(socket.AF_UNIX) as conn:
    conn.connect({place!r})
    asked = json.dumps([None, sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
    socket.send_fds(conn, [len(asked).to_bytes(4, "big")], [0, 1, 2])
    conn.sendall(asked)
    conn.recv(4)
    ended = conn.recv(2)
sys.exit(int.from_bytes(ended, "big", signed=True) % 256 if ended else 255)
"""


@cache
def forked_cli() -> Path:
    """The path of a program that is ``datapipe``, but is not to be sent signals; it is there until the tests end."""
    ends = ExitStack()
    atexit.register(ends.close)
    return ends.enter_context(_serving())


class Forked:
    """``python -m MODULE`` in a session of its own; it has what tests use of ``subprocess.Popen``."""

    def __init__(self, module: str, arguments: Sequence[str], env: Mapping[str, str], cwd: Path, output: int) -> None:
        asked = json.dumps([module, list(arguments), dict(env), str(cwd)]).encode()
        self._conn, self._code = socket.socket(socket.AF_UNIX), None
        self._conn.connect(str(forked_cli().with_name("socket")))
        with Path(os.devnull).open() as nothing:
            socket.send_fds(self._conn, [len(asked).to_bytes(4, "big")], [nothing.fileno(), output, output])
        self._conn.sendall(asked)
        self.pid = int.from_bytes(self._conn.recv(4), "big")

    def poll(self) -> int | None:
        """The exit code, or None as long as it runs."""
        return self._ended(0)

    def wait(self, timeout: float) -> int:
        """The exit code, once it has ended."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return code

    def _ended(self, seconds: float) -> int | None:
        if self._code is None and select.select([self._conn], [], [], seconds)[0]:
            self._code = int.from_bytes(self._conn.recv(2), "big", signed=True)
            self._conn.close()
        return self._code


@contextmanager
def _serving() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="datapipe-tests-") as folder:
        place, program = Path(folder, "socket"), Path(folder, "datapipe")
        program.write_text(_CLIENT.format(python=sys.executable, place=str(place)))
        program.chmod(0o755)
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        environment = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "forkedcli", str(place)]
        pipe = subprocess.PIPE
        # The server ends when its standard input does, and that does when the tests end, however they do.
        with subprocess.Popen(command, env=environment, cwd=folder, text=True, stdin=pipe, stdout=pipe) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield program


def serve(place: str) -> None:
    """Fork for each client until standard input ends."""
    from crash.forkserver import import_all

    import_all(_MODULES)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen(64)
        print("ready", flush=True)
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            conn, _ = listener.accept()
            if os.fork() == 0:
                break
            conn.close()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        else:
            return
    _answer(conn)


def _answer(conn: socket.socket) -> NoReturn:
    """Run a program in a process of its own, and tell its process id and how it ended."""
    size, streams, _, _ = socket.recv_fds(conn, 4, 3)
    with conn.makefile("rb") as asked:
        module, arguments, environment, folder = json.loads(asked.read(int.from_bytes(size, "big")))
    child = os.fork()
    if child == 0:
        conn.close()
        _become(streams, environment, folder)
        os._exit(_ran(_command(arguments) if module is None else _program(module, arguments)))
    for stream in streams:
        os.close(stream)
    with contextlib.suppress(OSError):  # nobody waits any longer
        conn.sendall(child.to_bytes(4, "big"))
        conn.sendall(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]).to_bytes(2, "big", signed=True))
    os._exit(0)


def _become(streams: list[int], environment: dict[str, str], folder: str) -> None:
    """Be as a new process would be."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    del sys.modules["polars"]  # whoever needs it may import it now
    sys.path[:0] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]


def _command(arguments: list[str]) -> Callable[[], None]:
    from datapipe.cli import main

    sys.argv = ["datapipe", *arguments]
    return main


def _program(module: str, arguments: list[str]) -> Callable[[], object]:
    os.setsid()
    sys.argv = [module, *arguments]
    sys.path.insert(0, str(Path.cwd()))
    return partial(runpy.run_module, module, run_name="__main__", alter_sys=True)


def _ran(main: Callable[[], object]) -> int:
    """Run a program, and do what an interpreter does at its end, but for taking everything apart; the exit code."""
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001  # as an interpreter does
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]  # there is one
        code = 1
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    serve(sys.argv[1])

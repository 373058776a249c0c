"""``datapipe`` and ``python`` that start in a moment: a process that has imported everything forks for each of them.

For tests of what commands, workers and scripts do. How programs start, what they load, and how much memory they take
is tested with the programs themselves.
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
from types import ModuleType
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]
_TEMPORARY, _ENVIRONMENT = tempfile.gettempdir(), dict(os.environ)  # before a test changes them for itself
# All but datapipe.workers, which reads the environment when it is imported.
_MODULES = (
    *("datapipe.cli.app", "datapipe.cli.cleanup", "datapipe.cli.notebookruns", "datapipe.configuration"),
    *("datapipe.display.terminal", "datapipe.engine", "datapipe.listing", "datapipe.quarantine", "datapipe.reading"),
    *("datapipe.notebooks.job", "datapipe.notebooks.parameters"),
    *(f"datapipe.persistence.{kind}" for kind in ("postgresql", "sqlite", "mysql", "duckdb")),
    *("adbc_driver_postgresql.dbapi", "pandas", "pandera.pandas", "pyarrow.compute", "pyarrow.parquet", "pymysql"),
    *("celery.app.base", "celery.apps.worker", "celery.backends.redis", "celery.concurrency.prefork"),
    *("celery.worker.consumer", "kombu.transport.redis", "redis"),
)
# What stands for a program: it sends its name, arguments, environment, folder and streams, and ends as the fork does.
_CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as conn:
    conn.connect({place!r})
    asked = json.dumps([{name!r}, sys.argv[1:], dict(os.environ), os.getcwd(), False]).encode()
    socket.send_fds(conn, [len(asked).to_bytes(4, "big")], [0, 1, 2])
    conn.sendall(asked)
    conn.recv(4)
    ended = conn.recv(2)
code = int.from_bytes(ended, "big", signed=True) if ended else 255
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@cache
def _programs() -> Path:
    """The folder of the programs, which are there until the tests end."""
    ends = ExitStack()
    found = ends.enter_context(_serving())
    atexit.register(ends.close)
    return found


def forked_cli() -> Path:
    """The path of a program that is ``datapipe``, but is not to be sent signals."""
    return _programs() / "datapipe"


def forked_python() -> str:
    """The path of a program that is ``python`` with ``-c``, ``-m`` or a file, but is not to be sent signals."""
    return str(_programs() / "python")


class Forked:
    """``python`` with ``-c``, ``-m`` or a file, in a session of its own; what tests use of ``subprocess.Popen``."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        output: int | None = None,
    ) -> None:
        """``output`` takes standard output and errors; without it, ``stdout`` is a pipe to be read."""
        asked = json.dumps(
            ["python", list(arguments), dict(os.environ if env is None else env), str(cwd or Path.cwd()), True]
        ).encode()
        self.stdout: Any = None
        self._code: int | None = None
        self._conn = socket.socket(socket.AF_UNIX)
        self._conn.connect(str(_programs() / "socket"))
        with ExitStack() as ends:
            nothing = ends.enter_context(Path(os.devnull).open())
            if output is None:
                read, write = os.pipe()
                ends.callback(os.close, write)
                self.stdout = open(read, encoding="utf-8")  # noqa: PTH123, SIM115  # a pipe, closed when it has ended
            streams = [write, 2] if output is None else [output, output]
            socket.send_fds(self._conn, [len(asked).to_bytes(4, "big")], [nothing.fileno(), *streams])
        self._conn.sendall(asked)
        self.pid = int.from_bytes(self._conn.recv(4), "big")

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        if self.stdout is not None:
            self.stdout.close()

    @property
    def returncode(self) -> int | None:
        """The exit code, if it is known that it has ended."""
        return self._code

    def poll(self) -> int | None:
        """The exit code, or None as long as it runs."""
        return self._ended(0)

    def wait(self, timeout: float = 60) -> int:
        """The exit code, once it has ended."""
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Signal it, if it has not ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9."""
        self.send_signal(9)

    def _ended(self, seconds: float) -> int | None:
        if self._code is None and select.select([self._conn], [], [], seconds)[0]:
            self._code = int.from_bytes(self._conn.recv(2), "big", signed=True)
            self._conn.close()
        return self._code


@contextmanager
def _serving() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="datapipe-tests-", dir=_TEMPORARY) as made:
        folder = Path(made)
        for name in ("datapipe", "python"):
            text = _CLIENT.format(python=sys.executable, place=str(folder / "socket"), name=name)
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        environment = {**_ENVIRONMENT, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "forked", str(folder / "socket")]
        pipe = subprocess.PIPE
        # The server ends when its standard input does, and that does when the tests end, however they do.
        with subprocess.Popen(command, env=environment, cwd=folder, text=True, stdin=pipe, stdout=pipe) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield folder


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
        program, arguments, environment, folder, alone = json.loads(asked.read(int.from_bytes(size, "big")))
    child = os.fork()
    if child == 0:
        conn.close()
        if alone:
            os.setsid()
        _become(streams, environment, folder)
        os._exit(_ran(_command(arguments) if program == "datapipe" else _python(arguments)))
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
    tempfile.tempdir = None
    del sys.modules["polars"]  # whoever needs it may import it now
    sys.path[:0] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]


def _command(arguments: list[str]) -> Callable[[], object]:
    from datapipe.cli import main

    sys.argv = ["datapipe", *arguments]
    return main


def _python(arguments: list[str]) -> Callable[[], object]:
    first, *rest = arguments
    if first == "-c":
        sys.argv, main = ["-c", *rest[1:]], ModuleType("__main__")
        sys.path.insert(0, "")
        sys.modules["__main__"] = main
        return partial(exec, compile(rest[0], "<string>", "exec"), vars(main))
    if first == "-m":
        sys.argv = rest
        sys.path.insert(0, str(Path.cwd()))
        return partial(runpy.run_module, rest[0], run_name="__main__", alter_sys=True)
    sys.argv = arguments
    sys.path.insert(0, str(Path(first).parent))
    return partial(runpy.run_path, first, run_name="__main__")


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

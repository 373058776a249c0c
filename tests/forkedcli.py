"""``datapipe`` that starts in a moment: a process that has imported everything forks for each command.

For tests of what commands do. How the program starts, and what it loads, is tested with the program itself.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[1]
# All but datapipe.workers, which reads the environment when it is imported.
_MODULES = (
    *("datapipe.cli.app", "datapipe.cli.reporting", "datapipe.engine.runner", "datapipe.display.terminal"),
    *(f"datapipe.persistence.{kind}" for kind in ("postgresql", "sqlite", "mysql", "duckdb")),
    *("adbc_driver_postgresql.dbapi", "celery.app.base", "kombu", "pandas", "pyarrow.compute", "pymysql", "redis"),
)
# What stands for the program: it sends its arguments, environment, folder and streams, and ends as the command ends.
_CLIENT = """#!{python} -IS
import array, json, os, socket, sys
with socket.socket(socket.AF_UNIX) as conn:
    conn.connect({place!r})
    asked = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
    socket.send_fds(conn, [len(asked).to_bytes(4, "big")], [0, 1, 2])
    conn.sendall(asked)
    ended = conn.recv(1)
sys.exit(ended[0] if ended else 255)
"""


@contextmanager
def forked_cli() -> Iterator[Path]:
    """The path of a program that is ``datapipe``, but is not to be sent signals."""
    with tempfile.TemporaryDirectory(prefix="datapipe-tests-") as folder:
        yield from _serving(Path(folder))


def _serving(folder: Path) -> Iterator[Path]:
    place, program = folder / "socket", folder / "datapipe"
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
    """Run a command in a process of its own, and tell how it ended."""
    size, streams, _, _ = socket.recv_fds(conn, 4, 3)
    with conn.makefile("rb") as asked:
        arguments, environment, folder = json.loads(asked.read(int.from_bytes(size, "big")))
    child = os.fork()
    if child == 0:
        conn.close()
        _become(streams, arguments, environment, folder)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):  # nobody waits any longer
        conn.sendall(bytes([ended % 256]))
    os._exit(0)


def _become(streams: list[int], arguments: list[str], environment: dict[str, str], folder: str) -> NoReturn:
    """Be what the client would be."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    del sys.modules["polars"]  # whoever needs it may import it now
    sys.argv = ["datapipe", *arguments]
    sys.path[:0] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    os._exit(_ran())


def _ran() -> int:
    """Run the program, and do what an interpreter does at its end, but for taking everything apart; the exit code."""
    from datapipe.cli import main

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

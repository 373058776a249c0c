"""Processes of ours that run beside us: ended in our order, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from datapipe.errors import FatalError
from datapipe.local.sharing import private_file

_STARTING = 120.0  # seconds
_LONG = 10_000_000  # bytes after which a log begins anew


@dataclass
class Child:
    """A process in a session of its own, with a log. Ctrl-C in our terminal does not reach it: we tell it to end.

    Parameters
    ----------
    name : str
        What to call it: ``"the worker"``.
    command : sequence of str
    environment : mapping
        On top of our own.
    log : pathlib.Path
        What it prints is added there.
    ready : str
        What it prints once it works.
    grace : float
        Seconds it has to end.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     child = Child("the echo", ["sh", "-c", "echo ready; sleep 60"], {}, Path(folder) / "logs" / "echo", "ready")
    ...     child.start()
    ...     child.ended()
    ...     child.stop()
    False
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    ready: str
    grace: float = 5.0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    watcher: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        """Its process id, if it was started."""
        return self.process.pid if self.process else None

    def start(self) -> None:
        """Start it, and wait until it works.

        Raises
        ------
        FatalError
            If it ends instead; with its own last lines.
        """
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LONG:
            self.log.rename(f"{self.log}.1")
        in_no_file = {f"{name}_FILE": "" for name in self.environment}  # which would be a second value of it
        with private_file(self.log) as log:
            before = log.tell()
            self.process = subprocess.Popen(  # noqa: S603  # our own programs, no shell
                self.command,
                env={**os.environ, **in_no_file, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.watcher = _watched(self.process.pid)
        until = time.monotonic() + _STARTING
        while self.ready.encode() not in (printed := self._printed(before)):
            if self.ended() or time.monotonic() > until:
                said = " / ".join(printed.decode(errors="replace").strip().splitlines()[-3:])
                raise FatalError(f"{self.name} does not start: {said}", hint=f"See {self.log}")
            time.sleep(0.05)

    def ended(self) -> bool:
        """Whether it has ended, or never began."""
        return self.process is None or self.process.poll() is not None

    def stop(self) -> None:
        """Tell it to end, wait as long as it may take, and end what is left of it."""
        if self.process is not None and not self.ended():
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(self.grace)
        self.kill()

    def kill(self) -> None:
        """End it and all its processes at once, as ``kill -9`` does."""
        self.signal(signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
        if self.watcher is not None:
            self.watcher.kill()
            self.watcher.communicate()
            self.watcher = None

    def signal(self, number: int) -> None:
        """Signal it and all its processes."""
        if self.process is not None:
            with suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
                os.killpg(self.process.pid, number)

    def _printed(self, since: int) -> bytes:
        with self.log.open("rb") as file:
            file.seek(since)
            return file.read()


def _watched(process: int) -> subprocess.Popen[bytes]:
    """End a process when we are gone, even by ``kill -9``: then the watcher's pipe closes."""
    script = 'read -r line; kill -TERM "$1" 2>/dev/null'
    return subprocess.Popen(  # noqa: S603  # a script without anybody's words in it
        ["/bin/sh", "-c", script, "watcher", str(process)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )

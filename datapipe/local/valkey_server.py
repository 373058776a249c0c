"""A Valkey or Redis server in a folder of its own: started, found again, stopped."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from datapipe.errors import FatalError
from datapipe.local.sharing import free_port, locked, private_file, saved

STEP = "embedded Valkey"
_PATIENCE = 60.0  # seconds in which a server has to start, or to end
_SETTINGS = {
    "bind": "127.0.0.1",
    "daemonize": "yes",  # a session of its own, and nobody's child: its first user may leave before the others
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",  # the append-only file is enough
    "maxmemory-policy": "noeviction",  # a queue must not forget
    "pidfile": "server.pid",
    "logfile": "server.log",
}


@dataclass(frozen=True)
class ValkeyServer:
    """A server program and the folder it runs in. Starting and stopping is done by one process at a time.

    Whether it runs is told by a lock that the server inherits, and that the kernel drops when it ends: a process id
    in a file could be somebody else's by now, and two servers on one append-only file would destroy it.

    Parameters
    ----------
    program : pathlib.Path
        ``valkey-server`` or ``redis-server``.
    folder : pathlib.Path
        Where its data, its log and its password are.
    """

    program: Path
    folder: Path

    @property
    def url(self) -> str:
        """Where it is, or was when it last ran."""
        return f"redis://:{saved(self.folder / 'password')}@127.0.0.1:{saved(self.folder / 'port')}/0"

    def start(self, port: int | None = None, settings: Mapping[str, str] | None = None) -> str:
        """Make sure that the server runs and answers; returns its URL.

        Raises
        ------
        PlanError
            If the port is taken.
        FatalError
            If it does not start; with what its log says.
        """
        launched, until = False, time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            with private_file(self.folder / "server.lock") as lock:
                if locked(lock):  # no server, then
                    if launched:
                        break
                    self._launch(lock.fileno(), port, settings or {})
                    launched = True
            if self._answers():
                return self.url
            time.sleep(0.02)
        log = self.folder / "server.log"
        raise FatalError(f"the server does not start: {_last_lines(log)}", step=STEP, hint=f"See {log}")

    def stop(self) -> None:
        """Stop the server, if it runs, with all it knows on the disk.

        Raises
        ------
        FatalError
            If it does not end.
        """
        until = time.monotonic() + _PATIENCE
        while self.runs():
            if time.monotonic() > until:
                raise FatalError("the server does not end", step=STEP, hint=f"See {self.folder / 'server.log'}")
            with suppress(redis.RedisError):
                self.client().shutdown()
            time.sleep(0.02)

    def runs(self) -> bool:
        """Whether there is a server in this folder."""
        with private_file(self.folder / "server.lock") as lock:
            return not locked(lock)

    def client(self) -> redis.Redis:
        """A connection that gives up at once."""
        return redis.Redis.from_url(
            self.url, socket_connect_timeout=5, socket_timeout=5, retry=Retry(NoBackoff(), 0), decode_responses=True
        )

    def _launch(self, lock: int, port: int | None, settings: Mapping[str, str]) -> None:
        chosen = free_port(port, saved(self.folder / "port"), STEP)
        password = saved(self.folder / "password") or secrets.token_urlsafe(18)
        _write(self.folder / "password", password)
        _write(self.folder / "port", str(chosen))
        # Everybody can read a command line, so that the password is in a file.
        known = {**_SETTINGS, "dir": str(self.folder), "port": str(chosen), "requirepass": password, **settings}
        lines = [f"{name} {json.dumps(value, ensure_ascii=False)}\n" for name, value in known.items()]
        _write(self.folder / "server.conf", "".join(lines))
        try:
            done = subprocess.run(  # noqa: S603  # the server's own program, no shell
                [self.program, self.folder / "server.conf"],
                cwd=self.folder,
                env={**os.environ, "LC_ALL": "C"},  # a locale that is not installed would keep it from starting
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                umask=0o077,
                pass_fds=[lock],
            )
        except OSError as error:  # it is not there, or made for another machine
            raise FatalError(f"{self.program} does not run: {error.strerror}", step=STEP) from None
        if done.returncode != 0:
            said = done.stdout.strip().splitlines() or [f"exit code {done.returncode}"]
            raise FatalError(f"{self.program.name} failed: {' / '.join(said[-3:])}", step=STEP)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:  # not yet, or it still reads its data
            return False


def _write(path: Path, text: str) -> None:
    """Replace a file whole; nobody else may read it, from its creation on."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with private_file(draft) as file:
        file.write(text)
    draft.rename(path)


def _last_lines(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return " / ".join(lines[-3:]) or "it wrote no log"

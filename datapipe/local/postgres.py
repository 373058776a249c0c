"""PostgreSQL from pip: a private server that runs while somebody uses it."""

from __future__ import annotations

import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from datapipe.errors import FatalError
from datapipe.local.programs import STEP, Programs, prepare
from datapipe.local.sharing import free_port, saved, shared_server
from datapipe.settings import data_home

_LOCALE = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"  # one that is there
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path has a length limit, and not every tool takes one
    "synchronous_commit": "off",  # a crash may lose the last moments, never the rest
}


@contextmanager
def embedded_postgres(
    folder: Path | None = None,
    *,
    port: int | None = None,
    programs: Path | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """A PostgreSQL server of one's own: started by its first user, stopped by its last.

    Several processes may use one folder at a time. A server left behind by a process that was killed is
    found again, and the data stay. Port and password are kept too, so that the URL is the same next time.

    Parameters
    ----------
    folder : pathlib.Path, optional
        Where the data live. The default is in the user's data directory; DATAPIPE_HOME moves it.
    port : int, optional
        The port on 127.0.0.1, if the server is not running yet. The default is the last one, or a free one.
    programs : pathlib.Path, optional
        The folder of another PostgreSQL's programs.
    settings : mapping, optional
        Server settings by name, for a server that is not running yet.

    Yields
    ------
    str
        The URL of database ``postgres``, with the password.

    Raises
    ------
    PlanError
        If the ``local`` extra is not installed, or the port is taken.
    FatalError
        If the server does not start.

    Examples
    --------
    >>> with embedded_postgres() as url:  # doctest: +SKIP
    ...     datapipe.read("SELECT 1 AS one", source=url).preview()
    """
    place = (folder or data_home() / "postgresql").expanduser().absolute()
    cluster = Cluster(prepare(place, programs))
    with shared_server(place, lambda: cluster.start(port, {**_SETTINGS, **(settings or {})}), cluster.stop) as url:
        yield url


@dataclass(frozen=True)
class Cluster:
    """One data directory, and the server on it. Starting and stopping is done by one process at a time."""

    programs: Programs

    @property
    def data(self) -> Path:
        return self.programs.folder / "data"

    def start(self, port: int | None, settings: Mapping[str, str]) -> str:
        """Make sure that the server runs; returns its URL."""
        if not self.data.exists():
            self._create()
        process = self._process()
        if process is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            self._launch(port, settings)
        return self._wait()

    def stop(self) -> None:
        """Stop the server, if it runs."""
        if self._process() is not None:
            self.programs.run("pg_ctl", "stop", "-D", str(self.data), "-m", "fast", "-w")

    def _create(self) -> None:
        """Initialise beside the final place, so that an interrupted attempt leaves nothing half done."""
        draft, secret = self.data.with_name("data.new"), self.programs.folder / "password"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        secret.touch(mode=0o600)
        secret.write_text(secrets.token_urlsafe(18), encoding="ascii")
        self.programs.own(draft)
        self.programs.own(secret)
        # A password, because every user of this machine can reach the port.
        access = ("--username=postgres", "--auth=scram-sha-256", f"--pwfile={secret}")
        text = ("--encoding=UTF8", "--locale=C", f"--lc-ctype={_LOCALE}")
        self.programs.run("initdb", "-D", str(draft), *access, *text, "--no-sync")
        draft.rename(self.data)

    def _launch(self, port: int | None, settings: Mapping[str, str]) -> None:
        log = self.programs.folder / "server.log"
        log.touch()
        self.programs.own(log)
        chosen = free_port(port, self._saved("port"), STEP)
        (self.programs.folder / "port").write_text(str(chosen), encoding="ascii")
        options = " ".join(f"-c {name}='{value}'" for name, value in {**settings, "port": chosen}.items())
        wait = ("-w", "-t", "60")
        self.programs.run("pg_ctl", "start", "-D", str(self.data), "-l", str(log), *wait, "-o", options)

    def _process(self) -> int | None:
        """The server's process id, or None. A stale file may name a process that is something else by now."""
        try:
            pid = int((self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])
        except (OSError, ValueError, IndexError):
            return None
        import psutil  # comes with the local extra

        with suppress(psutil.Error):
            process = psutil.Process(pid)
            if process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE:
                return pid
        return None

    def _wait(self) -> str:
        """The URL, once the server takes connections: after a crash it recovers first."""
        url = f"postgresql://postgres:{self._saved('password')}@127.0.0.1:{self._saved('port')}/postgres"
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(url, connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    reason = str(error).strip().splitlines()[-1]
                    raise FatalError(
                        f"the server does not answer: {reason}",
                        step=STEP,
                        hint=f"See {self.programs.folder / 'server.log'}",
                    ) from None
                time.sleep(0.1)
            else:
                return url

    def _saved(self, name: str) -> str:
        return saved(self.programs.folder / name)

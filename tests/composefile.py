"""docker-compose.yml without Docker: what it says, and its services' own commands and health checks, run here."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docker-compose.yml"
REFERENCE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\})")


def composed() -> dict[str, Any]:
    """The file, with its anchors in place."""
    found: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return found


def interpolated(text: str, given: Mapping[str, str]) -> str:
    """The text as Compose reads it: ``${NAME}``, ``${NAME:-default}``, ``${NAME:?message}``, and ``$$`` for ``$``."""

    def value(match: re.Match[str]) -> str:
        if match["name"] is None:
            return "$"
        found = given.get(match["name"], "")
        assert found or match["kind"] != "?", f"{match['name']}: {match['rest']}"
        return found or (match["rest"] if match["kind"] == "-" else "")

    return REFERENCE.sub(value, text)


def seconds(duration: str) -> float:
    assert re.fullmatch(r"\d+s", duration), duration
    return float(duration[:-1])


@dataclass
class Service:
    """A service of the file as a process of this machine.

    ``given`` is what .env would say. ``places`` are texts of the file, such as names of hosts, with what stands for
    them here; ``extra`` are further arguments. No variable is inherited: a container does not either.
    """

    name: str
    folder: Path
    given: Mapping[str, str]
    places: Mapping[str, str]
    extra: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = composed()["services"][self.name]
        return found

    @property
    def environment(self) -> dict[str, str]:
        said = {
            key: self.given.get(key) if value is None else self.here(str(value))
            for key, value in (self.config.get("environment") or {}).items()
        }
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        own = {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(self.folder), "DATAPIPE_HOME": str(self.folder)}
        return own | {key: value for key, value in said.items() if value is not None}

    @property
    def log(self) -> str:
        path = self.folder / f"{self.name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def here(self, text: str) -> str:
        found = interpolated(text, self.given)
        there = "|".join(map(re.escape, self.places))
        return re.sub(there, lambda match: self.places[match[0]], found) if there else found

    def start(self) -> subprocess.Popen[bytes]:
        command = [self.here(word) for word in self.config["command"]]
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self.extra],
                env=self.environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.process

    def check(self, **variables: str) -> int:
        """The exit code of its health check; one that does not end in time has failed, as for Docker."""
        check = self.config["healthcheck"]
        kind, *words = check["test"]
        command = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
        try:
            done = subprocess.run(
                [self.here(word) for word in command],
                env=self.environment | variables,
                cwd=self.folder,
                capture_output=True,
                timeout=seconds(check["timeout"]),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 1
        return done.returncode

    def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(30)


@contextmanager
def running(service: Service, says: str = "") -> Iterator[Service]:
    """A service whose health check says that it is up, asked once its log ``says`` something."""
    process = service.start()
    try:
        until = time.monotonic() + 60
        while says not in service.log or service.check():
            assert process.poll() is None, service.log[-3000:]
            assert time.monotonic() < until, service.log[-3000:]
            time.sleep(0.1)
        yield service
    finally:
        service.kill()

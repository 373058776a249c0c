"""A JupyterLab server that belongs to the tests: nothing of the user's is read or written."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services import watched

ROOT = Path(__file__).parents[2]

# What users would set in the settings editor; "defer" keeps every cell in the page, so that it can be looked at.
_SETTINGS: dict[str, dict[str, Any]] = {
    "notebook-extension/tracker": {"windowingMode": "defer"},
    "docmanager-extension/plugin": {"autosave": False},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
_OPTIONS = (
    "--no-browser",
    "--allow-root",
    "--IdentityProvider.token=",
    "--ServerApp.ip=127.0.0.1",
    "--ServerApp.disable_check_xsrf=True",
    "--LabApp.expose_app_in_browser=True",
    "--LabApp.news_url=",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.extension_manager=readonly",
)


@dataclass(frozen=True)
class LabServer:
    """A server: its URL, and the folder whose notebooks it shows."""

    url: str
    folder: Path
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes]

    def wait(self) -> None:
        """Wait until it answers."""
        until = time.monotonic() + 60
        while True:
            try:
                self.ask("GET", "status")
            except OSError:
                assert self.process.poll() is None, self.log.read_text(errors="replace")[-3000:]
                assert time.monotonic() < until, self.log.read_text(errors="replace")[-3000:]
                time.sleep(0.1)
            else:
                return

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """A call of its REST interface, and the answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def start_session(self, path: str) -> str:
        """Start a notebook's kernel; its id. JupyterLab finds it there when it opens the notebook."""
        body = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "python3"}}
        return str(self.ask("POST", "sessions", body)["kernel"]["id"])

    def end_sessions(self, path: str) -> None:
        """End a notebook's kernel, if there is one."""
        for session in self.ask("GET", "sessions"):
            if session["path"] == path:
                self.ask("DELETE", f"sessions/{session['id']}")


@contextmanager
def starting_lab() -> Iterator[LabServer]:
    """A server that starts on a free port, in a folder of its own; ended, with its kernels, afterwards."""
    home = Path(tempfile.mkdtemp(prefix="datapipe-lab-"))
    environment = private_environment(home)
    _write_settings(home / "settings")
    (home / "work").mkdir()
    port = _free_port()
    options = (*_OPTIONS, f"--ServerApp.port={port}", f"--ServerApp.root_dir={home / 'work'}")
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=environment,
            cwd=home / "work",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        with watched(str(process.pid), "TERM", home):
            yield LabServer(f"http://127.0.0.1:{port}", home / "work", environment, home / "log", process)
    finally:
        _end(process)
        shutil.rmtree(home, ignore_errors=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM ends the kernels too; those of a killed server end by themselves."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def private_environment(home: Path) -> dict[str, str]:
    """The environment of a server and its kernels: this checkout, and folders of their own below ``home``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATAPIPE_", "JUPYTER", "JPY_"))}
    places = {
        "HOME": "home",
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
        "DATAPIPE_HOME": "datapipe",
    }
    for name, folder in places.items():
        (home / folder).mkdir()
        kept[name] = str(home / folder)
    return {**kept, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}


def _write_settings(folder: Path) -> None:
    for name, settings in _SETTINGS.items():
        path = folder / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings), encoding="utf-8")

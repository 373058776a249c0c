"""``datapipe lab``: JupyterLab beside a PostgreSQL, a Valkey and a worker, kept up until Ctrl-C."""

from __future__ import annotations

import importlib.util
import os
import secrets
import sys
import webbrowser
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from datapipe.errors import PlanError
from datapipe.local import stack
from datapipe.local.children import Child
from datapipe.local.demo import prepare, show
from datapipe.local.flights import flight_files
from datapipe.local.keeping import look_after, running
from datapipe.local.sharing import free_port
from datapipe.local.valkey import installed_valkey
from datapipe.settings import data_home

_HOST = "127.0.0.1"
_ENDING = "\nJupyterLab ends first, then the worker; Ctrl-C again does not wait for its runs"
_GRACE = 20.0  # seconds in which JupyterLab ends its kernels


def lab(
    console: Console,
    folder: Path | None = None,
    *,
    port: int | None = None,
    browser: bool = True,
    ready: Callable[[Mapping[str, Any]], object] = lambda _: None,
) -> None:
    """Open a folder in JupyterLab, whose notebooks have the connections of an embedded stack, until Ctrl-C.

    The PostgreSQL has the flights in it, and a worker runs what is submitted, as with ``datapipe up``.

    Parameters
    ----------
    console : rich.console.Console
        Where the address is printed, with its token.
    folder : pathlib.Path, optional
        ``notebooks`` of the current folder if there is one, or else the current folder.
    port : int, optional
        JupyterLab's port on 127.0.0.1; a free one if left out.
    browser : bool
        Open a browser, too.
    ready : callable
        Told the address and the folder once everything works.

    Raises
    ------
    PlanError
        If the ``local`` extra is not installed, there is no such folder, or the port is taken.
    FatalError
        If something does not start.

    Examples
    --------
    >>> lab(Console(), Path("notebooks"), browser=False)  # doctest: +SKIP
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise PlanError("JupyterLab is missing", hint='Run: pip install "datapipe-sdk[local]"')
    flight_files(), installed_valkey()  # a missing extra is said at once
    place = _opened(folder)
    children: list[Child] = []
    with suppress(KeyboardInterrupt), stack.until_told(children), stack.running_servers() as variables:
        prepare(variables["DEST_DB_URL"], console)
        jupyter, address = _jupyter(variables, place, port)
        children += [jupyter, stack.worker(variables)]
        with running(children, console, _ENDING):
            show(console, f"\nJupyterLab on {place}, and a worker; their logs: {jupyter.log.parent}\n")
            show(console, f"{address}\n\nCtrl-C stops everything; the data stay.")
            ready({"address": address, "folder": str(place), "logs": str(jupyter.log.parent)})
            if browser:
                webbrowser.open(address)
            look_after(children, console, until=jupyter)  # which has a menu for that
    show(console, "\nstopped")


def _opened(folder: Path | None) -> Path:
    place = folder or (Path("notebooks") if Path("notebooks").is_dir() else Path())
    found = place.expanduser().resolve()
    if not found.is_dir():
        raise PlanError(f"{folder} is no folder", hint="Give the folder with your notebooks")
    return found


def _jupyter(variables: dict[str, str], folder: Path, port: int | None) -> tuple[Child, str]:
    """JupyterLab, not started yet, and its address."""
    found, token = free_port(port, "", "JupyterLab"), secrets.token_urlsafe(24)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.root_dir={folder}"]
    command += [f"--ServerApp.ip={_HOST}", f"--ServerApp.port={found}", "--ServerApp.port_retries=0"]
    command += ["--ServerApp.allow_root=True"] if os.geteuid() == 0 else []
    # Everybody can read a command line, so that the token is in its environment.
    own = {**variables, "JUPYTER_TOKEN": token}
    log = data_home() / "logs" / "jupyterlab.log"
    child = Child("JupyterLab", command, own, log, " is running at:", _GRACE)
    return child, f"http://{_HOST}:{found}/lab?token={token}"

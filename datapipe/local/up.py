"""``datapipe up``: a PostgreSQL, a Valkey and a worker, kept up until Ctrl-C."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from datapipe.local import stack
from datapipe.local.children import Child
from datapipe.local.demo import prepare, show
from datapipe.local.envfile import write_env_file
from datapipe.local.flights import flight_files
from datapipe.local.keeping import look_after, running
from datapipe.local.valkey import installed_valkey
from datapipe.settings import settings
from datapipe.store import open_store
from datapipe.store.apikeys import list_keys

_ENDING = "\nthe worker ends first; Ctrl-C again does not wait for its runs"
_TRY = (
    'datapipe run --query "SELECT carrier, COUNT(*) AS flights FROM flights.flights GROUP BY carrier"'
    " --table-name carriers --strategy replace"
)


def up(
    console: Console,
    *,
    env_file: Path | None = None,
    api: bool = False,
    flower: bool = False,
    concurrency: int | None = None,
    ready: Callable[[Mapping[str, Any]], object] = lambda _: None,
) -> None:
    """Keep the embedded PostgreSQL, with the flights in it, the embedded Valkey and one worker until Ctrl-C.

    SIGTERM and a closed terminal end them, too: the worker first, which has time to put back what it runs.

    Parameters
    ----------
    console : rich.console.Console
        Where the variables to paste are printed, passwords included.
    env_file : pathlib.Path, optional
        Where to write them, too. Other lines of it stay; nobody else may read it.
    api : bool
        Also start the REST interface with the web page, and Flower.
    flower : bool
        Also start Flower, Celery's monitor, with a password.
    concurrency : int, optional
        Runs at a time in the worker; WORKER_CONCURRENCY if left out.
    ready : callable
        Told the variables and the addresses once everything works.

    Raises
    ------
    PlanError
        If the ``local`` extra is not installed, or a line of the file has another value.
    FatalError
        If something does not start.

    Examples
    --------
    >>> up(Console(), env_file=Path(".env"))  # doctest: +SKIP
    """
    flight_files(), installed_valkey()  # a missing extra is said at once
    children: list[Child] = []
    with suppress(KeyboardInterrupt), stack.until_told(children), stack.running_servers() as variables:
        if env_file is not None:
            written = write_env_file(env_file, variables)
            show(console, f"{env_file}: wrote {', '.join(written) or 'nothing new'}; mode 0600")
        prepare(variables["DEST_DB_URL"], console)
        children.append(stack.worker(variables, concurrency))
        addresses: dict[str, Any] = {}
        further = _further(children, variables, addresses, api=api, flower=flower or api)
        with running(children, console, _ENDING):
            show(console, "\nPaste this into another terminal (or, without export, into .env):\n")
            show(console, "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()))
            show(console, f"The worker is ready; its log: {children[0].log}\n{further}")
            show(console, f"Then try:\n\n{_TRY}\n\nCtrl-C stops everything; the data stay.")
            ready({"environment": variables, "worker_log": str(children[0].log), **addresses})
            look_after(children, console)
    show(console, "\nstopped")


def _further(
    children: list[Child], variables: dict[str, str], addresses: dict[str, Any], *, api: bool, flower: bool
) -> str:
    """Add the processes that were asked for, and their addresses; what there is to say of them."""
    told = ""
    if api:
        rest, address = stack.api(variables)
        children.append(rest)
        addresses["api"] = {"address": address}
        store = open_store()
        is_keyed = store is not None and not settings().api_open and bool(list_keys(store))
        who = " (requests need an API key)" if is_keyed else ""
        told += f"REST interface and web page: {address}{who}; its documentation: {address}/docs\n"
        told += f"{_post(address, '-u :KEY ' if is_keyed else '')}\n"
    if flower:
        monitor, address, login = stack.flower(variables)
        children.append(monitor)
        addresses["flower"] = {"address": address, "login": login}
        told += f"Flower: {address}, user and password {login}\n"
    return told


def _post(address: str, key: str) -> str:
    """A request to paste."""
    plan = {
        "ingestion": {"query": "SELECT carrier, COUNT(*) AS flights FROM flights.flights GROUP BY carrier"},
        "persistence": {"table_name": "carriers", "strategy": "replace"},
    }
    body = json.dumps({"pipeline_config": plan})
    return f"curl {key}{address}/pipelines -H 'Content-Type: application/json' -d '{body}'"

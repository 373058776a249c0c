"""The commands that start servers on this machine: demo, up, lab."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datapipe.cli.reporting import Debug, Json, ReadyJson, ready_line, reported

if TYPE_CHECKING:
    from rich.console import Console


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in (demo, up, lab):
        app.command()(command)


def demo(
    workers: Annotated[
        bool, typer.Option("--workers", help="On a worker, which is killed in the middle of a load.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Load 336,776 flights into an embedded PostgreSQL, run a pipeline over them, and run it again.

    \b
    datapipe demo
    datapipe demo --workers
    """
    with reported(debug=debug, as_json=as_json):
        if workers:
            from datapipe.local.workers_demo import workers_demo as show  # needs the extra "local"
        else:
            from datapipe.local.demo import demo as show
        began = time.monotonic()
        code = show(_console(as_json=as_json))
        if as_json:
            typer.echo(json.dumps({"ok": code == 0, "seconds": round(time.monotonic() - began, 3)}))
        raise typer.Exit(code)


def up(
    env_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the environment there, too; other lines of it stay.")
    ] = None,
    api: Annotated[bool, typer.Option("--api", help="Start the REST interface and the web page, and Flower.")] = False,
    flower: Annotated[bool, typer.Option("--flower", help="Start Flower, too, with a password.")] = False,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Runs at a time in the worker.")] = None,
    as_json: ReadyJson = False,
    debug: Debug = False,
) -> None:
    """Keep an embedded PostgreSQL, an embedded Valkey and a worker running until Ctrl-C.

    The environment to paste is printed.

    \b
    datapipe up --env-file .env
    datapipe up --api
    """
    with reported(debug=debug, as_json=as_json):
        from datapipe.local.up import up as keep  # needs the extra "local"

        keep(
            _console(as_json=as_json),
            env_file=env_file,
            api=api,
            flower=flower,
            concurrency=concurrency,
            ready=_telling(as_json=as_json),
        )


def lab(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="What to open; ./notebooks, or the current folder.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="JupyterLab's port on 127.0.0.1; a free one if left out.")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    as_json: ReadyJson = False,
    debug: Debug = False,
) -> None:
    """Open JupyterLab beside an embedded PostgreSQL, an embedded Valkey and a worker, until Ctrl-C.

    Its notebooks have the connections already.

    \b
    datapipe lab
    datapipe lab ~/notebooks --no-browser
    """
    with reported(debug=debug, as_json=as_json):
        from datapipe.local.lab import lab as keep  # needs the extra "local"

        keep(_console(as_json=as_json), folder, port=port, browser=not no_browser, ready=_telling(as_json=as_json))


def _console(*, as_json: bool) -> Console:
    """Where people read; beside JSON that is standard error."""
    from rich.console import Console

    return Console(soft_wrap=True, highlight=False, emoji=False, stderr=as_json)


def _telling(*, as_json: bool) -> Callable[[Mapping[str, Any]], object]:
    return ready_line if as_json else lambda _: None

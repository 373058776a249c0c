"""The commands about workers: what they do, and whether all that they need answers."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datapipe.cli.reporting import Debug, Json, ready_line, reported
from datapipe.hosts import part

if TYPE_CHECKING:
    from datapipe.cli.installed import Extra


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in (workers, health, metrics):
        app.command()(command)


def workers(as_json: Json = False, debug: Debug = False) -> None:
    """List workers and queues. Exit code 1: the broker or the run store cannot be asked.

    \b
    datapipe workers
    """
    with reported(debug=debug, as_json=as_json):
        found = _monitor().WorkerMonitor().overview()
        typer.echo(json.dumps(dataclasses.asdict(found), indent=2) if as_json else str(found))
        raise typer.Exit(bool(found.problems))


def health(
    no_workers: Annotated[bool, typer.Option("--no-workers", help="Do not ask for workers.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Tell what is installed, and whether all that runs depend on can be used.

    Exit code 0: all that is configured can be used, and a worker is online, 1: otherwise, and it is said what to do.

    \b
    datapipe health
    datapipe health --no-workers
    """
    with reported(debug=debug, as_json=as_json):
        from datapipe.cli import installed
        from datapipe.workers.health import health as asked

        found = asked(workers=not no_workers)
        lacking, versions = installed.extras(), installed.versions()
        told = {
            "ok": found.ok,
            **dataclasses.asdict(found),
            "versions": versions,
            "extras": [{**dataclasses.asdict(extra), "install": extra.install} for extra in lacking],
        }
        typer.echo(json.dumps(told, indent=2) if as_json else f"{_installed(lacking, versions)}\n\n{found}")
        raise typer.Exit(not found.ok)


def _installed(found: tuple[Extra, ...], versions: Mapping[str, str]) -> str:
    """What is installed, in two or three lines."""
    there = ", ".join(extra.name for extra in found if not extra.missing)
    lines = [", ".join(f"{name} {number}" for name, number in versions.items()), f"extras: {there or 'none'}"]
    lines += [f"not installed: {extra.name}. To have it: {extra.install}" for extra in found if extra.missing]
    return "\n".join(lines)


def metrics(
    port: Annotated[int | None, typer.Option(help="Serve them there until Ctrl-C; else they are printed once.")] = None,
    address: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: the metrics, or where they are served.")] = False,
    debug: Debug = False,
) -> None:
    """Runs, queues, workers and servers in the form that Prometheus reads.

    \b
    datapipe metrics
    datapipe metrics --port 9464
    """
    with reported(debug=debug, as_json=as_json):
        found = part("datapipe.workers.metrics", "workers")
        if port is None:
            told = json.dumps(found.metrics_list(), indent=2) if as_json else found.metrics_text().decode()
            typer.echo(told, nl=as_json)
            return
        served = found.serve_metrics(port, address)
        place = f"http://{address}:{served.port}/metrics"
        if as_json:
            ready_line({"address": place})
        else:
            typer.echo(f"metrics at {place}, until Ctrl-C", err=True)
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            served.close()


def _monitor() -> Any:
    return part("datapipe.workers.monitor", "workers")

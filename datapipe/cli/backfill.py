"""The command that loads a closed range of an incremental plan in slices."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any

import typer

from datapipe.cli.options import MEMORY, Memory, Params, PlanFile
from datapipe.cli.plans import PlanOptions, pipeline_of
from datapipe.cli.reporting import Debug, Json, reported


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command()(backfill)


def backfill(
    plan: PlanFile,
    start: Annotated[str, typer.Option("--from", metavar="VALUE", help="Where the range begins, itself included.")],
    until: Annotated[str, typer.Option("--to", metavar="VALUE", help="Where it ends, itself not included.")],
    every: Annotated[str, typer.Option(metavar="SIZE", help="The size of a slice: 1d, 6h, 1 month, 1000.")],
    name: Annotated[str, typer.Option(help="Another name loads the slices again.")] = "",
    workers: Annotated[bool, typer.Option("--workers", help="Have workers load them, several at once.")] = False,
    param: Params = None,
    memory: Memory = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Load a closed range of an incremental plan in slices, each once. Called again, it does what is left.

    \b
    datapipe backfill orders.yaml --from 2024-01-01 --to 2025-01-01 --every 1d --workers
    """
    with reported(debug=debug, as_json=as_json):
        from datapipe.backfilling import backfill as load  # loads pyarrow

        tell = (lambda _: None) if as_json else lambda each: typer.echo(str(each), err=True)
        found = load(
            pipeline_of(plan, PlanOptions(), param or ()),
            start,
            until,
            every=every,
            name=name,
            workers=workers,
            memory=memory or MEMORY,
            tell=tell,
        )
        typer.echo(json.dumps([_plain(each) for each in found.slices], indent=2) if as_json else str(found))
        raise typer.Exit(bool(found.failed))


def _plain(part: Any) -> dict[str, Any]:
    values = dataclasses.asdict(part)
    return {name: value if isinstance(value, (int, str)) else str(value) for name, value in values.items()}

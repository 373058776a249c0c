"""The command that loads a closed range in slices, by an incremental plan or a notebook."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datapipe.cli.options import AnyParams, Memory, PlanOrNotebook
from datapipe.cli.plans import PlanOptions, columns, pipeline_or_job, texts_of, with_values
from datapipe.cli.reporting import Debug, Json, only_json, reported, stoppable

if TYPE_CHECKING:
    from datapipe.notebooks.job import NotebookJob
    from datapipe.pipeline import Pipeline


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command()(backfill)


def backfill(
    plan: PlanOrNotebook,
    start: Annotated[str, typer.Option("--from", metavar="VALUE", help="Where the range begins, itself included.")],
    until: Annotated[str, typer.Option("--to", metavar="VALUE", help="Where it ends, itself not included.")],
    every: Annotated[str, typer.Option(metavar="SIZE", help="The size of a slice: 1d, 6h, 1 month, 1000.")],
    name: Annotated[str, typer.Option(help="Another name loads the slices again.")] = "",
    into: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="A notebook's parameters for a slice: its start, or start,end."),
    ] = None,
    workers: Annotated[bool, typer.Option("--workers", help="Have workers load them, several at once.")] = False,
    param: AnyParams = None,
    memory: Memory = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Load a closed range in slices, each once. Called again, it does what is left.

    \b
    datapipe backfill orders.yaml --from 2024-01-01 --to 2025-01-01 --every 1d --workers
    datapipe backfill daily.ipynb --from 2024-01-01 --to 2024-02-01 --every 1d --into day
    """
    with stoppable(), reported(debug=debug, as_json=as_json):
        from datapipe.backfilling import backfill as load  # loads pyarrow

        tell = (lambda _: None) if as_json else lambda each: typer.echo(str(each), err=True)
        with only_json(as_json=as_json):
            found = load(
                _given(plan, param or ()),
                start,
                until,
                every=every,
                name=name,
                into=columns([into]) if into else None,
                workers=workers,
                memory=memory,
                tell=tell,
            )
        typer.echo(json.dumps([_plain(each) for each in found.slices], indent=2) if as_json else str(found))
        raise typer.Exit(bool(found.failed))


def _given(file: str, params: Sequence[str]) -> Pipeline | NotebookJob:
    from datapipe.pipeline import Pipeline

    found = pipeline_or_job(file, PlanOptions())
    return with_values(found, params) if isinstance(found, Pipeline) else found.bind(texts_of(params), texts=True)


def _plain(part: Any) -> dict[str, Any]:
    values = dataclasses.asdict(part)
    return {name: value if isinstance(value, (int, str, type(None))) else str(value) for name, value in values.items()}

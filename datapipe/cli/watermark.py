"""The commands about watermarks: how far the loads of an incremental plan have come."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from datapipe.cli.options import Params, PlanFile
from datapipe.cli.plans import PlanOptions, pipeline_of
from datapipe.cli.reporting import Debug, Json, only_json, reported

if TYPE_CHECKING:  # loads pyarrow
    from datapipe.watermarks import PlanWatermark

Values = Annotated[list[str], typer.Argument(metavar="VALUE...", help="One for each column of the cursor.")]
_HELP = """How far the loads of an incremental plan have come.

\b
datapipe watermark show orders.yaml
"""


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=_HELP)
    group.command("set")(set_)
    for command in (show, reset):
        group.command()(command)
    app.add_typer(group, name="watermark")


def show(plan: PlanFile, param: Params = None, as_json: Json = False, debug: Debug = False) -> None:
    """Show the watermark that the last load has left; of files, how many are loaded, and the last ones.

    \b
    datapipe watermark show orders.yaml
    """
    with reported(debug=debug, as_json=as_json):
        with only_json(as_json=as_json):
            found = pipeline_of(plan, PlanOptions(), param or ()).watermark
        _print(found, as_json=as_json)


def set_(plan: PlanFile, value: Values, param: Params = None, as_json: Json = False, debug: Debug = False) -> None:
    """Have the next load begin at a value of the cursor, itself included.

    \b
    datapipe watermark set orders.yaml 2024-01-01T00:00:00
    """
    with reported(debug=debug, as_json=as_json):
        with only_json(as_json=as_json):
            found = pipeline_of(plan, PlanOptions(), param or ()).watermark.set(value)
        _print(found, as_json=as_json)


def reset(plan: PlanFile, param: Params = None, as_json: Json = False, debug: Debug = False) -> None:
    """Have the next load begin as the first did.

    \b
    datapipe watermark reset orders.yaml
    """
    with reported(debug=debug, as_json=as_json):
        with only_json(as_json=as_json):
            found = pipeline_of(plan, PlanOptions(), param or ()).watermark.reset()
        _print(found, as_json=as_json)


def _print(found: PlanWatermark, *, as_json: bool) -> None:
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else str(found))

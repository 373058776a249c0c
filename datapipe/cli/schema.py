"""The commands about schemas: the registry's versions, and what a plan would change."""

from __future__ import annotations

import enum
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datapipe.cli.options import Params, PlanFile
from datapipe.cli.plans import PlanOptions, pipeline_of
from datapipe.cli.reporting import Debug, Json, only_json, reported
from datapipe.errors import PlanError

if TYPE_CHECKING:  # load pyarrow
    from datapipe.pipeline import Pipeline
    from datapipe.schemas import SchemaRegistry

Subject = Annotated[str, typer.Argument(metavar="SUBJECT", help="As schema list has it, or a part: users_staging.")]
Version = Annotated[str | None, typer.Option(metavar="N", help="A version's number or fingerprint.")]


class Promise(enum.StrEnum):
    """What a schema may be expected to keep to."""

    backward = "backward"
    forward = "forward"
    full = "full"


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=_HELP)
    group.command("list")(list_)
    for command in (show, history, diff, check):
        group.command()(command)
    app.add_typer(group, name="schema")


_HELP = """Versions of schemas, and what a plan would change.

\b
datapipe schema check plan.yaml
"""


def list_(as_json: Json = False, debug: Debug = False) -> None:
    """List the subjects of the registry, each with its latest version.

    \b
    datapipe schema list
    """
    with reported(debug=debug, as_json=as_json):
        registry = _registry()
        found = [registry.get(subject) for subject in registry.subjects()]
        if as_json:
            typer.echo(json.dumps([one.to_dict() for one in found], indent=2))
        elif not found:
            typer.echo("no schemas yet")
        for one in () if as_json else found:
            typer.echo(f"{one.created[:19]}  version {one.version:>3}  {len(one.columns):>4} columns  {one.subject}")


def show(subject: Subject, version: Version = None, as_json: Json = False, debug: Debug = False) -> None:
    """Show one version of a schema, the latest one if none is named.

    \b
    datapipe schema show users_staging --version 2
    """
    with reported(debug=debug, as_json=as_json):
        found = _registry().get(subject, _number(version))
        typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else str(found))


def history(subject: Subject, as_json: Json = False, debug: Debug = False) -> None:
    """Show every version of a schema, with what each has changed.

    \b
    datapipe schema history users_staging
    """
    with reported(debug=debug, as_json=as_json):
        found = _registry().history(subject)
        if as_json:
            typer.echo(json.dumps([one.to_dict() for one in found], indent=2))
            return
        for one in found:
            typer.echo(one.head)
            changes = map(str, one.changes) if one.changes is not None else (f"{len(one.columns)} columns",)
            typer.echo("".join(f"  {change}\n" for change in changes), nl=False)


def diff(
    plan: PlanFile,
    against: Annotated[str | None, typer.Option(metavar="PLAN2", help="Compare with another plan.")] = None,
    version: Version = None,
    param: Params = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what differs between a plan's target, as it is now, and its rows.

    Exit code 0: nothing, 1: something, 2: it cannot be told.

    \b
    datapipe schema diff plan.yaml
    datapipe schema diff plan.yaml --against old.yaml
    datapipe schema diff plan.yaml --version 3
    """
    with reported(debug=debug, as_json=as_json, failed=2):
        if against and version:
            raise PlanError("both --against and --version are given", hint="Give one of them")
        with only_json(as_json=as_json):
            other = _pipeline(against, param) if against else _number(version)
            found = _pipeline(plan, param).diff(other)
        typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else str(found))
        raise typer.Exit(bool(found.changes))


def check(
    plan: PlanFile,
    mode: Annotated[
        Promise | None, typer.Option(help="Compare with the latest version in the registry, by this promise.")
    ] = None,
    param: Params = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check a plan for breaking changes. Exit code 0: there are none, 1: there are, 2: it cannot be told.

    \b
    datapipe schema check plan.yaml
    datapipe schema check plan.yaml --mode full
    """
    with reported(debug=debug, as_json=as_json, failed=2):
        from datapipe.inspection import check_with_registry  # loads pyarrow

        with only_json(as_json=as_json):
            pipeline = _pipeline(plan, param)
            verdict = check_with_registry(pipeline.plan, mode.value) if mode else None
            found = pipeline.diff() if not mode else verdict.changes if verdict is not None else None
        told: dict[str, Any] = {"ok": not (found and found.breaking), "mode": mode}
        if as_json:
            typer.echo(json.dumps({**told, **(found.to_dict() if found is not None else {"changes": []})}, indent=2))
        elif found is None:
            typer.echo("no version of the target's schema is registered yet: there is nothing to break")
        else:
            count = len(found.breaking)
            typer.echo(f"{count or 'no'} breaking change{'s' if count != 1 else ''}\n{found}")
        raise typer.Exit(not told["ok"])


def _registry() -> SchemaRegistry:
    from datapipe.schemas import SchemaRegistry  # loads pyarrow

    return SchemaRegistry()


def _pipeline(file: str, params: list[str] | None) -> Pipeline:
    return pipeline_of(file, PlanOptions(), params or ())


def _number(version: str | None) -> int | str | None:
    """A version's number, or its fingerprint, which has 16 digits."""
    return int(version) if version and version.isdecimal() and len(version) < 16 else version

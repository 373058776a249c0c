"""``datapipe config``: what is set here, and where it comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from datapipe.cli.reporting import Debug, Json, reported

if TYPE_CHECKING:
    from datapipe.configuration import Configuration, ShownConnection, ShownSetting

_HELP = """Settings and named connections, as they are here.

\b
datapipe config show
"""


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=_HELP)
    group.command()(show)
    app.add_typer(group, name="config")


def show(as_json: Json = False, debug: Debug = False) -> None:
    """Show every setting and named connection, where it comes from, and what is wrong; never a password.

    Exit code 0: all is right, 1: something is wrong, and it is said what to do.

    \b
    datapipe config show
    datapipe config show --json
    """
    with reported(debug=debug, as_json=as_json):
        from datapipe.configuration import configuration
        from datapipe.display.words import unmoving

        found = configuration()
        told = json.dumps(found.to_dict(), indent=2) if as_json else "\n".join(map(unmoving, _lines(found)))
        typer.echo(told)
        raise typer.Exit(bool(found.problems))


def _lines(found: Configuration) -> Iterator[str]:
    """Tables of settings and connections, and what is wrong with them."""
    from datapipe.display.words import aligned

    yield from aligned([("setting", "value", "from"), *map(_setting, found.settings)]).splitlines()
    yield ""
    if found.connections:
        yield from aligned([("connection", "url", "from"), *map(_connection, found.connections)]).splitlines()
    else:
        yield "no connection has a name"
    if found.problems or found.notes:
        yield ""
    yield from (f"wrong: {text}" for text in found.problems)
    yield from (f"note: {text}" for text in found.notes)


def _setting(found: ShownSetting) -> tuple[str, str, str]:
    value = json.dumps(found.value) if isinstance(found.value, bool) else found.value
    if value in (None, ""):
        value = f"({found.otherwise})" if found.otherwise and not found.problem else "-"
    return found.name, str(value), _from(found.origin, found.problem)


def _connection(found: ShownConnection) -> tuple[str, str, str]:
    pool = ", ".join(f"{name} {value:g}" for name, value in found.pool.items())
    return found.name, (found.url or "-") + (f"  ({pool})" if pool else ""), _from(found.origin, found.problem)


def _from(origin: str, problem: str | None) -> str:
    return f"{origin}, WRONG" if problem else origin

"""The commands about the REST interface: to serve it, and its keys."""

from __future__ import annotations

import dataclasses
import getpass
import json
from typing import Annotated, Any

import typer

from datapipe.cli.reporting import Debug, Json, reported
from datapipe.errors import PlanError
from datapipe.hosts import part

Days = Annotated[float | None, typer.Option(metavar="DAYS", help="How long it is valid; always if left out.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(api)
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=_HELP)
    group.command("list")(list_)
    for command in (create, revoke):
        group.command()(command)
    app.add_typer(group, name="keys")


_HELP = """Keys of the REST interface.

\b
datapipe keys create --owner ann --scope run --days 90
"""


def api(
    host: Annotated[str, typer.Option(help="The address to listen at; others than loopback need keys.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")] = 8000,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Serve the REST interface and the web page until Ctrl-C.

    \b
    datapipe api
    datapipe api --host 0.0.0.0 --port 8080
    """

    def ready(url: str, is_open: bool) -> None:
        if as_json:
            typer.echo(json.dumps({"url": url, "open": is_open}))
            return
        who = "open: whoever reaches this address may do everything" if is_open else "every request needs an API key"
        typer.echo(f"datapipe at {url} ({who})\nthe interface: {url}/docs, until Ctrl-C")

    with reported(debug=debug, as_json=as_json):
        part("datapipe.rest.serve", "api").serve(host, port, ready)


def create(
    owner: Annotated[str | None, typer.Option(help="Whose runs it begins and sees; you, if left out.")] = None,
    scope: Annotated[str, typer.Option(help="read: look; run: also begin and stop runs; admin: those of all.")] = "run",
    days: Days = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a key, and print it. It cannot be shown again: only its hash is kept.

    \b
    datapipe keys create --owner ann --scope run --days 90
    """
    with reported(debug=debug, as_json=as_json):
        made, text = _keys().create_key(_store(), owner or _user(), scope, days)
        if as_json:
            typer.echo(json.dumps({**dataclasses.asdict(made), "key": text}, indent=2))
            return
        typer.echo(f"key {made.id} of {made.owner}, scope {made.scope}; keep it, it is not shown again:", err=True)
        typer.echo(text)


def list_(as_json: Json = False, debug: Debug = False) -> None:
    """List the keys.

    \b
    datapipe keys list
    """
    with reported(debug=debug, as_json=as_json):
        found = _keys().list_keys(_store())
        if as_json:
            typer.echo(json.dumps([dataclasses.asdict(key) for key in found], indent=2))
        elif not found:
            typer.echo("no keys yet")
        for key in () if as_json else found:
            typer.echo(f"{key.id}  {key.scope:<5}  {key.owner:<16}  made {key.created[:10]}  {_standing(key)}")


def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="As keys list has it.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a key worthless, from now on.

    \b
    datapipe keys revoke 5f0a3b8c9d2e4f61
    """
    with reported(debug=debug, as_json=as_json):
        found = _keys().revoke_key(_store(), key_id)
        typer.echo(json.dumps(dataclasses.asdict(found), indent=2) if as_json else f"key {found.id} is revoked")


def _standing(key: Any) -> str:
    if key.revoked:
        return f"revoked {key.revoked[:10]}"
    if key.has_expired:
        return f"expired {key.expires[:10]}"
    return f"valid until {key.expires[:10]}" if key.expires else "valid"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise PlanError("the account that this runs under has no name", hint="Give --owner") from None


def _keys() -> Any:
    return part("datapipe.store.apikeys", "api")


def _store() -> Any:
    from datapipe.history import store_of_runs

    return store_of_runs()

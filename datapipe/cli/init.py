"""``datapipe init``: a project to begin with, which works at once and needs no server."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from datapipe.cli.reporting import Debug, Json, reported
from datapipe.errors import PlanError

# What is written, and the template of each, in the folder beside this file.
_FILES = {
    "plan.yaml": "plan.yaml",
    "daily.ipynb": "daily.ipynb",
    "data/orders.csv": "orders.csv",
    ".env": "env",
    ".gitignore": "gitignore",
    "README.md": "README.md",
}
_PRIVATE = {".env"}
_CONNECTION = "DATAPIPE_CONNECTION_WAREHOUSE=sqlite:///warehouse.db"


def add_to(app: typer.Typer) -> None:
    """Add this command to the program."""
    app.command()(init)


def init(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where; it is made if need be.")] = Path(),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Begin a project: a plan, a notebook, sample data, a .env; it runs at once. No file is overwritten.

    \b
    datapipe init shop
    cd shop && datapipe run plan.yaml
    """
    with reported(debug=debug, as_json=as_json):
        from datapipe.settings.environ import lines_of

        written, kept = begin(folder)
        if as_json:
            typer.echo(json.dumps({"folder": str(folder), "written": written, "kept": kept}, indent=2))
            return
        where = "" if folder == Path() else f" in {folder}"
        typer.echo(f"wrote {', '.join(written) or 'nothing'}{where}")
        if kept:
            typer.echo(f"there already, and left as it is: {', '.join(kept)}")
        if ".env" in kept and _CONNECTION.partition("=")[0] not in lines_of(folder / ".env"):
            typer.echo(f"add to .env: {_CONNECTION}")
        change = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
        typer.echo(f"next: {change}datapipe run plan.yaml")


def begin(folder: Path) -> tuple[list[str], list[str]]:
    """Write the files that are not there; the names of those that were written, and of those that were there.

    Raises
    ------
    PlanError
        If the folder cannot be written.
    """
    from importlib.resources import files

    templates, written, kept = files("datapipe.cli") / "starter", [], []
    for name, template in _FILES.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Neither a file nor a link that is there is followed or changed.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if name in _PRIVATE else 0o666)
        except FileExistsError:
            if not path.parent.is_dir():
                raise PlanError(f"{path.parent} is no folder", hint="Give another FOLDER") from None
            kept.append(name)
            continue
        except OSError as error:
            raise PlanError(f"cannot write {path}: {error.strerror}", hint="Give a FOLDER that you may write") from None
        with os.fdopen(descriptor, "wb") as file:
            file.write((templates / template).read_bytes())
        written.append(name)
    return written, kept

"""How commands end: a sentence and an exit code, or JSON."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from datapipe.errors import DatapipeError, PlanError

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@contextmanager
def reported(*, debug: bool = False, as_json: bool = False, failed: int = 1) -> Iterator[None]:
    """Errors as one sentence and an exit code, ``failed`` if it is no mistake; with ``debug``, with their traceback."""
    try:
        yield
    except (typer.Exit, SystemExit):
        raise
    except DatapipeError as error:
        _report(error, str(error), debug=debug, as_json=as_json)
        raise typer.Exit(2 if isinstance(error, PlanError) else failed) from None
    except BrokenPipeError:  # such as of: datapipe runs | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt as error:
        unknown = getattr(getattr(error, "result", None), "state", None) == "failed"  # COMMIT was lost
        text = str(error) if unknown else "cancelled; the target is unchanged"
        _report(error, text, debug=debug, as_json=as_json, state="cancelled")
        sys.exit(130)
    except Exception as error:  # noqa: BLE001  # nobody wants a traceback who did not ask for one
        _report(error, f"{type(error).__name__}: {error}. --debug shows where", debug=debug, as_json=as_json)
        raise typer.Exit(failed) from None


def _report(error: BaseException, text: str, *, debug: bool, as_json: bool, state: str = "failed") -> None:
    if debug:
        traceback.print_exc()
    if as_json:
        result = getattr(error, "result", None)
        found: dict[str, Any] = result.to_dict() if result is not None else {"state": state}
        found |= {"error": text, "step": getattr(error, "step", None), "hint": getattr(error, "hint", None)}
        typer.echo(json.dumps(found, indent=2))
    typer.echo(text if state == "cancelled" else f"error: {text}", err=True)

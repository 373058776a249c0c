"""How commands end: a sentence and an exit code, or JSON; of a notebook, also where it stopped and is kept."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from datapipe.errors import DatapipeError, PlanError, RunCancelled

if TYPE_CHECKING:
    from datapipe.engine import NotebookResult
    from datapipe.store import RunRow

CANCELLED = 130
TERMINATED = 143
_CODES = {"timed_out": 124, "kernel_died": 137, "out_of_memory": 137}  # of a notebook, as shells have them
_ENDED = {"failed", "cancelled", "lost"}  # badly
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
ReadyJson = Annotated[bool, typer.Option("--json", help="Print one line of JSON once it is ready.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM, which systemd and Kubernetes send, stops a run as Ctrl-C does; around :func:`reported`."""
    told = threading.Event()

    def terminate(*_: object) -> None:
        told.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except (typer.Exit, SystemExit) as end:
        code = end.exit_code if isinstance(end, typer.Exit) else end.code
        if not told.is_set() or code != CANCELLED:
            raise
        raise typer.Exit(TERMINATED) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def reported(
    *, debug: bool = False, as_json: bool = False, failed: int = 1, cancelled: int | None = None
) -> Iterator[None]:
    """Errors as one sentence and an exit code; with ``debug``, with their traceback.

    Parameters
    ----------
    failed : int
        The code of what is no mistake of the user's.
    cancelled : int, optional
        The code of a run that somebody has cancelled; ``failed`` if left out.
    """
    try:
        yield
    except (typer.Exit, SystemExit):
        raise
    except DatapipeError as error:
        _report(error, str(error), debug=debug, as_json=as_json)
        raise typer.Exit(_code(error, failed, failed if cancelled is None else cancelled)) from None
    except BrokenPipeError:  # such as of: datapipe runs | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt as error:
        result = getattr(error, "result", None)
        unknown = getattr(result, "state", None) == "failed"  # COMMIT was lost
        told = unknown or _of_notebook(error) is not None  # of which pipelines may have ended before
        unchanged = "cancelled; the target is unchanged" if result is not None else "interrupted"
        text = (str(error) if told or result is None else "") or unchanged
        _report(error, text, debug=debug, as_json=as_json, state="cancelled")
        sys.exit(CANCELLED)
    except Exception as error:  # noqa: BLE001  # nobody wants a traceback who did not ask for one
        _report(error, f"{type(error).__name__}: {error}. --debug shows where", debug=debug, as_json=as_json)
        raise typer.Exit(failed) from None


def _report(error: BaseException, text: str, *, debug: bool, as_json: bool, state: str = "failed") -> None:
    from datapipe.secrets import redactor

    hide = redactor()  # in a log of CI, more people read it
    if debug:
        typer.echo(hide.text(traceback.format_exc()), err=True, nl=False)
    if as_json:
        result = getattr(error, "result", None)
        found: dict[str, Any] = result.to_dict() if result is not None else {"state": state}
        found |= {"error": text, "step": getattr(error, "step", None), "hint": getattr(error, "hint", None)}
        typer.echo(json.dumps(hide.data(found), indent=2))
    typer.echo(hide.text(text if state == "cancelled" else f"error: {text}"), err=True)
    for line in map(hide.text, _further(error)):
        typer.echo(line, err=True)


def _further(error: BaseException) -> Iterator[str]:
    """Where in its own code a notebook stopped, and where it is kept."""
    result = _of_notebook(error)
    if result is None:
        return
    excerpt = getattr(error, "excerpt", None)
    if excerpt is not None:
        from datapipe.display.words import unmoving

        yield from (unmoving(line) for line in (excerpt.place, *excerpt.text().splitlines()))
    if result.artifacts:
        yield f"kept in {result.artifacts}"


def _of_notebook(error: BaseException) -> NotebookResult | None:
    """The result that an error has of a notebook's run."""
    result = getattr(error, "result", None)
    if result is None:
        return None
    from datapipe.engine import NotebookResult  # loaded already, by what made the result

    return result if isinstance(result, NotebookResult) else None


def _code(error: DatapipeError, failed: int, cancelled: int) -> int:
    if isinstance(error, RunCancelled):
        return cancelled
    result = _of_notebook(error)
    if result is not None:
        if result.reason in _CODES:
            return _CODES[result.reason]
        if any(cell.state != "waiting" for cell in result.cells):
            return failed  # also of a PlanError, which a cell has raised then
    return 2 if isinstance(error, PlanError) else failed


def code_of(row: RunRow) -> int:
    """The exit code that tells how a run stands: 0 if it goes on or has ended well; of a notebook, why it has not."""
    if row.state not in _ENDED:
        return 0
    if row.kind != "notebook":
        return 1
    return CANCELLED if row.state == "cancelled" else _CODES.get(row.reason or "", 1)


@contextmanager
def only_json(*, as_json: bool) -> Iterator[None]:
    """What plans and their functions print goes to standard error, so that standard output is JSON."""
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield


def ready_line(told: Mapping[str, Any], stream: TextIO | None = None) -> None:
    """Say in a line of JSON that something is ready, and where; also where Celery has taken over the streams."""
    stream = stream or sys.__stdout__
    if stream is not None:
        print(json.dumps({"ready": True, **told}), file=stream, flush=True)  # a program's output


def goes_on(run_id: str) -> str:
    """What is said when nobody waits for a run any longer."""
    return f"the run goes on; datapipe status {run_id} tells how it ends"

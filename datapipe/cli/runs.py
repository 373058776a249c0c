"""The commands about runs that are, and were: list them, look at one, watch it, stop it, try it again."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datapipe.cli.completing import run_ids, states
from datapipe.cli.reporting import CANCELLED, Debug, Json, code_of, goes_on, reported
from datapipe.display.words import unmoving
from datapipe.errors import PlanError, TransientError
from datapipe.hosts import part

if TYPE_CHECKING:
    from datapipe.history import Run
    from datapipe.store import RunRow

RunId = Annotated[
    str,
    typer.Argument(metavar="ID", help="A run, or a pipeline for its latest run.", autocompletion=run_ids),
]
_BADLY = {"failed", "cancelled"}


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in (runs, status, watch, cancel, retry):
        app.command()(command)


def runs(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Runs to show.")] = 20,
    state: Annotated[str | None, typer.Option(help="Only those in this state.", autocompletion=states)] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the latest runs.

    \b
    datapipe runs --state failed
    """
    with reported(debug=debug, as_json=as_json):
        from datapipe.listing import latest

        found = latest(limit, state=state)
        if as_json:
            typer.echo(json.dumps([dataclasses.asdict(row) for row in found], indent=2))
        elif not found:
            typer.echo("no runs yet" if state is None else f"no {state} runs")
        for row in () if as_json else found:
            typer.echo(_line(row))


def _line(row: RunRow) -> str:
    """A run in a line, its time in UTC; a notebook's has no rows and no target of its own."""
    is_notebook = row.kind == "notebook"
    what = f"{'notebook':>17}" if is_notebook else f"{row.rows_written:>12,} rows"
    called = row.name or (row.pipeline_id if row.pipeline_id != row.id else None)
    about = row.source if is_notebook else row.target if called is None else f"{row.target} ({called})"
    return unmoving(f"{row.created[:19]}Z  {row.state:<9}  {what}  {row.id}  {about}")


def status(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="A run, a task, or a pipeline.", autocompletion=run_ids)],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show one run, task or pipeline (its latest run), by its id.

    Exit code 0: it goes on or has succeeded, 1: it failed, was cancelled or is lost. Of a notebook's run that did not
    succeed, the exit code is that of datapipe notebook run.

    \b
    datapipe status 7d7d5f5c-8a5f-4a1c-9d0a-1f0e6a2f3b11
    """
    with reported(debug=debug, as_json=as_json):
        from datapipe.display import run_card_text
        from datapipe.history import attach

        try:
            run = attach(run_id)
        except PlanError as error:
            _task_status(run_id, error, as_json=as_json)
            return
        row = run.row
        typer.echo(json.dumps(dataclasses.asdict(row), indent=2) if as_json else run_card_text(run.view))
        raise typer.Exit(code_of(row))


def _task_status(task_id: str, unknown: PlanError, *, as_json: bool) -> None:
    """Show what Celery knows of a task that is no run on record, such as one that no worker has begun."""
    try:
        found = part("datapipe.workers.stages", "workers").task_status(task_id)
    except (PlanError, TransientError):  # nobody can be asked
        raise unknown from None
    if found["state"] == "unknown":
        raise unknown
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        error = found.get("error")
        typer.echo(f"task {task_id}: {found['state']}" + (f": {error['message']}" if error else ""))
    raise typer.Exit(found["state"] in _BADLY)


def watch(
    run_id: RunId,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON whenever something changes.")] = False,
    debug: Debug = False,
) -> None:
    """Show the progress of a run until it ends. Exit code as for status; 130 after Ctrl-C, and the run goes on.

    \b
    datapipe watch 7d7d5f5c-8a5f-4a1c-9d0a-1f0e6a2f3b11
    """
    with reported(debug=debug, as_json=as_json):
        from datapipe.history import attach
        from datapipe.listing import STATES

        run = attach(run_id)
        state = _told(run) if as_json else run.watch()
        if state not in STATES - {"queued", "running"}:  # Ctrl-C
            typer.echo(goes_on(run_id), err=True)
            raise typer.Exit(CANCELLED)
        if not as_json:
            typer.echo(repr(run))
        raise typer.Exit(code_of(run.row))


def _told(run: Run) -> str:
    """Print what changes until the run ends, or somebody interrupts; its state."""
    told: list[dict[str, Any]] = []

    def tell(row: RunRow) -> None:
        found = _changing(row)
        if [found] != told:
            told[:] = [found]
            typer.echo(json.dumps(found))

    try:
        return run.follow(tell).state
    except KeyboardInterrupt:
        return run.status


def _changing(row: RunRow) -> dict[str, Any]:
    """What of a run may change while it lasts."""
    steps = [{"name": step.name, "rows_in": step.rows_in, "rows_out": step.rows_out} for step in row.steps]
    names = ("state", "reason", "attempts", "rows_read", "rows_written", "worker")
    error = (row.error or {}).get("message")
    return {"run_id": row.id, **{name: getattr(row, name) for name in names}, "steps": steps, "error": error}


def cancel(run_id: RunId, as_json: Json = False, debug: Debug = False) -> None:
    """Ask a run to stop, wherever it runs. Exit code 1: it had ended already.

    \b
    datapipe cancel 7d7d5f5c-8a5f-4a1c-9d0a-1f0e6a2f3b11
    """
    with reported(debug=debug, as_json=as_json):
        from datapipe.history import attach

        run = attach(run_id)
        asked = run.cancel()
        if as_json:
            typer.echo(json.dumps({"run_id": run.id, "asked": asked, "state": run.status}))
        else:
            typer.echo(f"run {run.id} is {run.status}" if not asked else f"run {run.id} was asked to stop")
        raise typer.Exit(not asked)


def retry(run_id: RunId, as_json: Json = False, debug: Debug = False) -> None:
    """Queue a run that failed or was cancelled again, under its id.

    \b
    datapipe retry 7d7d5f5c-8a5f-4a1c-9d0a-1f0e6a2f3b11
    """
    with reported(debug=debug, as_json=as_json):
        from datapipe.history import attach

        run = attach(run_id).retry()
        told = json.dumps({"run_id": run.id, "state": run.status}) if as_json else f"run {run.id} is queued again"
        typer.echo(told)

"""``datapipe notebook``: notebooks as jobs."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from datapipe.cli.completing import notebook_files
from datapipe.cli.jobs import How, completed, run_job, submit_job
from datapipe.cli.options import IfRunning, Key, Running
from datapipe.cli.reporting import Debug, Json, reported
from datapipe.errors import PlanError

if TYPE_CHECKING:
    from datapipe.notebooks.job import NotebookJob

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="An .ipynb file, or a YAML or JSON file about one.", autocompletion=notebook_files
    ),
]
Params = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter; repeat for more. Secrets: NAME=secret:VAR"),
]
Kernel = Annotated[str | None, typer.Option(help="Another kernel than the one it was written for.")]
Folder = Annotated[str | None, typer.Option(help="Where the kernel works; the notebook's own folder if left out.")]
Timeout = Annotated[float | None, typer.Option(help="Seconds that all of it may take.")]
CellTimeout = Annotated[float | None, typer.Option(help="Seconds that any one cell may take.")]
Memory = Annotated[str | None, typer.Option(help="What the kernel may have in memory, such as 2GB.")]
Retries = Annotated[int | None, typer.Option(min=0, help="Further attempts; MAX_RETRIES if left out.")]
Artifacts = Annotated[
    str | None, typer.Option(metavar="URL", help="Where it is kept; DATAPIPE_ARTIFACTS_URL if left out.")
]
NoCheck = Annotated[bool, typer.Option("--no-check", help="Run it whatever is wrong with its code.")]
_HELP = """Run notebooks as jobs, with checked parameters.

\b
datapipe notebook run notebooks/daily.ipynb -p day=2013-05-01
"""


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=_HELP)
    for command in (run, submit, params, check, history):
        group.command()(command)
    app.add_typer(group, name="notebook")


def run(
    file: File,
    param: Params = None,
    kernel: Kernel = None,
    folder: Folder = None,
    timeout: Timeout = None,
    cell_timeout: CellTimeout = None,
    memory: Memory = None,
    retries: Retries = None,
    artifacts: Artifacts = None,
    idempotency_key: Key = None,
    if_running: Running = IfRunning.wait,
    no_check: NoCheck = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a notebook here, and wait.

    Exit code 0: done, 1: a cell failed, 2: a parameter or the notebook is wrong, 124: timed out, 137: its kernel died,
    130: cancelled, 143: told to stop by SIGTERM.

    \b
    datapipe notebook run notebooks/daily.ipynb -p day=2013-05-01
    datapipe notebook run notebooks/daily.ipynb -p day=2013-05-01 --idempotency-key 2013-05-01 --timeout 3600
    """
    spec = _spec(kernel, folder, timeout, cell_timeout, memory, retries, artifacts)
    run_job(lambda: completed(_load(file), param, spec), How(idempotency_key, if_running, not no_check, as_json, debug))


def submit(
    file: File,
    param: Params = None,
    queue: Annotated[str | None, typer.Option(help="The queue; DATAPIPE_QUEUE if left out.")] = None,
    pipeline_id: Annotated[str | None, typer.Option(help="Your name for the run.")] = None,
    kernel: Kernel = None,
    folder: Folder = None,
    timeout: Timeout = None,
    cell_timeout: CellTimeout = None,
    memory: Memory = None,
    retries: Retries = None,
    artifacts: Artifacts = None,
    idempotency_key: Key = None,
    if_running: Running = IfRunning.wait,
    no_check: NoCheck = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit code as for run.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Send a notebook to the workers, and print the run's id.

    \b
    datapipe notebook submit notebooks/daily.ipynb -p day=2013-05-01 --wait
    """
    spec = _spec(kernel, folder, timeout, cell_timeout, memory, retries, artifacts)
    how = How(idempotency_key, if_running, not no_check, as_json, debug)
    submit_job(lambda: completed(_load(file), param, spec), how, queue=queue, pipeline_id=pipeline_id, wait=wait)


def params(file: File, as_json: Json = False, debug: Debug = False) -> None:
    """Show the parameters a notebook declares: their types, defaults and help; as JSON, their schema.

    \b
    datapipe notebook params notebooks/daily.ipynb
    """
    with reported(debug=debug, as_json=as_json):
        from datapipe.notebooks.cells import read_notebook
        from datapipe.notebooks.parameters import parameters_text

        job = _load(file)
        if as_json:
            typer.echo(json.dumps(job.json_schema(), indent=2))
        else:
            typer.echo(parameters_text(read_notebook(job.plan.notebook.path), job.parameters))


def check(file: File, as_json: Json = False, debug: Debug = False) -> None:
    """Look over a notebook's code without running it. Exit code 1: it cannot run.

    \b
    datapipe notebook check notebooks/daily.ipynb
    """
    with reported(debug=debug, as_json=as_json):
        from datapipe.notebooks.cells import read_notebook
        from datapipe.notebooks.parameters import declared

        job = _load(file)
        declared(read_notebook(job.plan.notebook.path), "outputs")  # a mistake there stops it, too
        found = job.check()
        if as_json:
            typer.echo(json.dumps([dataclasses.asdict(finding) for finding in found], indent=2))
        elif not found:
            typer.echo("nothing is wrong with it, as far as can be told without running it")
        for finding in () if as_json else found:
            typer.echo(f"{finding.level}: {finding}")
        raise typer.Exit(any(finding.level == "error" for finding in found))


def history(
    file: File,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Runs to show.")] = 20,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the latest runs of a notebook, by its name: what they were given, and what came of them.

    \b
    datapipe notebook history notebooks/daily.ipynb
    """
    with reported(debug=debug, as_json=as_json):
        from datapipe.cli.notebookruns import history_text, summary
        from datapipe.history import store_of_runs

        store = store_of_runs()
        store.find_lost()
        rows = store.runs(name=_load(file).plan.title, kind="notebook", limit=limit)
        typer.echo(json.dumps([summary(row) for row in rows], indent=2) if as_json else history_text(rows))


def _load(file: str) -> NotebookJob:
    from datapipe.notebooks.job import NotebookJob
    from datapipe.reading import load

    found = load(file)
    if not isinstance(found, NotebookJob):
        raise PlanError(f"{file!r} is a plan, not a notebook", hint=f"Run it with: datapipe run {file}")
    return found


def _spec(
    kernel: str | None,
    folder: str | None,
    timeout: float | None,
    cell_timeout: float | None,
    memory: str | None,
    retries: int | None,
    artifacts: str | None,
) -> dict[str, Any]:
    """The fields of a job's notebook that options give."""
    return {
        "kernel": kernel,
        "folder": folder,
        "timeout": timeout,
        "cell_timeout": cell_timeout,
        "memory": memory,
        "retries": retries,
        "artifacts": artifacts,
    }

"""``datapipe notebook``: notebooks as jobs."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from datapipe.cli.options import IfRunning
from datapipe.cli.reporting import Debug, Json, reported
from datapipe.display import runs_text
from datapipe.errors import PlanError, RunCancelled
from datapipe.history import store_of_runs
from datapipe.notebooks.cells import read_notebook
from datapipe.notebooks.job import NotebookJob
from datapipe.notebooks.model import parse_job
from datapipe.notebooks.parameters import parameters_text
from datapipe.reading import load

commands = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

File = Annotated[str, typer.Argument(metavar="FILE", help="An .ipynb file, or a YAML or JSON file about one.")]
Params = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter; repeat for more. Secrets: NAME=secret:VAR"),
]
Key = Annotated[str | None, typer.Option(help="Runs with one key take effect once.")]
Running = Annotated[IfRunning, typer.Option(help="What to do while another run has the key.")]
Timeout = Annotated[float | None, typer.Option(help="Seconds that all of it may take.")]
CellTimeout = Annotated[float | None, typer.Option(help="Seconds that any one cell may take.")]
Memory = Annotated[str | None, typer.Option(help="What the kernel may have in memory, such as 2GB.")]
Retries = Annotated[int | None, typer.Option(min=0, help="Further attempts; MAX_RETRIES if left out.")]
Artifacts = Annotated[
    str | None, typer.Option(metavar="URL", help="Where it goes; DATAPIPE_ARTIFACTS_URL if left out.")
]
NoCheck = Annotated[bool, typer.Option("--no-check", help="Run it whatever is wrong with its code.")]

_CODES = {"timed_out": 124, "kernel_died": 137, "out_of_memory": 137}
_CANCELLED, _TERMINATED = 130, 143


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(commands, name="notebook", help="Run notebooks as jobs, with checked parameters.")


@commands.command()
def run(
    file: File,
    param: Params = None,
    idempotency_key: Key = None,
    if_running: Running = IfRunning.wait,
    timeout: Timeout = None,
    cell_timeout: CellTimeout = None,
    memory: Memory = None,
    retries: Retries = None,
    artifacts: Artifacts = None,
    no_check: NoCheck = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a notebook here, and wait.

    Exit code 0: done, 1: a cell failed, 2: a parameter or the notebook is wrong, 124: timed out, 137: its kernel died,
    130: cancelled, 143: told to stop by SIGTERM.

    \b
    datapipe notebook run notebooks/daily.ipynb -p day=2013-05-01
    """
    with _exiting(debug=debug, as_json=as_json):
        job = _job(file, param, _limits(timeout, cell_timeout, memory, retries, artifacts))
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            result = job.run(idempotency_key=idempotency_key, if_running=if_running.value, check=not no_check)
        typer.echo(json.dumps(result.to_dict(), indent=2) if as_json else str(result))


@commands.command()
def submit(
    file: File,
    param: Params = None,
    queue: Annotated[str | None, typer.Option(help="The queue; DATAPIPE_QUEUE if left out.")] = None,
    pipeline_id: Annotated[str | None, typer.Option(help="Your name for the run.")] = None,
    idempotency_key: Key = None,
    if_running: Running = IfRunning.wait,
    timeout: Timeout = None,
    cell_timeout: CellTimeout = None,
    memory: Memory = None,
    retries: Retries = None,
    artifacts: Artifacts = None,
    no_check: NoCheck = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit code as for run.")] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Send a notebook to the workers, and print the run's id.

    \b
    datapipe notebook submit notebooks/daily.ipynb -p day=2013-05-01 --wait
    """
    with _exiting(debug=debug, as_json=as_json):
        job = _job(file, param, _limits(timeout, cell_timeout, memory, retries, artifacts))
        found = job.submit(
            queue=queue,
            pipeline_id=pipeline_id,
            idempotency_key=idempotency_key,
            if_running=if_running.value,
            check=not no_check,
        )
        if not wait:
            typer.echo(json.dumps({"run_id": found.id, "state": "queued"}) if as_json else found.id)
            return
        typer.echo(found.id, err=True)
        if found.watch() in {"queued", "running"}:  # Ctrl-C
            typer.echo(f"the run goes on; datapipe status {found.id} tells how it ends", err=True)
            raise typer.Exit(_CANCELLED)
        result = found.result()
        typer.echo(json.dumps(result.to_dict(), indent=2) if as_json else str(result))


@commands.command()
def params(file: File, as_json: Json = False, debug: Debug = False) -> None:
    """Show the parameters a notebook declares: their types, defaults and help; as JSON, their schema.

    \b
    datapipe notebook params notebooks/daily.ipynb
    """
    with reported(debug=debug):
        job = _load(file)
        if as_json:
            typer.echo(json.dumps(job.json_schema(), indent=2))
        else:
            typer.echo(parameters_text(read_notebook(job.plan.notebook.path), job.parameters))


@commands.command()
def check(file: File, debug: Debug = False) -> None:
    """Look over a notebook's code without running it. Exit code 1: it cannot run.

    \b
    datapipe notebook check notebooks/daily.ipynb
    """
    with reported(debug=debug):
        found = _load(file).check()
        for finding in found:
            typer.echo(f"{finding.level}: {finding}")
        if not found:
            typer.echo("nothing is wrong with it, as far as can be told without running it")
        raise typer.Exit(any(finding.level == "error" for finding in found))


@commands.command()
def history(
    file: File,
    limit: Annotated[int, typer.Option("--limit", "-n", help="Runs to show.")] = 20,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List the latest runs of a notebook.

    \b
    datapipe notebook history notebooks/daily.ipynb
    """
    with reported(debug=debug):
        store = store_of_runs()
        store.find_lost()
        rows = [row for row in store.runs(name=_load(file).plan.title, limit=limit) if row.kind == "notebook"]
        if as_json:
            typer.echo(json.dumps([_summary(row) for row in rows], indent=2))
        else:
            typer.echo(runs_text(rows))


def _summary(row: Any) -> dict[str, Any]:
    names = ("id", "state", "reason", "name", "created", "started", "ended", "seconds", "attempts")
    result = row.result or {}
    return {**{name: getattr(row, name) for name in names}, **{n: result.get(n) for n in _TOLD}}


_TOLD = ("parameters", "outputs", "artifacts", "error")


def _load(file: str) -> NotebookJob:
    found = load(file)
    if not isinstance(found, NotebookJob):
        raise PlanError(f"{file!r} is a plan, not a notebook", hint=f"Run it with: datapipe run {file}")
    return found


def _job(file: str, params: Sequence[str] | None, limits: dict[str, Any]) -> NotebookJob:
    """The job of a command, with the values and limits of its options."""
    job = _load(file)
    if limits:
        found = job.to_dict()
        job = NotebookJob(parse_job({**found, "notebook": {**found["notebook"], **limits}}))
    return job.bind(texts=True, **texts_of(params or ()))


def _limits(
    timeout: float | None, cell_timeout: float | None, memory: str | None, retries: int | None, artifacts: str | None
) -> dict[str, Any]:
    found = {
        "timeout": timeout,
        "cell_timeout": cell_timeout,
        "memory": memory,
        "retries": retries,
        "artifacts": artifacts,
    }
    return {name: value for name, value in found.items() if value is not None}


def texts_of(params: Sequence[str]) -> dict[str, str]:
    """The texts of ``name=value`` options.

    Raises
    ------
    PlanError
        If one is none, or a name is given twice.

    Examples
    --------
    >>> texts_of(["day=2013-05-01", "query=a=b"])
    {'day': '2013-05-01', 'query': 'a=b'}
    """
    found: dict[str, str] = {}
    for text in params:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise PlanError("a --param is not name=value", hint="For example -p day=2013-05-01")
        if name.strip() in found:
            raise PlanError(f"--param {name.strip()} is given twice", hint="Give it once")
        found[name.strip()] = value
    return found


@contextlib.contextmanager
def _exiting(*, debug: bool, as_json: bool) -> Iterator[None]:
    """Exit codes that tell apart how a notebook did not succeed; SIGTERM stops it as Ctrl-C does."""
    told: list[int] = []

    def terminate(*_: object) -> None:
        told.append(_TERMINATED)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, terminate)
    failed: BaseException | None = None
    try:
        with reported(debug=debug, as_json=as_json):
            try:
                yield
            except BaseException as error:
                failed = error
                raise
    except (typer.Exit, SystemExit):
        if failed is None or isinstance(failed, (typer.Exit, SystemExit, PlanError)):
            raise
        if isinstance(failed, (KeyboardInterrupt, RunCancelled)):
            raise typer.Exit(told[0] if told else _CANCELLED) from None
        raise typer.Exit(_CODES.get(getattr(getattr(failed, "result", None), "reason", None) or "", 1)) from None
    finally:
        signal.signal(signal.SIGTERM, before)

"""What commands do with a notebook job: run it, send it to workers, and end with a code that tells how it went."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from datapipe.cli.options import IfRunning
from datapipe.cli.plans import texts_of
from datapipe.cli.reporting import CANCELLED, goes_on, only_json, reported, stoppable

if TYPE_CHECKING:
    from datapipe.engine import NotebookResult
    from datapipe.notebooks.job import NotebookJob


@dataclass(frozen=True)
class How:
    """The options that running and sending have in common."""

    idempotency_key: str | None = None
    if_running: IfRunning = IfRunning.wait
    check: bool = True
    as_json: bool = False
    debug: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """What a job's own methods take of it."""
        return {
            "idempotency_key": self.idempotency_key,
            "if_running": self.if_running.value,
            "check": self.check,
        }


def run_job(load: Callable[[], NotebookJob], how: How) -> None:
    """Run the job that ``load`` gives here, and print what came of it."""
    with _ending(how):
        with only_json(as_json=how.as_json):
            result = load().run(**how.options)
        _print(result, how)


def submit_job(
    load: Callable[[], NotebookJob], how: How, *, queue: str | None, pipeline_id: str | None, wait: bool
) -> None:
    """Send the job that ``load`` gives to the workers; print the run's id, or with ``wait`` what came of it."""
    with _ending(how):
        run = load().submit(queue=queue, pipeline_id=pipeline_id, **how.options)
        if not wait:
            typer.echo(json.dumps({"run_id": run.id, "state": "queued"}) if how.as_json else run.id)
            return
        typer.echo(run.id, err=True)
        if run.watch() in {"queued", "running"}:  # Ctrl-C, or SIGTERM
            typer.echo(goes_on(run.id), err=True)
            raise typer.Exit(CANCELLED)
        _print(run.result(), how)


def completed(job: NotebookJob, params: Sequence[str] | None, spec: Mapping[str, Any]) -> NotebookJob:
    """A job with the values and the limits that a command's options give.

    Parameters
    ----------
    params : sequence of str, optional
        ``name=value``, as they are typed.
    spec : mapping
        Fields of a job's notebook; those that are None are left as they are.

    Raises
    ------
    PlanError
        If a value is unknown, missing or of the wrong type.
    """
    from datapipe.notebooks.cells import read_notebook
    from datapipe.notebooks.job import NotebookJob
    from datapipe.notebooks.model import parse_job
    from datapipe.notebooks.parameters import checked

    given = {name: value for name, value in spec.items() if value is not None}
    if given:
        found = job.to_dict()
        job = NotebookJob(parse_job({**found, "notebook": {**found["notebook"], **given}}))
    job = job.bind(texts_of(params or ()), texts=True)
    values = job.plan.notebook.parameters
    if any(parameter.required and parameter.name not in values for parameter in job.parameters):
        checked(read_notebook(job.plan.notebook.path), values, texts=True)  # tells what is missing, as it is typed
    return job


@contextlib.contextmanager
def _ending(how: How) -> Iterator[None]:
    """Exit codes that tell apart how a notebook did not succeed."""
    with stoppable(), reported(debug=how.debug, as_json=how.as_json, cancelled=CANCELLED):
        yield


def _print(result: NotebookResult, how: How) -> None:
    typer.echo(json.dumps(result.to_dict(), indent=2) if how.as_json else str(result))

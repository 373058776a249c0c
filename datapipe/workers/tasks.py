"""The tasks: run_pipeline, run_notebook, and the stages of a pipeline one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datapipe.engine import RunOptions, run_recorded
from datapipe.errors import DatapipeError, PlanError
from datapipe.notebooks.hosting import run_job
from datapipe.notebooks.model import parse_job
from datapipe.notebooks.prepared import prepared
from datapipe.notebooks.running import JobOptions
from datapipe.plan import parse
from datapipe.workers.app import app
from datapipe.workers.execution import adopt, adopt_job, execute, whole_text
from datapipe.workers.helping import help_run
from datapipe.workers.queue import (
    NOTEBOOK_TASK,
    TASK,
    about,
    new_id,
    own_key,
    publish,
    queue_of,
    recorded,
    recorded_job,
)
from datapipe.workers.sealing import SafeTask
from datapipe.workers.stages import ingest, persist, transform

__all__ = ["NotebookTask", "RunTask", "help_run", "ingest", "persist", "run_notebook", "run_pipeline", "transform"]


class RunTask(SafeTask):
    """A run: whoever calls ``delay`` records it before it is queued; a worker counts the processes it costs."""

    def apply_async(self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any) -> Any:
        """Record the run, then queue it; see :func:`run_pipeline`."""
        _check_now(options)
        config, pipeline_id = _arguments(*(args or ()), **(kwargs or {}))
        plan = parse(config)
        run = RunOptions(run_id=task_id or new_id())
        queue = queue_of(plan, options.pop("queue", None))
        store, run_id = recorded(plan, run, queue, pipeline_id, key=own_key())
        with about(run_id, run.correlation_id, pipeline_id):
            return publish(store, run_id, queue, new=True, **{k: v for k, v in options.items() if k not in _OURS})


class NotebookTask(SafeTask):
    """A run of a notebook, recorded before it is queued."""

    def apply_async(self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any) -> Any:
        """Record the run, then queue it; see :func:`run_notebook`."""
        _check_now(options)
        document, pipeline_id = _job(*(args or ()), **(kwargs or {}))
        job = prepared(parse_job(document))
        run = JobOptions(run_id=task_id or new_id())
        queue = queue_of(job.plan, options.pop("queue", None))
        store, run_id = recorded_job(job, run, queue, pipeline_id, key=own_key())
        given = {k: v for k, v in options.items() if k not in _OURS}
        with about(run_id, run.correlation_id, pipeline_id):
            return publish(store, run_id, queue, new=True, kind="notebook", **given)


def _check_now(options: Mapping[str, Any]) -> None:
    if late := sorted(_LATE & {name for name, value in options.items() if value is not None}):
        raise PlanError(f"a run cannot be queued with {', '.join(late)}", hint="Submit it when it is due")


_LATE = {"countdown", "eta", "expires"}
# What publish() sets itself.
_OURS = {"retry", "retry_policy", "producer", "shadow"}


def _arguments(pipeline_config: Mapping[str, Any], pipeline_id: str | None = None) -> tuple[Any, str | None]:
    return pipeline_config, pipeline_id


def _job(
    notebook: str | Mapping[str, Any], parameters: Mapping[str, Any] | None = None, pipeline_id: str | None = None
) -> tuple[dict[str, Any], str | None]:
    """The document of a job, and the caller's name for its run."""
    document: dict[str, Any] = {"notebook": {"path": notebook}} if isinstance(notebook, str) else dict(notebook)
    if parameters:
        found = document["notebook"] if isinstance(document.get("notebook"), Mapping) else {}
        known = {**(found.get("parameters") or {}), **parameters}
        document["notebook"] = {**found, "parameters": known}
    return document, pipeline_id


@app.task(bind=True, base=RunTask, name=TASK, throws=(DatapipeError,), resultrepr_maxsize=80, shared=False)  # type: ignore[untyped-decorator]  # Celery has no types
def run_pipeline(
    self: Any,
    pipeline_config: Mapping[str, Any] | None = None,
    pipeline_id: str | None = None,
    store: str | None = None,
) -> dict[str, Any]:
    """Run a plan, given in its document form.

    Parameters
    ----------
    pipeline_config : mapping
        ``ingestion``, ``transformation``, ``persistence``.
    pipeline_id : str, optional
        The caller's name for the run.
    store : str, optional
        Set by the sender, which has recorded the run there.

    Returns
    -------
    dict
        The result: ``["ingestion"]["row_count"]``, ``["persistence"]["rows_written"]``, ….

    Raises
    ------
    DatapipeError
        If the run fails.

    Examples
    --------
    >>> result = run_pipeline.delay(pipeline_config={...}, pipeline_id="daily")  # doctest: +SKIP
    >>> result.get(timeout=3600)["ingestion"]["row_count"]  # doctest: +SKIP
    336776
    """
    if self.request.called_directly:
        return {**run_recorded(parse(pipeline_config), RunOptions()).to_dict(), "pipeline_id": pipeline_id}
    run_id, worker = str(self.request.id), str(self.request.hostname)

    def work() -> dict[str, Any]:
        if store is None:
            adopt(run_id, pipeline_id, pipeline_config or {})
        return dict(execute(run_id, worker, store))

    return whole_text(work)


@app.task(
    bind=True, base=NotebookTask, name=NOTEBOOK_TASK, throws=(DatapipeError,), resultrepr_maxsize=80, shared=False
)  # type: ignore[untyped-decorator]  # Celery has no types
def run_notebook(
    self: Any,
    notebook: str | Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    pipeline_id: str | None = None,
    store: str | None = None,
) -> dict[str, Any]:
    """Run a notebook with parameters.

    Parameters
    ----------
    notebook : str or mapping
        The path of an .ipynb file, or a job in its document form: ``{"notebook": {"path": …, "parameters": …}}``.
    parameters : mapping, optional
        Values of its parameters; secrets as ``secret:NAME``.
    pipeline_id : str, optional
        The caller's name for the run.
    store : str, optional
        Set by the sender, which has recorded the run there.

    Returns
    -------
    dict
        The result: ``["outputs"]["rows"]``, ``["artifacts"]``, ``["cells"]``, ….

    Raises
    ------
    DatapipeError
        If the run fails.

    Examples
    --------
    >>> result = run_notebook.delay("notebooks/06-daily-job.ipynb", {"day": "2013-05-01"})  # doctest: +SKIP
    >>> result.get(timeout=3600)["outputs"]["rows"]  # doctest: +SKIP
    3
    """
    if self.request.called_directly:
        document, name = _job(notebook or "", parameters, pipeline_id)
        return {**run_job(prepared(parse_job(document)), None, "wait").to_dict(), "pipeline_id": name}
    run_id, worker = str(self.request.id), str(self.request.hostname)

    def work() -> dict[str, Any]:
        if store is None:
            document, name = _job(notebook or "", parameters, pipeline_id)
            adopt_job(run_id, name, document)
        return dict(execute(run_id, worker, store))

    return whole_text(work)

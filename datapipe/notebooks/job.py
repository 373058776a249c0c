"""``datapipe.notebook``: a notebook with its parameters, as something to look at, run, and submit, like a plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from datapipe.notebooks.model import NotebookPlan, parse_job

if TYPE_CHECKING:
    from datapipe.engine import NotebookResult
    from datapipe.history import Run
    from datapipe.notebooks.lint import Finding
    from datapipe.notebooks.parameters import Parameter
    from datapipe.notebooks.prepared import Prepared


def notebook(  # noqa: PLR0913  # what a job may be given is what it takes
    path: str | Path,
    params: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    kernel: str | None = None,
    folder: str | Path | None = None,
    timeout: float | None = None,
    cell_timeout: float | None = None,
    memory: str | None = None,
    retries: int | None = None,
    artifacts: str | Path | None = None,
    queue: str | None = None,
) -> NotebookJob:
    """A notebook as a pipeline: it runs in a process of its own, with its parameters, and gives back its outputs.

    Parameters
    ----------
    path : str or Path
        An .ipynb file. Its cell tagged ``parameters`` declares them: ``day: date  # the day to load``.
    params : mapping, optional
        Their values. A secret is given by its name: ``{"password": "secret:CRM_PASSWORD"}``.
    name : str, optional
        The file's name if left out.
    kernel : str, optional
        Another kernel than the one it was written for.
    folder : str or Path, optional
        The kernel's working directory; the notebook's own folder, as in JupyterLab, if left out.
    timeout, cell_timeout : float, optional
        Seconds that all of it, retries included, or any one cell may take.
    memory : str, optional
        What the kernel and its processes may have in memory, such as ``"2GB"``; beyond that they are killed.
    retries : int, optional
        Further attempts when the kernel has died or a cell has raised a TransientError; MAX_RETRIES if left out,
        and none once a pipeline inside has ended well.
    artifacts : str or Path, optional
        Where executed notebooks go: a folder or an fsspec URL; DATAPIPE_ARTIFACTS_URL if left out.
    queue : str, optional
        The queue of the workers that are to run it.

    Returns
    -------
    NotebookJob

    Raises
    ------
    PlanError
        If the notebook cannot be read, or a value is unknown, missing or of the wrong type.

    Examples
    --------
    >>> job = notebook("notebooks/06-daily-job.ipynb", {"day": "2013-05-01"})  # doctest: +SKIP
    >>> job.run().outputs["rows"]  # doctest: +SKIP
    3
    """
    spec = {
        "path": str(path),
        "kernel": kernel,
        "folder": None if folder is None else str(folder),
        "timeout": timeout,
        "cell_timeout": cell_timeout,
        "memory": memory,
        "retries": retries,
        "artifacts": None if artifacts is None else str(artifacts),
    }
    given = {key: value for key, value in spec.items() if value is not None}
    plan = {"name": name, "queue": queue, "notebook": given}
    job = NotebookJob(parse_job({key: value for key, value in plan.items() if value is not None}))
    return job.bind(params)


class NotebookJob:
    """A notebook with its parameters; immutable. See :func:`notebook`.

    Parameters
    ----------
    plan : NotebookPlan
    """

    def __init__(self, plan: NotebookPlan) -> None:
        self.plan = plan

    def bind(self, params: Mapping[str, Any] | None = None, /, *, texts: bool = False, **more: Any) -> NotebookJob:
        """The same job with other values for its parameters.

        Parameters
        ----------
        params, **more
            The values.
        texts : bool
            Whether they are texts, as on a command line. A parameter of this name is given in ``params``.

        Raises
        ------
        PlanError
            If a value is unknown or of the wrong type.
        """
        from datapipe.notebooks.prepared import bound

        return NotebookJob(bound(self.plan, {**(params or {}), **more}, texts=texts))

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What the notebook declares, in order."""
        from datapipe.notebooks.cells import read_notebook
        from datapipe.notebooks.parameters import declared

        return declared(read_notebook(self.plan.notebook.path))

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of the parameters' values."""
        from datapipe.notebooks.parameters import json_schema

        return json_schema(self.parameters)

    def check(self) -> tuple[Finding, ...]:
        """What is wrong, or doubtful, with the notebook's code: syntax, names, work that nobody waits for."""
        from datapipe.notebooks.cells import read_notebook
        from datapipe.notebooks.lint import findings
        from datapipe.notebooks.parameters import declared

        notebook = read_notebook(self.plan.notebook.path)
        return findings(notebook, [found.name for found in declared(notebook)])

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what is executed: the code cells and the values of the parameters."""
        return self._prepared(check=False).fingerprint

    @overload
    def run(
        self,
        *,
        idempotency_key: str | None = ...,
        if_running: Literal["wait", "fail", "skip"] = ...,
        check: bool = ...,
        background: Literal[False] = ...,
    ) -> NotebookResult: ...

    @overload
    def run(
        self,
        *,
        idempotency_key: str | None = ...,
        if_running: Literal["wait", "fail", "skip"] = ...,
        check: bool = ...,
        background: Literal[True],
    ) -> Run: ...

    def run(
        self,
        *,
        idempotency_key: str | None = None,
        if_running: Literal["wait", "fail", "skip"] = "wait",
        check: bool = True,
        background: bool = False,
    ) -> NotebookResult | Run:
        """Run the notebook on this machine, in a process of its own, and wait, with live progress.

        Parameters
        ----------
        idempotency_key : str, optional
            Runs with one key take effect once: the first executes the notebook, the others return its result, with
            ``replayed`` true. A run that failed leaves the key to the next one.
        if_running : {"wait", "fail", "skip"}
            What to do while another run has the key.
        check : bool
            Whether to refuse a notebook whose code cannot run: syntax errors, undefined names.
        background : bool
            Return at once, while the notebook runs.

        Returns
        -------
        NotebookResult, or Run with ``background``

        Raises
        ------
        PlanError
            Before a kernel starts, if something is wrong with the notebook or its parameters.
        NotebookError
            If a cell fails, the kernel dies, or it takes too long. Its ``result`` says where the artifacts are.
        RunCancelled
            If it was cancelled.
        """
        from datapipe.notebooks.hosting import run_job, run_job_behind

        job = self._prepared(check=check)
        if background:
            return run_job_behind(job, idempotency_key, if_running)
        return run_job(job, idempotency_key, if_running)

    def submit(
        self,
        *,
        queue: str | None = None,
        pipeline_id: str | None = None,
        idempotency_key: str | None = None,
        if_running: Literal["wait", "fail", "skip"] = "wait",
        check: bool = True,
    ) -> Run:
        """Send the notebook to the workers, and return at once.

        With a DATAPIPE_SIGNING_KEY it travels as it is now; without, workers run it only from a folder of
        DATAPIPE_NOTEBOOK_FOLDERS of theirs, and only if it is the same there.

        Returns
        -------
        Run
            Its ``watch()``, ``result()`` and ``cancel()`` work from any process.

        Raises
        ------
        PlanError
            If something is wrong with the notebook or its parameters.
        TransientError
            If the broker cannot be reached; nothing is queued then.
        """
        from datapipe.engine import next_key
        from datapipe.history import Run
        from datapipe.hosts import host
        from datapipe.notebooks.hosting import options_of

        job = self._prepared(check=check)
        with next_key(job.fingerprint) as own:
            options = options_of(own if idempotency_key is None else idempotency_key, if_running)
            host("queue").submit_job(job, options, queue=queue, pipeline_id=pipeline_id)
        run = Run(options.run_id)
        run.watch_behind()
        return run

    def to_dict(self) -> dict[str, Any]:
        """The document form, as for REST; secrets are references."""
        return self.plan.document()

    def to_yaml(self) -> str:
        """The document form as YAML."""
        return self.plan.to_yaml()

    def to_json(self) -> str:
        """The document form as JSON."""
        return self.plan.to_json()

    def _prepared(self, *, check: bool) -> Prepared:
        from datapipe.notebooks.prepared import prepared

        return prepared(self.plan, check=check)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NotebookJob) and self.plan == other.plan

    def __hash__(self) -> int:
        return hash(self.plan)

    def __repr__(self) -> str:
        from datapipe.notebooks.showing import job_text

        return job_text(self.plan)

    def _repr_html_(self) -> str:
        from datapipe.notebooks.showing import job_html

        return job_html(self.plan)


def load_job(data: Any) -> NotebookJob:
    """A job from its document form.

    Raises
    ------
    PlanError
        If it is none, or its notebook or parameters are wrong.
    """
    job = NotebookJob(parse_job(data))
    return job.bind()

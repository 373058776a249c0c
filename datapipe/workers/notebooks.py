"""Notebook jobs on their way to a worker: with the notebook itself where it is signed, else by its path and hash."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datapipe.errors import PlanError
from datapipe.notebooks.model import parse_job
from datapipe.notebooks.prepared import Prepared, prepared
from datapipe.workers.envelope import KEY_HINT, signed, verify


def seal_job(job: Prepared, run_id: str, options: Mapping[str, Any], *, key: str | None) -> dict[str, Any]:
    """A job and how to run it, signed if there is a key; then the notebook travels with it."""
    message = {
        "job": job.portable().document(),
        "hash": job.notebook.hash,
        "content": dict(job.notebook.content) if key else None,
        "run": run_id,
        "options": dict(options),
    }
    return signed(message, key=key)


def opened_job(message: Mapping[str, Any], run_id: str, *, key: str | None, folders: str) -> Prepared:
    """The job of a message, if it may run here.

    Parameters
    ----------
    key : str, optional
        DATAPIPE_SIGNING_KEY. With it, only what it has signed is opened.
    folders : str
        DATAPIPE_NOTEBOOK_FOLDERS: where notebooks may be that are run without a key.

    Raises
    ------
    PlanError
        If it is not signed, not by this key, for another run, or too old; without a key, if this worker may not run
        the notebook, or has another version of it.
    """
    verify(message, run_id, key=key)
    plan, content = parse_job(message["job"]), message.get("content")
    if key is not None and content is not None:
        return prepared(plan, content=content, check=False)
    wanted = message.get("hash")
    path = _allowed(plan.notebook.path, folders, anywhere=wanted is not None)
    here = plan.model_copy(update={"notebook": plan.notebook.model_copy(update={"path": str(path)})})
    job = prepared(here, check=False)
    if wanted is not None and job.notebook.hash != wanted:
        raise PlanError(
            f"the notebook {plan.notebook.path!r} is not the one the job was submitted with: this worker has another",
            hint=f"Bring the worker's file up to date, or let it travel: {KEY_HINT}",
        )
    return Prepared(plan, job.notebook, job.executed, job.values, job.secrets, job.warnings, job.folder)


def _allowed(path: str, folders: str, *, anywhere: bool) -> Path:
    """Where a notebook is on this worker, if that is in a folder whose notebooks it may run.

    Parameters
    ----------
    anywhere : bool
        Whether one of its name alone will do: its content is compared.
    """
    allowed = [Path(name.strip()).expanduser().resolve() for name in folders.split(",") if name.strip()]
    for folder in allowed:
        places = [Path(path), folder / path, folder / Path(path).name]
        for place in places if anywhere else places[:2]:
            found = place.expanduser().resolve()
            if found.is_file() and found.is_relative_to(folder):
                return found
    hint = f"Set DATAPIPE_NOTEBOOK_FOLDERS on the worker to the folder it is in, or let it travel: {KEY_HINT}"
    raise PlanError(f"this worker may not run the notebook {path!r}, or does not have it", hint=hint)

"""The order for one attempt: what is executed, where it leaves what it makes, and what its kernel finds around it."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datapipe.engine.nested import KEY
from datapipe.logs import ids
from datapipe.notebooks.artifacts import Artifacts
from datapipe.notebooks.environs import lasting
from datapipe.notebooks.order import Order
from datapipe.notebooks.prepared import Prepared
from datapipe.settings import data_home, environment
from datapipe.surroundings import CORRELATION, PARENT, PIPELINE

_SCRATCH = "datapipe-notebook-"
_OLD = 3600.0  # seconds after which what a process that is gone has left is removed


def order_for(
    job: Prepared, artifacts: Artifacts, scratch: str, *, run_id: str, correlation_id: str, key: str, attempt: int
) -> Order:
    """The order for an attempt.

    Parameters
    ----------
    artifacts : Artifacts
        Where it leaves what stays.
    scratch : str
        A folder of this attempt alone.
    key : str
        What the loads inside are known by.
    attempt : int
    """
    known = environment()
    inside = {**lasting(known, Path.cwd()), "DATAPIPE_HOME": str(data_home())}
    around = {PARENT: run_id, CORRELATION: correlation_id, PIPELINE: ids().get("pipeline_id", run_id)}
    about = {"name": job.plan.title, "notebook": job.plan.notebook.path, "hash": job.notebook.hash, "attempt": attempt}
    return Order(
        notebook=job.executed.content,
        path=job.plan.notebook.path,
        kernel=job.kernel,
        folder=str(job.folder),
        root=artifacts.url,
        place=artifacts.path,
        scratch=scratch,
        parameters=job.values,
        secrets=job.secrets,
        defaults={name: value for name, value in known.items() if name not in os.environ},
        environment={**inside, **around, KEY: key},
        about={**about, "run_id": run_id, "correlation_id": correlation_id},
        memory=job.plan.notebook.memory_limit,
    )


@contextmanager
def scratch_folder() -> Iterator[str]:
    """A folder of this process, which is gone afterwards; those that killed processes have left go, too."""
    _sweep(Path(tempfile.gettempdir()))
    folder = tempfile.mkdtemp(prefix=f"{_SCRATCH}{os.getpid()}-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{_SCRATCH}*"):
        try:
            info = folder.lstat()
            gone = not _lives(folder.name.removeprefix(_SCRATCH).partition("-")[0])
            if gone and info.st_uid == os.geteuid() and time.time() - info.st_mtime > _OLD and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue


def _lives(process: str) -> bool:
    if not process.isdecimal():
        return True  # it is none of ours
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

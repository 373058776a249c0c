"""``pytest --nbmake notebooks/`` runs the notebooks against servers and a worker of their own, started once.

With ``-n auto`` it is the process that hands out the notebooks which starts them; the others inherit its environment.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from datapipe.errors import DatapipeError
from datapipe.local import stack
from datapipe.local.children import Child
from datapipe.local.demo import prepare

_ENDS = pytest.StashKey[ExitStack]()
# Settings of the caller that would send runs elsewhere, or not record them.
_FOREIGN = ("DATAPIPE_", "CELERY_", "REDIS_URL", "SOURCE_DB_URL", "DEST_DB_URL")


def pytest_sessionstart(session: pytest.Session) -> None:
    config = session.config
    if not getattr(config.option, "nbmake", False) or config.option.collectonly or hasattr(config, "workerinput"):
        return
    ends = config.stash[_ENDS] = ExitStack()
    try:
        ends.enter_context(_running_stack())
    except DatapipeError as error:
        pytest.exit(str(error), returncode=1)


def pytest_sessionfinish(session: pytest.Session) -> None:
    ends = session.config.stash.get(_ENDS, None)
    if ends is not None:
        ends.close()


@contextmanager
def _running_stack() -> Iterator[None]:
    """PostgreSQL with the flights, Valkey and a worker, in a folder that is gone afterwards; and the environment."""
    home, before = tempfile.mkdtemp(prefix="datapipe-notebooks-"), dict(os.environ)
    children: list[Child] = []
    try:
        for name in [name for name in before if name.startswith(_FOREIGN)]:
            del os.environ[name]
        # IPython keeps a history, and reads what its user would have at each start.
        os.environ |= {"DATAPIPE_HOME": home, "IPYTHONDIR": str(Path(home, "ipython"))}
        with stack.until_told(children), stack.running_servers() as variables:
            os.environ |= variables
            prepare(variables["DEST_DB_URL"], Console(file=sys.stderr))
            children.append(stack.worker(variables, concurrency=1))
            try:
                children[0].start()
                yield
            finally:
                children[0].stop()
    finally:
        os.environ.clear()
        os.environ |= before
        shutil.rmtree(home)

"""datapipe: build a pipeline in a notebook, run the same plan in production.

>>> import datapipe
>>> plan = datapipe.read("SELECT * FROM users", source="sqlite:///crm.db").write("users_copy", to="warehouse")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from datapipe.lazily import lazily

if TYPE_CHECKING:
    from datapipe.backfilling import backfill
    from datapipe.engine import RunResult
    from datapipe.errors import DatapipeError
    from datapipe.history import Run, attach
    from datapipe.listing import runs
    from datapipe.notebooks.job import notebook
    from datapipe.notebooks.outputs import output
    from datapipe.pipeline import Pipeline
    from datapipe.plan import Plan, WriteStrategy
    from datapipe.reading import load, read
    from datapipe.settings import Settings, connect

__version__ = "0.1.0"

__all__ = [
    "DatapipeError",
    "Pipeline",
    "Plan",
    "Run",
    "RunResult",
    "Settings",
    "WriteStrategy",
    "attach",
    "backfill",
    "connect",
    "load",
    "notebook",
    "output",
    "read",
    "runs",
]

# Each name is loaded when it is first used, so that importing datapipe costs next to nothing.
if not TYPE_CHECKING:
    __getattr__ = lazily(
        __name__,
        {
            "backfilling": "backfill",
            "engine": "RunResult",
            "errors": "DatapipeError",
            "history": "Run attach",
            "listing": "runs",
            "notebooks.job": "notebook",
            "notebooks.outputs": "output",
            "pipeline": "Pipeline",
            "plan": "Plan WriteStrategy",
            "reading": "load read",
            "settings": "Settings connect",
        },
    )


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

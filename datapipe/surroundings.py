"""Where this process runs: what may be shown there, and how. Nothing here decides what a run does."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Literal

Surroundings = Literal["lab", "vscode", "colab", "headless", "terminal"]
_COMMANDS = ("datapipe", "pipeline-cli")
# What the environment of a notebook job's kernel says of the run around it.
PARENT, CORRELATION, PIPELINE = "DATAPIPE_PARENT_RUN_ID", "DATAPIPE_CORRELATION_ID", "DATAPIPE_PIPELINE_ID"


def surroundings() -> Surroundings:
    """A notebook in a browser, one in an editor, one that is run without anybody (papermill, nbmake), or no notebook.

    Examples
    --------
    >>> surroundings()
    'terminal'
    """
    shell = shell_of_kernel()
    if shell is None:
        return "terminal"
    if "google.colab" in sys.modules:
        return "colab"
    if "__vsc_ipynb_file__" in shell.user_ns or "VSCODE_PID" in os.environ:
        return "vscode"
    # Jupyter's server says which notebook a kernel is for; papermill, nbmake and nbconvert do not.
    return "lab" if "JPY_SESSION_NAME" in os.environ else "headless"


def shell_of_kernel() -> Any:
    """IPython's shell in a Jupyter kernel; None anywhere else."""
    get = getattr(sys.modules.get("IPython"), "get_ipython", None)  # another thread may be importing it right now
    shell = get() if get is not None else None
    return shell if getattr(shell, "kernel", None) is not None else None


def via() -> str:
    """How runs of this process are asked for: ``notebook``, ``cli`` or ``script``."""
    if shell_of_kernel() is not None:
        return "notebook"
    command = sys.argv[0] if sys.argv else ""  # an embedded interpreter has none
    return "cli" if Path(command).name in _COMMANDS else "script"

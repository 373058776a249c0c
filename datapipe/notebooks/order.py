"""What the process that executes a notebook is told to do, and how it says that it has ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MIME = "application/vnd.datapipe.output+json"  # of an output among what a cell shows
FOLDER = "DATAPIPE_OUTPUT_FOLDER"  # where a kernel leaves frames for whoever runs it
LOG = "kernel.log"  # what the processes print that is no output of a cell
INTERRUPTED = "interrupted"  # the reason of one that its user has stopped by Ctrl-C


@dataclass(frozen=True)
class Order:
    """One attempt to execute a notebook, as plain JSON values.

    Parameters
    ----------
    notebook : mapping
        Its content, as in an .ipynb file, without outputs.
    path : str
        Where it came from, for people.
    parameters : mapping
        The values it was given, which are in its injected cell, as JSON; secrets as references.
    secrets : sequence of str
        The names of secrets that it uses.
    kernel : str
        The kernel's name.
    folder : str
        The kernel's working directory.
    defaults : mapping of str to str
        What the kernel's environment gets where it lacks it: the ``.env`` of whoever started the run.
    environment : mapping of str to str
        Added to the kernel's environment.
    root, place : str
        Where its artifacts go: a folder or an fsspec URL, and the path below it.
    about : mapping
        What ``run.json`` has to say of the run.
    memory : int, optional
        Bytes that the kernel and its processes may have in memory.
    start_timeout, grace : float
        Seconds for the kernel to start; and to end its cell when it is interrupted.
    scratch : str
        A folder of this attempt alone.
    """

    notebook: Mapping[str, Any]
    path: str
    kernel: str
    folder: str
    root: str
    place: str
    scratch: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    memory: int | None = None
    start_timeout: float = 120.0
    grace: float = 10.0

    def to_json(self) -> str:
        """The order as one line."""
        return json.dumps(vars(self), ensure_ascii=True)

    @classmethod
    def from_json(cls, line: str) -> Order:
        """The order that :meth:`to_json` gave."""
        found = json.loads(line)
        return cls(**{**found, "secrets": tuple(found["secrets"])})


@dataclass(frozen=True)
class Outcome:
    """The end of an execution.

    Parameters
    ----------
    state : {"succeeded", "failed", "cancelled", "lost"}
    reason : str, optional
        ``timed_out``, ``kernel_died``, ``out_of_memory``, or a sentence.
    error : mapping, optional
        What went wrong: ``type``, ``message``, ``hint``, ``cell`` (its number, as in ``In[1]``), ``excerpt``,
        ``traceback``.
    """

    state: str
    reason: str | None = None
    error: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return dict(vars(self))

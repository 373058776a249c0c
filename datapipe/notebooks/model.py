"""A notebook job as a value: what to run, with what, within which limits; and its document form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from datapipe.engine.options import size_in_bytes
from datapipe.errors import PlanError
from datapipe.notebooks.leaks import has_password
from datapipe.plan import QUEUE_NAME, build
from datapipe.plan.base import Text, Value
from datapipe.plan.values import FrozenDict, freeze
from datapipe.plan.yamltext import dumped

Seconds = Annotated[float, Field(gt=0)]
Given = Annotated[dict[str, Any], BeforeValidator(lambda value: freeze(value) if isinstance(value, Mapping) else value)]


class NotebookSpec(Value):
    """The notebook of a job.

    Parameters
    ----------
    path : str
        An .ipynb file.
    parameters : mapping
        Values for its parameters, as JSON has them.
    kernel : str, optional
        Another kernel than the one it was written for.
    folder : str, optional
        The kernel's working directory; the notebook's own folder, as in JupyterLab, if left out.
    timeout, cell_timeout : float, optional
        Seconds that all of it, or any one cell, may take.
    memory : str, optional
        What its kernel may have in memory, such as ``2GB``; it is killed beyond that.
    retries : int, optional
        Further attempts after an error that may pass, or the death of the kernel; MAX_RETRIES if left out, and none
        once a pipeline inside has ended well.
    artifacts : str, optional
        Where the executed notebook goes: a folder or an fsspec URL; DATAPIPE_ARTIFACTS_URL if left out.
    """

    path: Text
    parameters: Given = Field(default_factory=FrozenDict)
    kernel: Text | None = None
    folder: Text | None = None
    timeout: Seconds | None = None
    cell_timeout: Seconds | None = None
    memory: Text | None = None
    retries: Annotated[int, Field(ge=0, le=20)] | None = None
    artifacts: Text | None = None

    @property
    def memory_limit(self) -> int | None:
        """The limit in bytes."""
        return None if self.memory is None else size_in_bytes(self.memory)


class NotebookPlan(Value):
    """A job: a notebook, a name, and a queue.

    Examples
    --------
    >>> plan = parse_job({"notebook": {"path": "daily.ipynb", "parameters": {"day": "2013-05-01"}}})
    >>> plan.title, dict(plan.notebook.parameters)
    ('daily', {'day': '2013-05-01'})
    """

    format: Literal[1] = 1
    name: Text | None = None
    notebook: NotebookSpec
    queue: Annotated[str, Field(pattern=QUEUE_NAME)] | None = None

    @property
    def title(self) -> str:
        """Its name, or the notebook's."""
        return self.name or Path(self.notebook.path).stem

    def document(self) -> dict[str, Any]:
        """The document form: plain JSON values."""
        return {"format": self.format, **self.model_dump(mode="json", by_alias=True, exclude_defaults=True)}

    def to_json(self) -> str:
        """The document form as JSON."""
        return json.dumps(self.document(), indent=2, ensure_ascii=False)

    def to_yaml(self) -> str:
        """The document form as YAML."""
        return dumped(self.document())


def is_job(data: Any) -> bool:
    """Whether a document is about a notebook."""
    return isinstance(data, Mapping) and "notebook" in data


def parse_job(data: Any) -> NotebookPlan:
    """A job from its document form.

    Raises
    ------
    PlanError
        For the first mistake.
    """
    if not is_job(data):
        raise PlanError("a job is a mapping with a notebook", hint="notebook: {path: daily.ipynb, parameters: {…}}")
    given = {**data, "notebook": {"path": data["notebook"]}} if isinstance(data["notebook"], str) else data
    found = build(NotebookPlan, given, step="notebook")
    if found.notebook.memory is not None:
        size_in_bytes(found.notebook.memory)
    if has_password(found.notebook.artifacts):
        hint = "Put it into a variable: artifacts=${REPORTS_URL}, or DATAPIPE_ARTIFACTS_URL"
        raise PlanError("the URL of the artifacts holds a password", step="notebook", hint=hint)
    return found

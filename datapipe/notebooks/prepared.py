"""A job that is ready to run: its notebook read, its parameters checked and in their cell, its code looked over."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datapipe.errors import PlanError
from datapipe.notebooks.cells import Notebook, injected, notebook_of, read_notebook
from datapipe.notebooks.lint import Finding, findings
from datapipe.notebooks.model import NotebookPlan
from datapipe.notebooks.parameters import SecretRef, checked, declared, encoded, source_of
from datapipe.plan.values import freeze

_CONTAINERS = (list, tuple, set, frozenset)
_SECRET = re.compile(r"""\bsecret\(\s*["'](\w+)["']\s*\)""")


@dataclass(frozen=True)
class Prepared:
    """What is executed.

    Parameters
    ----------
    plan : NotebookPlan
    notebook : Notebook
        As it is in its file.
    executed : Notebook
        With the values of its parameters in it.
    values : mapping
        These values as JSON; secrets as references.
    secrets : tuple of str
        The names of the secrets among them.
    warnings : tuple of Finding
    own_folder : Path, optional
        Where the notebook is on this machine, if not where its path leads to.
    """

    plan: NotebookPlan
    notebook: Notebook
    executed: Notebook
    values: Mapping[str, Any]
    secrets: tuple[str, ...] = ()
    warnings: tuple[Finding, ...] = ()
    own_folder: Path | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what is executed, the values included."""
        text = json.dumps([self.notebook.hash, dict(self.values)], sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def portable(self) -> NotebookPlan:
        """The plan with the values in their JSON form."""
        spec = self.plan.notebook.model_copy(update={"parameters": freeze(dict(self.values))})
        return self.plan.model_copy(update={"notebook": spec})

    @property
    def kernel(self) -> str:
        """The kernel's name."""
        return self.plan.notebook.kernel or self.notebook.kernel

    @property
    def folder(self) -> Path:
        """The kernel's working directory: the notebook's own folder where there is one."""
        if self.plan.notebook.folder is not None:
            return Path(self.plan.notebook.folder).expanduser().absolute()
        own = self.own_folder or Path(self.plan.notebook.path).expanduser().absolute().parent
        return own if own.is_dir() else Path.cwd()


def prepared(
    plan: NotebookPlan, *, content: Mapping[str, Any] | None = None, texts: bool = False, check: bool = True
) -> Prepared:
    """Read a job's notebook, and check it and its parameters, before a kernel starts.

    Parameters
    ----------
    content : mapping, optional
        The notebook itself, where it has come with a message; it is read from its path otherwise.
    texts : bool
        Whether the values are a command line's, which are texts.
    check : bool
        Whether to refuse a notebook whose code cannot run: syntax errors, undefined names.

    Raises
    ------
    PlanError
        For the first mistake, with the cell and the line.
    """
    spec = plan.notebook
    notebook = read_notebook(spec.path) if content is None else notebook_of(content, spec.path)
    found = checked(notebook, spec.parameters, texts=texts)
    if found and notebook.language != "python":
        hint = "Read what it needs from its environment, or from a file"
        raise PlanError(f"{notebook.path} is in {notebook.language}, which has no parameters here", hint=hint)
    names = [parameter.name for parameter in declared(notebook)]
    declared(notebook, "outputs")  # a mistake there is told now
    problems = findings(notebook, names) if check else ()
    _refuse(notebook, [one for one in problems if one.level == "error"])
    if spec.folder is not None and not Path(spec.folder).expanduser().is_dir():
        raise PlanError(f"there is no folder {spec.folder!r} for the kernel to work in", hint="Check folder=")
    executed = injected(notebook, source_of(found)) if found else notebook
    secrets = tuple(dict.fromkeys((*_secrets(found), *_looked_up(notebook))))
    warnings = tuple(one for one in problems if one.level == "warning")
    return Prepared(plan, notebook, executed, encoded(found), secrets, warnings)


def _secrets(value: Any) -> Iterator[str]:
    """The names of the secrets that values refer to."""
    if isinstance(value, SecretRef):
        yield value.name
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, _CONTAINERS) else ()
    for item in inner:
        yield from _secrets(item)


def _looked_up(notebook: Notebook) -> Iterator[str]:
    """The names of the secrets that a notebook asks for itself."""
    for cell in notebook.code:
        yield from _SECRET.findall(cell.source)


def bound(plan: NotebookPlan, values: Mapping[str, Any], *, texts: bool = False) -> NotebookPlan:
    """The plan with other values for parameters, checked.

    Raises
    ------
    PlanError
        If one is unknown or of the wrong type. What is missing is told when it is run.
    """
    notebook = read_notebook(plan.notebook.path)
    found = {**plan.notebook.parameters, **encoded(checked(notebook, values, texts=texts, partly=True))}
    checked(notebook, found, partly=True)
    spec = plan.notebook.model_copy(update={"parameters": freeze(found)})
    return plan.model_copy(update={"notebook": spec})


def _refuse(notebook: Notebook, errors: list[Finding]) -> None:
    if errors:
        more = f" (and {len(errors) - 1} more: datapipe notebook check {notebook.path})" if len(errors) > 1 else ""
        hint = "Mend it; check=False, or --no-check, runs it all the same"
        raise PlanError(f"{notebook.path}, {errors[0]}{more}", hint=hint)

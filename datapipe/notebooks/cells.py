"""A notebook as it is in its file: cells and what they are for, read as data and nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from datapipe.errors import PlanError

Kind = Literal["code", "markdown", "raw"]
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", re.MULTILINE)
_FENCED = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_INJECTED = "injected-parameters"
_SKIPPED = "skip-execution"
_MOST = 64 << 20  # bytes of a file


@dataclass(frozen=True)
class Cell:
    """One cell.

    Parameters
    ----------
    index : int
        Its place among all cells, from 0.
    id : str
    kind : {"code", "markdown", "raw"}
    source : str
    tags : frozenset of str
    title : str
        What a code cell is about: the heading right above it, or its own first line.
    number : int
        Its number among the cells that are executed, from 1, as Jupyter has it: ``In[1]``; 0 for others.
    """

    index: int
    id: str
    kind: Kind
    source: str
    tags: frozenset[str] = frozenset()
    title: str = ""
    number: int = 0

    def is_for(self, role: str) -> bool:
        """Whether a code cell has a tag, or begins with a comment of that word alone: ``# parameters``.

        Examples
        --------
        >>> Cell(0, "a", "code", "# parameters\\nday = 1").is_for("parameters")
        True
        """
        if self.kind != "code":
            return False
        first = self.source.lstrip().partition("\n")[0]
        return role in self.tags or (first.lstrip("# \t").strip().lower() == role and first.startswith("#"))


@dataclass(frozen=True)
class Notebook:
    """A notebook without its outputs.

    Parameters
    ----------
    path : str
        Where it was read from, for people.
    cells : tuple of Cell
    content : mapping
        All of it, as in the file.
    """

    path: str
    cells: tuple[Cell, ...]
    content: Mapping[str, Any] = field(repr=False, hash=False, compare=False)

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return Path(self.path).stem

    @property
    def code(self) -> tuple[Cell, ...]:
        """The cells that are executed."""
        return tuple(cell for cell in self.cells if cell.number)

    @property
    def kernel(self) -> str:
        """The kernel it was written for; ``python3`` if it does not say."""
        return str(_metadata(self.content).get("kernelspec", {}).get("name") or "python3")

    @property
    def language(self) -> str:
        """The language of its code."""
        found = _metadata(self.content)
        named = found.get("language_info", {}).get("name") or found.get("kernelspec", {}).get("language")
        return str(named or "python").lower()

    @property
    def hash(self) -> str:
        """SHA-256 over what is executed: sources, kinds and tags of the cells, in order, and the kernel."""
        cells = [[cell.kind, cell.source, sorted(cell.tags)] for cell in self.cells if cell.kind == "code"]
        text = json.dumps([self.kernel, cells], ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def cell_for(self, role: str) -> Cell | None:
        """The one cell of a role, such as ``parameters`` or ``outputs``.

        Raises
        ------
        PlanError
            If there are several.
        """
        found = [cell for cell in self.cells if cell.is_for(role)]
        if len(found) > 1:
            where = ", ".join(str(cell.number) for cell in found)
            raise PlanError(f"{self.path}: cells {where} are all tagged {role!r}", hint="Leave one of them")
        return found[0] if found else None


def _first_line(source: str) -> str:
    """What a cell without a heading begins with: a comment, or code."""
    lines = (line.strip() for line in source.splitlines())
    return next((line.lstrip("# ") for line in lines if line.strip("# ")), "")


def codes(cells: Sequence[Mapping[str, Any]]) -> list[int]:
    """Which of a notebook's cells are executed; their numbers, from 1, are those that Jupyter gives them: ``In[1]``."""
    found = [(index, cell) for index, cell in enumerate(cells) if cell.get("cell_type") == "code"]
    return [i for i, cell in found if cell["source"].strip() and _SKIPPED not in (_metadata(cell).get("tags") or ())]


def read_notebook(path: str | Path) -> Notebook:
    """The notebook in a file.

    Raises
    ------
    PlanError
        If the file is missing or is no notebook.
    """
    file = Path(path)
    try:
        with file.open("rb") as stream:
            text = stream.read(_MOST + 1)
    except OSError as error:
        hint = _neighbours(file) or "Check the path"
        raise PlanError(f"cannot read {str(path)!r}: {error.strerror}", hint=hint) from None
    if len(text) > _MOST:
        raise PlanError(f"{str(path)!r} is larger than 64 MiB", hint="Clear its outputs")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise PlanError(f"{str(path)!r} is no notebook: it is not JSON", hint="Give an .ipynb file") from None
    return notebook_of(content, str(path))


def notebook_of(content: Any, path: str) -> Notebook:
    """The notebook in data as its file has it.

    Raises
    ------
    PlanError
        If it is none, or has an older format than 4.
    """
    if not isinstance(content, Mapping) or "nbformat" not in content:
        raise PlanError(f"{path!r} is no notebook", hint="Give an .ipynb file")
    if content["nbformat"] != 4 or not isinstance(content.get("cells"), list):
        hint = "Open it in JupyterLab and save it, which makes a notebook of format 4 of it"
        raise PlanError(f"{path!r} has the format {content['nbformat']!r} of notebooks", hint=hint)
    bare = [_bare(cell, index) for index, cell in enumerate(content["cells"]) if isinstance(cell, Mapping)]
    metadata = {name: value for name, value in _metadata(content).items() if name not in {"widgets", "papermill"}}
    numbers = {index: number for number, index in enumerate(codes(bare), 1)}
    cells, heading = [], ""
    for index, cell in enumerate(bare):
        source, kind = _text(cell.get("source", "")), cell.get("cell_type", "raw")
        if kind == "markdown":
            found = _HEADING.findall(_FENCED.sub("", source))
            heading = found[-1] if found else heading
        tags = frozenset(map(str, _metadata(cell).get("tags") or ()))
        title = ""
        if kind == "code":
            title, heading = heading or _first_line(source), ""
        cells.append(Cell(index, cell["id"], kind, source, tags, title, numbers.get(index, 0)))
    return Notebook(path, tuple(cells), {**content, "metadata": metadata, "cells": bare})


def injected(notebook: Notebook, source: str) -> Notebook:
    """The notebook with a cell of values after its cell of parameters, as papermill has it.

    Examples
    --------
    >>> cell = {"cell_type": "code", "source": "day = 1", "metadata": {"tags": ["parameters"]}}
    >>> bare = notebook_of({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [cell]}, "a.ipynb")
    >>> [cell.source for cell in injected(bare, "day = 2").cells]
    ['day = 1', 'day = 2']
    """
    cells = [cell for cell in notebook.content["cells"] if _INJECTED not in _metadata(cell).get("tags", ())]
    place = notebook.cell_for("parameters")
    index = 0 if place is None else 1 + [str(cell.get("id")) == place.id for cell in cells].index(True)
    new: dict[str, Any] = {
        "cell_type": "code",
        "id": _INJECTED,
        "metadata": {"tags": [_INJECTED]},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }
    return notebook_of({**notebook.content, "cells": [*cells[:index], new, *cells[index:]]}, notebook.path)


def _bare(cell: Mapping[str, Any], index: int) -> dict[str, Any]:
    """The cell without what an earlier execution has left in it; with an id, which older notebooks lack."""
    cell = {**cell, "id": str(cell.get("id") or f"cell-{index}")}
    found = {**cell, "metadata": {k: v for k, v in _metadata(cell).items() if k not in {"papermill", "execution"}}}
    found["source"] = _text(cell.get("source", ""))
    return {**found, "outputs": [], "execution_count": None} if cell.get("cell_type") == "code" else found


def _metadata(found: Mapping[str, Any]) -> Mapping[str, Any]:
    value = found.get("metadata")
    return value if isinstance(value, Mapping) else {}


def _text(source: Any) -> str:
    return "".join(map(str, source)) if isinstance(source, list) else str(source)


def _neighbours(file: Path) -> str:
    """The notebooks beside a file that is not there."""
    try:
        names = sorted(found.name for found in file.parent.glob("*.ipynb"))
    except OSError:
        return ""
    return f"In {file.parent} there are {', '.join(names[:10])}" if names else ""

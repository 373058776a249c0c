"""What is wrong with a notebook, told before it runs."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from datapipe.hosts import part
from datapipe.notebooks.background import left_behind
from datapipe.notebooks.cells import Notebook
from datapipe.notebooks.names import Names, hidden
from datapipe.notebooks.python import Code, python_of

_SKIPPED = "skip-execution"  # as nbclient has it


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or looks so.

    Parameters
    ----------
    level : {"error", "warning"}
        An error makes the notebook fail.
    cell : int
        The number of the cell among those that are executed, from 1, as in ``In[1]``.
    line : int
        The line within the cell, from 1.
    message : str
        A sentence.

    Examples
    --------
    >>> print(Finding("error", 5, 2, "the name 'datra' is not defined. Did you mean 'data'?"))
    cell 5, line 2: the name 'datra' is not defined. Did you mean 'data'?
    """

    level: Literal["error", "warning"]
    cell: int
    line: int
    message: str

    def __str__(self) -> str:
        return f"cell {self.cell}, line {self.line}: {self.message}"


def findings(notebook: Notebook, parameters: Collection[str] = ()) -> tuple[Finding, ...]:
    """Everything that is wrong, in the order of the cells; nothing is executed.

    Errors are wrong syntax, and names that are used where nothing has defined them. Cells in another language are
    passed over, and so are those tagged ``skip-execution``. Where names may come from what cannot be seen (an import
    of ``*``, ``%run``, ``%load_ext``, ``%store``, ``%pylab``, ``exec``, ``globals()``, a magic that nobody knows), no
    name is called undefined. Warnings are parameters that nothing uses, and background work that the last cell begins
    and does not wait for.

    Parameters
    ----------
    notebook : Notebook
        One in another language than Python has no findings.
    parameters : collection of str
        The names of its parameters, which have a value behind the cell that declares them.

    Raises
    ------
    PlanError
        If IPython or pyflakes is not installed.

    Examples
    --------
    >>> from datapipe.notebooks.cells import notebook_of
    >>> cells = [{"cell_type": "code", "source": source} for source in ("data = 1", "# sum\\nprint(datra)")]
    >>> print(*findings(notebook_of({"nbformat": 4, "cells": cells}, "daily.ipynb")))
    cell 2, line 2: the name 'datra' is not defined. Did you mean 'data'?
    """
    if notebook.language not in {"python", "ipython"}:
        return ()
    checker = part("pyflakes.checker", "notebook").Checker
    transformer = part("IPython.core.inputtransformer2", "notebook").TransformerManager()
    codes, skipped = list[Code](), list[Code]()
    for cell in (cell for cell in notebook.cells if cell.kind == "code" and cell.source.strip()):
        kept = skipped if _SKIPPED in cell.tags else codes
        kept.append(python_of(cell, transformer, codes[-1].end if codes else 0))
    defines, reaches = hidden(codes)
    found = [*_wrong(codes), *_background(codes)]
    if not reaches:
        found += _unused(codes, parameters)
    if not defines:
        names = Names(codes, {*parameters, *_declared(codes)})
        found += [_finding("error", *one) for one in names.undefined(checker, skipped)]
    return tuple(sorted(found, key=lambda one: (one.cell, one.line, one.message)))


def _finding(level: Literal["error", "warning"], code: Code, line: int, message: str) -> Finding:
    return Finding(level, code.cell.number, line, message)


def _wrong(codes: Sequence[Code]) -> Iterator[Finding]:
    for code in codes:
        if code.error is not None:
            line, reason = code.error
            yield _finding("error", code, line, f"this is no Python: {reason}")


def _background(codes: Sequence[Code]) -> Iterator[Finding]:
    busy = [code for code in codes if not code.is_empty]
    for line, message in left_behind(busy[-1].tree) if busy else ():
        yield _finding("warning", busy[-1], busy[-1].line(line), message)


def _declared(codes: Sequence[Code]) -> Iterator[str]:
    """Parameters without a default, which are only annotated."""
    for statement in (one for code in codes if _is_parameters(code) for one in code.tree.body):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id


def _unused(codes: Sequence[Code], parameters: Collection[str]) -> Iterator[Finding]:
    """Parameters that no other cell reads; a word of that name in a text, or in another language, may do so."""
    others = [code for code in codes if not _is_parameters(code)]
    nodes = [node for code in others for node in ast.walk(code.tree)]
    names = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store)}
    names |= {node.target.id for node in nodes if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)}
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    texts += [code.cell.source for code in others if not code.tree.body]
    words = {word for text in texts for word in re.findall(r"\w+", text)}
    for code in codes:
        for statement in code.tree.body if _is_parameters(code) else ():
            for name in _targets(statement):
                if name in parameters and name not in names and name not in words:
                    message = f"nothing uses the parameter {name!r}: it makes no difference what it is"
                    yield _finding("warning", code, code.line(statement.lineno), message)


def _is_parameters(code: Code) -> bool:
    return code.cell.is_for("parameters") or code.cell.is_for("injected-parameters")


def _targets(statement: ast.stmt) -> list[str]:
    given = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [target.id for target in given if isinstance(target, ast.Name)]

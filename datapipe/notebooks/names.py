"""Names that cells use and nothing defines, or nothing yet: a kernel executes cells in their order."""

from __future__ import annotations

import ast
import builtins
import difflib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from typing import Any

from datapipe.notebooks.python import Code

_OWN = ("get_ipython", "display", "In", "Out", "exit", "quit")  # of IPython
_HISTORY = re.compile(r"_{1,3}|_i{1,3}|_[iod]h|_i?\d+")  # what was typed and came out
_OUTSIDE = {"exec", "globals"}  # calls that reach names by other ways
_HERE = {"locals", "vars"}  # the same without arguments
_SHELL = {"user_ns", "run_cell", "run_cell_magic"}  # of IPython's shell
_EXTENSIONS = {"autoreload", "dotenv", "tensorboard", "line_profiler", "memory_profiler"}  # that define no names
_LINE_MAGICS = {"run_line_magic", "magic"}
_HARMLESS = re.compile(  # magics that do not, either, and use none but those that stand there
    r"pip|conda|mamba|uv|matplotlib|config|env|set_env|cd|pwd|ls|ll|cat|cp|mv|rm|mkdir|rmdir|man|more|less|who|whos"
    r"|who_ls|history|time|timeit|prun|memit|mprun|lprun|autoreload|aimport|precision|xmode|pdb|debug|tb|system|sx"
    r"|dotenv|gui|colors|automagic|autosave|logstart|logstop|alias|alias_magic|lsmagic|magic|quickref|pinfo|pinfo2|pdoc"
    r"|pdef|psource|pfile|psearch|page|pprint|pushd|popd|dirs|dhist|bookmark|connect_info|qtconsole|clear|notebook"
    r"|killbgscripts|rehashx|unload_ext|doctest_mode|load_ext|reload_ext|pylab|tensorboard"
)
_IMPORTS = {
    "pd": "import pandas as pd",
    "np": "import numpy as np",
    "pl": "import polars as pl",
    "pa": "import pyarrow as pa",
    "sa": "import sqlalchemy as sa",
    "plt": "import matplotlib.pyplot as plt",
    "Path": "from pathlib import Path",
    "Decimal": "from decimal import Decimal",
    **{name: f"import {name}" for name in ("datapipe", "os", "sys", "re", "json", "math", "time", "datetime")},
}


@dataclass(frozen=True)
class Names:
    """All cells as one module.

    Parameters
    ----------
    codes : sequence of Code
        In the order in which they are executed.
    given : collection of str
        Names that are given a value behind the cell of parameters, or before all if there is none.
    """

    codes: Sequence[Code]
    given: Collection[str]

    def undefined(self, checker: Any, skipped: Sequence[Code] = ()) -> Iterator[tuple[Code, int, str]]:
        """Each cell's uses of names without a value, the first of each name: the cell, its line, what is wrong.

        Parameters
        ----------
        checker : type
            pyflakes' Checker.
        skipped : sequence of Code
            Cells that are not executed.
        """
        tree = self._module()
        written = {(node.lineno, node.col_offset, node.id) for node in ast.walk(tree) if isinstance(node, ast.Name)}
        wrong = " ".join(code.cell.source for code in self.codes if code.error)
        told = set[tuple[int, str]]()
        # For pyflakes an await belongs into a function, and it does not look into others.
        kind = type("Checker", (checker,), {"AWAIT": checker.handleChildren})
        found = kind(tree, builtins=_OWN, withDoctest=False).messages
        for message in sorted(found, key=lambda message: (message.lineno, message.col)):
            what, name = type(message).__name__, str((*message.message_args, "")[0])
            if what not in {"UndefinedName", "UndefinedLocal"} or (message.lineno, message.col, name) not in written:
                continue  # not evaluated: in an annotation that is a text
            code = next(code for code in self.codes if message.lineno <= code.end)
            # What a cell that does not parse defines is unknown.
            if (code.cell.index, name) in told or _HISTORY.fullmatch(name) or re.search(rf"\b{name}\b", wrong):
                continue
            told.add((code.cell.index, name))
            late = f"{name!r} is a local name of this function, and is used before it has a value"
            sentence = late if what == "UndefinedLocal" else self._sentence(code, name, skipped)
            yield code, code.line(message.lineno), sentence

    def _module(self) -> ast.Module:
        """All cells, with what gives names a value from outside."""
        is_for = [code.cell.is_for("parameters") for code in self.codes]
        body = [] if any(is_for) else _assigned(self.given, 1)
        for code, is_parameters in zip(self.codes, is_for, strict=True):
            body += [*_assigned(code.binds, code.start + 1), *code.tree.body]
            body += _assigned(self.given, code.end) if is_parameters else []
        return ast.Module(sorted(body, key=lambda one: not _of_the_future(one)), [])

    def _sentence(self, code: Code, name: str, skipped: Sequence[Code]) -> str:
        if name in self.given:
            return f"the parameter {name!r} has its value only behind the cell that declares it"
        later = [other for other in self.codes if name in other.names]
        if code in later:
            return f"the name {name!r} is used before this cell defines it"
        below = [other.cell.number for other in later if other.cell.index > code.cell.index]
        if below:
            return f"the name {name!r} is defined only in cell {below[0]}, below. Move that cell up"
        if any(name in other.names for other in skipped):
            return f"the name {name!r} is defined only in a cell that is skipped"
        return f"the name {name!r} is not defined{self._hint(name)}"

    def _hint(self, name: str) -> str:
        if name in _IMPORTS:
            return f". Is {_IMPORTS[name]!r} missing?"
        own = {*self.given, *(one for code in self.codes for one in code.names)} - {name}
        for known in (own, vars(builtins)):
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
            if near:
                return f". Did you mean {near[0]!r}?"
        return ""


def _assigned(names: Collection[str], line: int) -> list[ast.stmt]:
    found = ast.parse(
        "\n".join(f"{name} = None" for name in sorted(names) if name.isidentifier() and not iskeyword(name))
    ).body
    for node in (node for statement in found for node in ast.walk(statement)):
        if hasattr(node, "lineno"):
            node.lineno = node.end_lineno = line  # type: ignore[attr-defined]  # as those that have one have the other
    return found


def _of_the_future(statement: ast.stmt) -> bool:
    """IPython keeps what such an import turns on for the cells that follow."""
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"


def hidden(codes: Sequence[Code]) -> tuple[bool, bool]:
    """Whether cells may define names, and may use names, in ways that nobody sees who only reads them."""
    nodes = [node for code in codes for node in ast.walk(code.tree)]
    reached = any(not code.known for code in codes) or any(map(_reaches, nodes))
    return reached or any(map(_defines, nodes)), reached


def _reaches(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name), args=args, keywords=options):
            return name in _OUTSIDE or (name in _HERE and not args and not options)
        case ast.Call(func=ast.Attribute(attr=name), args=[ast.Constant(value=str(magic)), *_]) if name in _LINE_MAGICS:
            return not _HARMLESS.fullmatch(magic.partition(" ")[0])
        case ast.Attribute(attr=name):
            return name in _SHELL
    return False


def _defines(node: ast.AST) -> bool:
    match node:
        case ast.ImportFrom(names=[ast.alias(name="*")]):
            return True
        case ast.Call(func=ast.Attribute(attr="run_line_magic"), args=[ast.Constant(value=magic), *rest]):
            return magic == "pylab" or (magic in {"load_ext", "reload_ext"} and not _harmless(rest))
    return False


def _harmless(arguments: list[ast.expr]) -> bool:
    return all(isinstance(one, ast.Constant) and one.value in _EXTENSIONS for one in arguments)

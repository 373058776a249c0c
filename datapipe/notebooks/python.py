"""The Python of a cell: IPython's own syntax taken away, parsed, every line known by its number in the cell."""

from __future__ import annotations

import ast
import difflib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from keyword import iskeyword
from typing import Any

from datapipe.notebooks.cells import Cell

_FLAGS = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
_CELL_MAGIC = re.compile(r"%%(?P<name>\S*)(?P<rest>.*)")
_TIMED = re.compile(r"^([ \t]*)%time[ \t]+(?=\S)", re.MULTILINE)
_WORD = re.compile(r"\b[^\W\d]\w*")
# What the body of a cell magic is: Python that this kernel executes, or nothing that defines a name.
_PYTHON = {"time", "timeit", "capture", "prun", "memit", "mprun", "lprun", "pyinstrument", "snakeviz", "debug"}
_OTHER = re.compile(
    r"bash|sh|script|system|sx|!|cmd|html|HTML|javascript|js|latex|markdown|svg|SVG|writefile|file|perl|ruby|python[23]?"
    r"|pypy|sql|bigquery|R"
)
# Line magics that work without their % where they are a cell of their own.
_AUTOMAGIC = re.compile(
    r"((pip|conda|mamba|uv|cd|ls|ll|cat|cp|mv|rm|mkdir|rmdir|man|load_ext|reload_ext|run|store|pylab|matplotlib|time"
    r"|timeit|autoreload|xmode)[ \t]+[^\s=,]|(ls|ll|pwd|env|who|whos|who_ls|history|lsmagic|magic|pylab)\s*$)"
)


@dataclass(frozen=True)
class Code:
    """A cell as Python has it.

    Parameters
    ----------
    cell : Cell
    start : int
        How many lines of earlier cells are before it: all cells together are one module.
    tree : ast.Module
        Its statements; none if it is in another language, or wrong.
    lines : tuple of int
        For each line of the tree, the line of the cell, from 1.
    binds : tuple of str
        Names that a magic's own line may give a value.
    error : tuple of (int, str), optional
        The line that is no Python, and why.
    known : bool
        False if its magic may do anything.
    """

    cell: Cell
    start: int = 0
    tree: ast.Module = field(default_factory=lambda: ast.Module([], []))
    lines: tuple[int, ...] = ()
    binds: tuple[str, ...] = ()
    error: tuple[int, str] | None = None
    known: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to execute: comments only."""
        return bool(self.lines) and not (self.tree.body or self.binds or self.error)

    @cached_property
    def names(self) -> frozenset[str]:
        """All names that it gives a value."""
        return frozenset((*self.binds, *bound(self.tree)))

    @property
    def end(self) -> int:
        """The number of its last line among those of all cells."""
        return self.start + max(len(self.lines), 1)

    def line(self, number: int) -> int:
        """The line of the cell that a line of the tree comes from."""
        return self.lines[min(max(number - self.start, 1), len(self.lines)) - 1] if self.lines else 1


def python_of(cell: Cell, transformer: Any, start: int = 0) -> Code:
    """Parse a cell.

    Parameters
    ----------
    cell : Cell
    transformer : IPython.core.inputtransformer2.TransformerManager
    start : int
        The number of lines before it.

    Examples
    --------
    >>> from IPython.core.inputtransformer2 import TransformerManager
    >>> python_of(Cell(0, "a", "code", "%%time\\n!ls\\nx = (1"), TransformerManager()).error
    (3, "'(' was never closed")
    """
    given = cell.source.replace("\r\n", "\n").split("\n")
    first, binds = 0, list[str]()
    while first < len(given):
        magic = _CELL_MAGIC.match(given[first])
        if magic:
            binds += [word for word in _WORD.findall(magic["rest"]) if not iskeyword(word)]
            if magic["name"] not in _PYTHON:
                return Code(cell, start, binds=tuple(binds), known=bool(_OTHER.fullmatch(magic["name"])))
        elif given[first].strip():
            break
        first += 1
    text = "\n".join(given[first:])
    if "\n" not in text.strip() and _AUTOMAGIC.match(text):
        text = f"%{text}"
    code = Code(cell, start, lines=tuple(range(first + 1, len(given) + 1)), binds=tuple(binds))
    try:
        made = transformer.transform_cell(_TIMED.sub(r"\1", text))  # which ends the last line
        after = made.removesuffix("" if text.endswith("\n") else "\n").split("\n")
        code = replace(code, lines=tuple(first + number for number in _origins(given[first:], after)))
        return replace(code, tree=_parsed(made, start))
    except SyntaxError as error:
        return replace(code, error=(code.line(start + (error.lineno or 1)), str(error.msg)))
    except (ValueError, RecursionError, MemoryError) as error:  # a sign that no text has, or too many brackets
        return replace(code, error=(code.line(start + 1), str(error) or "too much is within each other"))


def _parsed(text: str, start: int) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # such as about "\d"
        tree: ast.Module = compile(text, "<cell>", "exec", ast.PyCF_ONLY_AST | _FLAGS, dont_inherit=True)
        compile(tree, "<cell>", "exec", _FLAGS, dont_inherit=True)  # a return outside of a function shows only then
    return ast.increment_lineno(tree, start)


def _origins(before: list[str], after: list[str]) -> Iterator[int]:
    """For each line after a change, the number of the one before that it comes from."""
    if len(before) == len(after):
        yield from range(1, len(after) + 1)
        return
    for _, low, high, first, last in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        for number in range(last - first):
            yield min(low + number, max(high - 1, low), len(before) - 1) + 1


def bound(node: ast.AST) -> Iterator[str]:
    """The names that statements give a value where they stand: not within functions and classes.

    Examples
    --------
    >>> list(bound(ast.parse("import a.b as c, d.e\\nfor f in g:\\n    def h(): i = 1")))
    ['c', 'd', 'f', 'h']
    """
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
                continue
            case ast.Lambda() | ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                continue
            case ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.alias(name=name, asname=asname):
                yield asname or name.partition(".")[0]
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                yield name
            case ast.AnnAssign(target=ast.Name(), value=None) | ast.AugAssign(target=ast.Name()):
                continue
        yield from bound(child)

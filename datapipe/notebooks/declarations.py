"""The parameters that a notebook declares, read from the text of its cell and never executed."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from datapipe.display.words import shortened
from datapipe.errors import PlanError, did_you_mean
from datapipe.notebooks.cells import Cell, Notebook
from datapipe.notebooks.enums import enums_of
from datapipe.notebooks.forms import encode
from datapipe.notebooks.given import is_exactly
from datapipe.notebooks.kinds import ANY, FRAME, KNOWN, Kind, names_a_secret, secret_of
from datapipe.notebooks.leaks import has_password, plain_secret, texts_of
from datapipe.notebooks.literals import Computed, kind_of_computed, kind_of_value, value_of
from datapipe.notebooks.scope import Scope, Unknown, imported

GRAMMAR = "A parameter is `name: type = default  # help`, `name = default`, or `name: type` if it has to be given"
HIDDEN = "(hidden)"
_FOR_TOOLS = re.compile(r"#\s*(?:type:|noqa\b|pylint:|fmt:|ruff:|pyright:|mypy:)")
_MAGIC = ("%", "!", "?")
_WRONG = (ValueError, TypeError, ArithmeticError, LookupError)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a notebook.

    Parameters
    ----------
    name : str
    kind : Kind
        Its type.
    required : bool
        Whether it has to be given.
    default : Any
        Its value if it is not given; None if it is required, computed, or hidden as a secret.
    shown : str
        The default as it stands in the cell, or ``(hidden)``.
    help : str
    line : int
        Its line in the cell, from 1.
    computed : bool
        Whether only the notebook itself knows the default.

    Examples
    --------
    >>> Parameter("day", Kind("date"), required=True).type
    'date'
    """

    name: str
    kind: Kind
    required: bool
    default: Any = field(default=None, hash=False)
    shown: str = ""
    help: str = ""
    line: int = 0
    computed: bool = False

    @property
    def type(self) -> str:
        """Its type, for people."""
        return str(self.kind)

    @property
    def is_secret(self) -> bool:
        """Whether it holds a text, and its name is one for a password or a key."""
        return self.kind.holds_text and names_a_secret(self.name)


def declared(notebook: Notebook, role: str = "parameters") -> tuple[Parameter, ...]:
    """The parameters of a notebook, in the order of its cell for them; none if it has no such cell.

    Parameters
    ----------
    role : {"parameters", "outputs"}
        What the cell is tagged; the outputs of a notebook are declared in the same way.

    Raises
    ------
    PlanError
        If something in the cell is no parameter, with its line.

    Examples
    --------
    >>> from datapipe.notebooks.cells import notebook_of
    >>> cell = {"cell_type": "code", "source": "# parameters\\nday: date  # which day\\nlimit = 10"}
    >>> day, limit = declared(notebook_of({"nbformat": 4, "cells": [cell]}, "daily.ipynb"))
    >>> (day.type, day.required, day.help), (limit.type, limit.required, limit.default)
    (('date', True, 'which day'), ('int', False, 10))
    """
    cell = notebook.cell_for(role)
    if cell is None:
        return ()
    where = f"{notebook.path}, {role} cell"
    try:
        imports = _imports_before(notebook, cell)
        return _Body(cell.source, where, imports, takes_frames=role != "parameters").parameters()
    except (RecursionError, MemoryError):
        raise PlanError(f"{where}: an expression is nested too deeply", hint="Compute it in a cell below") from None


class _Body:
    """The text of the cell, and where it is."""

    def __init__(self, source: str, where: str, imports: dict[str, str], *, takes_frames: bool) -> None:
        self.source, self.where, self.takes_frames = source, where, takes_frames
        self.lines = source.split("\n")
        self.statements = self._statements()
        self.scope = self._scope(imports | imported(self.statements))
        self.comments = _comments(source)

    def error(self, line: int, what: str, hint: str = GRAMMAR) -> PlanError:
        return PlanError(f"{self.where}, line {line}: {what}", hint=hint)

    def parameters(self) -> tuple[Parameter, ...]:
        found: dict[str, Parameter] = {}
        for parameter in self._declared():
            if parameter.name in found:
                first = found[parameter.name].line
                raise self.error(parameter.line, f"{parameter.name!r} is declared on line {first} already", "Leave one")
            found[parameter.name] = parameter
        return tuple(found.values())

    def _declared(self) -> Iterator[Parameter]:
        for statement in self.statements:
            match statement:
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=default):
                    yield self._parameter(name, annotation, default, statement)
                case ast.Assign(targets=[ast.Name(id=name)], value=default):
                    yield self._parameter(name, None, default, statement)
                case ast.Import() | ast.ImportFrom() | ast.Pass() | ast.Expr(value=ast.Constant(value=str())):
                    pass
                case ast.ClassDef(name=name) if name in self.scope.enums:
                    pass
                case _:
                    raise self._no_parameter(statement.lineno)

    def _statements(self) -> list[ast.stmt]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # odd escapes in texts are the notebook's business
                return ast.parse(self.source).body
        except SyntaxError as error:
            line = error.lineno or 1
            if self.lines[line - 1].lstrip().startswith(_MAGIC):
                raise self._no_parameter(line) from None
            raise self.error(line, f"this is not Python: {error.msg}") from None
        except ValueError:
            raise PlanError(f"{self.where}: this is not Python", hint=GRAMMAR) from None

    def _scope(self, imports: dict[str, str]) -> Scope:
        enums: dict[str, Kind] = {}
        for statement in self.statements:
            try:
                enums |= enums_of([statement], Scope(imports))
            except (Computed, *_WRONG):
                what = "the value of a member of this Enum is computed"
                raise self.error(statement.lineno, what, "Write the values as literals") from None
        return Scope(imports, enums)

    def _no_parameter(self, line: int) -> PlanError:
        text = self.lines[line - 1].strip()
        # What follows may be a secret.
        head = text.split()[0] if text.startswith(_MAGIC) else re.split(r"""[=(\['"{#]""", text)[0].strip()
        return self.error(line, f"{shortened(head, 40)}{'' if head == text else ' …'} is no parameter")

    def _parameter(
        self, name: str, annotation: ast.expr | None, default: ast.expr | None, statement: ast.stmt
    ) -> Parameter:
        line = statement.lineno
        kind = self._kind(name, annotation) if annotation else None
        told = self.comments_of(statement)
        if default is None:
            return Parameter(name, kind or ANY, True, help=told, line=line)
        shown = ast.get_source_segment(self.source, default) or ""
        if "\n" in shown:
            shown = ast.unparse(default)
        try:
            value = value_of(default, self.scope)
            if kind is None or is_exactly(kind, value):
                encode(value)
        except (Computed, PlanError):
            kind = kind or kind_of_computed(default, self.scope)
            found = Parameter(name, kind, False, shown=shown, help=told, line=line, computed=True)
            named = isinstance(default, ast.Call) and self.scope.name_of(default.func) == "datapipe.secrets.secret"
            hidden = has_password(shown) or (found.is_secret and not named)
            return replace(found, shown=HIDDEN) if hidden else found
        except _WRONG as error:
            # Their texts may repeat the value.
            what = f"the default of {name!r} cannot be made: {type(error).__name__}"
            raise self.error(line, what, "Run the cell to see more") from None
        if kind is not None and not is_exactly(kind, value):
            given = "None" if value is None else _a(kind_of_value(value, self.scope))
            hint = f"Write `{name}: {kind} | None`" if value is None else "Change one of them"
            raise self.error(line, f"{name!r} is {_a(kind)}, and its default is {given}", hint)
        parameter = Parameter(name, kind or kind_of_value(value, self.scope), False, value, shown, told, line)
        return self._without_secrets(parameter)

    def _without_secrets(self, parameter: Parameter) -> Parameter:
        """The parameter with no default that nobody should see; one that is a reference nobody would look up."""
        name, default = parameter.name, parameter.default
        reference = next(filter(None, (secret_of(text) for _, text in texts_of(default))), None)
        if reference:
            hint = f'Write `from datapipe.secrets import secret` and `{name} = secret("{reference.name}")`'
            raise self.error(parameter.line, f"the default of {name!r} would stay a text", hint)
        if has_password(default) or plain_secret(name if parameter.is_secret else "", default):
            return replace(parameter, default=None, shown=HIDDEN, computed=True)
        return parameter

    def _kind(self, name: str, annotation: ast.expr) -> Kind:
        try:
            found = self.scope.kind_of(annotation)
            if FRAME in (found, *found.of) and not self.takes_frames:
                raise Unknown(ast.unparse(annotation), "A frame does not fit into a cell: give the path of a file")
            return found
        except Unknown as unknown:
            hint = unknown.reason or did_you_mean(unknown.name, [*KNOWN, *self.scope.enums], what="types")
            raise self.error(annotation.lineno, f"unknown type {unknown.name} of {name!r}", hint) from None

    def comments_of(self, statement: ast.stmt) -> str:
        """The comment at the end of a statement's last line or its first, else the comments right above it."""
        last = statement.end_lineno or statement.lineno
        for line in (last, statement.lineno):
            if self.comments.get(line):
                return self.comments[line]
        above: list[str] = []
        line = statement.lineno - 1
        while line in self.comments and self.lines[line - 1].lstrip().startswith("#"):
            above.insert(0, self.comments[line])
            line -= 1
        return " ".join(filter(None, above))


def _imports_before(notebook: Notebook, cell: Cell) -> dict[str, str]:
    """What the cells above import, as far as they are plain Python."""
    found: dict[str, str] = {}
    for other in notebook.code:
        if other.index < cell.index:
            with suppress(SyntaxError, ValueError, RecursionError, MemoryError), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found |= imported(ast.parse(other.source).body)
    return found


def _comments(source: str) -> dict[int, str]:
    """The comments by their line, without those for tools and the one that marks the cell."""
    found = {}
    with suppress(tokenize.TokenError, SyntaxError):
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.COMMENT:
                text = "" if _FOR_TOOLS.match(token.string) else token.string.lstrip("#! ").strip()
                found[token.start[0]] = text
    first = min(found, default=0)
    if found and found[first].lower() in {"parameters", "outputs"}:
        del found[first]
    return found


def _a(kind: Kind) -> str:
    text = str(kind)
    return f"{'an' if text[0].lower() in 'aeiou' else 'a'} {text}"

"""What the names in a notebook's code stand for, as far as its imports tell."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from datapipe.notebooks.kinds import ANY, FRAME, NONE, Kind, union

# What these names mean where nothing says otherwise: an earlier cell may import them in a way nobody can read.
_USUAL = {
    **{name: f"datetime.{name}" for name in ("date", "datetime", "timedelta", "timezone", "UTC")},
    **{name: f"typing.{name}" for name in ("Any", "Literal", "Optional", "Union", "List", "Tuple", "Set", "Dict")},
    **{name: f"enum.{name}" for name in ("Enum", "IntEnum", "StrEnum", "auto")},
    "Decimal": "decimal.Decimal",
    "Path": "pathlib.Path",
    "ZoneInfo": "zoneinfo.ZoneInfo",
    "dt": "datetime",
    "DataFrame": "pandas.DataFrame",
    "pd": "pandas",
    "pl": "polars",
    "pa": "pyarrow",
}
_IN_DATETIME = ("date", "datetime", "timedelta", "timezone", "UTC", "time")
_SCALARS = {
    **{name: Kind(name) for name in ("int", "str", "float", "bool")},
    **{f"datetime.{name}": Kind(name) for name in ("date", "datetime", "timedelta")},
    "decimal.Decimal": Kind("Decimal"),
    "pathlib.Path": Kind("Path"),
    "typing.Any": ANY,
    **dict.fromkeys(("pandas.DataFrame", "polars.DataFrame", "pyarrow.Table"), FRAME),
}
_CONTAINERS = {
    **{name: name for name in ("list", "tuple", "set", "dict")},
    **{f"typing.{name.title()}": name for name in ("list", "tuple", "set", "dict")},
}
_LITERALS = (str, int, bool, type(None))


class Unknown(ValueError):  # noqa: N818  # it names what was met
    """An annotation that is none of the types of parameters; its text, and what is wrong if that is known."""

    def __init__(self, name: str, reason: str = "") -> None:
        super().__init__(name)
        self.name, self.reason = name, reason


@dataclass(frozen=True)
class Scope:
    """The names of a cell.

    Parameters
    ----------
    imports : mapping of str to str
        A name to what it stands for: ``{"dt": "datetime", "date": "datetime.date"}``.
    enums : mapping of str to Kind
    """

    imports: Mapping[str, str] = field(default_factory=dict)
    enums: Mapping[str, Kind] = field(default_factory=dict)

    def name_of(self, node: ast.expr) -> str:
        """The full name of what a name or a dotted name stands for; empty if it is neither.

        Examples
        --------
        >>> Scope({"d": "datetime"}).name_of(ast.parse("d.date.today", mode="eval").body)
        'datetime.date.today'
        """
        dotted = _dotted(node)
        head, dot, rest = dotted.partition(".")
        if head in self.imports:
            return f"{self.imports[head]}{dot}{rest}".replace("typing_extensions.", "typing.")
        if head == "datetime" and rest.partition(".")[0] in _IN_DATETIME:
            return dotted
        return f"{_USUAL.get(head, head)}{dot}{rest}"

    def kind_of(self, node: ast.expr) -> Kind:
        """The type an annotation stands for.

        Raises
        ------
        Unknown
            If it stands for none that parameters have.

        Examples
        --------
        >>> str(Scope().kind_of(ast.parse("Optional[dict[str, date]]", mode="eval").body))
        'dict[str, date] | None'
        """
        if isinstance(node, ast.Constant) and node.value is None:
            return NONE
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self._quoted(node.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return union((self.kind_of(node.left), self.kind_of(node.right)))
        if isinstance(node, ast.Subscript):
            return self._subscripted(node)
        if _dotted(node) in self.enums:
            return self.enums[_dotted(node)]
        name = self.name_of(node)
        if name in _CONTAINERS:
            container = _CONTAINERS[name]
            return Kind("tuple..." if container == "tuple" else container, (ANY,))
        if name == "datetime":
            raise Unknown(ast.unparse(node), "It is the module here: write datetime.datetime or datetime.date")
        if name not in _SCALARS:
            raise Unknown(ast.unparse(node))
        return _SCALARS[name]

    def _quoted(self, text: str) -> Kind:
        try:
            return self.kind_of(ast.parse(text.strip(), mode="eval").body)
        except SyntaxError:
            raise Unknown(repr(text)) from None

    def _subscripted(self, node: ast.Subscript) -> Kind:
        name = self.name_of(node.value)
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        text = ast.unparse(node)
        if name == "typing.Literal":
            return Kind("Literal", choices=tuple(("", _choice(item, text)) for item in items))
        if name == "typing.Optional" and len(items) == 1:
            return union((self.kind_of(items[0]), NONE))
        if name == "typing.Union":
            return union(tuple(map(self.kind_of, items)))
        container = _CONTAINERS.get(name)
        if container == "tuple" and len(items) == 2 and isinstance(items[1], ast.Constant) and items[1].value is ...:
            return Kind("tuple...", (self.kind_of(items[0]),))
        if container == "tuple":
            return Kind("tuple", tuple(map(self.kind_of, items)))
        if container == "dict" and len(items) == 2:
            if self.kind_of(items[0]) != Kind("str"):
                raise Unknown(text, "The keys of a dict are str")
            return Kind("dict", (self.kind_of(items[1]),))
        if container in {"list", "set"} and len(items) == 1:
            return Kind(container, (self.kind_of(items[0]),))
        raise Unknown(text)


def imported(statements: Iterable[ast.stmt]) -> dict[str, str]:
    """The names that import statements bind, and what they stand for.

    Examples
    --------
    >>> imported(ast.parse("import datetime as dt; from decimal import Decimal as D").body)
    {'dt': 'datetime', 'D': 'decimal.Decimal'}
    """
    found = {}
    for statement in statements:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                top = alias.name.partition(".")[0]
                found[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(statement, ast.ImportFrom) and not statement.level:
            found |= {alias.asname or alias.name: f"{statement.module}.{alias.name}" for alias in statement.names}
    return found


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        head = _dotted(node.value)
        return f"{head}.{node.attr}" if head else ""
    return ""


def _choice(node: ast.expr, text: str) -> str | int | None:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        value = ...
    if not isinstance(value, _LITERALS):
        raise Unknown(text, "A Literal holds texts, whole numbers, True, False and None")
    return value

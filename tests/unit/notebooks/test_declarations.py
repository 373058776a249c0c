"""What a notebook's cell for parameters declares, without executing it."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from datapipe.errors import PlanError
from datapipe.notebooks.cells import Notebook, notebook_of
from datapipe.notebooks.parameters import EnumMember, Parameter, declared


def notebook(source: str, *before: str) -> Notebook:
    cells = [{"cell_type": "code", "source": text} for text in before]
    cells.append({"cell_type": "code", "source": source, "metadata": {"tags": ["parameters"]}})
    return notebook_of({"nbformat": 4, "cells": cells}, "daily.ipynb")


def one(source: str, *before: str) -> Parameter:
    found = declared(notebook(source, *before))
    return found[-1]


def refusal(source: str) -> str:
    with pytest.raises(PlanError) as caught:
        declared(notebook(source))
    return str(caught.value)


HARD = '''# parameters
"""What the job is given."""
import datetime
from typing import Literal

# The day to load,
# as the source has it.
day: datetime.date = datetime.date(2013, 7, 4)
where: str = "origin = 'JFK'  # not a comment"  # a filter
size: Literal["x","y"] = "x"  # noqa: E231
limit: int | None = None
span: tuple[int, int] = (1, 2)
weights: dict[str, int] = {"a": 1, "b": 2}
carriers = [
    "AA",  # American
    "UA",
]  # whom to count
delay: float = -5
since: str = "2013-07-04"
out: "Path"
'''


def test_a_cell_that_breaks_other_readers() -> None:
    found = {of.name: of for of in declared(notebook(HARD))}
    assert [(of.name, of.type, of.default, of.help) for of in found.values()] == [
        ("day", "date", dt.date(2013, 7, 4), "The day to load, as the source has it."),
        ("where", "str", "origin = 'JFK'  # not a comment", "a filter"),
        ("size", "Literal['x', 'y']", "x", ""),
        ("limit", "int | None", None, ""),
        ("span", "tuple[int, int]", (1, 2), ""),
        ("weights", "dict[str, int]", {"a": 1, "b": 2}, ""),
        ("carriers", "list[str]", ["AA", "UA"], "whom to count"),
        ("delay", "float", -5, ""),
        ("since", "str", "2013-07-04", ""),
        ("out", "Path", None, ""),
    ]
    assert [of.name for of in found.values() if of.required] == ["out"]
    assert found["day"].shown == "datetime.date(2013, 7, 4)" and found["day"].line == 8
    assert found["carriers"].shown == "['AA', 'UA']"


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        ("dt.date", "date"),
        ("datetime", "datetime"),
        ("datetime.datetime", "datetime"),
        ("Optional[List[int]]", "list[int] | None"),
        ("Union[int, str, None]", "int | str | None"),
        ("int | (str | None)", "int | str | None"),
        ("int | Any", "Any"),
        ("list", "list[Any]"),
        ("tuple", "tuple[Any, ...]"),
        ("dict", "dict[str, Any]"),
        ("tuple[()]", "tuple[()]"),
        ("Tuple[int, ...]", "tuple[int, ...]"),
        ("set['date']", "set[date]"),
        ("Literal[-1, True, None, 'a']", "Literal[-1, True, None, 'a']"),
    ],
)
def test_annotations_are_understood_without_an_import(annotation: str, expected: str) -> None:
    assert one(f"x: {annotation}").type == expected


@pytest.mark.parametrize(
    "imports",
    [
        "import datetime as d\nx: d.date",
        "from datetime import date as d\nx: d",
        "import typing as t, datetime\nx: t.Union[datetime.date]",
        "import typing_extensions as t\nfrom datetime import *\nx: t.Union[date]",
    ],
)
def test_imports_give_names_their_meaning(imports: str) -> None:
    assert one(imports).type == "date"


def test_imports_of_cells_above_count_unless_they_are_no_python() -> None:
    assert one("x: d.date", "%matplotlib inline", "import datetime as d").type == "date"
    with pytest.raises(PlanError, match=r"unknown type Path of 'x'"):
        one("x: Path", "from zipfile import Path")


@pytest.mark.parametrize(
    ("default", "kind", "value"),
    [
        ("60 * 60", "int", 3600),
        ("1.5", "float", 1.5),
        ("True", "bool", True),
        ("None", "Any", None),
        ("[]", "list[Any]", []),
        ("[1, 'a']", "list[Any]", [1, "a"]),
        ("('a', 'b')", "tuple[str, ...]", ("a", "b")),
        ("{1, 2}", "set[int]", {1, 2}),
        ("{'a': [1]}", "dict[str, Any]", {"a": [1]}),
        ("dt.date(2024, 1, 31) - timedelta(days=1)", "date", dt.date(2024, 1, 30)),
        ("date.fromisoformat('2024-01-31')", "date", dt.date(2024, 1, 31)),
        ("datetime(2024, 1, 1, tzinfo=timezone.utc)", "datetime", dt.datetime(2024, 1, 1, tzinfo=dt.UTC)),
        ("-timedelta(days=1)", "timedelta", dt.timedelta(days=-1)),
        ("Decimal('1.50')", "Decimal", Decimal("1.50")),
        ("Path('data') / 'in.csv'", "Path", Path("data/in.csv")),
        ("float('inf')", "float", math.inf),
        ("'a' 'b' + 'c'", "str", "abc"),
    ],
)
def test_a_default_tells_its_type(default: str, kind: str, value: Any) -> None:
    found = one(f"x = {default}")
    assert (found.type, found.default, found.computed, found.required) == (kind, value, False, False)
    assert found.shown == default


@pytest.mark.parametrize(
    ("default", "kind"),
    [
        ("date.today()", "date"),
        ("datetime.now(timezone.utc) - timedelta(hours=1)", "datetime"),
        ("Path.home() / 'data'", "Path"),
        ("f'{1}'", "str"),
        ("int(os.environ['N'])", "int"),
        ("os.environ['DAY']", "Any"),
        ("'a' * 10**9", "Any"),
        ("10 ** 10 ** 10", "Any"),
        ("[*other]", "Any"),
        ("{**other}", "Any"),
        ("b'abc'", "Any"),
        ("{1: 'a'}", "Any"),
        ("lambda: 1", "Any"),
        ("1 if x else 2", "Any"),
    ],
)
def test_what_is_no_literal_is_left_to_the_notebook(default: str, kind: str) -> None:
    found = one(f"x = {default}")
    assert (found.computed, found.required, found.default, found.type) == (True, False, None, kind)
    assert found.shown == default


ENUMS = '''
from enum import Enum, StrEnum, auto
class Mode(str, Enum):
    """How."""
    FULL = "full"
    SOME = "some"

    def label(self): return self.value
class Level(Enum):
    LOW = auto()
    HIGH = 7
    TOP = auto()
class Word(StrEnum):
    ONE = auto()
'''


@pytest.mark.parametrize(
    ("line", "kind", "value"),
    [
        ("x: Mode = Mode.FULL", "Mode", EnumMember("Mode", "FULL", "full")),
        ("x = Mode('some')", "Mode", EnumMember("Mode", "SOME", "some")),
        ("x = Level['TOP']", "Level", EnumMember("Level", "TOP", 8)),
        ("x: 'list[Word]' = [Word.ONE]", "list[Word]", [EnumMember("Word", "ONE", "one")]),
        ("x: Level | None = None", "Level | None", None),
    ],
)
def test_enums_of_the_cell_are_types(line: str, kind: str, value: Any) -> None:
    found = one(f"{ENUMS}\n{line}")
    assert (found.type, found.default) == (kind, value)


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("print('hunter2')", "print …"),
        ("a, b = 1, 2", "a, b …"),
        ("a = b = 1", "a …"),
        ("a.b = 1", "a.b …"),
        ("a += 1", "a + …"),
        ("if True: pass", "if True: pass"),
        ("for i in range(3): pass", "for i in range …"),
        ("class A: pass", "class A: pass"),
        ("%matplotlib inline", "%matplotlib …"),
        ("!export TOKEN=hunter2", "!export …"),
        ("?print", "?print"),
    ],
)
def test_what_is_no_parameter_is_named_with_its_line(statement: str, shown: str) -> None:
    message = refusal(f"# parameters\n\nx = 1\n{statement}\n")
    assert message.startswith(f"daily.ipynb, parameters cell, line 4: {shown} is no parameter. A parameter is `name:")
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1\ny = [1,", "line 2: this is not Python: '[' was never closed"),
        ("x = 1\nx = 2", "line 2: 'x' is declared on line 1 already"),
        ("x: int = 'a'", "line 1: 'x' is an int, and its default is a str"),
        ("x: bool = 1", "line 1: 'x' is a bool, and its default is an int"),
        ("x: date = '2013-05-01'", "line 1: 'x' is a date, and its default is a str"),
        ("x: date = datetime(2013, 5, 1)", "line 1: 'x' is a date, and its default is a datetime"),
        ("x: list[int] = ['a']", "line 1: 'x' is a list[int], and its default is a list[str]"),
        ("x: tuple[int, int] = (1,)", "line 1: 'x' is a tuple[int, int]"),
        ("x: dict[str, int] = {1: 1}", "line 1: 'x' is a dict[str, int]"),
        ("x: int = None", "line 1: 'x' is an int, and its default is None"),
        ("x = date(2013, 2, 30)", "line 1: the default of 'x' cannot be made: ValueError"),
        ("x = Decimal('a')", "line 1: the default of 'x' cannot be made: InvalidOperation"),
        ("x = 1 / 0", "line 1: the default of 'x' cannot be made: ZeroDivisionError"),
        ("x: DataFrame", "line 1: unknown type DataFrame of 'x'. A frame does not fit into a cell"),
        ("x: dates", "Did you mean 'date'?"),
        ("x: dict[int, str]", "unknown type dict[int, str] of 'x'. The keys of a dict are str"),
        ("import datetime\nx: datetime", "line 2: unknown type datetime of 'x'. It is the module here"),
        ("x: Literal[1.5]", "A Literal holds texts"),
        ("x: 'a b'", "unknown type 'a b'"),
        ("x: list[int, int]", "unknown type list[int, int]"),
        ("class Mode(Enum):\n    A = f()\nx: Mode", "line 1: the value of a member of this Enum is computed"),
        ("class Mode(Enum):\n    A = 1\nx = Mode.B", "line 3: the default of 'x' cannot be made"),
        ("x = {'a': 'secret:TOKEN'}", "line 1: the default of 'x' would stay a text"),
        ("x = 'secret:TOKEN'", "line 1: the default of 'x' would stay a text. Write `from datapipe.secrets import"),
    ],
)
def test_a_mistake_is_named_with_its_line(source: str, expected: str) -> None:
    assert expected in refusal(source)


@pytest.mark.parametrize(
    "line",
    [
        "password = 'hunter2'",
        "tokens: list[str] = ['hunter2']",
        "url = 'postgresql://ann:hunter2@db/crm'",
        "options = {'password': 'hunter2'}",
        "password = os.getenv('PASSWORD', 'hunter2')",
        "engine = create_engine('postgresql://ann:hunter2@db/crm')",
    ],
)
def test_a_default_that_is_secret_is_shown_nowhere(line: str) -> None:
    found = one(line)
    assert "hunter2" not in repr(found) and (found.shown, found.computed, found.required) == ("(hidden)", True, False)


def test_a_default_that_is_no_secret_in_the_clear_is_shown() -> None:
    assert one("password = ''").default == "" and not one("password = ''").computed
    line = "from datapipe.secrets import secret\npassword: str = secret('DB_PASSWORD')"
    assert (one(line).shown, one(line).is_secret) == ("secret('DB_PASSWORD')", True)


def test_a_comment_for_tools_is_no_help_and_one_above_is() -> None:
    assert one("# parameters\n# which day\nday: date  # type: ignore").help == "which day"
    assert one("x = 1  # the first\ny = 2").help == ""
    assert one("x = [  # which ones\n    1,\n]").help == "which ones"


def test_odd_escapes_do_not_warn() -> None:
    assert one(r"x = '\d'").default == r"\d"


def test_a_parameter_can_be_hashed() -> None:
    assert len({one("x = [1]"), one("x = [1]")}) == 1


@pytest.mark.parametrize("source", ["+".join(["1"] * 5000), "-" * 5000 + "1", "a" + ".a" * 5000])
def test_what_is_nested_without_end_is_refused(source: str) -> None:
    assert "nested too deeply" in refusal(f"x = {source}")

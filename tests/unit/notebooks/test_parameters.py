"""Values given to the parameters of a notebook: names, types, texts, secrets."""

from __future__ import annotations

import datetime as dt
import enum
import math
import zoneinfo
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from datapipe.errors import PlanError
from datapipe.notebooks.cells import Notebook, notebook_of
from datapipe.notebooks.parameters import (
    EnumMember,
    SecretRef,
    checked,
    declared,
    encoded,
    json_schema,
    parameters_text,
    source_of,
)


def notebook(source: str) -> Notebook:
    cell = {"cell_type": "code", "source": source, "metadata": {"tags": ["parameters"]}}
    return notebook_of({"nbformat": 4, "cells": [cell]}, "daily.ipynb")


def value_of(annotation: str, given: Any, *, texts: bool = False) -> Any:
    source = f"class Mode(Enum):\n    FULL = 'full'\n    SOME = 2\n\nx: {annotation}"
    return checked(notebook(source), {"x": given}, texts=texts)["x"]


def refusal(annotation: str, given: Any, *, texts: bool = False) -> str:
    with pytest.raises(PlanError) as caught:
        value_of(annotation, given, texts=texts)
    return str(caught.value)


class Mode(enum.Enum):
    FULL = "full"


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
DAY, NOON = dt.date(2013, 5, 1), dt.datetime(2013, 5, 1, 12, 30)


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        ("date", "2013-05-01", DAY),
        ("datetime", "2013-05-01T12:30", NOON),
        ("datetime", DAY, dt.datetime(2013, 5, 1)),
        ("datetime", "2013-05-01T12:30Z", NOON.replace(tzinfo=dt.UTC)),
        ("timedelta", "P1DT2H", dt.timedelta(days=1, hours=2)),
        ("timedelta", "-PT0.5S", dt.timedelta(seconds=-0.5)),
        ("timedelta", "P2W", dt.timedelta(weeks=2)),
        ("timedelta", 90, dt.timedelta(seconds=90)),
        ("Decimal", "1.50", Decimal("1.50")),
        ("Decimal", 3, Decimal(3)),
        ("Path", "data/in.csv", Path("data/in.csv")),
        ("float", 5, 5.0),
        ("tuple[int, str]", [1, "a"], (1, "a")),
        ("tuple[int, ...]", [1, 2], (1, 2)),
        ("list[int]", (1, 2), [1, 2]),
        ("set[str]", ["a", "b"], {"a", "b"}),
        ("dict[str, date]", {"a": "2013-05-01"}, {"a": DAY}),
        ("dict[str, Any]", MappingProxyType({"a": (1, None)}), {"a": [1, None]}),
        ("Mode", "full", EnumMember("Mode", "FULL", "full")),
        ("Mode", "SOME", EnumMember("Mode", "SOME", 2)),
        ("Mode", Mode.FULL, EnumMember("Mode", "FULL", "full")),
        ("Literal['x', 'y']", "y", "y"),
        ("date | datetime", "2013-05-01T12:30", NOON),
        ("datetime | date", "2013-05-01", DAY),
        ("float | int", 5, 5),
        ("str | date", "2013-05-01", "2013-05-01"),
        ("int | None", None, None),
        ("int", np.int64(5), 5),
        ("bool", np.bool_(True), True),
        ("float", np.float64(0.1), 0.1),
        ("date", pd.Timestamp("2013-05-01"), DAY),
        ("datetime", pd.Timestamp("2013-05-01 12:30"), NOON),
        ("datetime", np.datetime64("2013-05-01T12:30"), NOON),
        ("timedelta", pd.Timedelta("90s"), dt.timedelta(seconds=90)),
    ],
)
def test_what_json_or_python_has_becomes_a_value_of_the_type(annotation: str, given: Any, expected: Any) -> None:
    found = value_of(annotation, given)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "given", "expected"),
    [
        ("int", " 1_000 ", 1000),
        ("float", "nan", math.nan),
        ("bool", "No", False),
        ("str", "5", "5"),
        ("date", "2013-05-01", DAY),
        ("timedelta", "1.5", dt.timedelta(seconds=1.5)),
        ("Decimal", "1.50", Decimal("1.50")),
        ("list[int]", "[1, 2]", [1, 2]),
        ("list[int]", "1, 2", [1, 2]),
        ("list[str]", "", []),
        ("list[str]", "AA,007", ["AA", "007"]),
        ("tuple[str, date]", "AA,2013-05-01", ("AA", DAY)),
        ("dict[str, int]", '{"a": 1}', {"a": 1}),
        ("int | None", "none", None),
        ("Path | None", "", None),
        ("str | None", "none", "none"),
        ("Literal['none', 'all'] | None", "none", "none"),
        ("Literal[1, 'x', True, None]", "true", True),
        ("Literal[1, 'x', True, None]", "null", None),
        ("int | str", "5", 5),
        ("str | int", "5", "5"),
        ("date | str", "2013-05-01", "2013-05-01"),
        ("list[str] | str", "a,b", "a,b"),
        ("list[str] | str", '["a"]', ["a"]),
        ("Mode", "2", EnumMember("Mode", "SOME", 2)),
        ("Any", "[1, null]", [1, None]),
        ("Any", "2013-05-01", "2013-05-01"),
        ("Any", "NaN", "NaN"),
    ],
)
def test_texts_of_a_command_line_are_read_by_type(annotation: str, given: str, expected: Any) -> None:
    found = value_of(annotation, given, texts=True)
    assert repr(found) == repr(expected)


@pytest.mark.parametrize(
    ("annotation", "given", "texts"),
    [
        ("int", True, False),
        ("bool", 1, False),
        ("int", 5.0, False),
        ("int", "5", False),
        ("int", "5.0", True),
        pytest.param("int", 10**5000, False, id="more digits than Python prints"),
        ("float", 2**53 + 1, False),
        ("float", 10**400, False),
        ("bool", "true", False),
        ("bool", "maybe", True),
        ("str", 5, False),
        ("str", "\ud800", False),
        ("date", "2013-02-30", False),
        ("date", NOON, False),
        ("date", pd.Timestamp("2013-05-01 12:30"), False),
        ("date", pd.NaT, False),
        ("datetime", pd.Timestamp("2013-05-01 12:30:00.000000001"), False),
        ("datetime", "2013-05-01T12:30:00.1234567", False),
        ("datetime", "2013-05-01T12:30:00+05:00[Europe/Berlin]", False),
        ("datetime", "2013-05-01T12:30:00[No/Where]", False),
        ("datetime", np.datetime64("2013-05-01T12:30:00.000000001"), False),
        ("timedelta", np.timedelta64(5, "ns"), False),
        ("timedelta", pd.NaT, False),
        ("timedelta", pd.Timedelta(1, "ns"), False),
        ("timedelta", True, False),
        ("timedelta", 1e-9, False),
        ("timedelta", math.inf, False),
        ("timedelta", "P1M", False),
        ("timedelta", "P", False),
        ("timedelta", "P9999999999D", False),
        ("Decimal", 1.5, False),
        ("Decimal", "a", False),
        ("Path", 5, False),
        ("tuple[int, int]", [1], False),
        ("set[Any]", [[1]], False),
        ("dict[str, int]", {1: 1}, False),
        ("dict[str, int]", "a=1", True),
        ("Literal[1]", True, False),
        ("Mode", "none", False),
        ("Any", math.nan, False),
        ("Any", DAY, False),
        ("int | bool", "x", True),
        ("int", SecretRef("A"), False),
        ("int", "secret:A", False),
    ],
)
def test_what_is_none_of_the_type_is_refused(annotation: str, given: Any, texts: bool) -> None:
    message = refusal(annotation, given, texts=texts)
    assert message.startswith("daily.ipynb: parameter 'x'") and "For example x=" in message


def test_a_refusal_says_what_is_taken_what_was_given_and_how_it_is_right() -> None:
    assert refusal("date", "yesterday", texts=True) == (
        "daily.ipynb: parameter 'x' takes date, not the text 'yesterday'. For example x=2013-05-01"
    )
    assert refusal("dict[str, list[int]] | None", {"a": [1, "b"]}) == (
        "daily.ipynb: parameter 'x'['a'][1] takes int, not the text 'b'. For example x={'name': [5]}"
    )
    assert "(a float has no exact decimal places: give it as text). For example x='1.50'" in refusal("Decimal", 1.5)
    assert "annotate it as date" in refusal("Any", DAY)
    assert "x" * 50 not in refusal("int", "x" * 50)


def test_a_value_that_a_document_could_not_give_back_is_refused() -> None:
    assert "cannot tell this date from another value in JSON" in refusal("str | date", DAY)
    assert "cannot tell this tuple" in refusal("list[int] | tuple[int, ...]", (1,))


def test_what_is_nested_without_end_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    assert "nested" in refusal("Any", deep)
    assert "nested" in refusal("Any", "[" * 60 + "]" * 60, texts=True)


def test_names_are_those_of_the_notebook() -> None:
    job = notebook("day: date\nlimit: int\ncarrier = 'AA'")
    with pytest.raises(PlanError, match=r"daily.ipynb has no parameter 'carier'\. Did you mean 'carrier'\?"):
        checked(job, {"carier": "UA"})
    with pytest.raises(PlanError, match=r"daily.ipynb needs day, limit\. For example day='2013-05-01' limit=5"):
        checked(job, {"carrier": "UA"})
    with pytest.raises(PlanError, match="day=2013-05-01 limit=5"):
        checked(job, {}, texts=True)
    assert list(checked(job, {"limit": 1, "day": DAY})) == ["day", "limit"]


def test_values_without_a_cell_for_them_are_refused() -> None:
    plain = notebook_of({"nbformat": 4, "cells": []}, "plain.ipynb")
    assert checked(plain, {}) == {} and declared(plain) == ()
    with pytest.raises(PlanError, match=r"no cell for parameters, and day was given.*begin it with"):
        checked(plain, {"day": DAY})


@pytest.mark.parametrize("annotation", ["str", "str | None", "Path", "Any", "int | str"])
def test_a_secret_is_given_by_its_name(annotation: str) -> None:
    assert value_of(annotation, "secret:DB_PASSWORD") == SecretRef("DB_PASSWORD")
    assert value_of(annotation, SecretRef("A"), texts=True) == SecretRef("A")
    assert value_of("dict[str, Any]", {"password": "secret:A", "user": "ann"})["password"] == SecretRef("A")
    assert value_of("str", "secret:no name") == "secret:no name"


@pytest.mark.parametrize(
    ("source", "given"),
    [
        ("db_password: str", {"db_password": "hunter2"}),
        ("apiKey: str | None", {"apiKey": "hunter2"}),
        ("tokens: list[str]", {"tokens": ["secret:A", "hunter2"]}),
        ("options: dict", {"options": {"a": {"password": "hunter2"}}}),
        ("url: str", {"url": "postgresql://ann:hunter2@db/crm"}),
        ("url: Any", {"url": ["https://ann:hunter2@example.com"]}),
        ("url: str", {"url": "mysql://db/crm?password=hunter2"}),
        ("url: str", {"url": "see redis://:hunter2@cache and more"}),
        ("options: dict", {"options": {"postgresql://ann:hunter2@db": 1}}),
        ("options: dict", {"options": '{"token": "hunter2"}'}),
        ("password: str", {"password": 5}),
    ],
)
def test_a_secret_in_the_clear_is_refused_and_not_repeated(source: str, given: dict[str, Any]) -> None:
    with pytest.raises(PlanError) as caught:
        checked(notebook(source), given, texts=True)
    assert "secret:NAME" in str(caught.value) and "hunter2" not in str(caught.value)


def test_what_only_looks_like_a_secret_is_taken() -> None:
    job = notebook("token_count: int\nuse_token: bool\npassword: str\nurl: str\npage: str")
    given = {"token_count": 5, "use_token": True, "password": "", "url": "postgresql://ann:${PW}@db/crm"}
    given["page"] = "https://example.com:8080/@ann"
    assert checked(job, given) == given


def test_the_cell_for_the_notebook_is_exact_and_leaves_its_names_alone() -> None:
    values = {
        "a": {"f": [math.inf, -0.0], "t": (1,), "s": set(), "n": None},
        "day": DAY,
        "moment": dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN),
        "utc": NOON.replace(tzinfo=dt.UTC),
        "east": NOON.replace(tzinfo=dt.timezone(dt.timedelta(hours=5))),
        "wait": dt.timedelta(seconds=-1),
        "price": Decimal("1.50"),
        "path": Path("it's.csv"),
        "mode": EnumMember("Mode", "FULL", "full"),
        "text": "a = 1  # '\"\\\n",
    }
    source = source_of(values)
    assert source.startswith("# Parameters\nimport datetime as _datetime\n") and "mode = Mode('full')" in source
    names: dict[str, Any] = {"datetime": "mine", "Mode": lambda value: EnumMember("Mode", "FULL", value)}
    exec(source, names)
    assert {name: repr(names[name]) for name in values} == {name: repr(value) for name, value in values.items()}
    assert names["datetime"] == "mine"


def test_a_secret_is_looked_up_in_the_notebook() -> None:
    source = source_of({"secret": SecretRef("A"), "password": SecretRef("B")})
    assert source.splitlines() == [
        "# Parameters",
        "from datapipe.secrets import secret as _secret",
        'secret = _secret("A")',
        'password = _secret("B")',
    ]


@pytest.mark.parametrize("name", ["a b", "x = 1\nimport os", "class", ""])
def test_only_names_are_assigned_to(name: str) -> None:
    with pytest.raises(PlanError, match="is no name of a parameter"):
        source_of({name: 1})


def test_named_time_zones_travel_with_their_name() -> None:
    moment = dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN)
    form = encoded({"x": moment})["x"]
    assert form == "2024-10-27T02:30:00+01:00[Europe/Berlin]"
    back = value_of("datetime", form)
    assert repr(back) == repr(moment)


def test_the_schema_tells_types_defaults_and_help() -> None:
    job = notebook(
        "day: date  # which day\n"
        "mode: Literal['a', 'b'] | None = None\n"
        "pair: tuple[int, str] = (1, 'a')\n"
        "until = date.today()\n"
        "password: str = 'hunter2'\n"
        "rates: dict[str, Decimal] = {'a': Decimal('1.5')}\n"
    )
    schema = json_schema(declared(job))
    assert schema["required"] == ["day"] and schema["additionalProperties"] is False
    assert schema["properties"] == {
        "day": {"type": "string", "format": "date", "description": "which day"},
        "mode": {"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}], "default": None},
        "pair": {
            "type": "array",
            "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "items": False,
            "minItems": 2,
            "maxItems": 2,
            "default": [1, "a"],
        },
        "until": {"type": "string", "format": "date"},
        "password": {"type": "string", "pattern": "^secret:[A-Za-z_][A-Za-z0-9_]*$"},
        "rates": {
            "type": "object",
            "additionalProperties": schema["properties"]["rates"]["additionalProperties"],
            "default": {"a": "1.5"},
        },
    }


def test_the_table_shows_what_is_required_and_what_it_would_be() -> None:
    job = notebook("day: date  # which day\nuntil = date.today()\npassword = 'hunter2'")
    assert parameters_text(job, declared(job)).splitlines() == [
        "name      type  default       help",
        "day       date  required      which day",
        "until     date  date.today()",
        "password  str   (hidden)",
    ]
    assert parameters_text(job, ()) == "daily.ipynb has no parameters"

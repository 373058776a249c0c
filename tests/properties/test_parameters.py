"""A value given to a parameter is the same value in the notebook, in a document, and read back from it."""

import datetime as dt
import json
import math
import zoneinfo
from pathlib import Path

import jsonschema
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from datapipe.errors import PlanError
from datapipe.notebooks.cells import notebook_of
from datapipe.notebooks.parameters import EnumMember, checked, declared, encoded, json_schema, source_of
from datapipe.notebooks.source import expression
from datapipe.notebooks.texts import settled

CELL = """# parameters
class Mode(Enum):
    A = "a"
    B = 2
    C = "A"
value: {}
"""
MEMBERS = [EnumMember("Mode", "A", "a"), EnumMember("Mode", "B", 2), EnumMember("Mode", "C", "A")]
ZONES = [None, dt.UTC, dt.timezone(dt.timedelta(hours=-3, minutes=-30)), zoneinfo.ZoneInfo("Europe/Berlin")]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(
    lambda text: not text.startswith("secret:")
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
SCALARS = {
    "int": st.integers(),
    "str": TEXTS,
    "float": st.floats(),
    "bool": st.booleans(),
    "date": st.dates(),
    "datetime": st.datetimes(timezones=st.sampled_from(ZONES)).map(settled),
    "timedelta": st.timedeltas(),
    "Decimal": st.decimals(allow_nan=None),
    "Path": TEXTS.map(Path),
    "Mode": st.sampled_from(MEMBERS),
    "Literal['x', 'y', 1, True, None]": st.sampled_from(["x", "y", 1, True, None]),
    "Any": JSON,
}
types = st.recursive(
    st.sampled_from([*SCALARS]).map(lambda name: (name, SCALARS[name])),
    lambda inner: st.one_of(
        inner.map(lambda of: (f"list[{of[0]}]", st.lists(of[1], max_size=3))),
        inner.map(lambda of: (f"tuple[{of[0]}, ...]", st.lists(of[1], max_size=3).map(tuple))),
        inner.map(lambda of: (f"dict[str, {of[0]}]", st.dictionaries(TEXTS, of[1], max_size=3))),
        inner.map(lambda of: (f"Optional[{of[0]}]", st.none() | of[1])),
        st.tuples(inner, inner).map(lambda of: (f"tuple[{of[0][0]}, {of[1][0]}]", st.tuples(of[0][1], of[1][1]))),
        st.tuples(inner, inner)
        .filter(lambda of: "Any" not in of[0][0] + of[1][0])  # which takes the place of a whole union
        .map(lambda of: (f"{of[0][0]} | {of[1][0]}", of[0][1] | of[1][1])),
    ),
    max_leaves=4,
)
sets = st.sampled_from(["int", "str", "date", "datetime", "timedelta", "Path", "Mode"]).map(
    lambda name: (f"set[{name}]", st.sets(SCALARS[name], max_size=3))
)
typed = (types | sets).flatmap(lambda of: st.tuples(st.just(of[0]), of[1]))


def notebook(annotation):
    cell = {"cell_type": "code", "source": CELL.format(annotation)}
    return notebook_of({"nbformat": 4, "cells": [cell]}, "laws.ipynb")


def exact(value):
    """A text that is equal for values that are the same in type and content."""
    return expression(value, set())


def taken(job, value):
    """The value as it is checked. Only a union has values that JSON cannot tell from another; they are refused."""
    try:
        return checked(job, {"value": value})
    except PlanError as error:
        assert "cannot tell" in str(error) and "|" in str(error)
        reject()


def finite(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple, set)):
        return all(map(finite, value))
    return not isinstance(value, float) or math.isfinite(value)


@given(typed)
def test_a_document_gives_the_same_value_back(case):
    annotation, value = case
    job = notebook(annotation)
    found = taken(job, value)
    again = checked(job, json.loads(json.dumps(encoded(found), allow_nan=False)))
    assert exact(again["value"]) == exact(found["value"])


@given(typed)
def test_the_schema_accepts_what_is_in_a_document(case):
    annotation, value = case
    assume(finite(value))
    job = notebook(annotation)
    jsonschema.validate(encoded(taken(job, value)), json_schema(declared(job)))


@given(typed)
def test_the_notebook_gets_the_same_value(case):
    annotation, value = case
    found = taken(notebook(annotation), value)
    names = {"Mode": lambda of: next(item for item in MEMBERS if exact(item.value) == exact(of))}
    exec(source_of(found), names)
    assert exact(names["value"]) == exact(found["value"])


@given(st.sampled_from([*SCALARS]).flatmap(lambda name: st.tuples(st.just(name), SCALARS[name])))
def test_a_single_value_is_taken_as_it_is_and_read_from_its_text(case):
    annotation, value = case
    job = notebook(annotation)
    found = checked(job, {"value": value})
    assert exact(found["value"]) == exact(value)
    form = encoded(found)["value"]
    text = form if isinstance(form, str) and annotation != "Any" else json.dumps(form)
    assert exact(checked(job, {"value": text}, texts=True)) == exact(found)

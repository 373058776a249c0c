"""References to functions: by name where that is enough."""

import functools
import textwrap

import pytest

from datapipe.errors import PlanError
from datapipe.plan import FunctionRef


def test_an_importable_function_travels_by_name():
    ref = FunctionRef.of(textwrap.dedent)
    assert ref.name == "textwrap:dedent" and ref.portable
    assert FunctionRef.of("textwrap:dedent").resolve() is textwrap.dedent
    assert FunctionRef.of("textwrap:dedent").version() == ref.version()


def test_a_local_function_stays_itself():
    def local(frame):
        return frame

    ref = FunctionRef.of(local)
    assert not ref.portable and ref.resolve() is local and "local" in ref.name


def test_the_version_follows_the_code():
    def first(frame):
        return frame

    def second(frame):
        return frame.head()

    assert FunctionRef.of(first).version() == FunctionRef.of(first).version() != FunctionRef.of(second).version()


def test_partials_and_closures_are_told_apart():
    def scaled(factor):
        return lambda frame: frame * factor

    two, three = FunctionRef.of(scaled(2)), FunctionRef.of(scaled(3))
    assert two.version() != three.version() and two.document != three.document
    first, second = functools.partial(max, key=1), functools.partial(max, key=2)
    assert FunctionRef.of(first).version() != FunctionRef.of(second).version()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nocolon", "not a function reference"),
        (42, "int is not a function"),
        ("textwrap:dedentt", "Did you mean 'dedent'"),
        ("no_such_module_x:f", "cannot import 'no_such_module_x'"),
    ],
)
def test_what_cannot_be_found_is_named(given, message):
    with pytest.raises(PlanError, match=message):
        FunctionRef.of(given).resolve()

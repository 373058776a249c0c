"""Keys: the law, and what has none; and a store without a Redis."""

from __future__ import annotations

import datetime as dt
import logging
import socket
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapipe.errors import PlanError
from datapipe.workers import IdempotencyStore

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
ODD = st.sampled_from(
    ["", "1", "1:1", ",", "[]", '"', "null", "\ud83d\ude00", "😀", 0, 0.0, -0.0, 1, True, False, None]
)
VALUES = st.recursive(
    SCALARS | ODD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
)
PARTS = st.lists(VALUES, max_size=4)


def form(value: Any) -> Any:
    """A value that is equal to another one exactly if they are the same JSON value."""
    if isinstance(value, dict):
        return "dict", sorted((key, form(item)) for key, item in value.items())
    if isinstance(value, list):
        return "list", [form(item) for item in value]
    return type(value).__name__, repr(value)


@given(PARTS, PARTS)
def test_two_lists_of_parts_have_one_key_only_if_they_are_one(first: list[Any], second: list[Any]) -> None:
    assert (IdempotencyStore.key(*first) == IdempotencyStore.key(*second)) == (form(first) == form(second))


@given(st.lists(st.text('a",:1[]\\', max_size=6), min_size=1, max_size=4), st.lists(st.integers(0, 24), max_size=3))
def test_the_same_letters_cut_elsewhere_have_another_key(parts: list[str], places: list[int]) -> None:
    text = "".join(parts)
    cuts = sorted(min(place, len(text)) for place in places)
    other = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert (IdempotencyStore.key(*parts) == IdempotencyStore.key(*other)) == (parts == other)


def test_the_order_of_a_mapping_does_not_matter() -> None:
    assert IdempotencyStore.key({"a": 1, "b": [{"c": 2, "d": 3}]}) == IdempotencyStore.key(
        {"b": [{"d": 3, "c": 2}], "a": 1}
    )


def test_a_key_stays_what_it_was() -> None:
    assert IdempotencyStore.key("orders", 1) == "7c8d50aa73215ab6e1116af376c7bb894c1dfc49f4aab939bd6cab9194208cee"


@pytest.mark.parametrize(
    "value", [dt.date(2024, 1, 1), float("nan"), float("inf"), b"x", {1: 2}, [{None: 1}], {1}, object()]
)
def test_what_is_no_json_value_has_no_key(value: Any) -> None:
    with pytest.raises(PlanError, match="no JSON value"):
        IdempotencyStore.key("a", value)


def test_parts_that_hold_themselves_have_no_key() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(PlanError, match="no JSON value"):
        IdempotencyStore.key(endless)


@pytest.mark.parametrize("url", ["redis://:pa/c4n4ry@host:6379/0", "http://:c4n4ry@host", "c4n4ry", "redis://h:c4n4ry"])
def test_a_wrong_url_is_told_without_its_password(url: str) -> None:
    with pytest.raises(PlanError, match="does not parse") as caught:
        IdempotencyStore(url)
    assert "c4n4ry" not in str(caught.value)


def test_a_ttl_is_above_zero() -> None:
    with pytest.raises(PlanError, match="ttl"):
        IdempotencyStore(ttl=0)


def test_without_a_redis_the_caller_proceeds_and_is_warned_once(caplog: pytest.LogCaptureFixture) -> None:
    store = IdempotencyStore("redis://:c4n4ry@127.0.0.1:1/0")
    with caplog.at_level(logging.WARNING):
        assert store.claim("k")
        assert store.claim("k")
        assert not store.complete("k", 1)
        assert not store.release("k")
        assert store.result("k") is None
        with store.once("k") as claim:
            assert claim
    assert [record.getMessage()[:21] for record in caplog.records] == ["Redis does not answer"]
    assert "c4n4ry" not in caplog.text


def test_a_redis_that_says_nothing_is_not_waited_for() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        store = IdempotencyStore(f"redis://127.0.0.1:{mute.getsockname()[1]}/0")
        began = time.monotonic()
        assert store.claim("k")
        assert time.monotonic() - began < 1.2


@pytest.mark.parametrize("result", [float("nan"), b"x", {"x": dt.date(2024, 1, 1)}])
def test_a_result_is_a_json_value(result: Any) -> None:
    with pytest.raises(PlanError, match="a result is no JSON value"):
        IdempotencyStore("redis://127.0.0.1:1/0").complete("k", result)


def test_a_result_is_small() -> None:
    with pytest.raises(PlanError, match="64 KB at most"):
        IdempotencyStore("redis://127.0.0.1:1/0").complete("k", "x" * 70_000)

"""Bodies: what is taken for JSON, and equals what Python reads from it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapipe.plan.yamltext import MAX_BYTES, MAX_DEPTH
from datapipe.rest import body
from datapipe.rest.body import checked, replayed, whole
from datapipe.rest.problems import Refused

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=10)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
PIECES = st.sampled_from(
    [b"{", b"}", b"[", b"]", b'"', b"a", b":", b",", b"1", b"e9", b"-", b"\\", b"u00", b"\xff", b" "]
)


def arriving(*parts: bytes) -> Any:
    messages = iter([{"type": "http.request", "body": part, "more_body": True} for part in parts])

    async def receive() -> Any:
        return next(messages, {"type": "http.request", "body": b""})

    return receive


def refusal(text: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        checked(text)
    return caught.value


@given(VALUES)
def test_json_is_taken(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False), json.dumps(value, indent=1)):
        checked(text.encode())


@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_what_is_taken_is_what_python_reads(text: bytes) -> None:
    try:
        checked(text)
    except Refused as refused:
        assert refused.status == 400
    else:
        json.loads(text.decode())  # as strict, and no surprise


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "not JSON: Expecting property name"),
        (b"{}{}", "not JSON: Extra data in line 1, column 3"),
        (b'{"a": 1, "a": 2}', "a key appears twice"),
        (b'{"a": {"b": 1, "b": 1}}', "a key appears twice"),
        (b"[NaN]", "NaN is no JSON"),
        (b"[-Infinity]", "-Infinity is no JSON"),
        (b"[1e999]", "a number is too large"),
        (b"[" + b"9" * 5000 + b"]", "not JSON"),
        (b'"\\ud800"', "not text in UTF-8"),
        (b'["\xff"]', "not text in UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not text in UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'["\x00"]', "not JSON"),
        (b'["a\\u0000"]', "the character NUL"),
        (b'{"a\\u0000": 1}', "the character NUL"),
        (b'{"a": [{"b": "\\u0000"}]}', "the character NUL"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested more than"),
        (b"[" * 500_000, "nested more than"),
        (b'{"a":' * 100_000, "nested more than"),
    ],
)
def test_what_is_no_strict_json_is_refused(text: bytes, said: str) -> None:
    assert said in refusal(text).detail


def test_what_looks_like_nul_and_is_none_is_taken() -> None:
    checked(rb'["\\u0000"]')


def test_the_deepest_that_is_taken() -> None:
    checked(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


@given(st.lists(st.binary(max_size=5), max_size=6))
def test_pieces_make_a_whole_whatever_they_are(parts: list[bytes]) -> None:
    assert asyncio.run(whole(arriving(*parts), None)) == b"".join(parts)


@pytest.mark.parametrize("length", [str(MAX_BYTES + 1), "9" * 5000, "-1", "1e3", "0x10", ""])
def test_a_length_that_is_too_long_or_none_is_refused_before_the_body(length: str) -> None:
    async def receive() -> Any:
        raise AssertionError("nothing is read")

    with pytest.raises(Refused) as caught:
        asyncio.run(whole(receive, length))
    assert caught.value.status == 413


def test_without_a_length_it_is_counted() -> None:
    asyncio.run(whole(arriving(*[b"x" * 1024] * 1024), None))
    with pytest.raises(Refused) as caught:
        asyncio.run(whole(arriving(*[b"x" * 1024] * 1024, b"x"), None))
    assert caught.value.status == 413


def test_many_small_pieces_cost_no_more_than_their_number() -> None:
    assert (
        len(asyncio.run(whole(arriving(*[b"x"] * 200_000), None))) == 200_000
    )  # adding up all each time took a minute


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "_SECONDS", 0.05)

    async def receive() -> Any:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    with pytest.raises(Refused) as caught:
        asyncio.run(whole(receive, None))
    assert caught.value.status == 408


def test_who_hangs_up_gets_no_run() -> None:
    async def receive() -> Any:
        return {"type": "http.disconnect"}

    with pytest.raises(Refused):
        asyncio.run(whole(receive, None))


def test_a_body_is_given_once_more() -> None:
    async def twice() -> Any:
        receive = replayed(b"x")
        first = await receive()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.02)  # nothing more comes, and nobody has hung up
        return first

    assert asyncio.run(twice()) == {"type": "http.request", "body": b"x", "more_body": False}

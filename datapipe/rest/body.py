"""Bodies of requests: read whole, within limits of size, depth and time, as strict JSON."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import anyio
from starlette.types import Message, Receive

from datapipe.plan.yamltext import MAX_BYTES, MAX_DEPTH
from datapipe.rest.problems import Refused

_SECONDS = 20.0  # in which a body must have arrived
_DIGITS = 10  # of a length that is worth reading


async def whole(receive: Receive, length: str | None) -> bytes:
    """A request's body.

    Raises
    ------
    Refused
        If it is too long (413), or does not come (408).
    """
    if length is not None and (not length.isdecimal() or len(length) > _DIGITS or int(length) > MAX_BYTES):
        raise _too_long()
    parts: list[bytes] = []
    size = 0
    with anyio.move_on_after(_SECONDS) as scope:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "the request broke off")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > MAX_BYTES:
                raise _too_long()
            if not message.get("more_body"):
                break
    if scope.cancelled_caught:
        raise Refused(408, f"the body of the request did not arrive within {_SECONDS:g} s")
    return b"".join(parts)


def checked(body: bytes) -> None:
    """Refuse what is no JSON, or is nested too deep, names a key twice, or has numbers that JSON lacks.

    Raises
    ------
    Refused

    Examples
    --------
    >>> checked(b'{"a": [1]}')
    >>> checked(b'{"a": NaN}')
    Traceback (most recent call last):
    datapipe.rest.problems.Refused: ...
    """
    try:
        found = json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        json.dumps(found, ensure_ascii=False).encode()  # a lone surrogate is no text
    except UnicodeError:
        raise Refused(400, "the body is not text in UTF-8") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise Refused(400, f"the body is not JSON: {_where(error)}") from None
    _check_depth(found, 1)
    if b"\\u0000" in body and _has_nul(found):
        raise Refused(400, "the body holds the character NUL, which no database takes as text")


def replayed(body: bytes) -> Receive:
    """What gives a body that was read already to whoever reads it next."""
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            await anyio.sleep_forever()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


def _check_depth(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _too_deep()
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_depth(item, depth + 1)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key appears twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    found = float(text)
    if math.isinf(found):
        raise ValueError("a number is too large")
    return found


def _has_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_nul, value)) or any(map(_has_nul, value.values()))
    return any(map(_has_nul, value)) if isinstance(value, list) else isinstance(value, str) and "\0" in value


def _where(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} in line {error.lineno}, column {error.colno}"
    return str(error)


def _too_long() -> Refused:
    return Refused(413, f"the body is longer than {MAX_BYTES:,} bytes", "Have rows read from a table or a file instead")


def _too_deep() -> Refused:
    return Refused(400, f"the body is nested more than {MAX_DEPTH} deep")

"""Errors as log lines have them: their kinds and where they came from, without the values that they may quote."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datapipe.errors import DatapipeError
from datapipe.traces import label, of_library

# Whose errors are told without their messages: a driver, or a user's function, may quote a row in one. What anybody
# else logs is theirs.
_LIBRARIES = ("datapipe", "celery", "kombu", "billiard", "sqlalchemy", "psycopg", "pymysql", "uvicorn", "asyncio")
_MOST_ERRORS, _MOST_FRAMES = 5, 20


def chain(given: Any, name: str) -> list[dict[str, Any]]:
    """An error and what it came from, the last one first.

    Parameters
    ----------
    given : Any
        What ``logging`` and structlog take as ``exc_info``.
    name : str
        The logger's.

    Examples
    --------
    >>> chain(ValueError("3 eggs"), "shop")
    [{'type': 'ValueError', 'message': '3 eggs', 'at': []}]
    >>> chain(ValueError("3 eggs"), "sqlalchemy.pool")
    [{'type': 'ValueError', 'at': []}]
    """
    error = given if isinstance(given, BaseException) else (given if isinstance(given, tuple) else sys.exc_info())[1]
    found: list[dict[str, Any]] = []
    while isinstance(error, BaseException) and len(found) < _MOST_ERRORS:
        found.append({"type": type(error).__name__, **_message(error, name), "at": list(_places(error))})
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return found


def texts(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The lines that tell it to people."""
    for number, error in enumerate(found):
        message = f": {error['message']}" if error.get("message") else ""
        yield f"{'because of ' if number else ''}{error['type']}{message}"
        yield from (f"  at {place}" for place in reversed(error["at"]))


def _message(error: BaseException, name: str) -> dict[str, str]:
    if isinstance(error, DatapipeError):
        return {"message": error.discreet()}
    if name.partition(".")[0] in _LIBRARIES:
        return {}
    try:
        return {"message": str(error)}
    except Exception:  # noqa: BLE001  # an error of the user's: its text is code of theirs
        return {}


def _places(error: BaseException) -> Iterator[str]:
    """Where it came through: modules of libraries by their names, the user's files and cells by theirs."""
    for frame, line in list(traceback.walk_tb(error.__traceback__))[-_MOST_FRAMES:]:
        code = frame.f_code
        module = frame.f_globals.get("__name__") if of_library(code.co_filename) else None
        yield f"{module or label(code.co_filename)}:{line} in {code.co_name}"

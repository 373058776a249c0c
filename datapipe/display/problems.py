"""Errors as cards show them."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import Any

from datapipe.display.view import ErrorView
from datapipe.errors import DatapipeError
from datapipe.secrets import redactor
from datapipe.settings import settings
from datapipe.traces import Excerpt, users_code

_LONGEST = 20_000  # characters of a traceback


def error_view(error: BaseException) -> ErrorView:
    """An error of this process; the row it is about is shown unless DATAPIPE_SHOW_VALUES is 0."""
    hide = redactor().text
    lines = hide("".join(traceback.format_exception(error)))[-_LONGEST:]
    if not isinstance(error, DatapipeError):
        return _with_code(users_code(error), kind=type(error).__name__, message=hide(str(error)), traceback=lines)
    return _with_code(
        error.excerpt,
        kind=type(error).__name__,
        message=error.message,
        step=error.step,
        hint=error.hint,
        row=error.row,
        column=error.column,
        cells=dict(error.cells) if settings().show_values else {},
        traceback=lines,
    )


def error_of(found: Mapping[str, Any]) -> ErrorView:
    """An error as the run store has it."""
    known = found.get("excerpt")
    names = ("step", "hint", "row", "column")
    return _with_code(
        Excerpt.from_dict(known) if known else None,
        kind=str(found.get("type", "Error")),
        message=str(found.get("message", "")),
        traceback=str(found.get("traceback", "")),
        **{name: found.get(name) for name in names},
    )


def _with_code(code: Excerpt | None, **values: Any) -> ErrorView:
    if code is None:
        return ErrorView(**values)
    return ErrorView(**values, place=code.place, code=code.text())

"""Calling a user's function: which frame it wants, and what to say when it fails."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from datapipe.errors import DataError, DatapipeError, PlanError
from datapipe.plan import FrameKind, FunctionRef, frame_kind
from datapipe.secrets import redactor
from datapipe.traces import called_with, label, users_code
from datapipe.transformation.rows import failing_row


@dataclass(frozen=True)
class Part:
    """Which part of the rows a function is called for: a text for people, and the number of the first row."""

    text: str = ""
    first_row: int = 1

    def __str__(self) -> str:
        return self.text


ALL = Part()


@dataclass(frozen=True)
class UserFunction:
    """A function of the user's, ready to be called.

    Parameters
    ----------
    name : str
    call : callable
        Takes one frame.
    kind : {"pandas", "polars", "arrow"}
        The frame its first parameter is annotated with; pandas without annotation.
    """

    name: str
    call: Callable[[Any], Any]
    kind: FrameKind

    def __call__(self, frame: Any, where: Part = ALL) -> Any:
        """What the function returns.

        Raises
        ------
        DataError
            If it raises: with its name, ``where``, the line of the user's code and the user's message.
            A DatapipeError of its own passes through.
        """
        index = getattr(frame, "index", None)  # of a pandas frame; another one, once its rows have moved
        try:
            return self.call(frame)
        except DatapipeError as error:
            error.outside = error.outside or error.message
            raise
        except Exception as error:
            raise self._failed(error, frame, index, where) from error

    def _failed(self, error: Exception, frame: Any, index: Any, where: Part) -> DataError:
        text = redactor().text(f"{type(error).__name__}: {error}").strip().removesuffix(":")
        own = _file(self.call)
        code = users_code(error, own)
        if code is not None:
            line = dict(code.lines).get(code.line, "").strip()
            text += f" ({label(code.file)}:{code.line}" + (f": {line})" if line else ")")
        row, cells = failing_row(called_with(error, own), frame, index)
        number = None if row is None else row + where.first_row - 1
        at = f" at row {number:,}" if number else ""
        failed = DataError(f"function {self.name!r} failed{at}{where}: {text}", row=number)
        failed.excerpt, failed.cells, failed.outside = code, cells, text
        return failed


def user_function(ref: FunctionRef) -> UserFunction:
    """The function a reference stands for: itself, or the ``transform`` of a class or an object.

    Raises
    ------
    PlanError
        If there is no such function, or a class cannot be created without arguments.

    Examples
    --------
    >>> def clean(frame: "pl.DataFrame"): ...
    >>> user_function(FunctionRef.of(clean)).kind
    'polars'
    """
    found = ref.resolve()
    if inspect.isclass(found):
        if not callable(getattr(found, "transform", None)):
            raise PlanError(
                f"class {ref.name!r} has no method transform", hint="Give it one: def transform(self, frame)"
            )
        try:
            found = found()
        except Exception as error:
            raise PlanError(
                f"class {ref.name!r} cannot be created without arguments: {type(error).__name__}: {error}",
                hint="Give an object of it instead of the class",
            ) from error
    call = found.transform if callable(getattr(found, "transform", None)) else found
    if not callable(call):
        raise PlanError(f"{ref.name!r} is not a function", hint="Give a function, or an object with a transform method")
    return UserFunction(ref.name, call, frame_kind(call))


def _file(call: Any) -> str | None:
    code = getattr(inspect.unwrap(getattr(call, "func", call)), "__code__", None)
    return code.co_filename if code else None

"""Calling a user's function: which frame it wants, and what to say when it fails."""

from __future__ import annotations

import inspect
import os
import sysconfig
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datapipe.errors import DataError, DatapipeError, PlanError
from datapipe.plan import FrameKind, FunctionRef, frame_kind

_LIBRARIES = tuple(
    {str(Path(__file__).parents[1]) + os.sep}
    | {sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)


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

    def __call__(self, frame: Any, where: str = "") -> Any:
        """What the function returns.

        Raises
        ------
        DataError
            If it raises: with its name, ``where``, the line of the user's code and the user's message.
            A DatapipeError of its own passes through.
        """
        try:
            return self.call(frame)
        except DatapipeError:
            raise
        except Exception as error:
            raise DataError(f"function {self.name!r} failed{where}: {self._told(error)}") from error

    def _told(self, error: Exception) -> str:
        text = f"{type(error).__name__}: {error}".strip().removesuffix(":")
        line = _users_line(error, _file(self.call))
        if line is None:
            return text
        return f"{text} ({line.filename}:{line.lineno}" + (f": {line.line})" if line.line else ")")


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


def _users_line(error: Exception, own: str | None) -> traceback.FrameSummary | None:
    """The innermost line of the user's own code: in the function's file, or in no library."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own or not _library(frame)
    ]
    return frames[-1] if frames else None


def _library(frame: traceback.FrameSummary) -> bool:
    name = frame.filename
    return name.startswith((*_LIBRARIES, "<frozen", "<__array")) or name.endswith((".pyx", ".pxi"))

"""Every public exception, grouped by what the caller does next.

DatapipeError
|-- PlanError             fix the plan or the code; nothing has been written
|   |-- NotPortableError  this plan holds something that has no document form
|   `-- IdempotencyConflict  the key belongs to another plan
|-- DataError             fix the data, or the contract it breaks
|   `-- SchemaError       source and target disagree about columns or types
|-- TransientError        try again: the server was away, a lock was lost
|   `-- InProgress        another run has the key or the target; it is named
|-- FatalError            stop: a retry cannot help
|   |-- StaleRun          a newer run has replaced the target already
|   |-- NotebookError     a cell of a notebook failed, its kernel died, or it took too long
|   `-- OutcomeUnknown    the connection broke at COMMIT and the ledger cannot be read
`-- RunCancelled          somebody asked the run to stop

Messages say what happened, where, and what to do. They hold no data values: a row is named by its number.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from datapipe.traces import Excerpt, users_code

LOADED_STAYS = "What the pipelines of the notebook had loaded before stays loaded"  # of a notebook that was cancelled


class DatapipeError(Exception):
    """Base of every error datapipe raises on purpose.

    Parameters
    ----------
    message : str
        What happened.
    step : str, optional
        The step of the plan it happened in, such as ``"step 2 (sql)"``.
    hint : str, optional
        What to do next.
    column, row : optional
        The column, and the row number counted from 1, that the error is about.

    Attributes
    ----------
    result : RunResult or None
        The result of the failed run, when the error came from one.
    excerpt : Excerpt or None
        The lines of the user's function that failed.
    on_card : bool
        Whether a card below the cell shows all this already.
    cells : mapping of str to str
        The row that the error is about, for the eyes of whoever runs the plan: it goes into no log and no message.
    outside : str or None
        Which part of the message is not datapipe's own but said by a user's function, which may quote a row.

    Examples
    --------
    >>> str(DatapipeError("table users does not exist", step="ingestion", hint="check the name"))
    'ingestion: table users does not exist. check the name'
    """

    def __init__(
        self,
        message: str = "",
        *,
        step: str | None = None,
        hint: str | None = None,
        column: str | None = None,
        row: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.step = step
        self.hint = hint
        self.column = column
        self.row = row
        self.result: Any = None
        self.excerpt: Excerpt | None = None
        self.on_card = False
        self.cells: Mapping[str, str] = {}
        self.outside: str | None = None

    def discreet(self) -> str:
        """The error as a log has it: without what a user's own code has said, which may quote a row.

        Examples
        --------
        >>> error = DataError("function 'clean' failed: ValueError: no user ann", step="step 1")
        >>> error.outside = "ValueError: no user ann"
        >>> error.discreet()
        "step 1: function 'clean' failed: ValueError"
        """
        if self.outside == self.message:
            return f"{self.step}: {type(self).__name__}" if self.step else type(self).__name__
        if self.outside is not None:
            place = f" ({self.excerpt.place})" if self.excerpt is not None else ""
            return self._told(self.message.replace(self.outside, self.outside.partition(":")[0] + place))
        if self.excerpt is not None:  # of code of the user's, and told before
            return self._told(f"failed at {self.excerpt.place}")
        return str(self)

    def __str__(self) -> str:
        return self._told(self.message)

    def _told(self, message: str) -> str:
        text = f"{self.step}: {message}" if self.step else message
        if not self.hint:
            return text
        return f"{text.rstrip('.')}. {self.hint}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message,), {**self.__dict__, "cells": {}}

    def at(self, step: str) -> DatapipeError:
        """Name the step this error happened in, unless it is named already; returns the error itself."""
        self.step = self.step or step
        return self

    def to_dict(self) -> dict[str, Any]:
        """The error as plain JSON values; :func:`from_dict` makes one of the same class of them."""
        fields = ("message", "step", "hint", "column", "row")
        found = {"type": type(self).__name__, **{name: getattr(self, name) for name in fields}}
        found |= {"outside": self.outside} if self.outside is not None else {}
        return found if self.excerpt is None else {**found, "excerpt": self.excerpt.to_dict()}

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: the user's own lines, and what is wrong with them."""
        found = None if self.on_card else self.excerpt or users_code(self)
        code = [found.place, *found.text().splitlines(), ""] if found else []
        return [*code, f"{type(self).__name__}: {self}"]


class PlanError(DatapipeError, ValueError):
    """The plan is wrong: fix the code. Nothing has been written."""


class NotPortableError(PlanError):
    """The plan holds a frame, a function or an engine of this process, which no document can carry."""


class IdempotencyConflict(PlanError):  # noqa: N818  # as the field calls it
    """The idempotency key was used by another plan. Nothing has been written."""


class DataError(DatapipeError):
    """The data break a rule of the plan, a type or a constraint. The target is unchanged.

    Attributes
    ----------
    failures : tuple of datapipe.schemas.Failure
        Every check that was not kept, if the error is about a contract.
    """

    failures: tuple[Any, ...] = ()


class SchemaError(DataError):
    """The data and the target disagree about columns or types. The target is unchanged.

    Attributes
    ----------
    changes : tuple of datapipe.schemas.SchemaChange
        Everything that differs, if it is a table that the data were to go into.
    """

    changes: tuple[Any, ...] = ()


class TransientError(DatapipeError):
    """Something outside failed in a way that may pass: try again."""


class InProgress(TransientError):  # noqa: N818  # it names a state
    """Another run has the idempotency key, or writes to the target; the message names it. Nothing was written."""


class FatalError(DatapipeError):
    """A retry cannot help: a permission is missing, a disk is full."""


class StaleRun(FatalError):  # noqa: N818  # it names a state
    """A run that began later has replaced the target already; its rows stay."""


class OutcomeUnknown(FatalError):  # noqa: N818  # it names a state
    """The connection broke at COMMIT, and the ledger, which knows, could not be read in time."""


class NotebookError(FatalError):
    """A notebook did not come to its end; ``result`` says where it stopped and where its artifacts are."""


class RunCancelled(DatapipeError):  # noqa: N818  # to be cancelled is no error
    """The run was cancelled. The target is unchanged."""

    def _render_traceback_(self) -> list[str]:
        return [f"{type(self).__name__}: {self}"]


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or a notebook's stop button, has cancelled a run; everything has stopped.

    Parameters
    ----------
    message : str
    result : RunResult
        How far the run came.
    """

    def __init__(self, message: str = "", result: Any = None) -> None:
        super().__init__(message)
        self.result = result

    @property
    def unknown(self) -> BaseException | None:
        """The OutcomeUnknown that the run has ended with, if it has."""
        return self.__cause__

    def _render_traceback_(self) -> list[str]:
        return [f"KeyboardInterrupt: {self}"]


def from_dict(found: Mapping[str, Any], unknown: type[DatapipeError] = FatalError) -> DatapipeError:
    """The error that :meth:`DatapipeError.to_dict` gave; one of a class that is not ours is of the class ``unknown``.

    Examples
    --------
    >>> from_dict(DataError("no", column="a", row=3).to_dict()).row
    3
    """
    known = {kind.__name__: kind for kind in _kinds(DatapipeError)}
    values = {name: found.get(name) for name in ("step", "hint", "column", "row")}
    error = known.get(str(found.get("type")), unknown)(str(found.get("message", "")), **values)
    error.excerpt = Excerpt.from_dict(found["excerpt"]) if found.get("excerpt") else None
    error.outside = found.get("outside")
    return error


def _kinds(kind: type[DatapipeError]) -> Iterator[type[DatapipeError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _kinds(below)


def did_you_mean(given: str, known: Iterable[str], *, what: str = "known") -> str:
    """The hint that follows an unknown name: the nearest one if there is one, and the alternatives.

    Examples
    --------
    >>> did_you_mean("upsrt", ["append", "upsert"])
    "Did you mean 'upsert'? known: append, upsert"
    """
    names = sorted(set(known))
    if not names:
        return ""
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(given.casefold(), list(folded), n=1, cutoff=0.6)
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    listing = f"{what}: {shown}"
    return f"Did you mean {folded[near[0]]!r}? {listing}" if near else listing

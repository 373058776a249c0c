"""The ids of what goes on here: bound where a run, a task or a step begins, and found on every line that is logged."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

from datapipe.surroundings import CORRELATION, PARENT, PIPELINE

_NO_SIGN = re.compile(r"[^\w.:/ -]", re.ASCII)  # others would be changed by the server, or would have to be quoted
P = ParamSpec("P")
T = TypeVar("T")
_AROUND = {"correlation_id": CORRELATION, "run_id": PARENT, "pipeline_id": PIPELINE}
_ids: ContextVar[Mapping[str, str]] = ContextVar("datapipe_ids", default={})  # noqa: B039  # it is never changed in place


@contextmanager
def bound(**found: str | None) -> Iterator[None]:
    """Put ids on every line that this thread logs in this block.

    Parameters
    ----------
    **found : str or None
        ``correlation_id``, ``run_id``, ``pipeline_id``, ``task_id``, ``step``, or names of your own; None takes one
        away.
        A run that begins in the block takes the correlation id over, unless it is given one.

    Examples
    --------
    >>> with bound(correlation_id="order-17"):
    ...     with bound(step="load"):
    ...         ids()
    {'correlation_id': 'order-17', 'step': 'load'}
    >>> ids()
    {}
    """
    merged = {**_ids.get(), **found}
    token = _ids.set({name: value for name, value in merged.items() if value is not None})
    try:
        yield
    finally:
        _ids.reset(token)


def of_run(run_id: str, correlation_id: str, parent_run_id: str | None = None) -> AbstractContextManager[None]:
    """The ids of a run while it lasts; its pipeline id is its own id, unless a worker has bound another one.

    Examples
    --------
    >>> with of_run("r1", "c1"):
    ...     ids()
    {'run_id': 'r1', 'correlation_id': 'c1', 'pipeline_id': 'r1'}
    """
    known = _ids.get()
    pipeline = known.get("pipeline_id") if known.get("run_id") == run_id else None
    names = {"run_id": run_id, "correlation_id": correlation_id, "pipeline_id": pipeline or run_id}
    return bound(**names, parent_run_id=parent_run_id, step=None)


def ids() -> dict[str, str]:
    """The ids that are bound here; in the kernel of a notebook job, and in what it starts, those of the job, too."""
    around = {name: value for name, variable in _AROUND.items() if (value := os.environ.get(variable))}
    return {**around, **_ids.get()}


def session_name(most: int) -> str:
    """What a database is told that a session is for: the run's id, or its first 8 signs and the correlation id.

    Parameters
    ----------
    most : int
        Characters at most.

    Examples
    --------
    >>> with of_run("7d7d5f5c-8a5f", "order-17"):
    ...     session_name(63)
    'datapipe 7d7d5f5c order-17'
    >>> session_name(63)
    'datapipe'
    """
    found = ids()
    run, correlation = found.get("run_id", ""), found.get("correlation_id", "")
    names = [run] if run == correlation else [run[:8], correlation]
    return _NO_SIGN.sub("?", " ".join(["datapipe", *filter(None, names)]))[:most]


def carried(call: Callable[P, T]) -> Callable[P, T]:
    """The same function, under the ids of here wherever it is called: a new thread does not have them by itself.

    Examples
    --------
    >>> with bound(run_id="r1"):
    ...     later = carried(ids)
    >>> later()
    {'run_id': 'r1'}
    """
    found = _ids.get()  # nothing else of the context: in there is also what decimals are rounded to

    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        token = _ids.set(found)
        try:
            return call(*args, **kwargs)
        finally:
            _ids.reset(token)

    return called

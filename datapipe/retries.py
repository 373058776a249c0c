"""Trying again: exponential backoff with jitter, a number of retries and a budget of time. tenacity does the work."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import tenacity

from datapipe.errors import InProgress, TransientError
from datapipe.settings import settings

F = TypeVar("F", bound=Callable[..., Any])
TRANSIENT: tuple[type[BaseException], ...] = (TransientError, ConnectionError, TimeoutError)
_LONGEST = 60.0  # seconds


def policy(
    max_retries: int | None = None,
    base: float | None = None,
    budget: float | None = None,
    on: tuple[type[BaseException], ...] = TRANSIENT,
) -> dict[str, Any]:
    """The arguments of tenacity's ``Retrying`` and ``AsyncRetrying`` for a policy; see :func:`retry_with_backoff`."""
    found = settings()
    retries = found.max_retries if max_retries is None else max_retries
    power = found.retry_backoff_base if base is None else base
    seconds = found.retry_budget if budget is None else budget
    return {
        "stop": tenacity.stop_any(tenacity.stop_after_attempt(retries + 1), tenacity.stop_after_delay(seconds)),
        "wait": tenacity.wait_random_exponential(multiplier=power, exp_base=power, max=_LONGEST),
        "retry": tenacity.retry_if_exception(lambda error: isinstance(error, on) and not isinstance(error, InProgress)),
        "reraise": True,
    }


def retry_with_backoff(
    fn: F | None = None,
    *,
    max_retries: int | None = None,
    base: float | None = None,
    budget: float | None = None,
    on: type[BaseException] | tuple[type[BaseException], ...] = TRANSIENT,
) -> Any:
    """Call a function again when it fails in a way that may pass.

    Before retry n there is a pause of up to ``base ** n`` seconds (at most 60), drawn at random, so that many
    callers do not return at once. Other errors, Ctrl-C among them, are raised at once; so is the last one.

    Parameters
    ----------
    fn : callable
        A function, or a coroutine function.
    max_retries : int, optional
        Calls after the first; MAX_RETRIES if left out.
    base : float, optional
        RETRY_BACKOFF_BASE if left out.
    budget : float, optional
        Seconds after which there is no further call; DATAPIPE_RETRY_BUDGET if left out.
    on : exception class or tuple of them
        What may pass: TransientError, ConnectionError and TimeoutError if left out.

    Examples
    --------
    >>> calls = []
    >>> @retry_with_backoff(max_retries=3, base=0.01)
    ... def fetch():
    ...     calls.append(1)
    ...     if len(calls) < 3:
    ...         raise ConnectionError("reset")
    ...     return "rows"
    >>> fetch(), len(calls)
    ('rows', 3)
    """
    if fn is None:
        return functools.partial(retry_with_backoff, max_retries=max_retries, base=base, budget=budget, on=on)
    chosen = on if isinstance(on, tuple) else (on,)
    called: Callable[..., Any] = fn

    if inspect.iscoroutinefunction(fn):

        @functools.wraps(fn)
        async def patient(*args: Any, **kwargs: Any) -> Any:
            retrying = tenacity.AsyncRetrying(**policy(max_retries, base, budget, chosen))
            return await retrying(called, *args, **kwargs)

        return patient

    @functools.wraps(fn)
    def stubborn(*args: Any, **kwargs: Any) -> Any:
        return tenacity.Retrying(**policy(max_retries, base, budget, chosen))(called, *args, **kwargs)

    return stubborn

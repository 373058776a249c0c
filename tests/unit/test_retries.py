import asyncio

import pytest

from datapipe.engine import retry_with_backoff
from datapipe.errors import InProgress, PlanError, TransientError


def failing(times, error):
    calls = []

    def fn():
        calls.append(1)
        if len(calls) <= times:
            raise error
        return "done"

    return fn, calls


def test_what_may_pass_is_tried_again():
    fn, calls = failing(2, TransientError("away"))
    assert retry_with_backoff(fn, max_retries=2, base=0.01)() == "done"
    assert len(calls) == 3


def test_the_last_error_is_raised_as_it_is():
    error = TransientError("away")
    fn, calls = failing(9, error)
    with pytest.raises(TransientError) as caught:
        retry_with_backoff(fn, max_retries=2, base=0.01)()
    assert caught.value is error
    assert len(calls) == 3


@pytest.mark.parametrize("error", [PlanError("no"), InProgress("held"), ValueError("x"), KeyboardInterrupt()])
def test_what_will_not_pass_is_raised_at_once(error):
    fn, calls = failing(9, error)
    with pytest.raises(type(error)):
        retry_with_backoff(fn, max_retries=5, base=0.01)()
    assert len(calls) == 1


def test_coroutines_are_retried_too():
    fn, calls = failing(1, ConnectionError("reset"))

    @retry_with_backoff(max_retries=3, base=0.01)
    async def fetch():
        return fn()

    assert asyncio.run(fetch()) == "done"
    assert len(calls) == 2


def test_the_settings_decide_where_nothing_is_said(monkeypatch):
    monkeypatch.setenv("MAX_RETRIES", "1")
    monkeypatch.setenv("RETRY_BACKOFF_BASE", "0.01")
    fn, calls = failing(9, TimeoutError())
    with pytest.raises(TimeoutError):
        retry_with_backoff(fn)()
    assert len(calls) == 2


def test_no_attempt_begins_after_the_budget():
    fn, calls = failing(9, TimeoutError())
    with pytest.raises(TimeoutError):
        retry_with_backoff(fn, max_retries=9, base=0.01, budget=0)()
    assert len(calls) == 1

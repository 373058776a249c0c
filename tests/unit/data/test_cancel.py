"""One flag, and hooks that are called once and never late."""

import pytest

from datapipe.data.cancel import CancelToken
from datapipe.errors import RunCancelled


def test_hooks_are_called_once_and_a_failing_one_stops_no_other():
    token, called = CancelToken(), []

    def fails():
        called.append("fails")
        raise OSError

    with token.hook(fails), token.hook(lambda: called.append("second")):
        token.cancel()
        token.cancel()
    assert called == ["fails", "second"]
    with pytest.raises(RunCancelled):
        token.check()


def test_a_hook_is_gone_after_its_block():
    token, called = CancelToken(), []
    with token.hook(lambda: called.append(1)):
        pass
    token.cancel()
    assert not called


def test_a_hook_that_comes_late_is_called_at_once():
    token, called = CancelToken(), []
    token.cancel()
    with token.hook(lambda: called.append(1)):
        assert called == [1]

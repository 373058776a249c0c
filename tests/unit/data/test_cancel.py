"""One flag, and hooks that are called until their block is left, and never after it."""

import threading
import time

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


@pytest.mark.parametrize("late", [False, True])
def test_a_hook_is_called_again_until_its_block_is_left(late):
    token, called = CancelToken(), []
    if late:
        token.cancel()
    again = threading.Event()

    def hook():
        called.append(time.monotonic())
        if len(called) > 2:
            again.set()

    with token.hook(hook):
        token.cancel()
        assert again.wait(5)
    count = len(called)
    time.sleep(0.5)
    assert len(called) == count
    assert not any(thread.name == "cancel" for thread in threading.enumerate())


def test_leaving_a_block_waits_for_the_hook_that_is_being_called():
    token, inside, left = CancelToken(), threading.Event(), []

    def slow():
        inside.set()
        time.sleep(0.2)
        assert not left

    with token.hook(slow):
        threading.Thread(target=token.cancel).start()
        assert inside.wait(5)
    left.append(True)

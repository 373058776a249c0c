"""The queue between stages: bounded, in order, and it raises rather than ends."""

import threading
import time

import pyarrow as pa
import pytest

from datapipe.data.cancel import CancelToken
from datapipe.data.prefetch import Prefetch
from datapipe.errors import DataError, RunCancelled


def batch(number, rows=1000):
    return pa.record_batch({"a": [number] * rows})


def prefetch(batches, cancel=None, budget=20_000):
    return Prefetch([batches], budget, cancel or CancelToken(), "test prefetch")


def alive():
    return [thread.name for thread in threading.enumerate() if thread.name == "test prefetch"]


def test_every_batch_arrives_in_order():
    with prefetch(batch(n) for n in range(50)).running() as batches:
        assert [b.column(0)[0].as_py() for b in batches] == list(range(50))
    assert not alive()


def test_the_producer_runs_ahead_only_as_far_as_the_budget():
    made = []

    def produce():
        for n in range(50):
            made.append(n)
            yield batch(n)

    with prefetch(produce(), budget=20_000).running() as batches:
        next(batches)
        time.sleep(0.3)
        assert len(made) <= 5  # 8,000 bytes each: two wait, one is in hand, one is taken
        assert len(list(batches)) == 49


def test_one_batch_larger_than_the_budget_passes():
    with prefetch(iter([batch(1, 100_000)]), budget=10).running() as batches:
        assert sum(b.num_rows for b in batches) == 100_000


def test_an_error_of_the_producer_arrives_as_itself_after_the_batches_before_it():
    error = DataError("row 7 is bad")

    def produce():
        yield batch(1)
        raise error

    with prefetch(produce()).running() as batches:
        next(batches)
        with pytest.raises(DataError) as caught:
            next(batches)
    assert caught.value is error


def test_a_cancelled_queue_raises_instead_of_ending():
    cancel = CancelToken()

    def produce():
        yield batch(1)
        cancel.wait(10)
        yield batch(2)

    with prefetch(produce(), cancel).running() as batches:
        next(batches)
        threading.Timer(0.1, cancel.cancel).start()
        with pytest.raises(RunCancelled):
            next(batches)
    assert not alive()


def test_leaving_early_ends_the_thread_and_closes_the_producer():
    closed = threading.Event()

    def produce():
        try:
            for n in range(1000):
                yield batch(n)
        finally:
            closed.set()

    with prefetch(produce()).running() as batches:
        next(batches)
    assert closed.is_set() and not alive()


def test_several_producers_hand_over_all_they_have_each_in_order():
    producers = [map(batch, range(10 * p, 10 * p + 10)) for p in range(4)]
    many = Prefetch(producers, 20_000, CancelToken(), "test prefetch")
    with many.running() as batches:
        found = [b.column(0)[0].as_py() for b in batches]
    assert sorted(found) == list(range(40))
    assert all([n for n in found if n // 10 == p] == list(range(10 * p, 10 * p + 10)) for p in range(4))
    assert not alive()


def test_the_error_of_one_producer_stops_the_others():
    error, made = DataError("row 7 is bad"), []

    def fail():
        yield batch(1)
        raise error

    def produce():
        for n in range(1000):
            made.append(n)
            yield batch(n)

    with (
        Prefetch([produce(), fail()], 20_000, CancelToken(), "test prefetch").running() as batches,
        pytest.raises(DataError) as caught,
    ):
        list(batches)
    assert caught.value is error and len(made) < 1000 and not alive()

"""Work done once, with real servers: races, time, owners, a server that is flushed, killed and started again."""

from __future__ import annotations

import subprocess
import threading
import time

import pytest
from forked import forked_python
from services import PrivateRedis

from datapipe.workers import IdempotencyStore

RACE = """
import sys, time
from datapipe.workers import IdempotencyStore
store = IdempotencyStore(sys.argv[1])
store.done("warm")
time.sleep(max(0, float(sys.argv[2]) - time.time()))
print(sum(store.claim(f"k{n}") for n in range(200)))
"""


@pytest.fixture
def store(broker: PrivateRedis) -> IdempotencyStore:
    return IdempotencyStore(broker.url)


def test_one_of_many_threads_wins(store: IdempotencyStore) -> None:
    for number in range(50):
        won, barrier = [], threading.Barrier(8)

        def run(key: str = f"k{number}", barrier: threading.Barrier = barrier, won: list[int] = won) -> None:
            barrier.wait()
            won.extend([1] * store.claim(key))

        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [1]


def test_one_of_many_processes_wins_each_key(broker: PrivateRedis) -> None:
    begin = str(time.time() + 3)
    command = [forked_python(), "-c", RACE, broker.url, begin]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert sum(int(racer.communicate()[0]) for racer in racers) == 200


def test_what_is_done_is_not_done_again(store: IdempotencyStore, broker: PrivateRedis) -> None:
    key, other = store.key("orders", 1), IdempotencyStore(broker.url)
    assert store.claim(key)
    assert not other.claim(key)
    assert (other.result(key), other.done(key)) == (None, False)
    assert store.complete(key, {"rows": 3, "text": "é 😀"})
    assert not other.claim(key)
    assert (other.result(key), other.done(key)) == ({"rows": 3, "text": "é 😀"}, True)


def test_only_the_owner_completes_and_releases(store: IdempotencyStore, broker: PrivateRedis) -> None:
    other = IdempotencyStore(broker.url)
    assert store.claim("k")
    assert not other.complete("k", "mine")
    assert not other.release("k")
    assert store.release("k")
    assert other.claim("k")
    assert not store.complete("k", "late")
    assert other.complete("k", "mine")
    assert store.result("k") == "mine"
    assert other.release("k")
    assert not other.done("k")


def test_an_owner_that_died_goes_on(store: IdempotencyStore, broker: PrivateRedis) -> None:
    again = IdempotencyStore(broker.url)
    assert store.claim("k", owner="run 1")
    assert again.claim("k", owner="run 1")
    assert not again.claim("k", owner="run 2")
    assert again.complete("k", 7, owner="run 1")
    assert not store.claim("k", owner="run 1")
    assert store.result("k") == 7


def test_a_key_is_forgotten_after_its_time(broker: PrivateRedis) -> None:
    store = IdempotencyStore(broker.url, ttl=0.3)
    assert store.claim("k")
    assert not store.claim("k")
    time.sleep(0.4)
    assert store.claim("k")
    assert store.complete("k", 1)
    time.sleep(0.4)
    assert (store.done("k"), store.complete("k", 2)) == (False, False)


def test_a_claim_may_last_less_long_than_its_result(store: IdempotencyStore) -> None:
    assert store.claim("k", ttl=0.3)
    assert store.complete("k", 1)
    time.sleep(0.4)
    assert store.done("k")
    assert store.claim("dead", ttl=0.3)
    time.sleep(0.4)
    assert store.claim("dead")


def test_a_block_is_done_once(store: IdempotencyStore) -> None:
    with pytest.raises(ValueError, match="no"), store.once("k") as claim:
        assert claim
        raise ValueError("no")
    with store.once("k") as claim, store.once("k") as second:
        assert claim
        assert not second
        assert second.result is None
        assert claim.complete([1, 2]) == [1, 2]
    with store.once("k") as claim:
        assert not claim
        assert claim.result == [1, 2]
    with store.once("quiet") as claim:
        assert claim
    assert store.done("quiet")


def test_redis_sees_hashes_and_every_key_has_an_end(store: IdempotencyStore, broker: PrivateRedis) -> None:
    store.claim("ann@example.org", owner="c4n4ry")
    store.claim("bob@example.org")
    store.complete("bob@example.org", 1)
    names = broker.client.keys("*")
    assert len(names) == 2
    for name in names:
        assert name.startswith("datapipe:once:")
        assert "@" not in name
        assert "c4n4ry" not in broker.client.get(name)
        assert 0 < broker.client.ttl(name) <= 86_400


def test_after_a_flush_the_work_may_be_done_again(store: IdempotencyStore, broker: PrivateRedis) -> None:
    assert store.claim("k")
    broker.client.flushall()
    assert not store.complete("k", 1)
    assert store.claim("k")
    broker.client.script_flush()
    assert store.complete("k", 1)


def test_a_server_that_is_killed_and_comes_back(
    store: IdempotencyStore, broker: PrivateRedis, caplog: pytest.LogCaptureFixture
) -> None:
    assert store.claim("k")
    broker.kill()
    began = time.monotonic()
    assert store.claim("k")
    assert not store.done("k")
    assert time.monotonic() - began < 1.2
    assert len(caplog.records) == 1
    broker.start()
    assert store.claim("k")
    assert not store.claim("k")
    broker.kill()
    broker.start()  # the pooled connection is dead, the server is not
    assert store.claim("k")
    assert not store.claim("k")
    assert len(caplog.records) == 1


def test_a_server_that_refuses_lets_the_caller_proceed(broker: PrivateRedis, caplog: pytest.LogCaptureFixture) -> None:
    broker.client.set(f"datapipe:once:{IdempotencyStore.key()}", "x")
    wrong = IdempotencyStore(broker.url.replace("c4n4ry", "0ther"))
    assert wrong.claim("k")
    assert "0ther" not in caplog.text
    broker.client.config_set("maxmemory", "1")
    assert IdempotencyStore(broker.url).claim("k")

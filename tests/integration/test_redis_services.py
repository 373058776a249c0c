"""The Redis and Valkey servers that tests get: what the fixtures promise."""

from __future__ import annotations

import time

import pytest
import redis
from services import PrivateRedis, RedisService, find_redis, running_redis


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, decode_responses=True)


@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_finds_an_empty_database(broker_url: str, turn: int) -> None:
    with client(broker_url) as found:
        assert found.keys() == []
        found.set("left behind by", turn)


def test_both_servers_are_what_their_names_say(broker_url: str, request: pytest.FixtureRequest) -> None:
    wanted = request.node.callspec.params["broker_url"]
    with client(broker_url) as found:
        said = found.info("server")
    assert said.get("server_name", "redis") == wanted  # Redis has no such line


def test_shared_server_wants_a_password(broker_url: str) -> None:
    with client(f"redis://{broker_url.partition('@')[2]}") as found, pytest.raises(redis.AuthenticationError):
        found.ping()


def test_killed_server_is_gone_and_comes_back_empty_at_the_same_url(private_redis: PrivateRedis) -> None:
    url, process = private_redis.url, private_redis.pid
    with client(url) as found:
        found.set("kept", 7)
        private_redis.kill()
        assert not private_redis.runs
        with pytest.raises(redis.ConnectionError):
            found.ping()
        private_redis.start()
        assert (private_redis.url, private_redis.pid != process) == (url, True)
        assert found.get("kept") is None


def test_stopped_server_comes_back_empty(private_redis: PrivateRedis) -> None:
    with client(private_redis.url) as found:
        found.set("kept", 7)
        private_redis.stop()
        assert not private_redis.runs
        private_redis.start()
        assert found.get("kept") is None


def test_persistent_server_keeps_what_it_knew(private_redis: PrivateRedis) -> None:
    private_redis.stop()
    private_redis.persistent = True
    private_redis.start()
    with client(private_redis.url) as found:
        found.set("kept", 7)
        private_redis.stop()
        private_redis.start()
        assert found.get("kept") == "7"
        time.sleep(1.5)  # everysec
        private_redis.kill()
        private_redis.start()
        assert found.get("kept") == "7"


def test_flush_forgets_every_database(private_redis: PrivateRedis) -> None:
    urls = [f"{private_redis.url.rpartition('/')[0]}/{number}" for number in (0, 3)]
    for url in urls:
        with client(url) as found:
            found.set("kept", 7)
    private_redis.flush()
    for url in urls:
        with client(url) as found:
            assert found.dbsize() == 0


def test_start_and_kill_twice_do_nothing(private_redis: PrivateRedis) -> None:
    process = private_redis.pid
    private_redis.start()
    assert private_redis.pid == process
    private_redis.kill()
    private_redis.kill()
    assert not private_redis.runs


def test_named_server_is_used_and_left_alone(private_redis: PrivateRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIPE_TEST_REDIS_URL", private_redis.url)
    service = find_redis()
    assert service == RedisService("named by DATAPIPE_TEST_REDIS_URL", url=private_redis.url)
    with running_redis(service) as url:
        assert url == private_redis.url
    assert private_redis.runs

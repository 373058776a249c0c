"""What waits in Redis, as Celery keeps it: a list for each queue, and the messages that workers hold."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from datapipe.settings import settings

_HELD, _HELD_SINCE = "unacked", "unacked_index"  # Kombu's names
_LOOK = 50  # messages at the head of a queue
_SOME = 500  # messages that are read at once


@dataclass(frozen=True)
class QueueState:
    """A queue at one moment.

    Parameters
    ----------
    depth : int
        Messages that wait.
    head : tuple of str
        The ids of those that are next, the very next one first.
    """

    depth: int = 0
    head: tuple[str, ...] = ()


@dataclass(frozen=True)
class BrokerState:
    """Every queue at one moment, and for how many seconds workers have held the messages they hold, by id."""

    queues: Mapping[str, QueueState] = field(default_factory=dict)
    held: Mapping[str, float] = field(default_factory=dict)


def broker_client(timeout: float = 5.0) -> redis.Redis:
    """A connection to the broker that answers or fails within so many seconds."""
    url = settings().broker_url.replace("redis+socket://", "unix://", 1)  # as Kombu calls it
    return redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout)


def look(client: redis.Redis, queues: Sequence[str]) -> BrokerState:
    """The state of some queues.

    Raises
    ------
    redis.exceptions.RedisError
        If the broker does not answer.
    """
    pipe = client.pipeline(transaction=True)
    for queue in queues:
        pipe.llen(queue)
        pipe.lrange(queue, -_LOOK, -1)
    pipe.hgetall(_HELD)
    pipe.zrange(_HELD_SINCE, 0, -1, withscores=True)
    *lists, held, since = pipe.execute()
    times, now = dict(since), time.time()
    states = {
        queue: QueueState(depth, tuple(found for item in reversed(head) if (found := _id(_parsed(item)))))
        for queue, depth, head in zip(queues, lists[::2], lists[1::2], strict=True)
    }
    ages = {_id((_parsed(item) or [None])[0]): now - times.get(tag, now) for tag, item in held.items()}
    return BrokerState(states, {run_id: age for run_id, age in ages.items() if run_id})


def waiting(client: redis.Redis, queue: str) -> Iterator[str]:
    """The ids of the messages that wait in a queue, the very next one first, read some at a time."""
    last = -1
    while items := client.lrange(queue, last - _SOME + 1, last):
        yield from (found for item in reversed(items) if (found := _id(_parsed(item))))
        last -= _SOME


def _id(message: Any) -> str | None:
    found = (message.get("headers") or {}).get("id") if isinstance(message, dict) else None
    return str(found) if found else None


def _parsed(item: bytes | str) -> Any:
    """A message, or None for what no Celery has put there."""
    try:
        return json.loads(item)
    except ValueError:
        return None

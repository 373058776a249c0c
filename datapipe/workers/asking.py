"""What workers and the broker answer who are asked. A connection of its own for each look: nothing is kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from celery.app.control import flatten_reply
from kombu.connection import Connection
from kombu.exceptions import ChannelError
from kombu.pidbox import Mailbox

from datapipe.errors import PlanError
from datapipe.settings import settings

REDIS = ("redis://", "rediss://", "redis+socket://")
_PATIENCE = 2.0  # seconds for a connection, and for each answer
_NEVER = 10**9  # seconds
_MOST = 10_000  # unacknowledged messages that are looked at


@dataclass(frozen=True)
class Answer:
    """What a worker that is alive says of itself."""

    pid: int | None
    concurrency: int | None
    uptime: float | None
    queues: tuple[str, ...]
    active: tuple[str, ...]
    reserved: int


def broker_url() -> str:
    """Where runs are queued, as the environment has it now."""
    return settings().broker_url


@contextmanager
def connected(url: str) -> Iterator[Any]:
    """A connection to a broker that gives up soon.

    Raises
    ------
    PlanError
        If the URL does not parse.
    """
    options = {
        "socket_connect_timeout": _PATIENCE,
        "socket_timeout": _PATIENCE,
        "retry_on_timeout": False,
        "max_retries": 0,
        # While Kombu waits for answers, it delivers again what workers have held for longer: one that asks must not.
        "visibility_timeout": _NEVER,
    }
    try:
        # Not the application's: its settings are fixed by the first use, and a notebook may have other ones by now.
        connection = Connection(url, connect_timeout=_PATIENCE, transport_options=options)  # type: ignore[no-untyped-call]  # kombu has no types
        connection.default_channel  # noqa: B018  # connects, and asks Redis for an answer
    except (ValueError, KeyError):  # its text may hold the password
        raise PlanError("the URL does not parse", hint="Percent-encode / and @ in the password") from None
    with connection:
        yield connection


def answers(seconds: float) -> Mapping[str, Answer]:
    """What the workers answer that do so in time, by name."""
    mailbox = Mailbox("celery", type="fanout", accept=["json"])  # type: ignore[no-untyped-call]  # kombu has no types
    with connected(broker_url()) as connection:
        ask = mailbox(connection)
        stats = flatten_reply(ask.multi_call("stats", timeout=seconds) or [])
        names = list(stats)

        def of_each(command: str) -> dict[str, Any]:
            # It is known how many answer, so that the last answer ends the wait.
            return flatten_reply(ask.call(names, command, timeout=seconds) or []) if names else {}

        queues, active, reserved = map(of_each, ("active_queues", "active", "reserved"))
    return {
        name: Answer(
            pid=found.get("pid"),
            concurrency=(found.get("pool") or {}).get("max-concurrency"),
            uptime=found.get("uptime"),
            queues=tuple(sorted(queue["name"] for queue in queues.get(name) or ())),
            active=tuple(request["id"] for request in active.get(name) or ()),
            reserved=len(reserved.get(name) or ()),
        )
        for name, found in stats.items()
    }


def depths(queues: Collection[str]) -> Mapping[str, tuple[int, int | None]]:
    """How many messages wait in each queue, and how many of it workers have and did not acknowledge."""
    with connected(broker_url()) as connection:
        channel = connection.default_channel
        waiting = {queue: _waiting(connection, queue) for queue in queues}
        held = _held(channel) if broker_url().startswith(REDIS) else None
    return {queue: (count, None if held is None else held[queue]) for queue, count in waiting.items()}


def _waiting(connection: Any, queue: str) -> int:
    channel = connection.channel()  # an error closes it
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except (ChannelError, *connection.channel_errors):  # Redis has no queue without messages
        return 0
    finally:
        channel.close()


def _held(channel: Any) -> Counter[str]:
    """The queues of messages that were delivered and not acknowledged; Redis keeps them in one hash."""
    held = dict(islice(channel.client.hscan_iter(channel.unacked_key, count=500), _MOST))  # some may come twice
    return Counter(json.loads(text)[2] for text in held.values())  # message, exchange, routing key

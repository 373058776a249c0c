"""Idle connections of native libraries, kept for the next read: to make one can cost more than a small read does."""

from __future__ import annotations

import atexit
import os
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from datapipe.data.sockets import is_silent

_KEPT = 5  # idle ones a server
_LONGEST = 1800.0  # seconds from its making to its last use

_idle: dict[str, list[Link]] = {}
_guard = threading.Lock()  # no fork between a look at them and what follows


@dataclass(frozen=True, eq=False)
class Link:
    """A connection, what closes it, and the descriptor of its socket."""

    connection: Any
    resources: ExitStack
    descriptor: int
    made: float = field(default_factory=time.monotonic)

    @property
    def usable(self) -> bool:
        """Whether it is young, and silent: a server that goes away says so, or ends the connection."""
        return time.monotonic() - self.made < _LONGEST and is_silent(self.descriptor)

    def close(self) -> None:
        """Close it, and what belongs to it."""
        self.resources.close()


def take(server: str) -> Link | None:
    """An idle connection, which is the caller's from now on."""
    while True:
        with _guard:
            link = links.pop() if (links := _idle.get(server)) else None
        if link is None or link.usable:
            return link
        link.close()


def keep(server: str, link: Link) -> None:
    """Keep a connection on which nothing goes on, and that nobody interrupts any more."""
    with _guard:
        links = _idle.setdefault(server, [])
        has_room = len(links) < _KEPT
        if has_room:
            links.append(link)
    if not has_room:
        link.close()


def close_idle() -> None:
    """Close all idle connections."""
    with _guard:
        links = [link for links in _idle.values() for link in links]
        _idle.clear()
    for link in links:
        link.close()


def _disown() -> None:
    """Turn a child's copies away from its parent's sockets: closing them would end the parent's sessions."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for links in _idle.values():
        for link in links:
            os.dup2(nowhere, link.descriptor, inheritable=False)
    os.close(nowhere)
    _guard.release()
    close_idle()


os.register_at_fork(before=_guard.acquire, after_in_parent=_guard.release, after_in_child=_disown)
atexit.register(close_idle)

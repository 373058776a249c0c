"""How often a client waits for a PostgreSQL server: a proxy that counts, and keeps what was asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_TEXTS = {b"Q": 0, b"P": 1}  # messages with a statement, and how many names come before it


@dataclass
class Trips:
    """The round trips since the last look: the connection's number, and what was asked.

    Bytes to the server after bytes from it are one, however many messages they are.
    """

    found: list[tuple[int, str]] = field(default_factory=list)

    def taken(self) -> list[tuple[int, str]]:
        """Those since the last look."""
        taken, self.found = self.found, []
        return taken


@contextmanager
def counted(url: str) -> Iterator[tuple[Trips, str]]:
    """What counts, and the URL that leads through it."""
    parts, trips = urlsplit(url), Trips()
    listener = socket.create_server(("127.0.0.1", 0))
    where = (parts.hostname or "localhost", parts.port or 5432)
    threading.Thread(target=_accept, args=(listener, where, trips), daemon=True).start()
    login = parts.netloc.rpartition("@")[0]
    netloc = f"{login}@127.0.0.1:{listener.getsockname()[1]}" if login else f"127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield trips, parts._replace(netloc=netloc).geturl()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _accept(listener: socket.socket, where: tuple[str, int], trips: Trips) -> None:
    number = 0
    with suppress(OSError):  # it is closed
        while True:
            client, _ = listener.accept()
            number += 1
            server, asking = socket.create_connection(where), threading.Event()
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_up, args=(client, server, asking, number, trips), daemon=True).start()
            threading.Thread(target=_down, args=(server, client, asking), daemon=True).start()


def _up(client: socket.socket, server: socket.socket, asking: threading.Event, number: int, trips: Trips) -> None:
    with suppress(OSError):
        while chunk := client.recv(1 << 16):
            if chunk[:1] == b"X":  # a farewell is not answered
                pass
            elif asking.is_set():
                last = trips.found[-1]
                trips.found[-1] = (last[0], "; ".join(filter(None, [last[1], _asked(chunk)])))
            else:
                asking.set()
                trips.found.append((number, _asked(chunk)))
            server.sendall(chunk)
    with suppress(OSError):
        server.shutdown(socket.SHUT_WR)


def _down(server: socket.socket, client: socket.socket, asking: threading.Event) -> None:
    with suppress(OSError):
        while chunk := server.recv(1 << 16):
            asking.clear()
            client.sendall(chunk)
    with suppress(OSError):
        client.shutdown(socket.SHUT_WR)


def _asked(chunk: bytes) -> str:
    """The statements among the messages; the kinds of the others."""
    found: list[str] = []
    while len(chunk) >= 5:
        kind, length = chunk[:1], int.from_bytes(chunk[1:5])
        if kind == b"\0":  # the first message of a connection has no kind
            return "connect"
        body = chunk[5 : 1 + length]
        if kind in _TEXTS:
            text = body.split(b"\0")[_TEXTS[kind]].decode(errors="replace")
            found.append(" ".join(text.split()))
        elif kind == b"p":
            found.append("password")
        elif kind in b"dc":
            found.append("rows of a COPY")
        elif kind == b"B":
            found.append("bind")
        chunk = chunk[1 + length :]
    return "; ".join(dict.fromkeys(found))

"""A small proxy in front of a server, which cuts, stalls and half-closes connections when told to."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

Way = Literal["up", "down"]  # to the server, to the client


@dataclass(frozen=True)
class Fault:
    """What happens, once, to the connection whose bytes match.

    Parameters
    ----------
    action : str
        ``cut`` shuts both sides down, ``stall`` forwards nothing more and keeps them open, ``half`` ends one direction.
    way : str
        The direction that is watched.
    after : int
        Bytes of one connection that pass before it happens.
    pattern : bytes
        What must be seen in one chunk; empty for anything.
    forwarded : bool
        Whether the chunk that matched goes on: with ``cut``, COMMIT then arrives and only its reply is lost.
    """

    action: Literal["cut", "stall", "half"]
    way: Way = "up"
    after: int = 0
    pattern: bytes = b""
    forwarded: bool = False


class Proxy:
    """Forwards every connection to one address; see :func:`proxied`."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._fault: Fault | None = None
        self._flowing = threading.Event()
        self._flowing.set()
        self.struck = threading.Event()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, name="proxy", daemon=True)
        self._accepting.start()

    def arm(self, fault: Fault) -> None:
        """Wait for a connection that matches; ``struck`` is set when one did."""
        self.struck.clear()
        self._fault = fault

    def cut(self) -> None:
        """Shut every connection down, now."""
        with self._lock:
            pairs = list(self._pairs)
        for pair in pairs:
            _shut(pair)

    def stall(self) -> None:
        """Forward nothing more, on any connection; new ones are accepted and hear nothing."""
        self._flowing.clear()

    def resume(self) -> None:
        """Forward again what was held back."""
        self._flowing.set()

    def close(self) -> None:
        """Take no more connections and end those there are."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listener.close()
        self.cut()
        self.resume()
        for thread in self._threads:
            thread.join()
        for end in (end for pair in self._pairs for end in pair):
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:  # so that cut() finds a connection as soon as the server has it
                try:
                    server = socket.create_connection(self._to)
                except OSError:  # the server is down: the client hears so
                    client.close()
                    continue
                self._pairs.append((client, server))
            for way, source, sink in (("up", client, server), ("down", server, client)):
                thread = threading.Thread(target=self._forward, args=(way, source, sink), name="proxy", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _forward(self, way: Way, source: socket.socket, sink: socket.socket) -> None:
        passed = 0
        try:
            while chunk := source.recv(1 << 16):
                self._flowing.wait()
                passed += len(chunk)
                fault = self._claimed(way, passed, chunk)
                if fault is None or fault.forwarded:
                    sink.sendall(chunk)
                if fault is not None and not self._strike(fault, source, sink):
                    return
            sink.shutdown(socket.SHUT_WR)
        except OSError:  # one end is gone, as a network tells the other: by a reset
            _shut((source, sink))
            with contextlib.suppress(OSError):
                source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            source.close()

    def _claimed(self, way: Way, passed: int, chunk: bytes) -> Fault | None:
        with self._lock:
            fault = self._fault
            if fault is None or fault.way != way or passed < fault.after or fault.pattern not in chunk:
                return None
            self._fault = None
            return fault

    def _strike(self, fault: Fault, source: socket.socket, sink: socket.socket) -> bool:
        """Do what the fault says; whether this direction goes on."""
        if fault.action == "cut":
            _shut((source, sink))
        elif fault.action == "half":
            sink.shutdown(socket.SHUT_WR)
        else:
            self.stall()
        self.struck.set()
        return fault.action == "stall"


def _shut(pair: tuple[socket.socket, socket.socket]) -> None:
    for end in pair:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied(url: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy in front of a database server, and the URL that leads through it."""
    parts = urlsplit(url)
    proxy = Proxy(parts.hostname or "localhost", parts.port or 5432)
    login = parts.netloc.rpartition("@")[0]
    netloc = f"{login}@127.0.0.1:{proxy.port}" if login else f"127.0.0.1:{proxy.port}"
    try:
        yield proxy, parts._replace(netloc=netloc).geturl()
    finally:
        proxy.close()

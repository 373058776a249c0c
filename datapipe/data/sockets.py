"""Sockets that a library of native code owns: found by looking at the process, and cut from outside."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

_DESCRIPTORS = Path("/dev/fd")
_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)  # Linux has it
_RESET = struct.pack("ii", 1, 0)
_BYTES = slice(120, 136)  # in there: the numbers of bytes acknowledged and received


class Line:
    """This end of a connection, whoever owns it.

    Parameters
    ----------
    find : callable
        The descriptor of the socket, or None while it is not known.

    Examples
    --------
    >>> here, there = socket.socketpair()
    >>> line = Line(here.fileno)
    >>> line.pin()
    True
    >>> line.shut()
    >>> here.recv(1), there.recv(1)
    (b'', b'')
    >>> line.close(), here.close(), there.close()
    (None, None, None)
    """

    def __init__(self, find: Callable[[], int | None]) -> None:
        self._find = find
        self._socket: socket.socket | None = None

    def pin(self) -> bool:
        """Keep the socket as it is found now; whether it was."""
        self._socket = self._found()
        return self._socket is not None

    def moved(self) -> bytes:
        """Something that changes whenever bytes move; on other systems than Linux, it never does."""
        if self._socket is None or _TCP_INFO is None:
            return b""
        try:
            return self._socket.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _BYTES.stop)[_BYTES]
        except OSError:  # not TCP
            return b""

    def shut(self) -> None:
        """End both directions, which wakes whoever is blocked on the socket."""
        found = self._socket or self._found()
        if found is not None:
            with contextlib.suppress(OSError):
                # Its closing resets the connection: a server that is blocked in sending would not see a mere end.
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                found.shutdown(socket.SHUT_RDWR)
            if found is not self._socket:
                found.close()

    def close(self) -> None:
        """Let the socket go; its owner still has it."""
        if self._socket is not None:
            self._socket.close()

    def _found(self) -> socket.socket | None:
        number = self._find()
        return None if number is None else socket.socket(fileno=os.dup(number))


def open_sockets() -> frozenset[tuple[int, int]]:
    """The sockets of this process, by descriptor and inode; none where the system does not tell."""
    found = set()
    with contextlib.suppress(FileNotFoundError):
        for entry in _DESCRIPTORS.iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                status = os.fstat(int(entry.name))
                if stat.S_ISSOCK(status.st_mode):
                    found.add((int(entry.name), status.st_ino))
    return frozenset(found)


def is_silent(descriptor: int) -> bool:
    """Whether a socket has nothing to read: on an idle connection, that would be the other end's farewell."""
    look = select.poll()
    look.register(descriptor, select.POLLIN)
    return not look.poll(0)


def leads_to(descriptor: int) -> Any:
    """The address at a socket's other end; None if there is none."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as found:
            return found.getpeername()
    except OSError:
        return None


def only_new(before: frozenset[tuple[int, int]], address: Any) -> int | None:
    """The socket to ``address`` that is not among those from ``before``, if there is exactly one."""
    new = [descriptor for descriptor, _ in open_sockets() - before if leads_to(descriptor) == address]
    return new[0] if len(new) == 1 else None

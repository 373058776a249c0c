"""The watch on its own: what it asks, when it cuts, when it leaves alone."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from datapipe.data.cancel import CancelToken, unless_cancelled
from datapipe.data.sockets import Line, leads_to, only_new, open_sockets
from datapipe.data.watch import Deadline, watched
from datapipe.errors import RunCancelled, TransientError

TIMEOUT = 0.8


@dataclass
class Server:
    """A peer that answers as it is told, and notes what it is asked."""

    busy_: bool | type[OSError] = True
    name: str = "example:1"
    asked: list[str] = field(default_factory=list)

    def busy(self, deadline: Deadline) -> bool:
        self.asked.append("busy")
        assert deadline.left() < TIMEOUT
        if not isinstance(self.busy_, bool):
            raise self.busy_
        return self.busy_

    def interrupt(self, deadline: Deadline) -> None:
        assert deadline.left() < 1
        self.asked.append("interrupt")

    def end(self, deadline: Deadline) -> None:
        assert deadline.left() < TIMEOUT
        self.asked.append("end")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = socket.create_connection(listener.getsockname())
        there, _ = listener.accept()
    with here, there:
        yield here, there


def received(server: Server, here: socket.socket, cancel: CancelToken | None = None) -> bytes:
    """What a watched wait for bytes comes to."""
    line = Line(here.fileno)
    assert line.pin()
    with watched(server, line, cancel or CancelToken(), TIMEOUT) as watch, watch.waiting():
        found = here.recv(10)
        if not found:
            raise ConnectionError("closed")
        return found


@pytest.mark.parametrize(
    ("answer", "asked", "why"),
    [
        (False, ["busy", "busy", "end"], "waits for us"),
        (TimeoutError, ["busy", "end"], "second connection"),
        (ConnectionError, ["busy", "busy", "end"], "cannot be reached"),
    ],
)
def test_a_wait_for_nothing_is_ended_in_time(pair, answer, asked, why) -> None:
    server, began = Server(answer), time.monotonic()
    with pytest.raises(TransientError, match=f"network to example:1 stalled for .*{why}"):
        received(server, pair[0])
    assert TIMEOUT / 2 < time.monotonic() - began < TIMEOUT + 0.3
    assert server.asked == asked


def test_a_wait_for_work_goes_on(pair) -> None:
    server = Server()
    threading.Timer(2 * TIMEOUT, pair[1].send, [b"done"]).start()
    assert received(server, pair[0]) == b"done"
    assert set(server.asked) == {"busy"}


def test_an_error_of_the_wait_itself_is_kept(pair) -> None:
    pair[1].shutdown(socket.SHUT_RDWR)
    with pytest.raises(ConnectionError, match="closed"):
        received(Server(), pair[0])


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="this system does not count bytes")
def test_a_slow_line_is_no_stalled_one(pair) -> None:
    here, there = pair
    server, line = Server(busy_=False), Line(here.fileno)
    line.pin()
    with watched(server, line, CancelToken(), TIMEOUT) as watch, watch.waiting():
        for _ in range(20):
            there.send(b"x")
            time.sleep(TIMEOUT / 10)
    assert server.asked == []


def test_nothing_is_asked_while_nothing_is_waited_for(pair) -> None:
    server, line = Server(busy_=False), Line(pair[0].fileno)
    line.pin()

    def slow() -> Iterator[int]:
        yield 1
        time.sleep(1.5 * TIMEOUT)
        yield 2

    with watched(server, line, CancelToken(), TIMEOUT) as watch:
        time.sleep(1.5 * TIMEOUT)
        with watch.waiting():
            assert list(watch.pausing(slow())) == [1, 2]
    assert server.asked == []


def test_what_was_to_be_sent_failed_and_its_error_stays(pair) -> None:
    server, line = Server(), Line(pair[0].fileno)
    line.pin()

    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("in the data")

    def send() -> None:
        try:
            for _ in watch.pausing(broken()):
                pass
        finally:
            pair[0].recv(1)  # a server that does not confirm the end

    began = time.monotonic()
    with (
        watched(server, line, CancelToken(), TIMEOUT) as watch,
        pytest.raises(ValueError, match="in the data"),
        watch.waiting(),
    ):
        send()
    assert time.monotonic() - began < TIMEOUT
    assert server.asked == ["end"]


def test_a_cancelled_wait_is_interrupted_then_cut(pair) -> None:
    server, cancel = Server(), CancelToken()
    threading.Timer(0.1, cancel.cancel).start()
    began = time.monotonic()
    with pytest.raises(ConnectionError, match="closed"):
        received(server, pair[0], cancel)
    assert 0.5 < time.monotonic() - began < 1.5
    assert set(server.asked) == {"interrupt"}


def test_a_cancellation_while_the_server_is_asked_is_no_stall(pair) -> None:
    cancel = CancelToken()

    class Slow(Server):
        def busy(self, deadline: Deadline) -> bool:
            cancel.cancel()
            deadline.left()
            return False

    server = Slow()
    with pytest.raises(ConnectionError, match="closed"):
        received(server, pair[0], cancel)
    assert set(server.asked) == {"interrupt"}


def test_no_thread_and_no_socket_stay(pair) -> None:
    before = open_sockets()
    with pytest.raises(TransientError):
        received(Server(False), pair[0])
    assert open_sockets() == before
    assert [thread for thread in threading.enumerate() if thread.name == "datapipe watch"] == []


def test_a_new_socket_is_found_if_it_is_the_only_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address, before = listener.getsockname(), open_sockets()
        assert only_new(before, address) is None
        with socket.create_connection(address) as first:
            assert only_new(before, address) == first.fileno()
            assert leads_to(first.fileno()) == address
            with socket.create_connection(address):
                assert only_new(before, address) is None


def test_a_call_that_hangs_is_left_alone_when_cancelled() -> None:
    cancel, go_on, late = CancelToken(), threading.Event(), []
    threading.Timer(0.1, cancel.cancel).start()
    began = time.monotonic()
    with pytest.raises(RunCancelled):
        unless_cancelled(lambda: go_on.wait(10), cancel, late.append)
    assert time.monotonic() - began < 1.5
    go_on.set()
    for thread in threading.enumerate():
        if thread.name == "datapipe connect":
            thread.join()
    assert late == [True]

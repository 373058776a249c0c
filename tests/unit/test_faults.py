"""The proxy does to a connection what it is told, seen from both ends."""

import socket
import threading

import pytest
from faults import Fault, proxied


@pytest.fixture
def ends():
    """A proxy, the client's socket, the server's socket."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        proxied(f"postgresql://u:p@127.0.0.1:{listener.getsockname()[1]}/db") as (proxy, url),
        socket.create_connection(("127.0.0.1", proxy.port)) as client,
        listener.accept()[0] as server,
    ):
        assert url == f"postgresql://u:p@127.0.0.1:{proxy.port}/db"
        client.settimeout(5)
        server.settimeout(5)
        yield proxy, client, server


def test_forwards_both_ways(ends):
    _, client, server = ends
    client.sendall(b"question")
    assert server.recv(99) == b"question"
    server.sendall(b"answer")
    assert client.recv(99) == b"answer"


@pytest.mark.parametrize("forwarded", [True, False])
def test_cut_at_a_pattern(ends, forwarded):
    proxy, client, server = ends
    proxy.arm(Fault("cut", pattern=b"COMMIT", forwarded=forwarded))
    client.sendall(b"INSERT")
    assert server.recv(99) == b"INSERT"
    client.sendall(b"COMMIT")
    assert client.recv(99) == b""
    assert server.recv(99) == (b"COMMIT" if forwarded else b"")
    assert proxy.struck.wait(5)  # set just after the cut


def test_cut_after_so_many_bytes_to_the_client(ends):
    proxy, client, server = ends
    proxy.arm(Fault("cut", way="down", after=10))
    server.sendall(b"12345")
    assert client.recv(99) == b"12345"
    server.sendall(b"67890")
    assert client.recv(99) == b""


def test_stall_keeps_the_connection_open(ends):
    proxy, client, server = ends
    proxy.stall()
    client.sendall(b"late")
    server.settimeout(0.3)
    with pytest.raises(TimeoutError):
        server.recv(99)
    threading.Timer(0.1, proxy.resume).start()
    server.settimeout(5)
    assert server.recv(99) == b"late"


def test_half_close_ends_one_direction(ends):
    proxy, client, server = ends
    proxy.arm(Fault("half", pattern=b"x", forwarded=True))
    client.sendall(b"x")
    assert server.recv(99) == b"x"
    assert server.recv(99) == b""
    server.sendall(b"still here")
    assert client.recv(99) == b"still here"


def test_cut_now(ends):
    proxy, client, server = ends
    proxy.cut()
    assert (client.recv(99), server.recv(99)) == (b"", b"")

"""The forwarders between a real node and what runs outside of it."""

from __future__ import annotations

import secrets
import socket
import threading
from queue import Queue

import pytest

from sandbox.nodes.real.forward import Forwarder


def upstream(serve):
    """A server for one connection: where it is."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        with listener, listener.accept()[0] as served:
            serve(served)

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()


@pytest.fixture
def forwarded():
    """Makes forwarders; a client of each."""
    open_ones: list[Forwarder] = []

    def make(dial):
        listener = socket.create_server(("127.0.0.1", 0))
        open_ones.append(Forwarder(listener, dial))
        client = socket.create_connection(listener.getsockname(), timeout=5)
        client.settimeout(5)
        return client

    yield make
    for each in open_ones:
        each.close()


def read_all(connection):
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_forwarder_carries_both_directions_and_passes_ends_on_whoever_ends_first(forwarded, first):
    payload = secrets.token_bytes(300_000)
    heard: Queue[bytes] = Queue()

    def serve(served):
        if first == "client":
            heard.put(read_all(served))
        served.sendall(payload[::-1])
        served.shutdown(socket.SHUT_WR)
        if first == "server":
            heard.put(read_all(served))

    place = upstream(serve)
    with forwarded(lambda: socket.create_connection(place)) as client:
        if first == "server":
            assert read_all(client) == payload[::-1]
        client.sendall(payload)
        client.shutdown(socket.SHUT_WR)
        assert heard.get(timeout=5) == payload
        if first == "client":
            assert read_all(client) == payload[::-1]


def test_where_nobody_listens_the_client_sees_the_end(forwarded):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        with forwarded(lambda: socket.create_connection(taken.getsockname(), timeout=1)) as client:
            assert read_all(client) == b""


def test_a_closed_forwarder_takes_no_connections():
    listener = socket.create_server(("127.0.0.1", 0))
    place = listener.getsockname()
    Forwarder(listener, lambda: pytest.fail("nobody connects")).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(place, timeout=1)

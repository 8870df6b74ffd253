"""The forwarders between a real node and what runs outside of it."""

from __future__ import annotations

import secrets
import socket

import pytest

from sandbox.nodes.real.forward import Forwarder


@pytest.fixture
def forwarded():
    """Makes forwarders; a client of each."""
    open_ones: list[Forwarder] = []

    def make(dial):
        listener = socket.create_server(("127.0.0.1", 0))
        open_ones.append(Forwarder(listener, dial))
        return socket.create_connection(listener.getsockname(), timeout=5)

    yield make
    for each in open_ones:
        each.close()


def read_all(connection):
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_forwarder_carries_both_directions_and_passes_ends_on_whoever_ends_first(forwarded, first):
    dialled, server = socket.socketpair()
    with server, forwarded(lambda: dialled) as client:
        server.settimeout(5)
        ends = [client, server] if first == "client" else [server, client]
        for source, target in (ends, ends[::-1]):
            payload = secrets.token_bytes(100_000)
            source.sendall(payload)
            source.shutdown(socket.SHUT_WR)
            assert read_all(target) == payload


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

"""TCP ports on this machine: is one free, who has it, does something answer."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import socket

import psutil

from sandbox.errors import SandboxError

# Below what systems give to whoever connects or asks for any port (Linux from 32768 on, others from 49152),
# and below Kubernetes' node ports. Each process goes through them from a place of its own.
_FIRST, _COUNT = 12_000, 18_000
_places = itertools.count(secrets.randbelow(_COUNT))


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens on at this moment, and that nobody gets by chance until it is used."""
    for place in itertools.islice(_places, _COUNT):
        port = _FIRST + place % _COUNT
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((host, port))
            return port
    raise SandboxError(f"no port from {_FIRST} to {_FIRST + _COUNT - 1} of {host} is free")


def holder_of(host: str, port: int) -> str | None:
    """Who has `port`, as well as it can be told; None if it is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do it: a port in TIME_WAIT is free for them.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return port_holder(port) or f"another program ({error.strerror})"
    return None


def port_holder(port: int) -> str | None:
    """`name (pid N)` of the process that listens on `port`; None when the system does not say."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:  # macOS shows other processes' sockets to root only
        return None
    for connection in connections:
        if connection.status != psutil.CONN_LISTEN or not connection.laddr:
            continue
        if connection.laddr.port == port and connection.pid:
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.Error:
                return f"pid {connection.pid}"
    return None

"""Serves a WSGI application on a socket that somebody else has bound, perhaps inside a node's network.

What a node may hear at all is decided here too: an application that raises `NoAnswer` ends the
connection without a byte, as if the packet had never arrived.
"""

from __future__ import annotations

import fcntl
import os
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from sandbox.config import is_loopback
from sandbox.log import log

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
_IDLE_SECONDS = 300  # a peer that is silent for so long is given up
_SIOCGSKNS = 0x894C  # ioctl: a descriptor of the network namespace that a socket is in (linux/sockios.h)


class NoAnswer(ConnectionError):
    """Raised by an application instead of an answer: the packet would not have arrived."""


class _Server(ThreadedWSGIServer):  # type: ignore[misc]  # werkzeug is not followed by mypy
    """Its threads end with the process. What breaks inside an application goes to the boot's log."""

    def log(self, type: str, message: str, *args: Any) -> None:
        if type == "error":
            log("serve", message % args if args else message)

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.log("error", f"{client_address}: {traceback.format_exc()}")


class _Handler(WSGIRequestHandler):  # type: ignore[misc]
    """One request, which is no news by itself."""

    timeout = _IDLE_SECONDS

    def connection_dropped(self, error: BaseException, environ: dict[str, Any] | None = None) -> None:
        """Also where `NoAnswer` arrives. Without this the server would wait for the next request."""
        self.close_connection = True

    def log(self, type: str, message: str, *args: Any) -> None:
        self.server.log(type, message, *args)


class Serving:
    """A server that runs until it is closed, and its socket with it."""

    def __init__(self, server: _Server, listener: socket.socket) -> None:
        self._server = server
        self._listener = listener  # the server has a copy of the descriptor
        self._thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No further connection is taken; answers that are under way may still be sent."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._listener.close()


def serve(application: Application, listener: socket.socket, tls: ssl.SSLContext | None = None) -> Serving:
    """Answer on `listener`, one thread per connection. ValueError for a socket that others can reach."""
    host, port = listener.getsockname()[:2]
    if not is_loopback(host) and not in_other_network(listener):
        raise ValueError(f"{host}:{port} is neither a loopback address nor inside a node's network")
    server = _Server(host, port, application, _Handler, fd=listener.fileno(), ssl_context=tls)
    return Serving(server, listener)


def in_other_network(listener: socket.socket) -> bool:
    """Whether the socket was made in another network namespace than this process lives in.

    Only a privileged process can ask, and only such a one can make sockets elsewhere: refused is no.
    """
    try:
        namespace = fcntl.ioctl(listener.fileno(), _SIOCGSKNS)
    except OSError:
        return False
    try:
        theirs, ours = os.fstat(namespace), Path("/proc/self/ns/net").stat()
    finally:
        os.close(namespace)
    return (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino)

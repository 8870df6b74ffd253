"""Serve a WSGI application on a socket that is bound already, in threads of this process.

The socket may have been made inside another network namespace: it is answered from here all the same.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class _Quiet(WSGIRequestHandler):  # type: ignore[misc]  # werkzeug is read without its types
    """Who serves keeps a record of its own. A connection is kept open, as clients expect of AWS."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        return


class Serving:
    """A server that runs until it is closed."""

    def __init__(self, application: Application, listener: socket.socket) -> None:
        host, port = listener.getsockname()[:2]
        self._server = make_server(
            host, port, application, threaded=True, request_handler=_Quiet, fd=listener.fileno()
        )
        self._listener = listener  # the server has a copy of its descriptor; this one is closed with it
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._listener.close()


def serve(application: Application, listener: socket.socket) -> Serving:
    """Answer on `listener` from now on."""
    return Serving(application, listener)

"""Hosts of others on loopback: a proxy leads to them, and TLS is with a CA of our own.

So the program asks for the true addresses, and what it does with proxies and certificates is seen as well.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import trustme

from sandbox.aws.serve import serve


@dataclass(kw_only=True)
class Rules:
    """`silent` hosts accept and never answer, `refused` ones the proxy refuses.

    To hosts of others it leads as it should, if `others`, else it refuses them.
    """

    silent: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    others: bool = False


class Proxy(ThreadingHTTPServer):
    """`CONNECT` to any of `names` ends at `target`; `asked` are the addresses, and who asked for them."""

    daemon_threads = True

    def __init__(self, names: Sequence[str], target: tuple[str, int], rules: Rules) -> None:
        super().__init__(("127.0.0.1", 0), _Connect)
        self.names, self.target, self.rules = names, target, rules
        self.address = f"127.0.0.1:{self.server_port}"
        self.asked: list[tuple[str, str]] = []

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that goes away in the middle


class _Connect(BaseHTTPRequestHandler):
    server: Proxy

    def do_CONNECT(self) -> None:
        proxy, rules = self.server, self.server.rules
        proxy.asked.append((self.path, self.headers.get("Proxy-Authorization", "")))
        name, _, port = self.path.partition(":")
        if name in rules.refused or not (rules.others or name in proxy.names):
            self.send_error(403)
            return
        self.close_connection = True
        self.send_response(200)
        self.end_headers()
        if name in rules.silent:
            self.rfile.read(1 << 16)
            return
        target = proxy.target if name in proxy.names else (name, int(port))
        with socket.create_connection(target, timeout=30) as other:
            ends = {self.connection: other, other: self.connection}
            while readable := select.select(list(ends), [], [], 60)[0]:
                for end in readable:
                    if not (data := end.recv(1 << 16)):
                        return
                    ends[end].sendall(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def proxied(
    application: Any, names: Sequence[str], certificate: Path, rules: Rules | None = None
) -> Iterator[Proxy]:
    """The proxy to a WSGI application that has all `names`; the CA comes into the file `certificate`."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    trusted = Path(ssl.get_default_verify_paths().cafile or os.devnull).read_bytes()
    certificate.write_bytes(authority.cert_pem.bytes() + trusted)
    listener = socket.create_server(("127.0.0.1", 0))
    serving = serve(application, listener, context)
    with Proxy(names, listener.getsockname(), rules or Rules()) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            serving.close()

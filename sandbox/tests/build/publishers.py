"""The hosts of the projects' releases on loopback: a proxy leads to them, and TLS is with a CA of our own.

So the program asks for the true addresses, and what it does with proxies and certificates is seen as well.
"""

from __future__ import annotations

import hashlib
import io
import os
import select
import socket
import ssl
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import trustme

from sandbox.build.releases import Asset

HOSTS = ("github.com", "dl.k8s.io")


@dataclass
class Publishers:
    """`files` by URL. `cut` gives that many bytes, `silent` hosts accept and never answer.

    To hosts of others the proxy leads as it should, if `others`, else it refuses them.
    """

    folder: Path
    files: dict[str, bytes | Path] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)  # seconds before the body
    silent: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)  # by the proxy
    asked: list[str] = field(default_factory=list)
    proxy: str = ""
    others: bool = False

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.pem"

    def variables(self) -> dict[str, str]:
        """The environment in which the hosts are found here."""
        return {"HTTPS_PROXY": self.proxy, "SSL_CERT_FILE": str(self.certificate), "NO_PROXY": ""}

    def publish(self, found: Sequence[Asset], programs: Mapping[str, bytes | Path]) -> None:
        """Put the files of a release where they belong, with their checksums."""
        for asset in found:
            packed = pack(asset, programs)
            self.files[asset.url] = packed
            line = f"{digest(packed)}  {asset.name}\n".encode()
            before = self.files.get(asset.checksums, b"")
            assert isinstance(before, bytes)
            self.files[asset.checksums] = before + line


def pack(asset: Asset, programs: Mapping[str, bytes | Path]) -> bytes | Path:
    """One file as its project publishes it: the program, or an archive with it and a README."""
    if None in asset.members.values():
        (program,) = asset.members
        return programs[program]
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        add(tar, "README.md", b"read me")
        for program, path in asset.members.items():
            assert path is not None
            content = programs[program]
            add(tar, path, content if isinstance(content, bytes) else content.read_bytes())
        if asset.others:
            add(tar, f"{asset.others}beside", b"#!/bin/sh\n")
    return buffer.getvalue()


def add(tar: tarfile.TarFile, path: str, content: bytes) -> None:
    entry = tarfile.TarInfo(path)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def digest(content: bytes | Path) -> str:
    data = content if isinstance(content, bytes) else content.read_bytes()
    return hashlib.sha256(data).hexdigest()


@contextmanager
def publishers(folder: Path, hosts: Sequence[str] = HOSTS) -> Iterator[Publishers]:
    """The hosts, until the block ends."""
    shown = Publishers(folder)
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*hosts).configure_cert(context)
    trusted = Path(ssl.get_default_verify_paths().cafile or os.devnull).read_bytes()
    shown.certificate.write_bytes(authority.cert_pem.bytes() + trusted)

    class Host(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            url = f"https://{self.headers['Host']}{self.path}"
            shown.asked.append(f"{self.command} {url}")
            if target := shown.redirects.get(url):
                self.send_response(302)
                self.send_header("Location", target)
                self.end_headers()
                return
            content = shown.files.get(url)
            self.send_response(200 if content is not None else 404)
            data = content.read_bytes() if isinstance(content, Path) else content or b""
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                time.sleep(shown.slow.get(url, 0))
                self.wfile.write(data[: shown.cut.get(url, len(data))])
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Proxy(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            name = self.path.partition(":")[0]
            if name in shown.refused or name not in hosts:
                if shown.others and name not in shown.refused:
                    self.tunnel()
                else:
                    self.send_error(403)
                return
            self.send_response(200)
            self.end_headers()
            if name in shown.silent:
                self.rfile.read(1 << 16)
                return
            with context.wrap_socket(self.connection, server_side=True) as secure:
                Host(secure, self.client_address, self.server)
            self.close_connection = True

        def tunnel(self) -> None:
            host, _, port = self.path.partition(":")
            with socket.create_connection((host, int(port)), timeout=30) as other:
                self.send_response(200)
                self.end_headers()
                ends = {self.connection: other, other: self.connection}
                while readable := select.select(list(ends), [], [], 60)[0]:
                    for end in readable:
                        if not (data := end.recv(1 << 16)):
                            self.close_connection = True
                            return
                        ends[end].sendall(data)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that goes away in the middle

    server = Server(("127.0.0.1", 0), Proxy)
    shown.proxy = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield shown
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_address() -> str:
    """A loopback address at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"

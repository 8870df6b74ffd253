"""The hosts of the projects' releases on loopback, under their true names."""

from __future__ import annotations

import hashlib
import io
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from werkzeug.wrappers import Response

from sandbox.build.gomodules import MODULES, Plan, plan
from sandbox.build.releases import RELEASES, Asset, assets
from sandbox.tests.build.proxied import Rules, proxied

HOSTS = ("github.com", "dl.k8s.io")
MACHINE = "x86_64"
(ETCD_FILE,) = assets(plan(MODULES["etcd"]), RELEASES["etcd"], MACHINE)


@dataclass
class Publishers(Rules):
    """The WSGI application: `files` by URL. `cut` gives that many bytes."""

    certificate: Path
    files: dict[str, bytes | Path] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    slow: dict[str, float] = field(default_factory=dict)  # seconds before the body
    asked: list[str] = field(default_factory=list)
    proxy: str = ""

    def variables(self) -> dict[str, str]:
        """The environment in which the hosts are found here."""
        return {"HTTPS_PROXY": self.proxy, "SSL_CERT_FILE": str(self.certificate), "NO_PROXY": ""}

    def publish(self, found: Sequence[Asset], programs: Mapping[str, bytes | Path]) -> None:
        """Put the files of a release where they belong, with their checksums."""
        for asset in found:
            packed = self.files[asset.url] = pack(asset, programs)
            line = f"{hashlib.sha256(read(packed)).hexdigest()}  {asset.name}\n".encode()
            self.files[asset.checksums] = read(self.files.get(asset.checksums, b"")) + line

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        url = f"https://{environ['HTTP_HOST']}{environ['REQUEST_URI']}"
        self.asked.append(f"{environ['REQUEST_METHOD']} {url}")
        content = self.files.get(url)
        data = read(content or b"")
        answer = Response(self._body(url, data), 404 if content is None else 200)
        answer.content_length = len(data)
        if target := self.redirects.get(url):
            answer = Response(status=302, headers={"Location": target})
        return answer(environ, start_response)

    def _body(self, url: str, data: bytes) -> Iterator[bytes]:
        yield b""  # the headers go at once
        time.sleep(self.slow.get(url, 0))
        yield data[: self.cut.get(url, len(data))]


def pack(asset: Asset, programs: Mapping[str, bytes | Path]) -> bytes | Path:
    """One file as its project publishes it: the program, or an archive with it and a README."""
    if None in asset.members.values():
        (program,) = asset.members
        return programs[program]
    found = {path: read(programs[program]) for program, path in asset.members.items() if path}
    found["README.md"] = b"read me"
    if asset.others:
        found[f"{asset.others}beside"] = b"#!/bin/sh\n"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for path, content in found.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def read(content: bytes | Path) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def content(item: Plan) -> dict[str, bytes]:
    """What the programs of a module are here."""
    return {name: f"#!/bin/sh\necho {name}\n".encode() for name in item.packages}


@contextmanager
def publishers(folder: Path, hosts: Sequence[str] = HOSTS) -> Iterator[Publishers]:
    """The hosts, until the block ends."""
    shown = Publishers(folder / "ca.pem")
    with proxied(shown, hosts, shown.certificate, shown) as proxy:
        shown.proxy = f"http://{proxy.address}"
        yield shown

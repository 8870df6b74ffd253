"""A small strict registry on loopback, to pull from: it answers what the specification says and no more.

It wants tokens of its own, redirects blobs to another origin that refuses to see them, and can be told to
go wrong.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from sandbox.aws.serve import Serving, serve
from sandbox.build.images.oci import Packed, Store
from sandbox.build.images.registry import Registry
from sandbox.build.images.upstream import MANIFEST_TYPES

SERVICE = "registry.test"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def lines(registry: Registry) -> list[dict[str, Any]]:
    """What the registry under test has logged."""
    return [json.loads(line) for line in registry.log.read_text().splitlines()]


def pull(client: Client, host: str, repository: str = "team/app", tag: str = "1") -> str:
    """From the registry under test as containerd does: the tag's digest, then all by digest. Gives it."""
    path = f"/v2/{repository}/{{}}/{{}}?ns={host}"
    head = client.head(path.format("manifests", tag))
    assert head.status_code == 200, client.get(path.format("manifests", tag)).text
    digest = str(head.headers["Docker-Content-Digest"])
    manifest = client.get(path.format("manifests", digest))
    assert (digest_of(manifest.data), manifest.content_type) == (digest, head.content_type)
    assert (int(head.headers["Content-Length"]), head.data) == (len(manifest.data), b"")
    for part in (manifest.json["config"], *manifest.json["layers"]):
        blob = client.get(path.format("blobs", part["digest"]))
        assert blob.status_code == 200, blob.text
        assert (digest_of(blob.data), len(blob.data)) == (part["digest"], part["size"])
        assert blob.headers["Docker-Content-Digest"] == part["digest"]
    return digest


@dataclass
class Content:
    """`sent` is what goes over the wire, which a test may change."""

    media_type: str
    sent: bytes
    length: int | None  # as announced


@dataclass
class UpstreamRegistry:
    """The WSGI application. `asked` are the requests: method and path, in order."""

    says_digest: bool = True
    realm: str = ""  # where tokens are given, if not here
    blobs_at: str = ""  # the origin to which requests for blobs are redirected
    status: int = 0  # with which everything is refused, until it is 0 again
    gate: threading.Event | None = None  # what the second half of a blob waits for
    asked: list[tuple[str, str]] = field(default_factory=list)
    manifests: dict[tuple[str, str], str] = field(default_factory=dict)  # (repository, tag) -> digest
    contents: dict[tuple[str, str], Content] = field(default_factory=dict)  # (repository, digest)
    valid: dict[str, str] = field(default_factory=dict)  # token -> scope

    def add(self, repository: str, tag: str, store: Store, packed: Packed) -> str:
        """An image under a name; a tag that exists moves. Gives the manifest's digest."""
        for digest, media_type in packed.blobs.items():
            self.put(repository, store.path(digest).read_bytes(), media_type)
        self.manifests[repository, tag] = packed.digest
        return packed.digest

    def put(self, repository: str, content: bytes, media_type: str) -> str:
        digest = digest_of(content)
        self.contents[repository, digest] = Content(media_type, content, len(content))
        return digest

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        request = Request(environ)
        self.asked.append((request.method, request.path))
        return self._answer(request)(environ, start_response)

    def _answer(self, request: Request) -> Response:
        if self.status:
            return _error(self.status, "DENIED", "the registry is\nclosed")
        if request.path == "/token":
            return self._token(request)
        version, _, rest = request.path.lstrip("/").partition("/")
        if version != "v2" or request.method not in ("GET", "HEAD"):
            return _error(404, "UNSUPPORTED", request.path)
        repository, _, reference = rest.rpartition("/")
        repository, _, kind = repository.rpartition("/")
        scope = f"repository:{repository}:pull"
        if self.valid.get(request.headers.get("Authorization", "")) != scope:
            response = _error(401, "UNAUTHORIZED", "authentication required")
            realm = self.realm or f"{request.host_url}token"
            said = f'Bearer realm="{realm}",service="{SERVICE}"'
            response.headers["WWW-Authenticate"] = f'{said},scope="{scope}"' if repository else said
            return response
        if kind == "blobs" and self.blobs_at:
            return Response(status=307, headers={"Location": f"{self.blobs_at}/v2/{rest}"})
        return self.content(request, repository, kind, reference)

    def content(self, request: Request, repository: str, kind: str, reference: str) -> Response:
        digest = self.manifests.get((repository, reference), reference)
        found = self.contents.get((repository, digest))
        if found is None or (kind == "manifests") != (found.media_type in MANIFEST_TYPES):
            return _error(404, f"{kind[:-1].upper()}_UNKNOWN", f"{reference} unknown to {SERVICE}")
        if kind == "manifests" and found.media_type not in request.headers["Accept"]:
            return _error(406, "UNSUPPORTED", "the client does not accept what this is")
        response = Response(self._body(found, gated=kind == "blobs"), content_type=found.media_type)
        response.content_length = found.length
        if self.says_digest:
            response.headers["Docker-Content-Digest"] = digest
        return response

    def elsewhere(self, environ: dict[str, Any], start_response: Any) -> Any:
        """The application of another origin, which has the blobs and must not be shown anybody's token."""
        request = Request(environ)
        repository, kind, digest = request.path.removeprefix("/v2/").rsplit("/", 2)
        response = self.content(request, repository, kind, digest)
        if "Authorization" in request.headers:
            response = _error(400, "DENIED", "somebody's token was shown")
        return response(environ, start_response)

    def _body(self, found: Content, *, gated: bool) -> Iterator[bytes]:
        half = len(found.sent) // 2
        yield found.sent[:half]
        if gated and self.gate is not None:
            assert self.gate.wait(30)
        yield found.sent[half:]

    def _token(self, request: Request) -> Response:
        scope = request.args.get("scope", "")
        if request.args.get("service") != SERVICE or not scope.endswith(":pull"):
            return _error(400, "DENIED", f"no such scope: {urlencode(request.args)}")
        if "private" in scope:
            return _error(403, "DENIED", "only members pull from here")
        token = secrets.token_urlsafe()
        self.valid[f"Bearer {token}"] = scope
        return Response(json.dumps({"token": token, "expires_in": 300}), content_type="application/json")


def _error(status: int, code: str, message: str) -> Response:
    body = json.dumps({"errors": [{"code": code, "message": message}]})
    return Response(body, status, content_type="application/json")


def served(application: Any) -> tuple[Serving, str]:
    """Serve on loopback: what to close, and `127.0.0.1:PORT`."""
    listener = socket.create_server(("127.0.0.1", 0))
    return serve(application, listener), f"127.0.0.1:{listener.getsockname()[1]}"

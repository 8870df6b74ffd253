"""A read-only image registry for the mirror setting of containerd: the catalogue, and all that is elsewhere.

containerd asks a mirror with the registry that the image's name begins with as the query `ns`. The
API is that of the OCI distribution specification, as far as a pull goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import wrap_file

from sandbox.build.images.catalogue import OWN_REGISTRY, Catalogue
from sandbox.build.images.oci import MANIFEST_TYPE
from sandbox.build.images.pullthrough import PullThrough
from sandbox.build.web import CHUNK, WebError
from sandbox.files import append_json

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_BYTES = "application/octet-stream"
_ROUTES = Map(
    [
        Rule("/v2/", endpoint="base"),
        Rule("/v2/<path:name>/manifests/<reference>", endpoint="manifest"),
        Rule("/v2/<path:name>/blobs/<reference>", endpoint="blob"),
    ],
    merge_slashes=False,
)


def hosts_toml(url: str) -> str:
    """`/etc/containerd/certs.d/_default/hosts.toml` for a registry at `url`, with no way around it."""
    return f'server = "{url}"\n\n[host."{url}"]\n  capabilities = ["pull", "resolve"]\n'


class _Refused(Exception):
    """An answer that is an error, in the specification's form."""

    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code


class Registry:
    """The WSGI application. Each request becomes one JSON line of `log`."""

    def __init__(self, catalogue: Catalogue, elsewhere: PullThrough, log: Path) -> None:
        self.catalogue = catalogue
        self.elsewhere = elsewhere
        self.log = log

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        line: dict[str, Any] = {"method": request.method, "name": "", "reference": "", "status": 200}
        try:
            endpoint, values = _route(request)
            line["name"] = f"{request.args.get('ns', '')}/{values.get('name', '')}".strip("/")
            line["reference"] = values.get("reference", "")
            response = self._answer(request, endpoint, line)
        except _Refused as error:
            body = json.dumps({"errors": [{"code": error.code, "message": str(error)}]})
            response = _response(body, "application/json", error.status)
            line |= {"status": error.status, "message": str(error)}
        append_json(self.log, line)
        answer: Iterable[bytes] = response(environ, start_response)
        return answer

    def _answer(self, request: Request, endpoint: str, line: dict[str, Any]) -> Response:
        name, reference = line["name"], line["reference"]
        if endpoint == "base":
            return _response("{}", "application/json")
        # Without `ns` nobody knows whom to ask.
        ours = request.args.get("ns", "") in ("", OWN_REGISTRY)
        if endpoint == "blob":
            media_type = self.catalogue.media_type(name, reference)
            if media_type is not None:
                return self._packed(request, reference, media_type)
            if ours:
                raise _Refused(404, "BLOB_UNKNOWN", f"{name} has no blob {reference}")
            return self._pulled_blob(request, name, reference)
        found = self.catalogue.find(name, reference)
        if found is not None:
            return self._packed(request, found.digest, MANIFEST_TYPE)
        try:
            if ours:
                raise WebError("not an image of the sandbox")
            manifest = self.elsewhere.manifest(name, reference)
        except WebError as error:
            image = f"{name}{'@' if ':' in reference else ':'}{reference}"
            known = ", ".join(self.catalogue.near(name))
            # Of all statuses containerd shows what comes with this one only, when it resolves a name.
            raise _Refused(403, "DENIED", f"{image}: {error}; the sandbox itself has {known}") from error
        if manifest.note:
            line["message"] = manifest.note
        return _content([manifest.content], manifest.media_type, len(manifest.content), manifest.digest)

    def _pulled_blob(self, request: Request, name: str, digest: str) -> Response:
        try:
            if request.method == "HEAD":
                return _content(iter(()), _BYTES, self.elsewhere.blob_size(name, digest), digest)
            blob = self.elsewhere.blob(name, digest)
        except WebError as error:
            if error.status == 404:
                raise _Refused(404, "BLOB_UNKNOWN", str(error)) from error
            raise _Refused(502, "UNKNOWN", str(error)) from error
        return _content(blob.content, _BYTES, blob.size, digest)

    def _packed(self, request: Request, digest: str, media_type: str) -> Response:
        path = self.catalogue.store.path(digest)
        content = wrap_file(request.environ, path.open("rb"), CHUNK)
        return _content(content, media_type, path.stat().st_size, digest)


def _route(request: Request) -> tuple[str, dict[str, str]]:
    """Which of the routes, and what its path names. Raises `_Refused`."""
    try:
        endpoint, values = _ROUTES.bind_to_environ(request.environ).match()
    except HTTPException as error:
        raise _Refused(404, "NAME_UNKNOWN", f"{request.path}: no such path") from error
    if request.method not in ("GET", "HEAD"):
        raise _Refused(405, "UNSUPPORTED", f"{request.method} {request.path}: this registry is read-only")
    return endpoint, dict(values)


def _content(body: Iterable[bytes], media_type: str, size: int | None, digest: str) -> Response:
    """To HEAD it answers without the body, which is closed. `size` None: not known; a sequence as body would
    have its length told."""
    response = _response(body, media_type)
    response.direct_passthrough = True
    if size is not None:
        response.content_length = size
    response.headers["Docker-Content-Digest"] = digest
    return response


def _response(body: str | Iterable[bytes], media_type: str, status: int = 200) -> Response:
    response = Response(body, status, content_type=media_type)
    response.headers["Docker-Distribution-API-Version"] = "registry/2.0"
    return response

"""A read-only image registry over the catalogue, for the mirror setting of containerd.

containerd asks a mirror with the registry that the image's name begins with as the query `ns`. The
API is that of the OCI distribution specification, as far as a pull goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import wrap_file

from sandbox.build.images.catalogue import Catalogue
from sandbox.build.images.oci import MANIFEST_TYPE
from sandbox.files import append_json

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_CHUNK = 1 << 18
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

    def __init__(self, catalogue: Catalogue, log: Path) -> None:
        self.catalogue = catalogue
        self.log = log

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ)
        line = {"method": request.method, "name": "", "reference": "", "status": 200}
        try:
            endpoint, values = _route(request)
            line["name"] = f"{request.args.get('ns', '')}/{values.get('name', '')}".strip("/")
            line["reference"] = values.get("reference", "")
            response = self._answer(request, endpoint, line["name"], line["reference"])
        except _Refused as error:
            body = json.dumps({"errors": [{"code": error.code, "message": str(error)}]})
            response = _response(body, "application/json", error.status)
            line |= {"status": error.status, "message": str(error)}
        append_json(self.log, line)
        answer: Iterable[bytes] = response(environ, start_response)
        return answer

    def _answer(self, request: Request, endpoint: str, name: str, reference: str) -> Response:
        if endpoint == "base":
            return _response("{}", "application/json")
        if endpoint == "manifest":
            found = self.catalogue.find(name, reference)
            if found is None:
                known = ", ".join(sorted(self.catalogue.packed))
                reason = f"{name}:{reference} is not an image of the sandbox; known: {known}"
                raise _Refused(404, "MANIFEST_UNKNOWN", reason)
            return self._blob(request, found.digest, MANIFEST_TYPE)
        media_type = self.catalogue.media_type(name, reference)
        if media_type is None:
            raise _Refused(404, "BLOB_UNKNOWN", f"{name} has no blob {reference}")
        return self._blob(request, reference, media_type)

    def _blob(self, request: Request, digest: str, media_type: str) -> Response:
        path = self.catalogue.store.path(digest)
        if request.method == "HEAD":
            response = _response("", media_type)
        else:
            response = _response(wrap_file(request.environ, path.open("rb"), _CHUNK), media_type)
            response.direct_passthrough = True
        response.content_length = path.stat().st_size
        response.headers["Docker-Content-Digest"] = digest
        return response


def _route(request: Request) -> tuple[str, dict[str, str]]:
    """Which of the routes, and what its path names. Raises `_Refused`."""
    try:
        endpoint, values = _ROUTES.bind_to_environ(request.environ).match()
    except HTTPException as error:
        raise _Refused(404, "NAME_UNKNOWN", f"{request.path}: no such path") from error
    if request.method not in ("GET", "HEAD"):
        raise _Refused(405, "UNSUPPORTED", f"{request.method} {request.path}: this registry is read-only")
    return endpoint, dict(values)


def _response(body: str | Iterable[bytes], media_type: str, status: int = 200) -> Response:
    response = Response(body, status, content_type=media_type)
    response.headers["Docker-Distribution-API-Version"] = "registry/2.0"
    return response

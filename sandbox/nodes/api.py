"""A small Kubernetes API client: JSON in and out.

The boot and its tests have several identities, and must not hold an interpreter's worth of generated models.
"""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3
import yaml

_TIMEOUT = 10.0  # seconds per request
# A kept connection may be stale, of a server that was started again: that is tried once more, whatever
# the method.
_RETRY = urllib3.Retry(total=1, connect=0, redirect=0, status=0, allowed_methods=None)
_MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


class Unavailable(Exception):
    """The API server did not answer."""


class ApiError(Exception):
    """The API server's own answer: HTTP status, reason and message."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class Api:
    """One server and one identity. Threads may share it."""

    def __init__(self, server: str, context: ssl.SSLContext) -> None:
        parts = urlsplit(server)
        self._pool = urllib3.HTTPSConnectionPool(
            str(parts.hostname), parts.port or 443, maxsize=4, ssl_context=context, retries=_RETRY
        )

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Api:
        """The client of a kubeconfig as kubeadm writes it (data inline, client certificate)."""
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        pair = base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
        context = ssl.create_default_context(cadata=authority)
        # The ssl module loads key pairs from files only; this one is private and gone at once.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".pair-") as file:
            file.write(pair)
            file.flush()
            context.load_cert_chain(file.name)
        return cls(cluster["server"], context)

    def get(self, path: str, **query: str) -> Any:
        return self.request("GET", path, query=query)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self.request("POST", path, body)

    def patch(self, path: str, body: Mapping[str, Any], content_type: str = _MERGE) -> Any:
        return self.request("PATCH", path, body, content_type=content_type)

    def delete(self, path: str) -> Any:
        return self.request("DELETE", path)

    def find(self, path: str) -> Any:
        """The object, or None if there is none (or not even its type)."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Any:
        """One call. Raises `ApiError` or `Unavailable`."""
        target = path + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", "Content-Type": content_type}
        try:
            answer = self._pool.urlopen(method, target, data, headers, timeout=_TIMEOUT)
        except urllib3.exceptions.HTTPError as error:
            # What is under urllib3's account of its tries.
            raise Unavailable(str(getattr(error, "reason", None) or error)) from None
        if answer.status >= 400:
            raise _refusal(answer.status, answer.data)
        return _decoded(answer.data)


def _decoded(text: bytes) -> Any:
    """JSON, or the text itself for endpoints like /readyz."""
    try:
        return json.loads(text)
    except ValueError:
        return text.decode(errors="replace")


def _refusal(status: int, text: bytes) -> ApiError:
    body = _decoded(text)
    if isinstance(body, dict):
        return ApiError(status, str(body.get("reason", "")), str(body.get("message", "")))
    return ApiError(status, "", str(body))


def with_server(kubeconfig: str, server: str) -> str:
    """A kubeconfig with another address in all its clusters."""
    document = yaml.safe_load(kubeconfig)
    for each in document["clusters"]:
        each["cluster"]["server"] = server
    return yaml.safe_dump(document)

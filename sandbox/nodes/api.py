"""A small Kubernetes API client on the standard library: JSON in and out, one watch.

The boot acts with many identities (a bootstrap token, each node's certificate, an administrator),
trusts what it was told to pin, and must not hold an interpreter's worth of generated models.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml

_TIMEOUT = 10.0  # seconds per request
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
    """One server and one identity. Connections are kept per thread."""

    def __init__(self, server: str, context: ssl.SSLContext, token: str | None = None) -> None:
        parts = urlsplit(server)
        self.host, self.port = str(parts.hostname), parts.port or 443
        self._context = context
        self._headers = {"Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._local = threading.local()

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Api:
        """The client of a kubeconfig as kubeadm writes it (data inline, client certificate)."""
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        pair = base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
        return cls(cluster["server"], trusting(authority, pair, path.parent))

    def get(self, path: str, **query: str) -> Any:
        return self.request("GET", path, query=query)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self.request("POST", path, body)

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        return self.request("PUT", path, body)

    def patch(self, path: str, body: Mapping[str, Any], kind: str = _MERGE) -> Any:
        return self.request("PATCH", path, body, content_type=kind)

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
        status, text = self._exchange(method, target, data, {**self._headers, "Content-Type": content_type})
        if status >= 400:
            raise _refusal(status, text)
        return _decoded(text)

    def _exchange(
        self, method: str, target: str, data: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        """Over the kept connection; a stale one (server restarted) is replaced once."""
        kept = getattr(self._local, "connection", None)
        for connection in [each for each in (kept, self._connection()) if each]:
            try:
                connection.request(method, target, body=data, headers=dict(headers))
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._local.connection = None
                if connection is kept:
                    continue
                raise Unavailable(str(error)) from None
            self._local.connection = connection
            return answer.status, text
        raise Unavailable("no connection")

    def _connection(self, timeout: float = _TIMEOUT) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self.host, self.port, context=self._context, timeout=timeout)

    def watch(self, path: str, version: str, seconds: int = 300) -> Iterator[dict[str, Any]]:
        """Events after a resource version, until the server ends the stream after `seconds`."""
        query = urlencode({"watch": "1", "resourceVersion": version, "timeoutSeconds": str(seconds)})
        connection = self._connection(timeout=seconds + 30)
        try:
            connection.request("GET", f"{path}?{query}", headers=self._headers)
            answer = connection.getresponse()
            if answer.status >= 400:
                raise _refusal(answer.status, answer.read())
            for line in answer:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise ApiError(int(status["code"]), str(status.get("reason")), str(status.get("message")))
                yield event
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(str(error)) from None
        finally:
            connection.close()


def trusting(authority: str, pair: bytes | None = None, folder: Path | None = None) -> ssl.SSLContext:
    """A TLS context that trusts one CA (PEM) and shows a client certificate (PEM chain and key)."""
    context = ssl.create_default_context(cadata=authority)
    if pair is not None:
        # The ssl module loads key pairs from files only; this one is private and gone at once.
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".pair-") as file:
            file.write(pair)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def blind() -> ssl.SSLContext:
    """A context that trusts anybody: for discovery, where a signature proves what was read."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


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

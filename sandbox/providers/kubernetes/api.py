"""HTTP to one Kubernetes API server: plain JSON objects, one line for each error."""

from __future__ import annotations

import json
import ssl
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError

from sandbox.providers.backend import ProviderError
from sandbox.providers.kubernetes.kubeconfig import Target

Object = dict[str, Any]

# Seconds. The server itself gives up on a request, admission webhooks included, after 34 s or less.
_CONNECT, _READ, _PROBE = 2.0, 40.0, 5.0
# A server that is starting or overloaded says so with 429 or 503 and when to come back.
_BUSY, _ATTEMPTS, _LONGEST_PAUSE = (429, 503), 6, 5.0
_CONNECTIONS = 32

APPLY = "application/apply-patch+yaml"
JSON = "application/json"


class Unreachable(ProviderError):
    """Nothing that answers as an API server is there."""

    def __init__(self, reason: str) -> None:
        super().__init__("", f"configured Kubernetes cluster is unreachable: {reason}")
        self.reason = reason


class ApiError(ProviderError):
    """The server's refusal: its status code and message."""

    def __init__(self, status: int, message: str, causes: list[Mapping[str, Any]] | None = None) -> None:
        super().__init__("", " ".join(message.split()))
        self.status = status
        self.causes = causes or []


class Api:
    """Safe for many threads. The first call finds out once whether the server answers at all, so
    that a silent one costs seconds for the whole operation, not for each object."""

    def __init__(self, target: Target) -> None:
        parts = urlsplit(target.server)
        self._address = f"{parts.hostname}:{parts.port or 443}"
        self._headers = {"Accept": JSON, "User-Agent": "kubepark-sandbox"}
        if target.token:
            self._headers["Authorization"] = f"Bearer {target.token}"
        self._pool = urllib3.HTTPSConnectionPool(
            parts.hostname or "",
            parts.port or 443,
            maxsize=_CONNECTIONS,
            retries=False,
            ssl_context=_context(target),
            server_hostname=target.server_name,
            assert_hostname=target.server_name,
        )
        self._probe_lock = threading.Lock()
        self._probed = False
        self._fault = ""

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Object:
        """Raises ApiError (404 among others) and Unreachable, as every method here."""
        return self.send("GET", path, query)[1]

    def find(self, path: str) -> Object | None:
        """The object at `path`, None if there is none."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def list(self, path: str, query: Mapping[str, str] | None = None) -> list[Object]:
        """Items of a collection; empty if the collection is not there."""
        try:
            return list(self.get(path, query).get("items") or [])
        except ApiError as error:
            if error.status == 404:
                return []
            raise

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
    ) -> tuple[int, Object]:
        """(status code, decoded answer) of a request that succeeded."""
        self._require_reachable()
        content = None if body is None else json.dumps(body).encode()
        headers = {**self._headers, "Content-Type": content_type} if content else self._headers
        url = f"{path}?{urlencode(query)}" if query else path
        for attempt in range(_ATTEMPTS):
            answer = self._request(method, url, content, headers, _READ)
            if answer.status not in _BUSY or attempt == _ATTEMPTS - 1:
                break
            time.sleep(min(float(answer.headers.get("Retry-After") or 1), _LONGEST_PAUSE))
        return _decoded(answer.status, answer.data)

    def _require_reachable(self) -> None:
        with self._probe_lock:
            if not self._probed:
                self._probed = True
                try:
                    self._request("GET", "/version", None, self._headers, _PROBE)
                except Unreachable as fault:
                    self._fault = fault.reason
        if self._fault:
            raise Unreachable(self._fault)

    def _request(
        self, method: str, url: str, content: bytes | None, headers: Mapping[str, str], patience: float
    ) -> urllib3.BaseHTTPResponse:
        timeout = urllib3.Timeout(connect=_CONNECT, read=patience)
        try:
            return self._pool.request(method, url, body=content, headers=headers, timeout=timeout)
        except (NewConnectionError, ConnectTimeoutError):
            raise Unreachable(f"nothing listens on {self._address}") from None
        except ReadTimeoutError:
            raise Unreachable(f"{self._address} did not answer within {patience:.0f} s") from None
        except HTTPError as error:
            raise Unreachable(f"{self._address}: {error}") from None


def _decoded(status: int, data: bytes) -> tuple[int, Object]:
    try:
        answer = json.loads(data)
    except ValueError:
        answer = {"message": data.decode(errors="replace")[:300]}
    if status >= 400:
        message = str(answer.get("message") or f"HTTP status {status}")
        raise ApiError(status, message, (answer.get("details") or {}).get("causes"))
    return status, answer


def _context(target: Target) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=target.authority.decode())
    if target.certificate and target.key:
        # The standard library reads a client certificate from a file only.
        with tempfile.TemporaryDirectory(prefix="kubepark-") as folder:
            pair = Path(folder) / "client.pem"
            pair.touch(0o600)
            pair.write_bytes(target.certificate + b"\n" + target.key)
            context.load_cert_chain(pair)
    return context

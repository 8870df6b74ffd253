"""The registries that images come from: an anonymous client of the OCI distribution specification.

Names are those of the image without its tag: the registry's host, a slash, the repository. A host on
loopback speaks plain HTTP, as containerd and Docker have it, every other one TLS, through the proxy that
the environment names.
"""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import unquote, urlencode, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.util import make_headers, parse_url
from werkzeug.datastructures import WWWAuthenticate

from sandbox.config import is_loopback

# What https://github.com/opencontainers/distribution-spec/blob/main/spec.md lets a host, a repository, a tag
# and a digest be.
NAME = re.compile(
    r"(?P<host>[A-Za-z0-9.-]+(:[0-9]+)?)/"
    r"(?P<repository>[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*)"
)
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_API_HOSTS = {"docker.io": "registry-1.docker.io"}
_DECIDE_SECONDS = 3.0  # in which a host answers, or does not answer here
_READ_SECONDS = 20.0  # between two bytes; containerd gives up a silent registry after 30
_REMEMBER_SECONDS = 30.0
_TOKEN_SECONDS = 60.0  # https://distribution.github.io/distribution/spec/auth/token/, unless told otherwise
_REDIRECTS = 5
_TOO_MANY = 429
_MESSAGE_BYTES = 1 << 16
_PREFIX = re.compile(r"^HTTPS?Connection(Pool)?\([^)]*\): ")  # of urllib3's messages

T = TypeVar("T")


class UpstreamError(Exception):
    """A registry's own refusal (`status` is HTTP's), or something else that stands in the way."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status

    @property
    def passing(self) -> bool:
        """It says nothing about what was asked for: no answer, too many requests, a broken server."""
        return self.status is None or self.status == _TOO_MANY or self.status >= 500


class Unreachable(UpstreamError):
    """The host does not answer here."""


class Memory(Generic[T]):
    """What holds for some seconds. Threads may share it."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._kept: dict[str, tuple[float, T]] = {}

    def get(self, key: str) -> T | None:
        until, value = self._kept.get(key, (0.0, None))
        return value if time.monotonic() < until else None

    def put(self, key: str, value: T, seconds: float | None = None) -> None:
        now = time.monotonic()
        for old in [old for old, (until, _) in list(self._kept.items()) if until < now]:
            self.forget(old)
        self._kept[key] = (now + (self._seconds if seconds is None else seconds), value)

    def forget(self, key: str) -> None:
        self._kept.pop(key, None)


@dataclass(frozen=True)
class _Target:
    """Where a request goes; `local` if it began on loopback."""

    method: str
    url: str
    headers: Mapping[str, str]
    local: bool


class Upstream:
    """All registries. What is known of hosts and the tokens they gave are in memory only."""

    def __init__(self, remember: float = _REMEMBER_SECONDS) -> None:
        self._alive = Memory[bool](remember)
        self._silent = Memory[str](remember)
        self._tokens = Memory[str](_TOKEN_SECONDS)
        self._managers: dict[str | None, urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        self._deciding: dict[str, threading.Lock] = {}

    @contextmanager
    def ask(self, method: str, name: str, kind: str, reference: str) -> Iterator[urllib3.BaseHTTPResponse]:
        """The answer about one of `manifests` or `blobs`, its body still to be read.

        Raises `UpstreamError` with the registry's message, `Unreachable` within three seconds from a host
        that does not answer, or at once while that is remembered.
        """
        host, _, repository = name.partition("/")
        self.reach(host)
        try:
            response = self._authorized(method, f"{_base(host)}/v2/{repository}/{kind}/{reference}", name)
        except Unreachable:
            self._alive.forget(host)
            raise
        try:
            if response.status >= 400:
                raise UpstreamError(f"{host} answers {response.status}{_message(response)}", response.status)
            yield response
        except HTTPError as error:  # while the body is read
            raise UpstreamError(f"{host} stopped answering: {_why(error)}") from error
        finally:
            response.close()

    def reach(self, host: str) -> None:
        """Raises `Unreachable` if the registry does not answer here, whatever it answers."""
        with self._lock:
            deciding = self._deciding.setdefault(host, threading.Lock())
        with deciding:
            if self._alive.get(host):
                return
            reason = self._silent.get(host) or self._probe(host)
            if reason:
                raise Unreachable(reason)

    def _probe(self, host: str) -> str:
        """That the host does not answer; "" if it does. Looking up a name has no timeout of its own."""
        timeout = urllib3.Timeout(total=_DECIDE_SECONDS)
        url = f"{_base(host)}/v2/"
        target = _Target("GET", url, {}, _is_local(url))
        said: list[str] = []

        def look() -> None:
            try:
                self._send(target, timeout).close()
                said.append("")
            except UpstreamError as error:
                said.append(str(error))

        thread = threading.Thread(target=look, name=f"probe {host}", daemon=True)
        thread.start()
        thread.join(_DECIDE_SECONDS)
        reason = said[0] if said else _silence(url, f"nothing in {_DECIDE_SECONDS:.0f} s")
        if reason:
            self._silent.put(host, reason)
        else:
            self._alive.put(host, True)
        return reason

    def _authorized(self, method: str, url: str, name: str) -> urllib3.BaseHTTPResponse:
        """The answer with a token, if the registry wants one: that which is there, or a new one."""
        token = self._tokens.get(name)
        response = self._follow(_request(method, url, token))
        challenge = _bearer(response)
        if response.status != 401 or challenge is None:
            return response
        response.close()
        self._tokens.forget(name)
        return self._follow(_request(method, url, self._token(url, name, challenge)))

    def _token(self, url: str, name: str, challenge: WWWAuthenticate) -> str:
        """https://distribution.github.io/distribution/spec/auth/token/, without a login."""
        scope = challenge.get("scope") or f"repository:{name.partition('/')[2]}:pull"
        query = {"service": challenge.get("service"), "scope": scope}
        realm = _joined(url, challenge.get("realm") or "")
        asked = urlencode({key: value for key, value in query.items() if value})
        address = f"{realm}{'&' if '?' in realm else '?'}{asked}"
        response = self._follow(_Target("GET", address, {}, _is_local(url)))
        host = urlsplit(realm).netloc
        try:
            if response.status != 200:
                raise UpstreamError(
                    f"{host} gives no token: {response.status}{_message(response)}", response.status
                )
            given = json.loads(response.read(_MESSAGE_BYTES))
            token = str(given.get("token") or given["access_token"])
            seconds = float(given.get("expires_in", _TOKEN_SECONDS))
        except (HTTPError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise UpstreamError(f"{host} gives no token: {type(error).__name__}") from error
        finally:
            response.close()
        self._tokens.put(name, token, seconds * 0.9)  # it travels for a while
        return token

    def _follow(self, target: _Target) -> urllib3.BaseHTTPResponse:
        """The answer at the end of all redirects. Another origin is not shown the token."""
        for _ in range(_REDIRECTS):
            response = self._send(target, urllib3.Timeout(connect=_DECIDE_SECONDS, read=_READ_SECONDS))
            location = response.get_redirect_location()
            if not location:
                return response
            response.close()
            url = _joined(target.url, location)
            same = urlsplit(url)[:2] == urlsplit(target.url)[:2]
            headers = {key: value for key, value in target.headers.items() if same or key != "Authorization"}
            target = _Target(target.method, url, headers, target.local)
        raise UpstreamError(f"{urlsplit(target.url).netloc} redirects more than {_REDIRECTS} times")

    def _send(self, target: _Target, timeout: urllib3.Timeout) -> urllib3.BaseHTTPResponse:
        parts = urlsplit(target.url)
        loopback = _is_local(target.url)
        if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
            raise UpstreamError(f"{parts.scheme}://{parts.netloc} is not https")
        if loopback and not target.local:
            raise UpstreamError(f"a registry elsewhere leads to {parts.netloc}")
        try:
            return self._manager(parts.hostname or "").request(
                target.method,
                target.url,
                headers=target.headers,
                timeout=timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (HTTPError, OSError) as error:
            raise Unreachable(_silence(target.url, _why(error))) from error

    def _manager(self, host: str) -> urllib3.PoolManager:
        """Connections, straight or through the proxy; its TLS trusts what OpenSSL does (SSL_CERT_FILE)."""
        proxied = not is_loopback(host) and not urllib.request.proxy_bypass(host)
        proxy = urllib.request.getproxies().get("https") if proxied else None
        with self._lock:
            if proxy not in self._managers:
                self._managers[proxy] = _proxy(proxy) if proxy else urllib3.PoolManager()
            return self._managers[proxy]


def _proxy(url: str) -> urllib3.ProxyManager:
    full = url if "://" in url else f"http://{url}"
    login = parse_url(full).auth
    headers = make_headers(proxy_basic_auth=unquote(login)) if login else None
    return urllib3.ProxyManager(full, proxy_headers=headers)


def _base(host: str) -> str:
    scheme = "http" if _is_local(f"//{host}") else "https"
    return f"{scheme}://{_API_HOSTS.get(host, host)}"


def _is_local(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")


def _joined(url: str, location: str) -> str:
    """Where a registry leads to, from `url`."""
    try:
        found = urljoin(url, location)
        urlsplit(found)
    except ValueError as error:
        raise UpstreamError(f"{urlsplit(url).netloc} leads to what is no address: {location[:80]}") from error
    return found


def _request(method: str, url: str, token: str | None) -> _Target:
    headers = {"Accept": ", ".join((*MANIFEST_TYPES, "*/*")) if "/manifests/" in url else "*/*"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return _Target(method, url, headers, _is_local(url))


def _bearer(response: urllib3.BaseHTTPResponse) -> WWWAuthenticate | None:
    """The challenge to come with a token, if the answer is one."""
    found = (WWWAuthenticate.from_header(each) for each in response.headers.getlist("WWW-Authenticate"))
    return next((each for each in found if each is not None and each.type == "bearer"), None)


def _message(response: urllib3.BaseHTTPResponse) -> str:
    """What the registry says in the specification's form of an error, on one line; "" if nothing."""
    try:
        errors = json.loads(response.read(_MESSAGE_BYTES))["errors"]
        said = "; ".join(str(each.get("message") or each["code"]) for each in errors)
    except (HTTPError, OSError, ValueError, KeyError, AttributeError, TypeError):
        return ""
    return f": {' '.join(said.split())[:300]}" if said else ""


def _silence(url: str, why: str) -> str:
    return f"{urlsplit(url).netloc} does not answer here: {why}"


def _why(error: Exception) -> str:
    """urllib3's reason without what it puts around it."""
    inner = error.args[-1] if error.args else None
    return _PREFIX.sub("", str(inner if isinstance(inner, Exception) else error))

"""Hosts of others: an HTTP client that knows within seconds who does not answer here.

Every host is asked over TLS, through the proxy that the environment names and trusting what OpenSSL does
(SSL_CERT_FILE). A host on loopback may speak plain HTTP, as containerd and Docker have it.
"""

from __future__ import annotations

import re
import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.util import make_headers, parse_url

from sandbox.config import is_loopback

CHUNK = 1 << 18  # bytes that are handled at once
DECIDE_SECONDS = 3.0  # in which a host answers, or does not answer here
_READ_SECONDS = 20.0  # between two bytes; containerd gives up a silent registry after 30
_REMEMBER_SECONDS = 30.0
_REDIRECTS = 5
_TOO_MANY = 429
_PREFIX = re.compile(r"^HTTPS?Connection(Pool)?\([^)]*\): ")  # of urllib3's messages

T = TypeVar("T")


class WebError(Exception):
    """A host's own refusal (`status` is HTTP's), or something else that stands in the way."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status

    @property
    def passing(self) -> bool:
        """It says nothing about what was asked for: no answer, too many requests, a broken server."""
        return self.status is None or self.status == _TOO_MANY or self.status >= 500


class Unreachable(WebError):
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


class Web:
    """All hosts. Which of them answer is in memory only. Threads may share it."""

    def __init__(self, remember: float = _REMEMBER_SECONDS) -> None:
        self._silent = Memory[str](remember)  # why a host does not answer; "" if it does
        self._managers: dict[str | None, urllib3.PoolManager] = {}
        self._lock = threading.Lock()
        self._deciding: dict[str, threading.Lock] = {}

    def reach(self, url: str) -> None:
        """Raises `Unreachable` if the host does not answer here, whatever it answers; later at once."""
        host = urlsplit(url).netloc
        with self._lock:
            deciding = self._deciding.setdefault(host, threading.Lock())
        with deciding:
            reason = self._silent.get(host)
            if reason is None:
                reason = self._probe(host, url)
                self._silent.put(host, reason)
            if reason:
                raise Unreachable(reason)

    def silent(self, urls: Iterable[str]) -> dict[str, str]:
        """Those of the URLs whose hosts do not answer here, and why not: known in `DECIDE_SECONDS`."""

        def why(url: str) -> str:
            try:
                self.reach(url)
            except Unreachable as error:
                return str(error)
            return ""

        asked = sorted(set(urls))
        with ThreadPoolExecutor() as threads:
            return {url: reason for url, reason in zip(asked, threads.map(why, asked), strict=True) if reason}

    def ask(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, began: str = ""
    ) -> urllib3.BaseHTTPResponse:
        """The answer at the end of all redirects, its body still to be read (`reading`).

        Another origin is not shown the `Authorization`. Nobody is led to this machine's loopback, unless it
        `began` there (default: by this URL). Raises `WebError`.
        """
        local, host = is_local(began or url), urlsplit(url).netloc
        shown = dict(headers or {})
        for _ in range(_REDIRECTS):
            try:
                timeout = urllib3.Timeout(connect=DECIDE_SECONDS, read=_READ_SECONDS)
                response = self._send(method, url, shown, timeout, local=local)
            except Unreachable:
                if not self._silent.get(host):
                    self._silent.forget(host)
                raise
            location = response.get_redirect_location()
            if not location:
                return response
            response.close()
            before, url = url, joined(url, location)
            if urlsplit(url)[:2] != urlsplit(before)[:2]:
                shown.pop("Authorization", None)
        raise WebError(f"{urlsplit(url).netloc} redirects more than {_REDIRECTS} times")

    def _probe(self, host: str, url: str) -> str:
        """That the host does not answer; "" if it does. Looking up a name has no timeout of its own."""
        said: list[str] = []

        def look() -> None:
            try:
                timeout = urllib3.Timeout(total=DECIDE_SECONDS)
                self._send("GET", url, {}, timeout, local=is_local(url)).close()
                said.append("")
            except WebError as error:
                said.append(str(error))

        thread = threading.Thread(target=look, name=f"probe {host}", daemon=True)
        thread.start()
        thread.join(DECIDE_SECONDS)
        return said[0] if said else _silence(url, f"nothing in {DECIDE_SECONDS:.0f} s")

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], timeout: urllib3.Timeout, *, local: bool
    ) -> urllib3.BaseHTTPResponse:
        parts, loopback = urlsplit(url), is_local(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
            raise WebError(f"{parts.scheme}://{parts.netloc} is not https")
        if loopback and not local:
            raise WebError(f"a host elsewhere leads to {parts.netloc}")
        try:
            return self._manager(parts.hostname or "").request(
                method,
                url,
                headers=headers,
                timeout=timeout,
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (HTTPError, OSError) as error:
            raise Unreachable(_silence(url, _why(error))) from error

    def _manager(self, host: str) -> urllib3.PoolManager:
        proxied = not is_loopback(host) and not urllib.request.proxy_bypass(host)
        proxy = urllib.request.getproxies().get("https") if proxied else None
        with self._lock:
            if proxy not in self._managers:
                self._managers[proxy] = _proxy(proxy) if proxy else urllib3.PoolManager()
            return self._managers[proxy]


@contextmanager
def reading(response: urllib3.BaseHTTPResponse, host: str) -> Iterator[urllib3.BaseHTTPResponse]:
    """Close it in the end. Raises `WebError` if its body does not come."""
    try:
        yield response
    except HTTPError as error:
        raise WebError(f"{host} stopped answering: {_why(error)}") from error
    finally:
        response.close()


def is_local(url: str) -> bool:
    """Whether it leads to this machine's loopback."""
    return is_loopback(urlsplit(url).hostname or "")


def joined(url: str, location: str) -> str:
    """Where a host leads to, from `url`. Raises `WebError`."""
    try:
        found = urljoin(url, location)
        urlsplit(found)
    except ValueError as error:
        raise WebError(f"{urlsplit(url).netloc} leads to what is no address: {location[:80]}") from error
    return found


def _proxy(url: str) -> urllib3.ProxyManager:
    full = url if "://" in url else f"http://{url}"
    login = parse_url(full).auth
    headers = make_headers(proxy_basic_auth=unquote(login)) if login else None
    return urllib3.ProxyManager(full, proxy_headers=headers)


def _silence(url: str, why: str) -> str:
    return f"{urlsplit(url).netloc} does not answer here: {why}"


def _why(error: Exception) -> str:
    """urllib3's reason without what it puts around it."""
    inner = error.args[-1] if error.args else None
    return _PREFIX.sub("", str(inner if isinstance(inner, Exception) else error))

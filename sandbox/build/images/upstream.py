"""The registries that images come from: an anonymous client of the OCI distribution specification.

Names are those of the image without its tag: the registry's host, a slash, the repository.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.exceptions import HTTPError
from werkzeug.datastructures import WWWAuthenticate

from sandbox.build.web import Memory, Web, WebError, is_local, joined, reading

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
_TOKEN_SECONDS = 60.0  # https://distribution.github.io/distribution/spec/auth/token/, unless told otherwise
_MESSAGE_BYTES = 1 << 16


class Upstream:
    """All registries. The tokens that they gave are in memory only."""

    def __init__(self, web: Web | None = None) -> None:
        self._web = web or Web()
        self._tokens = Memory[str](_TOKEN_SECONDS)

    @contextmanager
    def ask(self, method: str, name: str, kind: str, reference: str) -> Iterator[urllib3.BaseHTTPResponse]:
        """The answer about one of `manifests` or `blobs`, its body still to be read.

        Raises `WebError` with the registry's message, `Unreachable` within three seconds from a host that
        does not answer, or at once while that is remembered.
        """
        host, _, repository = name.partition("/")
        self._web.reach(base_url(host))
        found = self._authorized(method, f"{base_url(host)}{repository}/{kind}/{reference}", name)
        with reading(found, host) as response:
            if response.status >= 400:
                raise WebError(f"{host} answers {response.status}{_message(response)}", response.status)
            yield response

    def _authorized(self, method: str, url: str, name: str) -> urllib3.BaseHTTPResponse:
        """The answer with a token, if the registry wants one: that which is there, or a new one."""
        response = self._web.ask(method, url, _headers(url, self._tokens.get(name)))
        challenge = _bearer(response)
        if response.status != 401 or challenge is None:
            return response
        response.close()
        self._tokens.forget(name)
        return self._web.ask(method, url, _headers(url, self._token(url, name, challenge)))

    def _token(self, url: str, name: str, challenge: WWWAuthenticate) -> str:
        """https://distribution.github.io/distribution/spec/auth/token/, without a login."""
        scope = challenge.get("scope") or f"repository:{name.partition('/')[2]}:pull"
        query = {"service": challenge.get("service"), "scope": scope}
        realm = joined(url, challenge.get("realm") or "")
        asked = urlencode({key: value for key, value in query.items() if value})
        address = f"{realm}{'&' if '?' in realm else '?'}{asked}"
        response = self._web.ask("GET", address, began=url)
        host = urlsplit(realm).netloc
        try:
            if response.status != 200:
                raise WebError(
                    f"{host} gives no token: {response.status}{_message(response)}", response.status
                )
            given = json.loads(response.read(_MESSAGE_BYTES))
            token = str(given.get("token") or given["access_token"])
            seconds = float(given.get("expires_in", _TOKEN_SECONDS))
        except (HTTPError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise WebError(f"{host} gives no token: {type(error).__name__}") from error
        finally:
            response.close()
        self._tokens.put(name, token, seconds * 0.9)  # it travels for a while
        return token


def base_url(host: str) -> str:
    """Where the API of a registry begins."""
    scheme = "http" if is_local(f"//{host}") else "https"
    return f"{scheme}://{_API_HOSTS.get(host, host)}/v2/"


def _headers(url: str, token: str | None) -> dict[str, str]:
    headers = {"Accept": ", ".join((*MANIFEST_TYPES, "*/*")) if "/manifests/" in url else "*/*"}
    return {**headers, "Authorization": f"Bearer {token}"} if token else headers


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

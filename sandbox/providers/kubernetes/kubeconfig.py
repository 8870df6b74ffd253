"""The kubeconfig given to the provider: which server, with which credentials; loopback only."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import yaml

from sandbox.providers.backend import ProviderError


@dataclass(frozen=True)
class Target:
    """One API server and how to talk to it. Certificates and keys are PEM."""

    server: str
    namespace: str
    authority: bytes = field(repr=False)
    certificate: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    server_name: str | None = None


def parse(text: str, context: str | None = None, cluster: str | None = None) -> Target:
    """The target of a kubeconfig's contents. `context` and `cluster` override what it names.

    Raises ProviderError for anything incomplete, for what needs a program or a file of the machine
    (`exec`, paths), and for a server that is not on loopback.
    """
    document = _document(text)
    if document is None:
        raise ProviderError("", "kubeconfig: expected the contents of a kubeconfig (a YAML mapping)")
    chosen = _context(document, context)
    server = _named(document, "clusters", "cluster", cluster or str(chosen.get("cluster")))
    user = _named(document, "users", "user", str(chosen.get("user")))
    url = str(server.get("server", ""))
    require_loopback(url)
    authority = _data(server, "certificate-authority")
    if authority is None:
        raise ProviderError("", "kubeconfig: the cluster has no certificate-authority-data")
    token = user.get("token")
    certificate, key = _data(user, "client-certificate"), _data(user, "client-key")
    if not token and not (certificate and key):
        raise ProviderError(
            "", "kubeconfig: the user needs client-certificate-data and client-key-data, or a token"
        )
    name = server.get("tls-server-name")
    namespace = str(chosen.get("namespace") or "default")
    return Target(url, namespace, authority, certificate, key, token, str(name) if name else None)


def active_cluster(settings: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The cluster entry that these provider settings select; None if it cannot be told."""
    text = settings.get("kubeconfig")
    document = _document(text) if isinstance(text, str) else None
    if document is None:
        return None
    try:
        name = settings.get("cluster") or _context(document, settings.get("context")).get("cluster")
        return _named(document, "clusters", "cluster", str(name))
    except ProviderError:
        return None


def require_loopback(url: str) -> None:
    """Refuse a server that is not `https` on this machine. Raises ProviderError."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if parts.scheme != "https" or not loopback:
        raise ProviderError(
            "",
            f"the stand-in for the Kubernetes provider talks to loopback addresses only, got {url!r}: "
            "use the official provider (KUBEPARK_PROVIDERS=official) for any other cluster",
        )


def _document(text: str) -> Mapping[str, Any] | None:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        return None
    return document if isinstance(document, Mapping) else None


def _context(document: Mapping[str, Any], override: Any) -> Mapping[str, Any]:
    name = override or document.get("current-context")
    if not name:
        raise ProviderError("", "kubeconfig: no current-context, and the provider names none")
    return _named(document, "contexts", "context", str(name))


def _named(document: Mapping[str, Any], section: str, kind: str, name: str) -> Mapping[str, Any]:
    for entry in document.get(section) or []:
        if isinstance(entry, Mapping) and entry.get("name") == name:
            content = entry.get(kind)
            return content if isinstance(content, Mapping) else {}
    raise ProviderError("", f"kubeconfig: no {kind} named {name!r} in {section}")


def _data(entry: Mapping[str, Any], key: str) -> bytes | None:
    content = entry.get(f"{key}-data")
    if content is None:
        return None
    try:
        return base64.b64decode(str(content), validate=True)
    except binascii.Error:
        raise ProviderError("", f"kubeconfig: {key}-data is not base64") from None

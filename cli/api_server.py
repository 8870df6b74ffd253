"""The API server from outside: whether somebody listens there, and with which certificate."""

from __future__ import annotations

import socket
import ssl
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cli import cluster
from cli.cluster import Kubeconfig
from cli.errors import CommandError

_CONNECT_SECONDS = 2.0
_SOON = timedelta(days=30)  # the master renews its certificates sixty days before their end


def listens(kubeconfig: Kubeconfig) -> bool:
    """Whether somebody takes connections where the API server is to be. The client would try for longer."""
    try:
        _connect(_server(kubeconfig)).close()
    except OSError:
        return False
    return True


def certificate(kubeconfig: Kubeconfig, now: datetime) -> str:
    """Until when the API server's certificate is good, or why it is not."""
    server = _server(kubeconfig)
    context = ssl.create_default_context(cadata=b64decode(server["certificate-authority-data"]).decode())
    context.check_hostname = False  # who signed it is what matters here
    try:
        with context.wrap_socket(_connect(server)) as connection:
            end = ssl.cert_time_to_seconds(str((connection.getpeercert() or {})["notAfter"]))
    except OSError as error:  # of TLS as well
        return f"warning: the API server's certificate: {error}"
    until = datetime.fromtimestamp(end, UTC)
    soon = until - now < _SOON
    return f"{'warning: ' if soon else ''}the API server's certificate is good until {until:%Y-%m-%d}" + (
        "; the master's timer kubepark-certs has not renewed it" if soon else ""
    )


def _server(kubeconfig: Kubeconfig) -> Mapping[str, str]:
    if isinstance(kubeconfig, Mapping):
        document: Mapping[str, Any] = kubeconfig
    else:
        document = cluster.parsed(Path(kubeconfig).read_text(encoding="utf-8"), str(kubeconfig))
    clusters = document.get("clusters") or []
    if not clusters:
        raise CommandError("the stack's kubeconfig names no cluster; fix: bin/kubepark up")
    found: Mapping[str, str] = clusters[0]["cluster"]
    return found


def _connect(server: Mapping[str, str]) -> socket.socket:
    parts = urlsplit(server["server"])
    return socket.create_connection((str(parts.hostname), parts.port or 443), _CONNECT_SECONDS)

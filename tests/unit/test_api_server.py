"""Whether the API server listens, and until when its certificate is good."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from cli import api_server
from cli.errors import CommandError

NOW = datetime.now(UTC).replace(microsecond=0)


@contextmanager
def serving(until: datetime) -> Iterator[dict[str, Any]]:
    """A server with a certificate that is good until then, for one connection; the kubeconfig that leads to it."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", not_before=NOW - timedelta(days=400), not_after=until).configure_cert(
        context
    )
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        accepted, _ = listener.accept()
        with suppress(OSError), context.wrap_socket(accepted, server_side=True) as connection:
            connection.recv(1)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    server = f"https://127.0.0.1:{listener.getsockname()[1]}"
    data = base64.b64encode(authority.cert_pem.bytes()).decode()
    yield {"clusters": [{"cluster": {"server": server, "certificate-authority-data": data}}]}
    thread.join(10)
    listener.close()


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (300, "the API server's certificate is good until {:%Y-%m-%d}"),
        (
            20,
            "warning: the API server's certificate is good until {:%Y-%m-%d}; the master's timer kubepark-certs "
            "has not renewed it",
        ),
    ],
)
def test_until_when_the_certificate_is_good(days: int, said: str) -> None:
    until = NOW + timedelta(days=days)
    with serving(until) as kubeconfig:
        assert api_server.certificate(kubeconfig, NOW) == said.format(until)


def test_a_certificate_that_has_run_out_is_a_warning() -> None:
    with serving(NOW - timedelta(days=1)) as kubeconfig:
        found = api_server.certificate(kubeconfig, NOW)
    assert found.startswith("warning: the API server's certificate: ")
    assert "certificate has expired" in found


def test_who_listens_is_known_at_once_and_a_kubeconfig_of_no_cluster_is_an_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = f"https://127.0.0.1:{listener.getsockname()[1]}"
        kubeconfig = {"clusters": [{"cluster": {"server": server}}]}
        assert api_server.listens(kubeconfig)
    assert not api_server.listens(kubeconfig)
    file = tmp_path / "kubeconfig"
    assert not api_server.listens(file), "there is no file"
    file.write_text("apiVersion: v1\nkind: Config\n")
    with pytest.raises(CommandError, match="names no cluster; fix: bin/kubepark up"):
        api_server.listens(file)

"""URLs of the configuration: what a client could use, and the exact fault of what it could not."""

from __future__ import annotations

from typing import Any

import pytest

from config import settings
from config.problems import SettingsError
from config.urls import url
from tests.configuration import configuration

BAD = (
    ("https://user@api.example.org", "has a user before the host"),
    ("https://user:pass@api.example.org:6443", "has a user before the host"),
    ("https://@api.example.org", "has a user before the host"),
    ("https://api_1.example.org", "api_1.example.org is not the name or the address of a host"),
    ("https://-api.example.org", "is not the name or the address of a host"),
    ("https://api..example.org", "is not the name or the address of a host"),
    ("https://" + "a" * 64 + ".org", "is not the name or the address of a host"),
    ("https://" + "a." * 127 + "org", "is not the name or the address of a host"),
    ("https://10.0.0.256:6443", "is not the name or the address of a host"),
    ("https://10.0.0:6443", "is not the name or the address of a host"),
    ("https://[::g]:6443", "is not"),
    ("https://api example.org", "has a space, or a character that a URL has not"),
    ("https://api.example.org ", "has a space, or a character that a URL has not"),
    ("https://api.example.org\n", "has '\\n', which nobody sees"),
    ("https://\u0430pi.example.org", "has a space, or a character that a URL has not"),
    ("https://api.example.org:65536", "is not a URL (Port out of range 0-65535)"),
    ("https://api.example.org:0", "has no port after the colon"),
    ("https://api.example.org:", "has no port after the colon"),
    ("https://api.example.org:port", "is not a URL (Port could not be cast"),
    ("https://[::1", "is not a URL (Invalid IPv6 URL)"),
    ("https://", "is not an http"),
    ("ftp://api.example.org", "is not an http"),
    ("api.example.org:6443", "is not an http"),
    ("https://api.example.org?x=1", "says more than host and port"),
    ("https://api.example.org#x", "says more than host and port"),
    ("https://api.example.org?", "says more than host and port"),
    ("", "is not a text"),
    (7, "is not a text"),
)
GOOD = (
    "https://api.example.org",
    "https://api.example.org:6443",
    "https://API.example.org:65535",
    "https://127.0.0.1:6443",
    "https://[::1]:6443",
    "https://localhost:1",
)


@pytest.mark.parametrize("raw", GOOD)
def test_a_url_that_clients_can_use(raw: str) -> None:
    found = settings.parse("dev", configuration(controlPlane__apiEndpoint=raw + "/", aws__endpoint=raw))
    assert (found.control_plane.api_endpoint, found.aws.endpoint) == (raw, raw)


@pytest.mark.parametrize(("raw", "wrong"), BAD)
def test_a_url_that_no_client_can_use(raw: Any, wrong: str) -> None:
    oidc = {
        "type": "oidc",
        "id": "c",
        "clientId": "x",
        "issuer": raw,
    }
    config = configuration(
        controlPlane__apiEndpoint=raw,
        aws__endpoint=raw,
        connectors=[oidc],
        connectorSecrets={"c": "s"},
        oidcIssuer="https://h.org/dex",
    )
    with pytest.raises(SettingsError) as raised:
        settings.parse("dev", config)
    found = {each.key: each for each in raised.value.problems}
    assert found.keys() >= {"kubepark:controlPlane.apiEndpoint", "kubepark:connectors[0].issuer"}
    assert all(wrong in each.wrong for each in found.values())
    for fix in ("https://127.0.0.1:6443", "http://127.0.0.1:4566", "https://login.acme.org"):
        assert any(each.fix.endswith(fix) for each in found.values())


def test_a_path_only_where_there_may_be_one() -> None:
    assert url("https://login.acme.org/realms/a/", ("https",)) == "https://login.acme.org/realms/a"
    with pytest.raises(ValueError, match=r"says more than host and port$"):
        url("https://login.acme.org/realms", ("https",), path=False)

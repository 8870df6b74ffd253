"""Whom a registry's client asks, by which way, and how soon it knows that nobody answers."""

from __future__ import annotations

import base64
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from sandbox.aws.serve import serve
from sandbox.build.images.upstream import Upstream, base_url
from sandbox.build.web import Unreachable, Web, WebError
from sandbox.tests.build.proxied import proxied
from sandbox.tests.build.upstream_registry import served

NAME = "registry.test"  # reserved by RFC 2606, as are its kind: nobody has it
CONTENT = b"content"


@pytest.fixture
def digest(upstream):
    return upstream.put("team/app", CONTENT, "application/octet-stream")


def fetch(client, host, digest):
    with client.ask("GET", f"{host}/team/app", "blobs", digest) as response:
        return response.read()


@pytest.fixture
def mute():
    """A host that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"127.0.0.1:{listener.getsockname()[1]}"


def seconds_until_unreachable(web, host):
    begin = time.monotonic()
    with pytest.raises(Unreachable, match=f"{host} does not answer here: ") as caught:
        web.reach(base_url(host))
    return time.monotonic() - begin, str(caught.value)


def test_a_host_that_never_answers_is_known_in_seconds_and_then_at_once(mute):
    web, (listener, host) = Web(), mute
    with ThreadPoolExecutor() as threads:
        found = list(threads.map(seconds_until_unreachable, [web] * 4, [host] * 4))
    assert all(2.5 < seconds < 4 for seconds, _ in found)
    listener.accept()[0].close()
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):  # one look for all four
        listener.accept()
    listener.close()
    again, remembered = seconds_until_unreachable(web, host)
    assert again < 0.1
    assert {reason for _, reason in found} == {remembered}


def test_a_name_that_is_looked_up_for_ever_is_given_up(monkeypatch):
    stop = threading.Event()

    def look_up(*arguments, **named):
        stop.wait(30)
        raise socket.gaierror("given up")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    seconds, reason = seconds_until_unreachable(Web(), NAME)
    stop.set()
    assert seconds < 4
    assert reason == f"{NAME} does not answer here: nothing in 3 s"


def test_a_host_that_goes_silent_is_looked_at_anew_and_found_once_it_is_back(upstream, digest):
    client = Upstream(Web(remember=0.2))
    serving, host = served(upstream)
    assert fetch(client, host, digest) == CONTENT
    serving.close()
    for _ in "the request itself", "the look before the next one":
        with pytest.raises(Unreachable, match=r"Connection refused$"):
            fetch(client, host, digest)
    with socket.create_server(("127.0.0.1", int(host.rpartition(":")[2]))) as listener:
        time.sleep(0.3)
        serving = serve(upstream, listener)
        assert fetch(client, host, digest) == CONTENT
        serving.close()


def test_a_token_that_has_expired_is_replaced(upstream, host, digest):
    client = Upstream()
    assert fetch(client, host, digest) == CONTENT
    upstream.valid.clear()
    assert fetch(client, host, digest) == CONTENT
    assert len(upstream.valid) == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"realm": "http://auth.test/token"}, r"http://auth\.test is not https"),
        ({"blobs_at": "http://cdn.test"}, r"http://cdn\.test is not https"),
        ({"blobs_at": "ftp://127.0.0.1"}, r"ftp://127\.0\.0\.1 is not https"),
        ({"realm": "http://[auth"}, r"leads to what is no address: http://\[auth"),
        ({"blobs_at": "HERE"}, "redirects more than 5 times"),
        ({"status": 401}, "answers 401: the registry is closed"),
    ],
)
def test_a_registry_that_leads_astray_is_not_followed(upstream, host, digest, change, why):
    for name, value in change.items():
        setattr(upstream, name, f"http://{host}" if value == "HERE" else value)
    with pytest.raises(WebError, match=why):
        fetch(Upstream(), host, digest)


@pytest.fixture
def proxy(upstream, tmp_path, monkeypatch):
    """The environment's: it leads to the registry, its token service and its blobs by HTTPS."""

    def application(environ, start_response):
        to_cdn = environ["HTTP_HOST"].startswith("cdn.test")
        return (upstream.elsewhere if to_cdn else upstream)(environ, start_response)

    upstream.realm, upstream.blobs_at = "https://auth.test/token", "https://cdn.test"
    with proxied(application, (NAME, "auth.test", "cdn.test"), tmp_path / "ca.pem") as made:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{made.address}")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        yield made


def test_everything_goes_by_tls_through_the_proxy_of_the_environment(proxy, digest, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"http://somebody:pass%20word@{proxy.address}")
    assert fetch(Upstream(), NAME, digest) == CONTENT
    login = f"Basic {base64.b64encode(b'somebody:pass word').decode()}"
    assert set(proxy.asked) == {(f"{host}:443", login) for host in (NAME, "auth.test", "cdn.test")}


def test_a_certificate_of_an_unknown_ca_is_refused(proxy, digest, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(Unreachable, match=f"{NAME} does not answer here: .*CERTIFICATE_VERIFY_FAILED"):
        fetch(Upstream(), NAME, digest)


def test_what_no_proxy_names_and_loopback_are_reached_straight(proxy, digest, monkeypatch, host):
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
    monkeypatch.setenv("NO_PROXY", f".example,{NAME}")
    with pytest.raises(Unreachable, match=f"{NAME} does not answer here: Failed to resolve"):
        fetch(Upstream(), NAME, digest)
    Web().reach(base_url(host))
    assert proxy.asked == []


def test_a_proxy_that_refuses_is_the_reason(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    _, reason = seconds_until_unreachable(Web(), NAME)
    assert "Connection refused" in reason


def test_a_registry_elsewhere_cannot_make_us_ask_this_machine(proxy, upstream, mute, digest, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", proxy.address)
    listener, host = mute
    upstream.blobs_at = f"http://{host}"
    with pytest.raises(WebError, match=f"a host elsewhere leads to {host}"):
        fetch(Upstream(), NAME, digest)
    listener.settimeout(0.2)
    with pytest.raises(TimeoutError):
        listener.accept()

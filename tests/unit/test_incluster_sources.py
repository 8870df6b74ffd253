"""Where upstream YAML comes from: pins, cache, local files, and every fault in one error."""

from __future__ import annotations

import hashlib
import http.server
import ssl
import threading

import pytest
import trustme

from cli.manifests import upstream_urls
from components import preflight
from components.incluster import sources
from components.incluster.objects import make
from components.incluster.sources import load_all
from components.preflight import check_objects
from config.manifest_lock import FetchError, ManifestError, fetch, read_pins
from config.model import ManifestSource
from tests.program import run
from tests.unit import incluster_stack

BODY = b"""
apiVersion: v1
kind: ConfigMap
metadata:
  name: dated
data:
  since: 2026-11-23
---
---
apiVersion: v1
kind: Namespace
metadata:
  name: first
"""
URL = "https://example.org/a.yaml"


def source(*locations: str) -> ManifestSource:
    return ManifestSource(name="calico", locations=locations)


def load(one, root, cache):
    return load_all({one.name: one}, root, cache)[one.name]


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    return root


def pin(root, url=URL):
    (root / "manifests.lock.yaml").write_text(f'sha256:\n  {url}: "{hashlib.sha256(BODY).hexdigest()}"\n')


def problems_of(*args):
    with pytest.raises(ManifestError) as caught:
        load(*args)
    return list(caught.value.problems)


def test_a_pinned_url_is_fetched_once_and_then_read_from_the_cache(root, tmp_path, monkeypatch):
    asked = []

    def fetch_once(url):
        asked.append(url)
        return BODY

    monkeypatch.setattr(sources, "fetch", fetch_once)
    pin(root)
    first = load(source(URL), root, tmp_path / "cache")
    second = load(source(URL), root, tmp_path / "cache")
    assert asked == [URL]
    assert first == second
    assert [planned["kind"] for planned in first] == ["Namespace", "ConfigMap"]
    assert first[1]["data"] == {"since": "2026-11-23"}  # a date stays the string that Kubernetes reads


def test_a_damaged_cache_is_fetched_again(root, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "fetch", lambda url: BODY)
    pin(root)
    whole = load(source(URL), root, tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_bytes(kept.read_bytes()[:20])
    assert load(source(URL), root, tmp_path / "cache") == whole


def test_a_file_is_parsed_once_and_again_when_it_has_changed(root, tmp_path, monkeypatch):
    parsed = []

    def count(body, loader):
        parsed.append(body)
        return original(body, loader)

    original = sources.yaml.load_all
    monkeypatch.setattr(sources.yaml, "load_all", count)
    for body in (BODY, BODY, BODY.replace(b"first", b"second")):
        (root / "a.yaml").write_bytes(body)
        found = load(source("a.yaml"), root, tmp_path / "cache")
    assert parsed == [BODY, body]
    assert found[0]["metadata"]["name"] == "second"


@pytest.mark.parametrize("data", ["{a: !!binary aGk=}", "&a {a: *a}", "{a: .nan}"])
def test_what_json_cannot_hold_is_refused(root, tmp_path, data):
    (root / "a.yaml").write_bytes(BODY.replace(b"\n  since: 2026-11-23", f" {data}".encode()))
    (problem,) = problems_of(source("a.yaml"), root, tmp_path / "cache")
    assert problem.startswith("a.yaml holds what JSON, and so Kubernetes, cannot: ")
    assert not (tmp_path / "cache").exists()


def test_keys_are_texts_the_first_time_as_later(root, tmp_path):
    """As for kubectl, which makes JSON of YAML too."""
    (root / "a.yaml").write_bytes(BODY.replace(b"since: 2026-11-23", b"2: a\n  yes: b"))
    first, again = (load(source("a.yaml"), root, tmp_path / "cache") for _ in range(2))
    assert first == again
    assert first[1]["data"] == {"2": "a", "true": "b"}


def test_other_bytes_than_the_pinned_ones_are_refused_and_not_cached(root, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "fetch", lambda url: BODY + b"\n")
    pin(root)
    found = hashlib.sha256(BODY + b"\n").hexdigest()
    assert problems_of(source(URL), root, tmp_path / "cache") == [
        f"{URL} serves sha256 {found}, manifests.lock.yaml pins {hashlib.sha256(BODY).hexdigest()}; "
        "if the change is wanted: bin/kubepark manifests lock"
    ]
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("pins", ["", '""', "missing"])
def test_a_missing_pin_names_the_command_that_fills_it(root, tmp_path, pins):
    (root / "manifests.lock.yaml").write_text(
        "sha256: {}\n" if pins == "missing" else f"sha256:\n  {URL}: {pins or chr(39) * 2}\n"
    )
    assert problems_of(source(URL), root, tmp_path) == [
        f"{URL} has no sha256 in manifests.lock.yaml; fix: bin/kubepark manifests lock"
    ]


def test_offline_nothing_is_fetched_and_a_missing_pin_is_still_missed(root, tmp_path, monkeypatch):
    pin(root)
    monkeypatch.setattr(sources, "fetch", lambda url: BODY)
    assert load_all({"calico": source(URL)}, root, tmp_path / "cache", offline=True) == {"calico": ()}
    online = load(source(URL), root, tmp_path / "cache")
    monkeypatch.setattr(sources, "fetch", None)
    assert load_all({"calico": source(URL)}, root, tmp_path / "cache", offline=True) == {"calico": online}
    with pytest.raises(ManifestError, match="has no sha256"):
        load_all({"calico": source(URL + "x")}, root, tmp_path / "cache", offline=True)


def test_no_lock_file_is_an_error_only_for_urls(root, tmp_path):
    (root / "own.yaml").write_bytes(BODY)
    assert len(load(source("own.yaml"), root, tmp_path)) == 2
    assert problems_of(source(URL), root, tmp_path)[0] == (
        "manifests.lock.yaml has no mapping sha256 of URLs to pins; fix: bin/kubepark manifests lock"
    )


def test_local_files_outside_the_root_missing_or_malformed_are_refused_in_one_error(root, tmp_path):
    (tmp_path / "outside.yaml").write_bytes(BODY)
    (root / "broken.yaml").write_text("a: [1\n")
    problems = problems_of(source("../outside.yaml", "missing.yaml", "broken.yaml"), root, tmp_path)
    assert problems[:2] == [
        "../outside.yaml is outside the project; accepted: a path below its root",
        "missing.yaml cannot be read: No such file or directory",
    ]
    assert problems[2].startswith("broken.yaml is not YAML: while parsing a flow sequence")
    assert len(problems) == 3


def test_all_sources_are_checked_before_the_error(root, tmp_path):
    (root / "twice.yaml").write_bytes(BODY + b"---" + BODY)
    both = {"one": source("absent.yaml"), "two": source("twice.yaml")}
    with pytest.raises(ManifestError) as caught:
        load_all(both, root, tmp_path)
    assert str(caught.value) == (
        "the manifests have 3 problems; nothing was changed:\n"
        "  - absent.yaml cannot be read: No such file or directory\n"
        "  - two, document 4: ConfigMap dated is there already, in document 1\n"
        "  - two, document 6: Namespace first is there already, in document 3"
    )


def test_one_object_in_two_files_of_a_source_is_a_duplicate(root, tmp_path):
    (root / "a.yaml").write_bytes(BODY)
    (root / "b.yaml").write_bytes(BODY)
    assert len(problems_of(source("a.yaml", "b.yaml"), root, tmp_path)) == 2


def test_a_source_without_location_brings_nothing(root, tmp_path):
    assert load(source(), root, tmp_path) == ()


def test_an_unreachable_url_is_one_clean_problem(root, tmp_path):
    url = "https://127.0.0.1:1/a.yaml"
    pin(root, url)
    assert problems_of(source(url), root, tmp_path) == [
        f"cannot be fetched: {url}: [Errno 111] Connection refused"
    ]


def test_only_https_is_fetched():
    with pytest.raises(FetchError, match="accepted: https://"):
        fetch("file:///etc/hostname")


def test_fetch_reads_a_real_https_server_and_reports_its_refusals(tmp_path, monkeypatch):
    with https_server(tmp_path) as (port, certificate):
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert fetch(f"https://127.0.0.1:{port}/there") == BODY
        with pytest.raises(FetchError, match="Not Found"):
            fetch(f"https://127.0.0.1:{port}/absent")


def test_the_lock_file_has_every_upstream_url_and_no_other():
    assert tuple(read_pins(sources.ROOT / "manifests.lock.yaml")) == upstream_urls()


class https_server:
    """Serves BODY at /there on a free loopback port, with a certificate made for the test."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        certificate = self.folder / "ca.pem"
        authority.cert_pem.write_to_path(certificate)
        self.server = http.server.HTTPServer(("127.0.0.1", 0), _Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        return self.server.server_address[1], certificate

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/there" else 404)
        self.end_headers()
        self.wfile.write(BODY if self.path == "/there" else b"")

    def log_message(self, *_):
        pass


def test_what_two_sources_make_is_refused_with_both_of_their_names():
    """As upstream's own Dex would, or a namespace of somebody who is in the list, in another version too."""
    ana = make("v1", "Namespace", "ana")
    dex = [make("v1", "Namespace", "auth"), make("apps/v1beta2", "Deployment", "dex", "auth")]
    shared = make("v1", "ConfigMap", "shared")
    stack = incluster_stack.settings()
    manifests = {
        "calico": (shared,),
        "kubeflow": (*dex, ana, {**shared, "metadata": {"name": "shared", "namespace": "default"}}),
    }
    with pytest.raises(ManifestError) as refused:
        check_objects(stack, manifests)
    kubeflow = (
        "by kubeflow (sandbox/manifests/kubeflow.yaml); fix: a file without it as kubepark:manifests.kubeflow"
    )
    assert list(refused.value.problems) == [
        f"Namespace auth is made by the program (Dex) and {kubeflow}",
        f"Deployment auth/dex is made by the program (Dex) and {kubeflow}",
        f"Namespace ana is made by the program (kubepark:people) and {kubeflow}",
        f"ConfigMap default/shared is made by calico and {kubeflow}",
    ]
    others = {"kubeflow": (make("v1", "ConfigMap", "dex", "other"), make("v1", "Namespace", "other"))}
    check_objects(stack, others)
    check_objects(stack, load_all(stack.manifests))


def test_one_object_from_two_sources_registers_nothing(monkeypatch):
    auth = {"kubeflow": (make("v1", "Namespace", "auth"),)}
    monkeypatch.setattr(preflight, "load_all", lambda *given, **more: {**load_all(*given, **more), **auth})
    refused = run()
    assert "Namespace auth is made by the program (Dex) and by kubeflow" in str(refused.error)
    assert all("pulumi:pulumi:Stack" in urn for urn in refused.urns)

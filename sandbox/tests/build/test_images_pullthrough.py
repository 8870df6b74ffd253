"""Images that the catalogue does not have are pulled through from a registry: here a strict one on loopback."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import urllib3
from werkzeug.test import Client

from sandbox.build.images.catalogue import Catalogue
from sandbox.build.images.oci import MANIFEST_TYPE, Files, Start, Store
from sandbox.build.images.pulled import Cache
from sandbox.build.images.pullthrough import PullThrough
from sandbox.build.images.registry import Registry
from sandbox.build.images.upstream import MANIFEST_TYPES, Upstream
from sandbox.tests.build.upstream_registry import lines, pull, served

GIB = 1 << 30
APP = "team/app"
MANIFEST = "/v2/team/app/manifests/{}?ns={}"
BLOB = "/v2/team/app/blobs/{}?ns={}"


@pytest.fixture
def add(upstream, store, tmp_path):
    """Adds an image whose one file has this text, with the tag 1. Gives its digest."""

    def added(text="one"):
        file = tmp_path / "file"
        file.write_text(text)
        return upstream.add(APP, "1", store, store.pack(Files({"/file": file}), Start(("/file",))))

    return added


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "pulled", GIB)


@pytest.fixture
def registry(cache, tmp_path):
    """As a sandbox that has just started has it: nothing in memory."""
    made = Catalogue(Store(tmp_path / "catalogue"), {})
    return Registry(made, PullThrough(cache, Upstream()), tmp_path / "registry.jsonl")


def later(registry):
    """The same registry in the next process."""
    made = PullThrough(registry.elsewhere._cache, Upstream())
    return Client(Registry(registry.catalogue, made, registry.log))


def said(answer):
    (error,) = answer.json["errors"]
    return error["message"]


def test_what_was_pulled_once_costs_one_look_at_its_tag_which_may_have_moved(registry, upstream, host, add):
    first = add()
    assert pull(Client(registry), host) == first
    assert [path for _, path in upstream.asked].count("/token") == 1, "kept in memory"
    upstream.asked.clear()
    client = later(registry)
    assert pull(client, host) == first
    tag = "/v2/team/app/manifests/1"
    assert upstream.asked == [("GET", "/v2/"), ("HEAD", tag), ("GET", "/token"), ("HEAD", tag)]
    second = add("two")
    assert second != first
    assert pull(client, host) == second


@pytest.mark.parametrize("status", [429, 503, None])
def test_a_tag_is_what_it_was_last_where_its_registry_does_not_answer(registry, upstream, add, status):
    serving, host = served(upstream)
    digest = add()
    pull(Client(registry), host)
    upstream.status = status or 0
    if not status:
        serving.close()
    assert pull(later(registry), host) == digest
    line = next(line for line in lines(registry)[::-1] if line["reference"] == "1")
    assert line["status"] == 200
    why = f"answers {status}" if status else "does not answer here: "
    assert line["message"].startswith("as it was last: ")
    assert f"{host} {why}" in line["message"]
    serving.close()


def test_an_index_and_what_it_names_are_served_by_digest(client, upstream, host, store, add):
    """Without the media type in the index, which the specification lets it lack."""
    digest = add()
    entry = {"mediaType": MANIFEST_TYPE, "digest": digest, "size": store.path(digest).stat().st_size}
    content = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    upstream.manifests[APP, "2"] = upstream.put(APP, content, MANIFEST_TYPES[0])
    found = client.get(MANIFEST.format("2", host))
    assert (found.data, found.content_type) == (content, MANIFEST_TYPES[0])
    assert client.get(MANIFEST.format(digest, host)).content_type == MANIFEST_TYPE


def test_a_registry_that_does_not_say_the_digest_is_asked_for_the_content(client, upstream, host, add):
    upstream.says_digest = False
    digest = add()
    assert pull(client, host) == digest


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("team/app", "answers 404: 9 unknown to registry.test"),
        ("team/private", "gives no token: 403: only members pull from here"),
    ],
)
def test_a_refusal_has_the_registrys_own_words_and_is_remembered(client, registry, upstream, host, name, why):
    path = f"/v2/{name}/manifests/9?ns={host}"
    assert client.head(path).status_code == 403
    asked = len(upstream.asked)
    answer = client.get(path)
    assert (answer.status_code, answer.json["errors"][0]["code"]) == (403, "DENIED")
    assert said(answer).startswith(f"{host}/{name}:9: {host} {why}; the sandbox itself has ")
    assert lines(registry)[-1]["message"] == said(answer)
    assert len(upstream.asked) == asked, "a client that asks again does not make us ask again"


def test_what_no_manifest_is_is_refused(client, upstream, host):
    page = upstream.put(APP, b"<html>please log in</html>", MANIFEST_TYPE)
    upstream.manifests[APP, "1"] = page
    for reference in ("1", page):
        answer = client.get(MANIFEST.format(reference, host))
        assert answer.status_code == 403
        assert "what its registry gives is no manifest that containerd knows" in said(answer)


@pytest.mark.parametrize(
    "path", ["/v2/team/APP/manifests/1", "/v2/team/../app/manifests/1", "/v2/a/manifests/-"]
)
def test_what_can_be_no_name_is_not_asked_for(client, upstream, host, path):
    answer = client.get(f"{path}?ns={host}")
    assert answer.status_code == 403
    assert "not the name of an image" in said(answer)
    assert upstream.asked == []


def test_a_head_of_a_blob_says_its_size_and_fetches_nothing(client, cache, upstream, host):
    digest = upstream.put(APP, b"content", "application/octet-stream")
    upstream.contents[APP, digest].length = None
    assert "Content-Length" not in client.head(BLOB.format(digest, host)).headers, "its registry does not say"
    upstream.contents[APP, digest].length = 7
    for _ in "before", "after it was pulled":
        head = client.head(BLOB.format(digest, host))
        assert (head.status_code, head.headers["Content-Length"], head.data) == (200, "7", b"")
    assert ("GET", f"/v2/team/app/blobs/{digest}") not in upstream.asked
    assert client.get(BLOB.format(digest, host)).data == b"content"
    asked = len(upstream.asked)
    assert client.head(BLOB.format(digest, host)).headers["Content-Length"] == "7"
    assert len(upstream.asked) == asked


@pytest.fixture
def node(registry):
    """A real connection to the registry, for what goes on while an answer is under way."""
    serving, address = served(registry)
    with urllib3.PoolManager(maxsize=8) as pool:
        yield lambda path: pool.request(
            "GET", f"http://{address}{path}", preload_content=False, retries=False
        )
    serving.close()


def kept(cache):
    return [path for path in cache.folder.rglob("*") if path.is_file() and path.name != "lock"]


BIG = bytes(range(256)) * 8192  # two chunks and more for each half


def test_nodes_that_pull_at_once_get_a_blob_as_it_arrives_and_it_is_fetched_once(node, cache, upstream, host):
    digest = upstream.put(APP, BIG, "application/octet-stream")
    upstream.gate = threading.Event()
    answers = [node(BLOB.format(digest, host)) for _ in range(4)]
    begun = [answer.read(len(BIG) // 4) for answer in answers]
    assert begun == [BIG[: len(BIG) // 4]] * 4, "long before the registry has sent the rest"
    Cache(cache.folder, 0).trim()  # by another sandbox, which wants the room
    upstream.gate.set()
    with ThreadPoolExecutor() as threads:
        rests = list(threads.map(lambda answer: answer.read(), answers))
    assert rests == [BIG[len(BIG) // 4 :]] * 4
    assert upstream.asked.count(("GET", f"/v2/team/app/blobs/{digest}")) == 2, "without a token, and with one"
    assert kept(cache) == [cache.path(digest)]


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (BIG[:-1], "stopped answering: IncompleteRead({} bytes read, 1 more expected)"),
        (BIG[:-1] + b"x", "is something else"),
    ],
)
def test_a_blob_that_is_cut_or_wrong_is_an_error_and_nothing_of_it_stays(
    node, cache, upstream, host, sent, why
):
    digest = upstream.put(APP, BIG, "application/octet-stream")
    upstream.contents[APP, digest].sent = sent
    upstream.gate = threading.Event()
    begun = node(BLOB.format(digest, host))
    assert begun.status == 200, "its first half has arrived"
    upstream.gate.set()
    with pytest.raises(urllib3.exceptions.ProtocolError, match="IncompleteRead"):
        begun.read()
    again = node(BLOB.format(digest, host))
    assert again.status == 502, "containerd opens it again, and shows why not"
    assert why.format(len(BIG) - 1) in json.loads(again.read())["errors"][0]["message"]
    assert kept(cache) == []


def test_a_manifest_that_is_not_what_its_digest_says_is_refused(client, cache, upstream, host, add):
    digest = add()
    content = upstream.contents[APP, digest].sent
    upstream.contents[APP, digest].sent = content.replace(b"v1+json", b"v2+json")
    answer = client.get(MANIFEST.format("1", host))
    assert answer.status_code == 403
    assert f"what came as {digest} is something else" in said(answer)
    assert digest not in {f"sha256:{path.name}" for path in kept(cache)}


def test_a_blob_larger_than_the_limit_is_refused_with_the_way_to_raise_it(client, cache, upstream, host):
    cache.limit = 100
    digest = upstream.put(APP, BIG, "application/octet-stream")
    answer = client.get(BLOB.format(digest, host))
    assert answer.status_code == 502
    assert said(answer) == f"{digest} has {len(BIG)} bytes or more; 100 are taken (KUBEPARK_IMAGES_LIMIT)"
    assert kept(cache) == []


def test_a_disk_that_takes_no_more_is_an_error_and_nothing_stays(client, cache, upstream, host, monkeypatch):
    digest = upstream.put(APP, BIG, "application/octet-stream")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "keep", full)
    with pytest.raises(ConnectionError):
        _ = client.get(BLOB.format(digest, host)).data
    assert (
        said(client.get(BLOB.format(digest, host))) == f"{digest} cannot be stored: No space left on device"
    )
    assert kept(cache) == []

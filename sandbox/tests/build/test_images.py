"""Images are packed alike from the same files, and the registry serves those of the catalogue by itself.

Small scripts stand for the built programs, and a fake kubeadm says which tags it wants. That the real
containerd pulls the real images is in sandbox/tests/nodes/test_images_pull.py.
"""

from __future__ import annotations

import json
import os
import tarfile

import pytest

from config.versions import DEVICE_PLUGIN_IMAGE, DEX_IMAGE, VECTOR_ADD_IMAGE
from sandbox.build.gomodules import MODULES, REAL_NODE_MODULES, plan
from sandbox.build.images import catalogue as catalogues
from sandbox.build.images.catalogue import COREDNS, IMAGES, pack
from sandbox.build.images.oci import LAYER_TYPE, MANIFEST_TYPE, Files, Start, Store
from sandbox.build.images.pulled import Cache
from sandbox.build.images.pullthrough import PullThrough
from sandbox.build.images.registry import Registry, hosts_toml
from sandbox.build.images.upstream import Upstream
from sandbox.errors import SandboxError
from sandbox.tests.build.upstream_registry import digest_of, lines, pull
from sandbox.tests.tools import executable

START = Start(("/bin/one",), {"HOME": "/"}, user="7")


@pytest.fixture
def files(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("#!/bin/sh\n")
    one.chmod(0o700)
    two.write_text("text\n")
    return Files({"/usr/lib/two": two, "/bin/one": one}, {"/bin/same": "one"})


def blob(store, digest):
    data = store.path(digest).read_bytes()
    assert digest_of(data) == digest
    return data


def parts(store, packed):
    manifest = json.loads(blob(store, packed.digest))
    return manifest, json.loads(blob(store, manifest["config"]["digest"])), manifest["layers"][0]


def test_an_image_is_what_the_specification_says_without_a_trace_of_the_machine(store, files):
    packed = store.pack(files, START)
    manifest, config, layer = parts(store, packed)
    assert (manifest["mediaType"], manifest["schemaVersion"]) == (MANIFEST_TYPE, 2)
    assert (layer["mediaType"], layer["size"]) == (LAYER_TYPE, len(blob(store, layer["digest"])))
    assert config["rootfs"] == {"type": "layers", "diff_ids": [layer["digest"]]}
    assert (config["config"]["Entrypoint"], config["config"]["User"]) == (["/bin/one"], "7")
    path, home = config["config"]["Env"]
    assert (path.startswith("PATH="), home) == (True, "HOME=/")
    assert set(packed.blobs) == {packed.digest, manifest["config"]["digest"], layer["digest"]}
    with tarfile.open(store.path(layer["digest"])) as archive:
        members = {item.name: item for item in archive}
        assert archive.extractfile("usr/lib/two").read() == b"text\n"
    assert {name: item.mode for name, item in members.items()} == {
        "tmp": 0o1777, "bin": 0o755, "usr": 0o755, "usr/lib": 0o755,
        "bin/one": 0o755, "usr/lib/two": 0o644, "bin/same": 0o777,
    }  # fmt: skip
    assert members["bin/same"].linkname == "one"
    assert {(item.uid, item.gid, item.uname, item.gname, item.mtime) for item in members.values()} == {
        (0, 0, "", "", 0)
    }


def test_the_same_content_is_the_same_image_whatever_its_order_and_age(tmp_path, store, files):
    first = store.pack(files, START)
    for source in files.copies.values():
        os.utime(source, (1, 1))
    turned = Files(dict(reversed(files.copies.items())), files.links)
    assert Store(tmp_path / "second").pack(turned, START) == first


def test_a_layer_is_made_once_and_again_when_it_was_lost_or_a_file_changes(store, files):
    with pytest.raises(IsADirectoryError):
        store.pack(Files({"/half": store.folder}), START)
    (half,) = store.path("sha256:").iterdir()  # as one that was killed leaves it
    first = store.pack(files, START)
    assert not half.exists()
    _, _, layer = parts(store, first)
    made = store.path(layer["digest"]).stat()
    assert store.pack(files, START) == first
    assert store.path(layer["digest"]).stat().st_ino == made.st_ino
    for digest in first.blobs:
        store.path(digest).unlink()
    assert store.pack(files, START) == first
    for digest in first.blobs:
        blob(store, digest)
    files.copies["/usr/lib/two"].write_text("other text\n")
    assert store.pack(files, START).digest != first.digest


def kubeadm_tags(coredns=None):
    kubernetes = plan(MODULES["kubernetes"]).version
    names = [image.repository for image in IMAGES if image.tag is None]
    special = {COREDNS: coredns or plan(MODULES["coredns"]).version}
    return "\n".join(f"{name}:{special.get(name, kubernetes)}" for name in names)


def fake_kubeadm(path, does):
    wanted = f"config images list --kubernetes-version {plan(MODULES['kubernetes']).version}"
    executable(path, f'#!/bin/sh\n[ "$*" = "{wanted}" ] || exit 9\n{does}\n')


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Everything that images are made from, but iptables."""
    folder = tmp_path / "programs"
    names = {name for image in IMAGES for name in image.programs.values()}
    for name in names:
        executable(folder / name, f"#!/bin/sh\necho {name}\n")
    fake_kubeadm(folder / "kubeadm", f"echo '{kubeadm_tags()}'")
    monkeypatch.setattr(catalogues, "iptables", lambda cache: Files())
    return {name: folder / name for name in (*names, "kubeadm")}


@pytest.fixture
def catalogue(programs, tmp_path):
    return pack(programs, tmp_path / "cache")


def test_the_program_finds_every_image_that_it_names(catalogue):
    wanted = {DEX_IMAGE, DEVICE_PLUGIN_IMAGE, VECTOR_ADD_IMAGE, *kubeadm_tags().split()}
    assert wanted <= set(catalogue.packed)


def test_what_images_hold_is_built_by_the_modules_of_real_nodes():
    modules = ("kubernetes", "etcd", *REAL_NODE_MODULES)
    built = {name for module in modules for name in plan(MODULES[module]).packages}
    assert {name for image in IMAGES for name in image.programs.values()} <= built


def test_a_program_that_was_not_built_is_named(programs, tmp_path):
    del programs["dex"], programs["coredns"]
    with pytest.raises(SandboxError, match=r"^images need programs that were not built: coredns, dex$"):
        pack(programs, tmp_path)


@pytest.mark.parametrize(
    ("does", "words"),
    [
        (f"echo '{kubeadm_tags()}\nk8s.io/new:v1'", r"catalogue of images differ: k8s\.io/new$"),
        (f"echo '{kubeadm_tags('v9.9')}'", r"wants CoreDNS v9\.9, and sandbox/build/tools/coredns is v1\."),
        ("echo 'could not parse' >&2; exit 1", r"config images list .*: exit 1: could not parse"),
    ],
)
def test_a_kubeadm_that_wants_other_images_is_refused(programs, tmp_path, does, words):
    fake_kubeadm(programs["kubeadm"], does)
    with pytest.raises(SandboxError, match=words):
        pack(programs, tmp_path)


@pytest.fixture
def registry(catalogue, tmp_path, monkeypatch):
    """No other registry answers here."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    elsewhere = PullThrough(Cache(tmp_path / "pulled", 1 << 30), Upstream())
    return Registry(catalogue, elsewhere, tmp_path / "registry.jsonl")


def test_a_pull_by_tag_gets_every_part(client, registry, catalogue):
    digest = pull(client, "ghcr.io", "dexidp/dex", "v2.45.1")
    assert [(line["method"], line["name"], line["status"]) for line in lines(registry)] == [
        ("HEAD", "ghcr.io/dexidp/dex", 200), *[("GET", "ghcr.io/dexidp/dex", 200)] * 3,
    ]  # fmt: skip
    assert [line["reference"] for line in lines(registry)[:2]] == ["v2.45.1", digest]
    for blob, media_type in catalogue.packed[DEX].blobs.items():
        kind = "manifests" if blob == digest else "blobs"
        assert client.head(f"/v2/dexidp/dex/{kind}/{blob}?ns=ghcr.io").content_type == media_type


DEX = "ghcr.io/dexidp/dex:v2.45.1"
USEFUL = f"{DEX}, kubepark.local/probe:1, nvcr.io/nvidia/k8s-device-plugin:v0.20.0, "


@pytest.mark.parametrize(
    ("path", "image", "why", "known"),
    [
        ("/v2/dexidp/dex/manifests/v2.45.0?ns=ghcr.io", "ghcr.io/dexidp/dex:v2.45.0", "ghcr.io", DEX),
        ("/v2/dexidp/dex/manifests/v2.45.1?ns=docker.io", "docker.io/dexidp/dex:v2.45.1", "registry-1.docker.io", USEFUL),
        (f"/v2/dexidp/dex/manifests/sha256:{'0' * 64}?ns=ghcr.io", f"ghcr.io/dexidp/dex@sha256:{'0' * 64}", "ghcr.io", DEX),
        ("/v2/dexidp/dex/manifests/v2.45.1", "dexidp/dex:v2.45.1", "", USEFUL),
        ("/v2/probe/manifests/2?ns=kubepark.local", "kubepark.local/probe:2", "", "kubepark.local/probe:1"),
    ],
)  # fmt: skip
def test_an_unknown_image_is_refused_with_the_reason_and_those_there_are(
    client, registry, path, image, why, known
):
    answer = client.get(path)
    assert answer.status_code == 403, "the one status of which containerd shows the message"
    (error,) = answer.json["errors"]
    assert error["code"] == "DENIED"
    reason = f"{why} does not answer here: " if why else "not an image of the sandbox; "
    assert error["message"].startswith(f"{image}: {reason}")
    assert f"; the sandbox itself has {known}" in error["message"]
    assert len(error["message"]) < 500
    assert lines(registry)[-1]["message"] == error["message"]
    assert client.head(path).status_code == 403


def test_an_image_is_not_found_by_the_digest_of_another(client, catalogue):
    other = catalogue.packed["kubepark.local/probe:1"]
    assert client.get(f"/v2/dexidp/dex/manifests/{other.digest}?ns=ghcr.io").status_code == 403
    for digest in other.blobs:
        answer = client.get(f"/v2/dexidp/dex/blobs/{digest}?ns=ghcr.io")
        assert (answer.status_code, answer.json["errors"][0]["code"]) == (502, "UNKNOWN")
        assert client.get(f"/v2/dexidp/blobs/{digest}?ns=kubepark.local").status_code == 404
        assert client.get(f"/v2/probe/blobs/{digest}?ns=kubepark.local").status_code == 200


def test_what_stands_in_is_left_to_its_registry_if_that_has_it(programs, tmp_path, catalogue):
    stand_ins = {
        "registry.k8s.io/pause", "nvcr.io/nvidia/k8s-device-plugin", "nvcr.io/nvidia/k8s/cuda-sample",
    }  # fmt: skip
    left = set(catalogue.packed) - set(pack(programs, tmp_path / "cache", "upstream").packed)
    assert {reference.rpartition(":")[0] for reference in left} == stand_ins
    operator = {"quay.io/tigera/operator"}
    assert {image.repository for image in IMAGES if image.stands_in} == stand_ins | operator


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v2/dexidp/dex/blobs/sha256:../../../../etc/passwd?ns=ghcr.io", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/dexidp/dex/blobs/sha256:..%2f..%2flock?ns=ghcr.io", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/dexidp/dex/blobs/latest?ns=ghcr.io", 404, "BLOB_UNKNOWN"),
        ("GET", "/v1/", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/dexidp/dex/tags/list", 404, "NAME_UNKNOWN"),
        ("POST", "/v2/dexidp/dex/manifests/v2.45.1?ns=ghcr.io", 405, "UNSUPPORTED"),
        ("DELETE", "/v2/dexidp/dex/manifests/v2.45.1?ns=ghcr.io", 405, "UNSUPPORTED"),
    ],
)
def test_nothing_else_is_served_and_nothing_can_be_pushed(client, registry, method, path, status, code):
    answer = client.open(path, method=method)
    assert (answer.status_code, answer.json["errors"][0]["code"]) == (status, code)
    assert lines(registry)[-1]["status"] == status
    assert client.get("/v2/").headers["Docker-Distribution-API-Version"] == "registry/2.0"


def test_the_mirror_setting_has_no_way_around_it():
    server, _, host, capabilities = hosts_toml("http://127.0.0.1:5000").splitlines()
    assert (server, host) == ('server = "http://127.0.0.1:5000"', '[host."http://127.0.0.1:5000"]')
    assert capabilities == '  capabilities = ["pull", "resolve"]'

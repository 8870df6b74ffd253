"""Programs as their projects publish them: what is taken, what is refused, and what is done instead."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from dataclasses import replace

import pytest

from sandbox.build import obtain
from sandbox.build.download import DownloadError, fetch
from sandbox.build.gomodules import MODULES, plan
from sandbox.build.obtain import programs
from sandbox.build.releases import RELEASES, assets, checksum
from sandbox.tests.build.publishers import ETCD_FILE, content, pack, read

MODULES_WITH_RELEASES = sorted(RELEASES)
ETCD, KUBERNETES = plan(MODULES["etcd"]), plan(MODULES["kubernetes"])


@pytest.fixture
def built(monkeypatch):
    """What would be built: a `go build` is another test's matter."""
    seen = []

    def build(item, staged, cache, source, commands, report):
        seen.append(item.module)
        (staged / "bin").mkdir(parents=True)
        for name in item.packages:
            (staged / "bin" / name).write_text("built")

    monkeypatch.setattr(obtain, "build", build)
    return seen


def get(names, cache):
    items = [plan(MODULES[name]) for name in names]
    obtain.obtain(items, [], cache)
    return {
        name: folder / name for item in items for folder in [programs(item, cache)] for name in item.packages
    }


def test_every_release_is_of_a_module_that_can_be_built_as_well():
    assert set(RELEASES) <= set(MODULES)
    left = {"dex", "kwok", "pulumi-aws", "standins"}
    assert set(MODULES) - set(RELEASES) == left, "an image alone, without checksums, and put together here"


@pytest.mark.parametrize(("machine", "arch"), [("x86_64", "amd64"), ("aarch64", "arm64")])
def test_addresses_have_the_pinned_version_and_the_machines_architecture(machine, arch):
    found = {name: assets(plan(MODULES[name]), RELEASES[name], machine) for name in RELEASES}
    assert [asset.url for asset in found["kubernetes"]] == [
        f"https://dl.k8s.io/release/{KUBERNETES.version}/bin/linux/{arch}/{name}"
        for name in KUBERNETES.packages
    ]
    (etcd,) = found["etcd"]
    folder = f"https://github.com/etcd-io/etcd/releases/download/{ETCD.version}"
    assert etcd.url == f"{folder}/etcd-{ETCD.version}-linux-{arch}.tar.gz"
    assert etcd.checksums == f"{folder}/SHA256SUMS"
    (pulumi,) = found["pulumi"]
    version = plan(MODULES["pulumi"]).version
    assert pulumi.name == f"pulumi-{version}-linux-{'x64' if arch == 'amd64' else arch}.tar.gz"


def test_all_are_downloaded_and_nothing_is_built(hosts, cache, built, capsys):
    elsewhere = "https://dl.k8s.io/elsewhere"  # as GitHub redirects to another host
    hosts.redirects[ETCD_FILE.url], hosts.files[elsewhere] = elsewhere, hosts.files.pop(ETCD_FILE.url)
    found = get(MODULES_WITH_RELEASES, cache)
    assert built == []
    for name in MODULES_WITH_RELEASES:
        for program in plan(MODULES[name]).packages:
            assert found[program].read_bytes() == content(plan(MODULES[name]))[program]
            assert os.access(found[program], os.X_OK)
    assert (found["pulumi"].parent / "beside").exists(), "its language host lies beside it"
    assert list(cache.glob(".*")) == []
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("first run: downloading actionlint, cni, ")
    assert sum(bool(re.match(r"\[ 0:\d\d\] downloaded ", line)) for line in lines) == len(RELEASES)
    hosts.asked.clear()
    assert get(MODULES_WITH_RELEASES, cache) == found
    assert hosts.asked == [], "what is there is not asked for again"


def test_what_nobody_publishes_is_built_and_all_where_that_is_asked_for(hosts, cache, built, monkeypatch):
    found = get(["etcd", "standins"], cache)
    assert built == ["standins"]
    assert found["etcd"].read_bytes() != b"built"
    hosts.asked.clear()
    monkeypatch.setenv("KUBEPARK_BUILD", "1")
    get(["crictl"], cache)
    assert built == ["standins", "crictl"]
    assert hosts.asked == []


MISPLACED = read(pack(replace(ETCD_FILE, members={"etcd": "elsewhere/etcd"}), content(ETCD)))
SUM_OF_IT = hashlib.sha256(MISPLACED).hexdigest().encode()


@pytest.mark.parametrize(
    ("what", "change", "words"),
    [
        ("files", {ETCD_FILE.url: b"something else"}, f"{ETCD_FILE.url}: its SHA-256 is "),
        ("files", {ETCD_FILE.url: MISPLACED, ETCD_FILE.checksums: SUM_OF_IT}, "does not hold etcd-"),
        ("cut", {ETCD_FILE.url: 40}, "stopped answering: IncompleteRead(40 bytes read, "),
        ("files", {ETCD_FILE.url: None}, f"{ETCD_FILE.url}: 404"),
        ("files", {ETCD_FILE.checksums: None}, f"{ETCD_FILE.checksums}: 404"),
        ("files", {ETCD_FILE.checksums: b"no sums today\n"}, "names no SHA-256 of"),
        ("redirects", {ETCD_FILE.url: "http://github.com/x"}, "is not https"),
    ],
)
def test_what_goes_wrong_is_said_and_nothing_is_kept(hosts, cache, built, capsys, what, change, words):
    getattr(hosts, what).update(change)
    found = get(["etcd"], cache)
    assert found["etcd"].read_bytes() == b"built"
    assert built == ["etcd"]
    assert list(cache.glob(".*")) == []
    error = capsys.readouterr().err
    assert words in error
    assert error.count("building etcd instead") == 1


def test_a_host_that_does_not_answer_is_given_up_in_seconds(hosts, cache, built, capsys):
    hosts.silent.add("dl.k8s.io")
    begin = time.monotonic()
    get(["etcd", "kubernetes"], cache)
    assert time.monotonic() - begin < 5
    assert built == ["kubernetes"]
    assert "dl.k8s.io does not answer here: " in capsys.readouterr().err


def test_what_was_built_or_downloaded_stays_whoever_answers_later(hosts, cache, built):
    hosts.refused.add("github.com")
    offline = get(["etcd"], cache)
    hosts.refused.clear()
    hosts.asked.clear()
    online = get(["etcd", "crictl"], cache)
    assert all("cri-tools" in line for line in hosts.asked)
    hosts.refused.add("github.com")
    found = get(["etcd", "crictl", "cni"], cache)
    assert found.items() >= {**online, **offline}.items()
    assert built == ["etcd", "cni"]


SUM = "a" * 64


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SUM, SUM),
        (f"{SUM}\n", SUM),
        (f"{'b' * 64}  other.tar.gz\n{SUM}  file.tar.gz\n", SUM),
        (f"--BEGIN PGP SIGNED MESSAGE--\nHash: SHA256\n\n{SUM} *file.tar.gz\n--BEGIN PGP SIGNATURE--\n", SUM),
        (f"{SUM}  ./file.tar.gz\n", SUM),
        ("", None),
        ("a" * 63, None),
        (f"{SUM}  file.tar.gz.asc", None),
        (f"{SUM}x  file.tar.gz", None),
        ("<html>", None),
    ],
)
def test_checksums_as_projects_write_them(text, found):
    assert checksum(text, "file.tar.gz") == found


def test_stopping_ends_a_download(hosts, cache):
    cache.mkdir()
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(DownloadError, match="stopped"):
        fetch(ETCD_FILE, cache, lambda share: None, stopped)

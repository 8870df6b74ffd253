"""What was pulled lies on disk: whole, within a limit, and shared by processes that may be killed."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys

import pytest

from sandbox.build.images.pulled import Cache, limit
from sandbox.build.usage import human, lines
from sandbox.errors import SandboxError

TAG = "docker.io/library/nginx:1"


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "pulled", 3000)


def put(cache, letter, size=1000, age=0.0):
    """A blob of this size, last used so many seconds ago."""
    content = letter.encode() * size
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    with cache.receive(size) as file:
        file.write(content)
        cache.keep(file, digest)
    if age:
        used = cache.path(digest).stat().st_mtime - age
        os.utime(cache.path(digest), (used, used))
    return digest


def there(cache, *digests):
    return [cache.path(digest).exists() for digest in digests]


def test_what_was_used_longest_ago_makes_room(cache):
    old, older, new = put(cache, "a", age=20), put(cache, "b", age=30), put(cache, "c", age=10)
    assert there(cache, old, older, new) == [True, True, True]
    with cache.open(older):
        pass  # which makes it the youngest
    newest = put(cache, "d")
    assert there(cache, old, older, new, newest) == [False, True, True, True]
    cache.limit = 1000
    cache.trim()
    assert there(cache, older, new, newest) == [False, False, True]


def test_what_is_being_served_stays_whoever_makes_room(cache):
    served, other = put(cache, "a", age=30), put(cache, "b", age=20)
    another = Cache(cache.folder, 1000)  # of another sandbox
    with cache.open(served) as file:
        another.trim()
        assert there(cache, served, other) == [True, False]
        assert file.read() == b"a" * 1000
    another.limit = 0
    another.trim()
    assert there(cache, served) == [False]


def test_what_is_on_its_way_counts_and_stays(cache):
    first, second = put(cache, "a", age=30), put(cache, "b", age=20)
    with cache.receive(1500) as file:
        assert there(cache, first, second) == [False, True]
        file.write(b"half")
        Cache(cache.folder, 0).trim()
        assert os.path.exists(file.name)  # noqa: PTH110
        assert there(cache, second) == [False]


KILLED = """
import os, signal, sys
from pathlib import Path
from sandbox.build.images.pulled import Cache
with Cache(Path(sys.argv[1]), 3000).receive(2000) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next(cache):
    done = subprocess.run([sys.executable, "-c", KILLED, cache.folder], timeout=30, check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = (cache.folder / "incoming").iterdir()
    assert left.stat().st_size == 2000
    digest = put(cache, "a", 2500)
    assert not left.exists()
    assert there(cache, digest) == [True]


def test_the_last_digest_of_a_tag_is_remembered(cache):
    assert (cache.tagged(TAG), cache.has_tag("docker.io/library/nginx")) == (None, False)
    for digest in ("sha256:1", "sha256:2"):
        cache.tag(TAG, digest)
        assert Cache(cache.folder, 0).tagged(TAG) == digest
    cache.tag("docker.io/library/nginx/extras:1", "sha256:3")
    assert cache.tagged(TAG) == "sha256:2"
    assert cache.has_tag("docker.io/library/nginx")
    assert not cache.has_tag("docker.io/library/ngin")


@pytest.mark.parametrize(
    ("given", "size"), [("", 10 << 30), ("1GiB", 1 << 30), ("2.5 GiB", 5 << 29), ("1TiB", 1 << 40)]
)
def test_the_limit_is_a_size_with_a_unit(monkeypatch, given, size):
    monkeypatch.setenv("KUBEPARK_IMAGES_LIMIT", given)
    assert limit() == size


@pytest.mark.parametrize("given", ["10", "10GB", "0GiB", "0.5GiB", "-1GiB", "ten GiB", "1e3GiB"])
def test_another_limit_is_refused_with_one_that_works(monkeypatch, given):
    monkeypatch.setenv("KUBEPARK_IMAGES_LIMIT", given)
    with pytest.raises(SandboxError) as caught:
        limit()
    said, _, fix = str(caught.value).partition("; fix: export KUBEPARK_IMAGES_LIMIT=")
    assert said == (
        f'KUBEPARK_IMAGES_LIMIT: "{given}" is not a size for pulled images; accepted: a number of GiB or TiB, '
        "1GiB or more"
    )
    monkeypatch.setenv("KUBEPARK_IMAGES_LIMIT", fix)
    assert limit() == 10 << 30


def test_what_stays_in_the_cache_is_told_with_the_command_that_removes_it(tmp_path):
    cache = tmp_path / "with space"
    assert list(lines(cache)) == []
    for name, size in (
        ("tools/etcd-1/bin/etcd", 3 << 20),
        ("tools/images/blobs/1", 2 << 20),
        ("tools/pulled/1", 1 << 20),
    ):
        path = cache / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * size)
    (cache / "tools/etcd").hardlink_to(cache / "tools/etcd-1/bin/etcd")
    first, second = lines(cache)
    assert first == f"{cache} stays, 6 MiB: tools 3 MiB, images 2 MiB, pulled images 1 MiB"
    assert second.endswith(f": rm -rf '{cache}'")
    subprocess.run(["sh", "-c", second.rpartition("): ")[2]], check=True)
    assert not cache.exists()
    assert [human(size) for size in (0, 1023, 1536, 3 << 29)] == ["0 B", "1023 B", "2 KiB", "1.5 GiB"]

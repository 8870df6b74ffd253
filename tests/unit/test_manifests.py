"""`kubepark manifests lock`: what it writes, what it prints, and that a failure changes nothing."""

from __future__ import annotations

import hashlib

import pytest
from typer.testing import CliRunner

from cli import manifests
from cli.manifests import lock, upstream_urls
from config.manifest_lock import FetchError, ManifestError, read_pins
from config.versions import RELEASES

CONTENT = {"https://a.example/one.yaml": b"one", "https://a.example/two.yaml": b"two"}


def sha256(body):
    return hashlib.sha256(body).hexdigest()


def away(url):
    raise FetchError(f"{url}: no route")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "manifests.lock.yaml"


def test_a_first_lock_pins_every_url(path):
    one, two = CONTENT
    assert lock(path, CONTENT, CONTENT.__getitem__) == [
        f"pinned  {one} {sha256(b'one')}",
        f"pinned  {two} {sha256(b'two')}",
    ]
    assert read_pins(path) == {one: sha256(b"one"), two: sha256(b"two")}


def test_a_second_lock_changes_nothing_not_even_the_file(path):
    lock(path, CONTENT, CONTENT.__getitem__)
    before = path.stat().st_mtime_ns
    assert lock(path, CONTENT, CONTENT.__getitem__) == []
    assert path.stat().st_mtime_ns == before


def test_an_empty_pin_is_filled_a_changed_one_shown_and_an_unused_one_dropped(path):
    one, two = CONTENT
    old = sha256(b"old")
    path.write_text(f'sha256:\n  {one}: ""\n  {two}: {old}\n  https://gone.example/: {old}\n')
    assert lock(path, CONTENT, CONTENT.__getitem__) == [
        f"pinned  {one} {sha256(b'one')}",
        f"CHANGED {two} {old} -> {sha256(b'two')}",
        "dropped https://gone.example/",
    ]
    assert set(read_pins(path)) == set(CONTENT)


def test_offline_is_one_error_and_the_file_stays(path):
    lock(path, CONTENT, CONTENT.__getitem__)
    before = path.read_bytes()
    with pytest.raises(ManifestError) as caught:
        lock(path, CONTENT, away)
    assert str(caught.value) == (
        "the manifests have 2 problems; nothing was changed:\n"
        "  - cannot be fetched: https://a.example/one.yaml: no route\n"
        "  - cannot be fetched: https://a.example/two.yaml: no route"
    )
    assert path.read_bytes() == before


def test_the_command_prints_an_error_without_traceback(monkeypatch, tmp_path):
    monkeypatch.setattr(manifests, "ROOT", tmp_path)
    monkeypatch.setattr(manifests, "fetch", away)
    result = CliRunner().invoke(manifests.app, ["lock"])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the manifests have 2 problems; nothing was changed:\n")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_the_lock_file_of_the_project(monkeypatch, tmp_path):
    monkeypatch.setattr(manifests, "ROOT", tmp_path)
    monkeypatch.setattr(manifests, "fetch", lambda url: url.encode())
    result = CliRunner().invoke(manifests.app, ["lock"])
    assert result.exit_code == 0
    assert read_pins(tmp_path / "manifests.lock.yaml") == {
        url: sha256(url.encode()) for url in upstream_urls()
    }
    assert CliRunner().invoke(manifests.app, ["lock"]).stdout == "nothing changed\n"


def test_every_row_has_its_own_release():
    urls = upstream_urls()
    assert len(urls) == len(set(urls)) == 2 * len({row.calico for row in RELEASES.values()})
    assert all("{" not in url for url in urls)
    assert all(any(f"/{row.calico}/" in url for url in urls) for row in RELEASES.values())

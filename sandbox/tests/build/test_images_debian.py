"""Files out of Debian packages: fetched once, with the machine's lists or with fresh ones.

Fake `apt-get` and `dpkg` keep a log; the fake `apt-get` knows packages only once lists were updated, if
the test says so. The real ones run whenever runc or an image with iptables is made.
"""

from __future__ import annotations

import pytest

from sandbox.build.debian import unpacked
from sandbox.errors import SandboxError

APT = """#!/bin/sh
echo "apt-get $*" >> "$FAKE_LOG"
case "$*" in
  *update*) [ -z "$FAKE_NO_MIRROR" ] || { echo 'E: mirror is away' >&2; exit 100; } ;;
  *Dir::State::Lists*download*|*download*)
    case "$*" in *Dir::State::Lists*) ;; *) [ -z "$FAKE_NO_LISTS" ] || { echo 'E: Unable to locate' >&2; exit 100; };; esac
    while [ "$1" != download ]; do shift; done; shift
    for name in "$@"; do echo "$name" > "${name}_1.0_amd64.deb"; done ;;
esac
"""
DPKG = """#!/bin/sh
echo "dpkg $1 $(basename "$2")" >> "$FAKE_LOG"
mkdir -p "$3/usr/lib" && cp "$2" "$3/usr/lib/"
"""


@pytest.fixture
def log(tmp_path, script, monkeypatch):
    script("apt-get", APT)
    script("dpkg", DPKG)
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    return tmp_path / "log"


def names(folder):
    return sorted(item.name for item in (folder / "usr" / "lib").iterdir())


def test_fetched_and_unpacked_once(log, cache):
    folder = unpacked(["libone", "libtwo"], cache)
    assert names(folder) == ["libone_1.0_amd64.deb", "libtwo_1.0_amd64.deb"]
    assert log.read_text().splitlines() == [
        "apt-get --quiet -o APT::Sandbox::User=root download libone libtwo",
        "dpkg -x libone_1.0_amd64.deb",
        "dpkg -x libtwo_1.0_amd64.deb",
    ]
    assert unpacked(["libtwo", "libone"], cache) == folder
    assert len(log.read_text().splitlines()) == 3
    assert unpacked(["libone"], cache) != folder
    assert not list(cache.glob(".debian-*"))


def test_a_machine_without_package_lists_gets_lists_of_our_own(log, cache, monkeypatch):
    monkeypatch.setenv("FAKE_NO_LISTS", "1")
    assert names(unpacked(["libone"], cache)) == ["libone_1.0_amd64.deb"]
    update, download = log.read_text().splitlines()[1:3]
    assert update.endswith(" update")
    assert download.endswith(" download libone")
    assert f"Dir::State::Lists={cache}/.debian-" in update
    assert update.rsplit(" ", 1)[0] == download.rsplit(" ", 2)[0]


def test_what_apt_says_is_shown_and_nothing_is_left(log, cache, monkeypatch):
    monkeypatch.setenv("FAKE_NO_LISTS", "1")
    monkeypatch.setenv("FAKE_NO_MIRROR", "1")
    with pytest.raises(SandboxError) as caught:
        unpacked(["libone"], cache)
    assert "update: exit 100: E: mirror is away\nCheck that the machine's package mirror" in str(caught.value)
    assert [item.name for item in cache.iterdir()] == ["debian.lock"]


def test_a_machine_without_apt_is_told_so(tmp_path, cache, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        SandboxError, match=r"^libone: taken from Debian or Ubuntu .*apt-get and dpkg is not on PATH"
    ):
        unpacked(["libone"], cache)

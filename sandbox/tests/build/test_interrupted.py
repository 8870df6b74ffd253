"""Ctrl-C and kill -9 in the middle of a first run: nothing half made is taken for whole by the next."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sandbox.build.gomodules import MODULES, plan
from sandbox.tests.build.publishers import ETCD_FILE, content

ROOT = Path(__file__).resolve().parents[3]
# Waits as our `go` does, but once: it is called again where it has failed.
APT = """#!/bin/sh
case "$*" in *" update") touch "$MARKS/apt-update"; exit 0 ;; esac
touch thing_1_all.deb
mkdir "$MARKS/apt-begun" || exit 0
while [ -e "$MARKS/apt-waits" ]; do sleep 0.05; done
"""
DPKG = """#!/bin/sh
mkdir -p "$3/usr"; echo whole > "$3/usr/thing"
"""
RUN = """
import platform, sys
from sandbox.build import debian, obtain
from sandbox.build.gomodules import MODULES, plan
from sandbox.files import cache_dir
platform.machine = lambda: "x86_64"
modules = [plan(MODULES[name]) for name in ("etcd", "kwok")]
try:
    obtain.obtain(modules, [lambda: debian.unpacked(["thing"], cache_dir())], cache_dir())
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.fixture
def machine(tmp_path, hosts, fake_go, script):
    """The environment of a machine with our Go and our apt on PATH and an empty cache."""
    script("apt-get", APT)
    script("dpkg", DPKG)
    return {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path / "cache")}


@pytest.fixture
def cache(machine):
    return Path(machine["XDG_CACHE_HOME"]) / "kubepark" / "tools"


def run(machine):
    return subprocess.Popen(
        [sys.executable, "-c", RUN],
        env=machine,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def until(what, happened, process):
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline, f"{what} did not happen"
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


PHASES = {
    "looking for the hosts": lambda hosts, marks: bool(hosts.asked),
    "downloading": lambda hosts, marks: f"GET {ETCD_FILE.url}" in hosts.asked,
    "building": lambda hosts, marks: (marks / "go-begun").exists(),
    "fetching packages": lambda hosts, marks: (marks / "apt-begun").exists(),
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("phase", PHASES)
def test_an_interrupted_first_run_is_repeated(hosts, machine, cache, tmp_path, phase, number):
    waits = tmp_path / ("apt-waits" if phase == "fetching packages" else "go-waits")
    waits.touch()
    hosts.slow[ETCD_FILE.url] = 1.0
    first = run(machine)
    until(phase, lambda: PHASES[phase](hosts, tmp_path), first)
    # A terminal's Ctrl-C reaches the whole group, and a kill -9 whoever it is meant for.
    (os.killpg if number == signal.SIGINT else os.kill)(first.pid, number)
    _, error = first.communicate(timeout=60)
    assert first.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL), error
    assert "Traceback" not in error
    whole = [path for path in cache.glob("*/bin/*") if not path.parent.parent.name.startswith(".")]
    assert all(path.read_bytes() != b"half\n" for path in whole)
    if number == signal.SIGINT:
        assert [path.name for path in cache.glob(".*")] == []
        assert not (tmp_path / "apt-update").exists(), "lists are fetched when one is missing only"

    waits.unlink()
    hosts.slow.clear()
    again = run(machine)
    _, error = again.communicate(timeout=60)
    assert again.returncode == 0, error
    (etcd,), (kwok,) = cache.glob("etcd-*/bin/etcd"), cache.glob("kwok-*/bin/kwok")
    assert etcd.read_bytes() == content(plan(MODULES["etcd"]))["etcd"]
    assert kwok.read_text() == "#!/bin/sh\necho whole\n"
    (thing,) = cache.glob("debian-*/usr/thing")
    assert thing.read_text() == "whole\n"
    assert [path.name for path in cache.glob(".*")] == []


def test_ctrl_c_ends_the_compiler_that_is_in_a_group_of_its_own(machine, tmp_path):
    """As under an editor or a supervisor that signals one process alone."""
    (tmp_path / "go-waits").touch()
    first = run(machine)
    until("building", (tmp_path / "go-begun").exists, first)
    first.send_signal(signal.SIGINT)
    _, error = first.communicate(timeout=60)
    assert first.returncode == 130, error
    assert "building kwok" in error
    assert "stopped after" in error
    assert error.endswith("interrupted: what is whole stays, run the same command again for the rest\n")

"""What several tests of this folder begin with."""

from __future__ import annotations

import os
import platform

import pytest
from werkzeug.test import Client

from sandbox.build.gomodules import MODULES, plan
from sandbox.build.images.oci import Store
from sandbox.build.obtain import BUILD_VARIABLE
from sandbox.build.releases import RELEASES, assets
from sandbox.tests.build.publishers import MACHINE, content, publishers
from sandbox.tests.build.upstream_registry import UpstreamRegistry, served
from sandbox.tests.tools import executable

# Stands for the compiler. A build writes half of a program, waits for as long as `go-waits` is there, then
# writes the rest.
GO = """#!/bin/sh
if [ "$1" = env ]; then echo "${FAKE_VERSION:-go1.26.9}"; exit; fi
echo "$GOTOOLCHAIN $GOFLAGS $CGO_ENABLED $*" >> "$MARKS/go.log"
if [ "$1" = list ]; then echo example.org/thing/a; echo example.org/thing/b; exit; fi
case "$*" in *" -v "*) echo example.org/thing/a >&2; exit ;; esac
if [ "$CGO_ENABLED" = 1 ]; then
    for question in "--cflags -- libthing" "--libs -- libthing" "--libs -- libother"; do
        "$PKG_CONFIG" $question >> "$MARKS/go.log" 2>&1
    done
fi
while [ "$1" != -o ]; do shift; done
folder=$2; shift 2
for package in "$@"; do
    name=${package%/v[0-9]}; name=${name##*/}
    echo half > "$folder/$name"
    touch "$MARKS/go-begun"
    sleep "${FAKE_SECONDS:-0}"
    while [ -e "$MARKS/go-waits" ]; do sleep 0.05; done
    if [ -n "$FAKE_FAILURE" ]; then echo "$FAKE_FAILURE" >&2; exit 1; fi
    printf '#!/bin/sh\\necho whole\\n' > "$folder/$name"
    chmod +x "$folder/$name"
done
"""


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    """None of the person's."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Puts a program on PATH, before those of the system."""
    folder = tmp_path / "path"
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")

    return lambda name, text: executable(folder / name, text)


@pytest.fixture
def fake_go(tmp_path, script, monkeypatch):
    """A `go` on PATH. Gives the log of its arguments."""
    monkeypatch.setenv("MARKS", str(tmp_path))
    script("go", GO)
    return tmp_path / "go.log"


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    """Those of all releases, for a machine as this one seems to be, and where the environment leads to."""
    monkeypatch.setattr(platform, "machine", lambda: MACHINE)
    monkeypatch.delenv(BUILD_VARIABLE, raising=False)
    with publishers(tmp_path) as found:
        for name, value in found.variables().items():
            monkeypatch.setenv(name, value)
        for name, release in RELEASES.items():
            item = plan(MODULES[name])
            found.publish(assets(item, release, MACHINE), content(item))
        yield found


@pytest.fixture
def cache(tmp_path):
    """An empty cache's place."""
    return tmp_path / "cache"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def upstream():
    return UpstreamRegistry()


@pytest.fixture
def host(upstream):
    """The address of `upstream`."""
    serving, address = served(upstream)
    yield address
    serving.close()


@pytest.fixture
def client(registry):
    """Of the registry that the file's tests have."""
    return Client(registry)

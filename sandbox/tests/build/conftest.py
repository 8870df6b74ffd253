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

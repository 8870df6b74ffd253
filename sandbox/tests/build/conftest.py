"""What several tests of this folder begin with."""

from __future__ import annotations

import os

import pytest
from werkzeug.test import Client

from sandbox.build.images.oci import Store
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

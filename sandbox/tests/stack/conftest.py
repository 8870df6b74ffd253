"""One stack a file, deployed when a test first needs it; each test says in what state it wants it.

So a test runs alone and in any order. Who leaves the stack as declared costs the next one nothing.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.build.images.oci import Files, Start, Store
from sandbox.build.images.pulled import FOLDER, Cache, limit
from sandbox.files import cache_dir
from sandbox.tests.build.upstream_registry import UpstreamRegistry, served
from sandbox.tests.stack.project import NODES, Project
from sandbox.tests.tools import tool


@pytest.fixture(scope="module")
def checkout(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The file's own copy of the project. What a file changes here is how its stack is declared."""
    name = request.node.path.stem.rpartition("_")[2]
    nodes = "real" if request.node.get_closest_marker("real") else NODES
    made = Project(tmp_path_factory.mktemp(name) / "project", nodes=nodes)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(autouse=True)
def _suspect(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nobody knows what a test that failed has left."""
    mine = request.getfixturevalue("checkout") if "checkout" in request.fixturenames else None
    failed = request.session.testsfailed
    yield
    if mine and request.session.testsfailed > failed:
        mine.differs = True


@pytest.fixture
def project(checkout: Project) -> Project:
    """The stack as declared."""
    return checkout.as_declared()


@pytest.fixture
def deployed(checkout: Project) -> Project:
    """The whole stack, but perhaps with what an earlier test added: for those whom that does not concern."""
    return checkout if checkout.resources() else checkout.as_declared()


@pytest.fixture
def empty(checkout: Project) -> Project:
    """Nothing is deployed, and nothing runs."""
    return checkout.emptied()


@pytest.fixture
def team_image(tmp_path: Path) -> Iterator[str]:
    """An image that nobody has pulled yet, without its tag (1), of a registry on this machine's loopback."""
    (tmp_path / "only-here").write_text(uuid.uuid4().hex)
    store, upstream = Store(tmp_path / "store"), UpstreamRegistry()
    files = Files({"/bin/other": tool("probe"), "/only-here": tmp_path / "only-here"})
    packed = store.pack(files, Start(("/bin/other",)))
    upstream.add("team/other", "1", store, packed)
    serving, host = served(upstream)
    yield f"{host}/team/other"
    serving.close()
    cache = Cache(cache_dir() / FOLDER, limit())  # of the user, who will never want it again
    for digest in packed.blobs:
        cache.path(digest).unlink(missing_ok=True)
    shutil.rmtree(cache.folder / "tags" / host, ignore_errors=True)

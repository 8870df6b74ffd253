"""What several files here need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sandbox.tests.aws.aws_provider import Cloud
from sandbox.tests.aws.gate_node import Node
from sandbox.tests.nodes.boot_world import World, world


@pytest.fixture(scope="module")
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("lab")) as made:
        yield made


@pytest.fixture(scope="module")
def node(lab: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(lab, "worker01", tmp_path_factory.mktemp("node")) as made:
        yield made

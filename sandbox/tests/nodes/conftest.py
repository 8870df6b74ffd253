"""What the tests of images run."""

from __future__ import annotations

from pathlib import Path

import pytest

from sandbox.build.toolchain import ensure_programs


@pytest.fixture(scope="session")
def programs() -> dict[str, Path]:
    """Dex and our own programs in images, by name."""
    return ensure_programs(["dex", "standins"])

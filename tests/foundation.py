"""Runs the project of `foundation/` through the recording engine."""

from __future__ import annotations

import copy
import runpy
from pathlib import Path
from typing import Any

from tests.engine import Recording, attempt

FOLDER = Path(__file__).parents[1] / "foundation"
_CONFIG: dict[str, Any] = {
    "aws": {"region": "us-east-1", "accountId": "123456789012"},
    "repository": "octo-org/octo-repo",
    "environments": [{"name": "dev"}, {"name": "prod", "clusterName": "lab"}],
}


def configuration(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(_CONFIG), **changes}


def run(*, preview: bool = False, **changes: Any) -> Recording:
    return attempt(
        lambda: runpy.run_path(str(FOLDER / "__main__.py"), run_name="__main__"),
        config=configuration(**changes),
        stack="prod",
        preview=preview,
    )

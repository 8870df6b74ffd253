"""Errors of AWS that a stack test wants (sandbox/aws/injected.py)."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from sandbox.config import REFUSALS_PATH
from sandbox.tests.stack.project import Project


def refuse(project: Project, *rows: dict[str, Any]) -> None:
    """From now on AWS answers these calls with these errors, and no others."""
    url = f"http://127.0.0.1:{project.aws_port}{REFUSALS_PATH}"
    request = urllib.request.Request(url, json.dumps(rows).encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 204

"""What a test wants of AWS: errors (sandbox/aws/injected.py), and interruptions of Spot Instances (spot.py)."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sandbox.config import INTERRUPTIONS_PATH, REFUSALS_PATH
from sandbox.tests.stack.project import Project


def refuse(project: Project, *rows: dict[str, Any]) -> None:
    """From now on AWS answers these calls with these errors, and no others."""
    url = f"http://127.0.0.1:{project.aws_port}{REFUSALS_PATH}"
    request = urllib.request.Request(url, json.dumps(rows).encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 204


def interrupted(aws: str, times: Mapping[str, str] = MappingProxyType({})) -> None:
    """From now on these are the Spot Instances that AWS takes back, each at its time; `aws`: the emulator's URL."""
    rows = [{"instance": instance, "time": time} for instance, time in times.items()]
    request = urllib.request.Request(f"{aws}{INTERRUPTIONS_PATH}", json.dumps(rows).encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200

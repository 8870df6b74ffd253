"""Runs the whole program through the recording engine, with nodes that have come up."""

from __future__ import annotations

import contextlib
import json
import runpy
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from pulumi.runtime.rpc import wrap_rpc_secret

from components import cluster
from tests.configuration import SECRETS, configuration
from tests.engine import Answer, Recording, attempt

ROOT = Path(__file__).parents[1]
KUBECONFIG = """\
apiVersion: v1
clusters:
- cluster:
    server: https://198.51.100.7:6443
  name: lab
kind: Config
# stands for the operator's kubeconfig
"""

RECORDS = "aws:ssm/getParametersByPath:getParametersByPath"
PARAMETER = "aws:ssm/getParameter:getParameter"
_OUTPUTS = "pulumi:pulumi:readStackOutputs"


def record(recording: Recording, node: str, **changes: Any) -> dict[str, Any]:
    """A record of success by the instance that the program registered."""
    instance = recording.one("aws:ec2/instance:Instance", node)
    generation = int(instance.inputs["tags"]["kubepark:generation"])
    phase = "api-ready" if instance.inputs["tags"]["kubepark:role"] == "master" else "joined"
    found = {"schema": 1, "instanceId": instance.id, "generation": generation, "phase": phase, "attempt": 1}
    return found | {"step": "report", "rc": 0, "message": "", "at": "2026-11-23T10:00:00Z"} | changes


def statuses(recording: Recording, changes: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    nodes = [item.name for item in recording.of_type("aws:ec2/instance:Instance")]
    path = "/lab/status"
    return {
        "path": path,
        "names": [f"{path}/{node}" for node in nodes],
        "values": [json.dumps(record(recording, node, **changes.get(node, {}))) for node in nodes],
    }


def run(
    *,
    stack: str = "dev",
    preview: bool = False,
    before: Mapping[str, Any] | None = None,
    records: Mapping[str, dict[str, Any]] | None = None,
    config: dict[str, Any] | None = None,
    uncreated: Iterable[str] = (),
    invokes: Mapping[str, Answer] | None = None,
    listens: bool | None = True,
) -> Recording:
    """One run in a folder of its own. `before`: stack outputs of the last update; `records`: changes to nodes'
    records; `invokes`: other answers than a healthy account's; `uncreated`: see `attempt`; `listens`: whether
    the API server does, None: as it really is."""
    answers: dict[str, Answer] = {
        RECORDS: lambda args, recording: statuses(recording, records or {}),
        PARAMETER: {"name": "/lab/kubeconfig", "value": wrap_rpc_secret(KUBECONFIG)},
        _OUTPUTS: {"outputs": dict(before or {})},
    }
    config = config or configuration()

    async def told(endpoint: str) -> bool:
        return bool(listens)

    asked = mock.patch.object(cluster, "_listens", cluster._listens if listens is None else told)
    at_once = mock.patch.object(cluster, "_gather_seconds", return_value=0.0)  # answers cost nothing here
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), asked, at_once:
        recording = attempt(
            lambda: runpy.run_path(str(ROOT / "__main__.py"), run_name="__main__"),
            config=config,
            secrets={key for key in SECRETS if key in config},
            stack=stack,
            preview=preview,
            answers=answers | dict(invokes or {}),
            uncreated=uncreated,
        )
        recording.files = {str(p): p.read_text() for p in Path().rglob("*") if p.is_file()}
    return recording


_WHOLE: dict[str, Recording] = {}


def whole(**options: Any) -> Recording:
    """A run that ends well, as `run`; tests that want the same one share it, so they only read it."""
    key = json.dumps(options, sort_keys=True)
    if key not in _WHOLE:
        _WHOLE[key] = run(**options)
    recording = _WHOLE[key]
    assert recording.error is None, recording.error
    return recording

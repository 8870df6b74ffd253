"""Ways into the machines of a stack with real nodes, as somebody at their console."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import psutil

from sandbox.nodes import choice
from sandbox.nodes.real import launch
from sandbox.tests.stack.nodes import is_ready, nodes
from sandbox.tests.stack.project import ROOT, Project

# Why real nodes cannot run here; empty where they can.
OBSTACLE = choice.obstacle(ROOT / ".pytest_cache")


class Machines:
    """The machines of one project, by the names of their nodes."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def disk(self, node: str) -> Path:
        return self.project.state / "machines" / self.project.instance(node)["InstanceId"]

    def init(self, node: str) -> psutil.Process:
        """Process 1 of a machine, as the host knows it. Raises psutil.NoSuchProcess while it is off."""
        record = json.loads((self.project.state / "state.json").read_text()).get("processes", {})
        leader = record.get(f"node-{self.project.instance(node)['InstanceId']}", {}).get("pid")
        found = launch.init(leader)
        if found is None:
            raise psutil.NoSuchProcess(leader or 0, msg=f"{node} is off")
        return found

    def run(self, node: str, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """A command inside the machine."""
        return subprocess.run(
            [*launch.inside(self.init(node).pid), *command],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def systemctl(self, node: str, *words: str) -> None:
        """`systemctl` inside the machine; it must succeed."""
        done = self.run(node, "systemctl", *words)
        assert done.returncode == 0, done.stderr

    def record(self, node: str) -> dict[str, Any]:
        answer = self.project.aws("ssm").get_parameter(Name=f"/kubepark-sandbox/status/{node}")
        found: dict[str, Any] = json.loads(answer["Parameter"]["Value"])
        return found

    def is_ready(self, node: str) -> bool:
        return is_ready(nodes(self.project)[node])

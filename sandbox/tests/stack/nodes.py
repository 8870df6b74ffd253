"""The nodes of a sandbox stack as it is declared, as the API server knows them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from sandbox.tests.nodes.boot_world import until
from sandbox.tests.stack.project import Project

ADDRESSES = {
    "master1": "10.20.0.10",
    "worker01": "10.20.0.11",
    "worker02": "10.20.0.12",
    "worker03": "10.20.0.13",
    "gpu01": "10.20.1.1",
}


def nodes(project: Project) -> dict[str, dict[str, Any]]:
    return {item["metadata"]["name"]: item for item in project.get("nodes")["items"]}


def is_ready(node: Mapping[str, Any]) -> bool:
    return ("Ready", "True") in [(each["type"], each["status"]) for each in node["status"]["conditions"]]


def ready_nodes(project: Project) -> set[str]:
    return {name for name, node in nodes(project).items() if is_ready(node)}


def await_ready(project: Project, names: Set[str], seconds: float = 60) -> None:
    """An update ends when its nodes have joined; their pod network comes up a moment later."""
    until(f"these are Ready and no others: {sorted(names)}", lambda: ready_nodes(project) == names, seconds)

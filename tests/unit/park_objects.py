"""Instances, nodes and pods as park and unpark meet them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cli.instances import Machine
from config.model import NodeRole

LAUNCHED = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
ROLES = {"gpu": NodeRole.GPU, "worker": NodeRole.WORKER, "master": NodeRole.MASTER}
TYPES = {NodeRole.GPU: "g4dn.xlarge", NodeRole.WORKER: "m7i.xlarge", NodeRole.MASTER: "m7i.large"}


def machine(name: str, state: str = "running", **changes: Any) -> Machine:
    role = ROLES[name.rstrip("0123456789")]
    values = {"instance_id": f"i-{name}", "type": TYPES[role], "state": state, "launched": LAUNCHED}
    return Machine(name=name, role=role, **{**values, **changes})


def machines(**states: str) -> tuple[Machine, ...]:
    """A cluster's instances, running unless told otherwise."""
    names = ("gpu01", "worker01", "worker02", "master1")
    return tuple(machine(name, states.get(name, "running")) for name in names)


def node(
    name: str, *, boot: str = "boot-1", ready: str = "True", gpus: int = 0, **meta: Any
) -> dict[str, Any]:
    spec = {"unschedulable": True} if meta.pop("unschedulable", False) else {}
    return {
        "metadata": {"name": name, **meta},
        "spec": spec,
        "status": {
            "nodeInfo": {"bootID": boot},
            "allocatable": {"nvidia.com/gpu": str(gpus)} if gpus else {},
            "conditions": [{"type": "Ready", "status": ready, "message": "kubelet is silent"}],
        },
    }


def pod(
    name: str, on: str, *, namespace: str = "ana", owner: str = "ReplicaSet", gpus: int = 0, **more: Any
) -> dict[str, Any]:
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    owners = [{"kind": owner, "name": "x", "uid": "y", "controller": True}] if owner else []
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{name}",
            "ownerReferences": owners,
            "annotations": more.get("annotations"),
        },
        "spec": {"nodeName": on, "containers": [{"resources": {"limits": limits}}]},
        "status": {"phase": more.get("phase", "Running")},
    }


def record(
    name: str, *, phase: str = "joined", boot: str = "boot-2", at: str = "2026-11-23T10:01:00Z", **more: Any
) -> dict[str, Any]:
    return {"instanceId": f"i-{name}", "bootId": boot, "phase": phase, "at": at, **more}


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

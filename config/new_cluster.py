"""A new master is a new cluster: its CA is new, and its etcd empty. What belongs to the old one goes with it.

Otherwise nodes would keep what they joined with, the state would keep objects that no API has, and all
would look well. So the master's generation, the cluster's identity and every node's generation are bumped
together, until a master can be restored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from config.model import Settings
from config.naming import PROJECT
from config.problems import Problem, Problems

_IDENTITY, _MASTER = "controlPlane.identity", "controlPlane.generation"
_PROTECTED = "controlPlane.protected"


def generations(settings: Settings) -> dict[str, int]:
    """The generation of each node by its setting, the master's first."""
    found = {_MASTER: settings.control_plane.node.generation}
    for pool, nodes in (("workers", settings.workers), ("gpu", settings.gpu.nodes)):
        found |= {f"{pool}.nodes.{node.name}.generation": node.generation for node in nodes}
    return found


def check(stack: str, settings: Settings, before: Mapping[str, Any]) -> Iterator[Problem]:
    """What must change with the master. `before`: outputs of the last update."""
    was, now = _before(before), _together(settings)
    stay = [key for key, number in now.items() if was.get(key) == str(number)]
    if all(key in stay or key not in was for key in (_IDENTITY, _MASTER)):
        return
    problems = Problems(stack)
    for key in stay:
        wrong = f"is {now[key]} as before, and the control plane is made anew (new CA, empty etcd)"
        accepted = "another number"
        if key in (_IDENTITY, _MASTER):
            accepted += ", with a new generation of every node"
        problems.add(f"{PROJECT}:{key}", wrong, accepted, now[key] + 1)
    if settings.control_plane.protected:
        wrong = "the master is protected, and would be deleted"
        problems.add(f"{PROJECT}:{_PROTECTED}", wrong, "false, in an update before this one", False)
    yield from problems.found


def made(settings: Settings, before: Mapping[str, Any]) -> bool:
    """Whether this update makes another cluster in place of the last update's."""
    return _before(before).get(_IDENTITY) not in (None, str(settings.control_plane.identity))


def known_master(settings: Settings, before: Mapping[str, Any]) -> str:
    """The instance id of the master that has this cluster's CA and etcd; "" if there was none."""
    nodes = [] if made(settings, before) else before.get("nodes") or []
    return next((str(node.get("instance_id") or "") for node in nodes if node["role"] == "master"), "")


def other_master(stack: str, settings: Settings, known: str, found: str) -> str:
    """What to do when the master is another machine than the one of the last update."""
    commands = [
        f"pulumi config set --stack {stack} --path {PROJECT}:{key} {number + 1}"
        for key, number in _together(settings).items()
    ]
    return "\n  ".join(
        [
            f"the master was {known} and is {found}, with a new CA and an empty etcd; nodes and objects are "
            "of a cluster that is gone. Make all of it anew, with the next `up`:",
            *commands,
        ]
    )


def _together(settings: Settings) -> dict[str, int]:
    return {_IDENTITY: settings.control_plane.identity, **generations(settings)}


def _before(before: Mapping[str, Any]) -> dict[str, str]:
    """The same as texts, of the last update; what it did not say is missing."""
    old = before.get("created_with") or {}
    identity = {_IDENTITY: old["identity"]} if "identity" in old else {}
    return {**identity, **(old.get("generations") or {})}

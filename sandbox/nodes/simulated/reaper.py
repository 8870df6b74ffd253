"""Stale Nodes: what the master's timer does about them, if its user data brought one.

The rule is the one of the program's script: a Node goes when its name's status record names another
instance, or when there is no record of that name and the Node is not Ready. The master reads the
records with its own role, so without the right to do so nothing is deleted. A Node that was cordoned in
an earlier boot than the one that it is Ready in is uncordoned. On AWS the timer runs every half minute; a
person who waits for the sandbox is spared that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sandbox.nodes import kubelet
from sandbox.nodes.api import Api, ApiError, Unavailable
from sandbox.nodes.machine import CallFailed

if TYPE_CHECKING:
    from sandbox.nodes.simulated.node import SimulatedNode

SCRIPT = "/usr/local/lib/kubepark/reap-nodes"
TIMER = "/etc/systemd/system/kubepark-nodes.timer"
CORDONED = "kubepark/cordoned-at-boot"  # annotation
SECONDS = 2.0


def installed(node: SimulatedNode) -> bool:
    """Whether this machine's user data brought script and timer."""
    return {SCRIPT, TIMER} <= set(node.user_data.files)


def run(node: SimulatedNode) -> None:
    """One turn of the timer. What goes wrong is logged and tried again at the next."""
    plane = node.backend.control_plane
    if plane is None:
        return
    try:
        _reap(node, plane.api("admin"))
    except (CallFailed, ApiError, Unavailable) as error:
        node.log(f"reap-nodes: {error}")


def _reap(node: SimulatedNode, api: Api) -> None:
    nodes = api.get("/api/v1/nodes")["items"]  # before the records, as the script does
    path = node.user_data.parameter("status").rpartition("/")[0]
    found = node.machine.get_parameters_by_path(path)
    records = {name.rpartition("/")[2]: value for name, value in found.items()}
    if node.name not in records:
        raise CallFailed(f"no record of {node.name} below {path}")
    for each in nodes:
        name, uid = each["metadata"]["name"], each["metadata"]["uid"]
        if name != node.name and stale(name, each, records):
            api.request("DELETE", f"/api/v1/nodes/{name}", {"preconditions": {"uid": uid}})
            node.log(f"reap-nodes: deleted the Node {name}")
        elif back(each):
            patch = {"metadata": {"annotations": {CORDONED: None}}, "spec": {"unschedulable": None}}
            api.patch(f"/api/v1/nodes/{name}", patch)
            node.log(f"reap-nodes: uncordoned the Node {name}")


def back(node: Mapping[str, Any]) -> bool:
    """Whether the Node was cordoned in a boot that is over, and its machine is up again."""
    boot = node["metadata"].get("annotations", {}).get(CORDONED)
    return bool(boot) and kubelet.is_ready(node) and node["status"]["nodeInfo"]["bootID"] != boot


def stale(name: str, node: Mapping[str, Any], records: Mapping[str, str]) -> bool:
    """Whether the Node's machine is gone, by the status records (node name -> text)."""
    if name not in records:
        return not kubelet.is_ready(node)
    try:
        current = str(json.loads(records[name]).get("instanceId") or "")
    except (ValueError, AttributeError):  # the node wrote something else than a record
        return False
    return bool(current and node["spec"].get("providerID")) and kubelet.instance_id(node) != current

"""What the API server is told or asked about Nodes, whatever machine is behind them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sandbox.nodes.api import STRATEGIC, Api
from sandbox.record import rfc3339

INSTALLATION = "/apis/operator.tigera.io/v1/installations/default"
OPERATOR = "/apis/apps/v1/namespaces/tigera-operator/deployments/tigera-operator"
PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure")


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, str]:
    now = rfc3339(datetime.now(UTC))
    times = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    return {"type": kind, "status": status, "reason": reason, "message": message, **times}


def is_ready(node: Mapping[str, Any]) -> bool:
    """Whether the Node's Ready condition is True."""
    conditions = node["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def instance_id(node: Mapping[str, Any]) -> str:
    """Of the machine that this Node object is of, from its provider id; empty if it has none."""
    return str(node["spec"].get("providerID") or "").rpartition("/")[2]


def set_lost(api: Api, name: str, lost: str, **labels: None) -> None:
    """What the node lifecycle controller does when a kubelet is silent, without its 50 s of patience.

    `lost` is an instance id. Nothing happens if the name belongs to another machine by now. `labels` go.
    """
    found = api.find(f"/api/v1/nodes/{name}")
    if not found or not lost or instance_id(found) != lost:
        return
    api.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": labels}}, STRATEGIC)
    reason = ("Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.")
    unknown = [condition(kind, *reason) for kind in (*PRESSURES, "Ready")]
    api.patch(f"/api/v1/nodes/{name}/status", {"status": {"conditions": unknown}}, STRATEGIC)


def network_is_up(api: Api) -> bool:
    """Whether Calico is installed: its Installation exists and its operator runs."""
    return api.find(INSTALLATION) is not None and running_operator(api) is not None


def running_operator(api: Api) -> Any:
    """The Deployment of Calico's operator; None while none of its pods is available."""
    found = api.find(OPERATOR)
    return found if found and found.get("status", {}).get("availableReplicas") else None

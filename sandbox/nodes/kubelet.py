"""The Node object as a kubelet registers it, and the few changes that it makes to it later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sandbox.aws.cloud import Hardware
from sandbox.nodes.api import STRATEGIC, Api, ApiError
from sandbox.record import rfc3339

INSTALLATION = "/apis/operator.tigera.io/v1/installations/default"
_OPERATOR = "/apis/apps/v1/namespaces/tigera-operator/deployments/tigera-operator"

# Labels of the simulation: which nodes a KWOK process acts for. Part of no product.
RUNNING_LABEL = "sandbox.kubepark/kubelet"
NETWORK_LABEL = "sandbox.kubepark/network"
GPU = "nvidia.com/gpu"
_PODS = 110  # the kubelet's own default
_RESERVED_MIB = 100  # the kubelet's default hard eviction threshold
_DISK_GIB = 100
NO_CNI = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized"
)
_PRESSURES = {
    "MemoryPressure": ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
}


def node_object(
    given: Mapping[str, Any], hardware: Hardware, private_ip: str, version: str, boot_id: str
) -> dict[str, Any]:
    """The Node that a kubelet with this registration creates on this hardware."""
    flags = {each["name"]: str(each["value"]) for each in given.get("kubeletExtraArgs", [])}
    name = flags.get("hostname-override", str(given["name"]))
    labels = dict(pair.split("=", 1) for pair in flags.get("node-labels", "").split(",") if pair)
    labels |= {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        RUNNING_LABEL: "simulated",
    }
    spec: dict[str, Any] = {"taints": list(given.get("taints") or [])}
    if provider_id := flags.get("provider-id"):
        spec["providerID"] = provider_id
    address = flags.get("node-ip", private_ip)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
        },
        "spec": spec,
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": address},
                {"type": "Hostname", "address": name},
            ],
            **_resources(hardware),
            "conditions": conditions(ready=False, reason="KubeletNotReady", message=NO_CNI),
            "nodeInfo": _info(version, boot_id),
        },
    }


def _resources(hardware: Hardware) -> dict[str, Any]:
    capacity = {
        "cpu": str(hardware.vcpus),
        "memory": f"{hardware.memory_mib}Mi",
        "ephemeral-storage": f"{_DISK_GIB}Gi",
        "pods": str(_PODS),
    }
    return {
        "capacity": capacity,
        "allocatable": {**capacity, "memory": f"{hardware.memory_mib - _RESERVED_MIB}Mi"},
    }


def _info(version: str, boot_id: str) -> dict[str, str]:
    """`nodeInfo`; machine facts that a simulation does not have say so."""
    return {
        "architecture": "amd64",
        "operatingSystem": "linux",
        "bootID": boot_id,
        "kubeletVersion": f"v{version.removeprefix('v')}",
        "kubeProxyVersion": "",
        "containerRuntimeVersion": "simulated://0",
        "osImage": "simulated",
        "kernelVersion": "simulated",
        "machineID": "",
        "systemUUID": "",
    }


def conditions(*, ready: bool, reason: str, message: str) -> list[dict[str, str]]:
    """All conditions of a live node, with Ready as told."""
    rows = [(each, "False", *text) for each, text in _PRESSURES.items()]
    return _conditions([*rows, ("Ready", "True" if ready else "False", reason, message)])


def _conditions(rows: Iterable[tuple[str, str, str, str]]) -> list[dict[str, str]]:
    """Of type, status, reason and message."""
    now = rfc3339(datetime.now(UTC))
    times = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    fields = ("type", "status", "reason", "message")
    return [{**dict(zip(fields, row, strict=True)), **times} for row in rows]


def is_ready(node: Mapping[str, Any]) -> bool:
    """Whether the Node's Ready condition is True."""
    conditions = node["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def instance_id(node: Mapping[str, Any]) -> str:
    """Of the machine that this Node object is of, from its provider id; empty if it has none."""
    return str(node["spec"].get("providerID") or "").rpartition("/")[2]


def register(api: Api, node: Mapping[str, Any]) -> dict[str, Any]:
    """The Node, created with the kubelet's own credentials or taken up, whoever left it there."""
    try:
        created: dict[str, Any] = api.post("/api/v1/nodes", node)
    except ApiError as error:
        if error.code != 409:
            raise
        return _take_up(api, node)
    return created


def _take_up(api: Api, node: Mapping[str, Any]) -> dict[str, Any]:
    """New boot id, and NotReady until the network is up. A provider id, once there, never changes."""
    name = node["metadata"]["name"]
    status = {key: node["status"][key] for key in ("addresses", "conditions", "nodeInfo")}
    api.patch(f"/api/v1/nodes/{name}/status", {"status": status}, STRATEGIC)
    labels = {RUNNING_LABEL: "simulated", NETWORK_LABEL: None}  # nobody notes that a master goes off
    taken: dict[str, Any] = api.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": labels}}, STRATEGIC)
    return taken


def set_ready(api: Api, name: str) -> None:
    """The network plugin is there: Ready, and pods with addresses of their own may start."""
    fine = conditions(ready=True, reason="KubeletReady", message="kubelet is posting ready status")
    api.patch(f"/api/v1/nodes/{name}/status", {"status": {"conditions": fine}}, STRATEGIC)
    api.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": {NETWORK_LABEL: "ready"}}}, STRATEGIC)


def set_lost(api: Api, name: str, lost: str) -> None:
    """What the node lifecycle controller does when a kubelet is silent, without its 50 s of patience.

    `lost` is an instance id. Nothing happens if the name belongs to another machine by now.
    """
    found = api.find(f"/api/v1/nodes/{name}")
    if not found or not lost or instance_id(found) != lost:
        return
    gone = {RUNNING_LABEL: None, NETWORK_LABEL: None}
    api.patch(f"/api/v1/nodes/{name}", {"metadata": {"labels": gone}}, STRATEGIC)
    text = "Kubelet stopped posting node status."
    rows = [(each, "Unknown", "NodeStatusUnknown", text) for each in (*_PRESSURES, "Ready")]
    unknown = _conditions(rows)
    api.patch(f"/api/v1/nodes/{name}/status", {"status": {"conditions": unknown}}, STRATEGIC)


def set_gpus(api: Api, name: str, count: int) -> None:
    """What a registered (or vanished) device plugin means for the node's resources."""
    amount = {GPU: str(count)}
    api.patch(
        f"/api/v1/nodes/{name}/status", {"status": {"capacity": amount, "allocatable": amount}}, STRATEGIC
    )


def network_is_up(api: Api) -> bool:
    """Whether Calico is installed: its Installation exists and its operator runs."""
    if api.find(INSTALLATION) is None:
        return False
    operator = api.find(_OPERATOR)
    return bool(operator and operator.get("status", {}).get("availableReplicas"))

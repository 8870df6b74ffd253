"""The Node object as a kubelet registers it, and the few changes that it makes to it later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.aws.cloud import Hardware
from sandbox.nodes.api import STRATEGIC, Api, ApiError
from sandbox.nodes.kubelet import PRESSURES, condition, instance_id

# KWOK acts for the nodes that have it. Part of no product.
RUNNING_LABEL = "sandbox.kubepark/kubelet"
# A Node that was cordoned while this boot id was its machine's is uncordoned in a later boot.
CORDONED = "kubepark/cordoned-at-boot"
GPU = "nvidia.com/gpu"
_PLUGIN_FOLDER = "/var/lib/kubelet/device-plugins"
_NO_NETWORK = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized"
)
_WAITING = ("False", "KubeletNotReady", _NO_NETWORK)
_READY = ("True", "KubeletReady", "kubelet is posting ready status")
_PODS = 110  # the kubelet's own default
_RESERVED_MIB = 100  # the kubelet's default hard eviction threshold


def node_object(
    given: Mapping[str, Any], hardware: Hardware, private_ip: str, version: str, boot_id: str
) -> dict[str, Any]:
    """The Node of a kubeadm nodeRegistration on this hardware."""
    flags = {each["name"]: str(each["value"]) for each in given.get("kubeletExtraArgs", [])}
    name = flags.get("hostname-override", str(given["name"]))
    labels = dict(pair.split("=", 1) for pair in flags.get("node-labels", "").split(",") if pair)
    labels |= {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    capacity = {"cpu": str(hardware.vcpus), "ephemeral-storage": "100Gi", "pods": str(_PODS)}
    addresses = {"InternalIP": flags.get("node-ip", private_ip), "Hostname": name}
    info = dict.fromkeys(("kubeProxyVersion", "machineID", "systemUUID"), "")
    info |= dict.fromkeys(("osImage", "kernelVersion"), "simulated") | {
        "containerRuntimeVersion": "simulated://0"
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {**labels, RUNNING_LABEL: "simulated"}},
        "spec": {
            "taints": list(given.get("taints") or []),
            **({"providerID": flags["provider-id"]} if "provider-id" in flags else {}),
        },
        "status": {
            "addresses": [{"type": kind, "address": address} for kind, address in addresses.items()],
            "capacity": {**capacity, "memory": f"{hardware.memory_mib}Mi"},
            "allocatable": {**capacity, "memory": f"{hardware.memory_mib - _RESERVED_MIB}Mi"},
            "conditions": _conditions(_WAITING),
            "nodeInfo": {
                **info,
                "architecture": "amd64",
                "operatingSystem": "linux",
                "bootID": boot_id,
                "kubeletVersion": f"v{version.removeprefix('v')}",
            },
        },
    }


def _conditions(ready: tuple[str, str, str]) -> list[dict[str, str]]:
    """Of a live node, with Ready as told."""
    fine = [condition(kind, "False", f"KubeletHasNo{kind}", "simulated") for kind in PRESSURES]
    return [*fine, condition("Ready", *ready)]


def register(api: Api, node: Mapping[str, Any]) -> bool:
    """Create the Node, or take up what this machine left there. False while another machine's is there."""
    path = f"/api/v1/nodes/{node['metadata']['name']}"
    try:
        api.post("/api/v1/nodes", node)
    except ApiError as error:
        if error.code != 409:
            raise
        found = api.find(path)
        if found is None or instance_id(found) != instance_id(node):
            return False
        _take_up(api, path, node, found["metadata"].get("annotations", {}))
    return True


def _take_up(api: Api, path: str, node: Mapping[str, Any], annotations: Mapping[str, str]) -> None:
    """New boot id, and NotReady until the network is up."""
    status = {key: node["status"][key] for key in ("addresses", "conditions", "nodeInfo")}
    status["nodeInfo"] = {"bootID": node["status"]["nodeInfo"]["bootID"]}
    api.patch(f"{path}/status", {"status": status}, STRATEGIC)
    change: dict[str, Any] = {"metadata": {"labels": node["metadata"]["labels"]}}
    if annotations.get(CORDONED) not in (None, node["status"]["nodeInfo"]["bootID"]):
        change["metadata"]["annotations"] = {CORDONED: None}
        change["spec"] = {"unschedulable": None}
    api.patch(path, change, STRATEGIC)


def set_ready(api: Api, node: Mapping[str, Any]) -> None:
    """The network plugin is there: pods may start."""
    path = f"/api/v1/nodes/{node['metadata']['name']}/status"
    api.patch(path, {"status": {"conditions": _conditions(_READY)}}, STRATEGIC)


def set_gpus(api: Api, node: Mapping[str, Any], count: int) -> None:
    """The node has its GPUs while a DaemonSet's pod that mounts the kubelet's plugin folder runs on it."""
    name = node["metadata"]["name"]
    pods = api.get("/api/v1/pods", fieldSelector=f"spec.nodeName={name}")["items"]
    amount = {GPU: str(count if any(map(_is_plugin, pods)) else 0)}
    if node["status"]["capacity"].get(GPU, "0") != amount[GPU]:
        status = {"capacity": amount, "allocatable": amount}
        api.patch(f"/api/v1/nodes/{name}/status", {"status": status}, STRATEGIC)


def _is_plugin(pod: Mapping[str, Any]) -> bool:
    owners = [owner["kind"] for owner in pod["metadata"].get("ownerReferences", [])]
    folders = [volume.get("hostPath", {}).get("path", "") for volume in pod["spec"].get("volumes", [])]
    stays = pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
    return stays and "DaemonSet" in owners and any(each.rstrip("/") == _PLUGIN_FOLDER for each in folders)

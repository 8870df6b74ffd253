"""Why a pod that asks for a GPU does not run, in plain language.

Pure functions on API objects as plain dictionaries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from config.naming import ACCELERATOR, DEVICE_PLUGIN, GPU_LABEL, GPU_RESOURCE

Object = Mapping[str, Any]

# Taints that only repeat what is said about the node's conditions.
_CONDITION_TAINTS = frozenset(
    {
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
        "node.kubernetes.io/unschedulable",
    }
)


def explain_pending(
    pod: Object, nodes: Sequence[Object], pods: Sequence[Object], daemonsets: Sequence[Object]
) -> list[str]:
    """What keeps `pod` from running, the first thing to fix first; empty if nothing is known."""
    placed = pod["spec"].get("nodeName")
    if placed:
        return _on_node(pod, placed)
    gpu_nodes = [node for node in nodes if is_gpu_node(node)]
    if not gpu_nodes:
        return [
            "no node of the cluster has a GPU: gpu.power is absent, or the GPU node has not joined "
            "(kubectl get nodes)"
        ]
    selector = pod["spec"].get("nodeSelector") or {}
    matching = [node for node in nodes if _labels(node).items() >= selector.items()]
    if not matching:
        return [_unmatched(node, selector) for node in gpu_nodes]
    reasons = [reason for node in matching for reason in _against(pod, node, pods, daemonsets)]
    return reasons or _scheduler_says(pod)


def is_gpu_node(node: Object) -> bool:
    """By label, or by what the kubelet reports."""
    labels = _labels(node)
    return labels.get(GPU_LABEL) == "true" or ACCELERATOR in labels or _count(node, "capacity") > 0


def accelerators(nodes: Sequence[Object]) -> list[str]:
    """The GPU models of the cluster: values of the label `accelerator`."""
    return sorted({_labels(node)[ACCELERATOR] for node in nodes if ACCELERATOR in _labels(node)})


def _against(
    pod: Object, node: Object, pods: Sequence[Object], daemonsets: Sequence[Object]
) -> Iterator[str]:
    """What speaks against one node that the selector allows."""
    name = node["metadata"]["name"]
    ready = condition(node, "Ready")
    if ready.get("status") != "True":
        yield f"node {name} is not Ready: {ready.get('message') or 'its kubelet has reported nothing'}"
    if node["spec"].get("unschedulable"):
        yield f"node {name} is cordoned (kubectl uncordon {name})"
    tolerations = pod["spec"].get("tolerations") or []
    for taint in node["spec"].get("taints") or []:
        if taint["key"] not in _CONDITION_TAINTS and not tolerated(taint, tolerations):
            yield f"node {name} has the taint {_taint(taint)}, and the pod has no toleration for it"
    wanted, offered = requested_gpus(pod), _count(node, "allocatable")
    if offered == 0:
        yield _no_device(node, pods, daemonsets)
    else:
        users = [other for other in pods if other["spec"].get("nodeName") == name and holds_gpu(other)]
        used = sum(requested_gpus(other) for other in users)
        if used + wanted > offered:
            by = ", ".join(sorted(_spelled(other) for other in users)) or "nobody"
            yield (
                f"node {name} offers {offered} {GPU_RESOURCE}, the pod asks for {wanted}; "
                f"in use: {used}, by {by}"
            )


def _no_device(node: Object, pods: Sequence[Object], daemonsets: Sequence[Object]) -> str:
    """Why a GPU node offers no GPU: the device plugin is absent, not there, not running, or finds none."""
    name = node["metadata"]["name"]
    nothing = f"node {name} offers no {GPU_RESOURCE}"
    plugin = next((item for item in daemonsets if item["metadata"]["name"] == DEVICE_PLUGIN), None)
    if plugin is None:
        return f"{nothing}: the DaemonSet {DEVICE_PLUGIN} is missing (kubepark up registers it)"
    selector = plugin["spec"]["template"]["spec"].get("nodeSelector") or {}
    if not _labels(node).items() >= selector.items():
        label = _pairs(selector)
        return f"{nothing}: the DaemonSet {DEVICE_PLUGIN} wants the label {label}, which the node has not"
    mine = [pod for pod in pods if _owner(pod) == plugin["metadata"]["uid"] and _meant_for(pod) == name]
    if not mine:
        return f"{nothing}: the DaemonSet {DEVICE_PLUGIN} has no pod there"
    pod = mine[0]
    phase = pod.get("status", {}).get("phase", "Unknown")
    if phase != "Running":
        why = _on_node(pod, name) if pod["spec"].get("nodeName") else _scheduler_says(pod)
        return "; ".join([f"{nothing}: its device plugin {_spelled(pod)} is {phase}", *why])
    return (
        f"{nothing} although the device plugin runs: no driver, or no card "
        f"(kubectl logs -n {pod['metadata']['namespace']} {pod['metadata']['name']})"
    )


def _meant_for(pod: Object) -> str | None:
    """The node of a DaemonSet's pod: where it is, or the one that its affinity names."""
    placed: str | None = pod["spec"].get("nodeName")
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    fields = [
        field for term in required.get("nodeSelectorTerms") or [] for field in term.get("matchFields") or []
    ]
    named = [field["values"][0] for field in fields if field["key"] == "metadata.name"]
    return placed or (named[0] if named else None)


def _on_node(pod: Object, node: str) -> list[str]:
    """Why a pod that has a node does not run: what its containers wait for."""
    status = pod.get("status", {})
    waiting = [
        state["state"]["waiting"]
        for state in status.get("containerStatuses") or []
        if state.get("state", {}).get("waiting")
    ]
    return [
        f"on node {node} its container waits: {item.get('reason', 'no reason given')}"
        + (f": {item['message']}" if item.get("message") else "")
        for item in waiting
    ] or [f"it is on node {node}, whose kubelet has not started it"]


def _unmatched(node: Object, selector: Mapping[str, str]) -> str:
    labels = _labels(node)
    has = {key: labels[key] for key in selector if key in labels}
    return f"the pod wants a node with {_pairs(selector)}; GPU node {node['metadata']['name']} has " + (
        _pairs(has) if has else "no label " + ", ".join(key for key in selector)
    )


def _scheduler_says(pod: Object) -> list[str]:
    message = condition(pod, "PodScheduled").get("message")
    return [f"the scheduler says: {message}"] if message else []


def tolerated(taint: Mapping[str, str], tolerations: Sequence[Mapping[str, str]]) -> bool:
    """As the scheduler decides it; PreferNoSchedule never keeps a pod away."""
    if taint["effect"] == "PreferNoSchedule":
        return True
    for toleration in tolerations:
        effect, key = toleration.get("effect"), toleration.get("key")
        if (effect and effect != taint["effect"]) or (key and key != taint["key"]):
            continue
        if toleration.get("operator") == "Exists" or (
            key and toleration.get("value", "") == taint.get("value", "")
        ):
            return True
    return False


def requested_gpus(pod: Object) -> int:
    """GPUs that a pod holds. Limits are looked at: for a GPU the request defaults to them."""
    containers = pod["spec"].get("containers") or []
    return sum(int((c.get("resources", {}).get("limits") or {}).get(GPU_RESOURCE, 0)) for c in containers)


def holds_gpu(pod: Object) -> bool:
    """Whether it has asked for a GPU and not ended."""
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed") and requested_gpus(pod) > 0


def _count(node: Object, field: str) -> int:
    return int((node.get("status", {}).get(field) or {}).get(GPU_RESOURCE, 0))


def condition(item: Object, kind: str) -> Mapping[str, str]:
    """A condition of a pod or a node; empty if it has none of this kind."""
    found = (c for c in item.get("status", {}).get("conditions") or [] if c["type"] == kind)
    return next(found, {})


def _labels(item: Object) -> Mapping[str, str]:
    return item["metadata"].get("labels") or {}


def _owner(pod: Object) -> str | None:
    return next((str(owner["uid"]) for owner in pod["metadata"].get("ownerReferences") or []), None)


def _pairs(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())


def _taint(taint: Mapping[str, str]) -> str:
    return f"{taint['key']}={taint.get('value', '')}:{taint['effect']}"


def _spelled(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"

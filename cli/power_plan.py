"""What park and unpark are about to do: from instances, nodes and pods to steps. Plain values only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from cli.errors import CommandError
from cli.gpu_reasons import condition, holds_gpu, requested_gpus
from cli.instances import Machine
from config import costs
from config.costs import Cost, StackCost
from config.model import NodeRole
from config.naming import CORDONED, GPU_RESOURCE
from config.sections.people import is_reserved

GPU, WORKERS, ALL = "gpu", "workers", "all"
_POOLS: Mapping[str, frozenset[NodeRole]] = {
    GPU: frozenset({NodeRole.GPU}),
    WORKERS: frozenset({NodeRole.WORKER}),
    ALL: frozenset(NodeRole),
}
_ENDED = ("Succeeded", "Failed")
# Of a static pod's image in the API: nobody can evict what the kubelet has from a file.
_MIRROR = "kubernetes.io/config.mirror"
Object = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod that a park ends. `managed`: something makes another one of it."""

    namespace: str
    name: str
    uid: str
    node: str
    gpus: int
    managed: bool

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    def __str__(self) -> str:
        notes = [f"{self.gpus} GPU"] if self.gpus else []
        notes += [] if self.managed else ["nothing makes it anew"]
        return f"{self.key} on {self.node}" + (f" ({', '.join(notes)})" if notes else "")


@dataclass(frozen=True, kw_only=True)
class ParkPlan:
    """`evicts`: the pods are evicted before the stop; else they end with their machines."""

    machines: tuple[Machine, ...]  # all that are meant, in the order in which they are stopped
    cordon: Mapping[str, str]  # node -> the id of its boot
    pods: tuple[Pod, ...]
    evicts: bool

    @property
    def running(self) -> tuple[Machine, ...]:
        return tuple(each for each in self.machines if each.state != "stopped")


def chosen(target: str, machines: Sequence[Machine], stack: str) -> tuple[Machine, ...]:
    """The instances that `target` names: a pool, `all`, or one node. Raises: CommandError."""
    if not machines:
        raise CommandError(
            f"stack {stack} has no instances in the account and region of its file; fix: bin/kubepark up "
            f"--stack {stack}"
        )
    found = tuple(each for each in machines if each.role in _POOLS.get(target, ()) or each.name == target)
    if not found:
        accepted = ", ".join([*_POOLS, *sorted(each.name for each in machines)])
        raise CommandError(f"there is no {target} in stack {stack}; accepted: {accepted}")
    if target not in _POOLS and found[0].role is NodeRole.MASTER:
        wrong = f"{target} is the control plane, and without it no node is of use"
        raise CommandError(f"{wrong}; accepted: all (bin/kubepark park all --stack {stack})")
    return found


def plan_park(
    target: str, machines: Sequence[Machine], nodes: Iterable[Object], pods: Iterable[Object]
) -> ParkPlan:
    """How to park the chosen `machines`. Pods of the GPU pool or of one node may go elsewhere: evicted.
    With every node cordoned none can, and people's pods end with their machines."""
    evicts = target not in (WORKERS, ALL)
    stopping = {each.name for each in machines if not each.off}
    there = {each["metadata"]["name"]: each for each in nodes}
    cordon = {
        name: boot_id(there[name])
        for name in sorted(stopping & there.keys())
        if not there[name]["spec"].get("unschedulable") or CORDONED in annotations_of(there[name])
    }
    masters = {each.name for each in machines if each.role is NodeRole.MASTER}
    return ParkPlan(
        machines=tuple(machines),
        cordon={name: boot for name, boot in cordon.items() if name not in masters},
        pods=tuple(
            pod for pod in movable(pods, stopping) if evicts or pod.gpus or not _of_a_system(pod.namespace)
        ),
        evicts=evicts,
    )


def movable(pods: Iterable[Object], nodes: Iterable[str]) -> tuple[Pod, ...]:
    """The pods on these nodes that a drain moves: not those of DaemonSets, of files, or that have ended.
    Those with a GPU come first."""
    names = set(nodes)
    found = [
        _pod(each)
        for each in pods
        if each["spec"].get("nodeName") in names
        and (each.get("status") or {}).get("phase") not in _ENDED
        and _MIRROR not in annotations_of(each)
        and "DaemonSet" not in _owners(each)
    ]
    return tuple(sorted(found, key=lambda pod: (-pod.gpus, pod.key)))


def _pod(found: Object) -> Pod:
    meta = found["metadata"]
    return Pod(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        node=found["spec"]["nodeName"],
        gpus=requested_gpus(found) if holds_gpu(found) else 0,
        managed=bool(_owners(found)),
    )


def _owners(item: Object) -> set[str]:
    owners = item["metadata"].get("ownerReferences") or []
    return {owner["kind"] for owner in owners if owner.get("controller")}


def _of_a_system(namespace: str) -> bool:
    return is_reserved(namespace) and namespace != "default"


def question(plan: ParkPlan) -> list[str]:
    """What a person is told before the question, and nothing where no pod is hurt."""
    if not plan.pods:
        return []
    names = ", ".join(each.name for each in plan.running)
    what = "are evicted" if plan.evicts else "end with their nodes, and have nowhere else to go"
    return [f"to stop {names}, these pods {what}:", *(f"  {pod}" for pod in plan.pods)]


# -- nodes -------------------------------------------------------------------------------------------


def annotations_of(item: Object) -> Mapping[str, str]:
    found: Mapping[str, str] = item["metadata"].get("annotations") or {}
    return found


def boot_id(node: Object) -> str:
    """The id of the boot in which the kubelet last registered."""
    return str(node.get("status", {}).get("nodeInfo", {}).get("bootID", ""))


def gpus_offered(node: Object) -> int:
    return int((node.get("status", {}).get("allocatable") or {}).get(GPU_RESOURCE, 0))


def missing(machine: Machine, node: Object | None, record: Object | None) -> str:
    """What a started machine still lacks to be a node again; "" if nothing.

    `record`: what it reported last, which counts from its start on. The kubelet must be of the same boot.
    """
    if record is None or record.get("instanceId") != machine.instance_id or not _since(machine, record):
        return "it has not reported since its start"
    phase = record.get("phase")
    if phase == "failed":
        return f"step {record.get('step')} failed, and it tries again: {_last_line(record.get('message'))}"
    if phase not in ("joined", "api-ready"):
        return f"step {record.get('step')}"
    if node is None:
        return "the API server does not answer, or does not know it"
    if boot_id(node) != record.get("bootId"):
        return "its kubelet has not registered since its start"
    ready = condition(node, "Ready")
    if ready.get("status") != "True":
        return f"not Ready: {ready.get('message') or 'its kubelet has reported nothing'}"
    return ""


def _since(machine: Machine, record: Object) -> bool:
    """Whether the record was written since the machine was started."""
    try:
        at = datetime.strptime(str(record.get("at")), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return False
    return at >= machine.launched.replace(microsecond=0)


def _last_line(message: object) -> str:
    lines = str(message or "").strip().splitlines()
    return lines[-1] if lines else "no message"


# -- money -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Saving:
    """What no longer costs, and what a parked node still does."""

    saved: Cost
    left: Cost


def saving(cost: StackCost, machines: Iterable[Machine]) -> Saving:
    """Of parked machines, by the types that they have now. What the stack file does not have is unknown."""
    known = {node.name: node for node in cost.nodes}
    saved = left = Cost()
    for machine in machines:
        node = known.get(machine.name)
        if node is None:
            return Saving(*[Cost(unknown=frozenset({machine.name}))] * 2)
        node = replace(node, instance=costs.cost_of(cost.table, machine.type))
        saved, left = saved + (node.running - node.parked), left + node.parked
    return Saving(saved, left)

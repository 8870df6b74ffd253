"""When an object counts as ready: the official provider's await rules, one function per kind.

Sources: the awaiters of pulumi-kubernetes v4 (provider/pkg/await) and, for DaemonSets, kstatus. Two
differences, both shorter waits with the same end: a Service is not given ten more seconds to settle,
and a Deployment is judged by its own status, which its controller derives from the ReplicaSets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.providers.kubernetes.api import Api, Object
from sandbox.providers.kubernetes.objects import at, metadata


@dataclass(frozen=True)
class Verdict:
    """Ready when there are no reasons left; `final`: it never will be."""

    reasons: Sequence[str] = ()
    final: bool = False

    @property
    def ready(self) -> bool:
        return not self.reasons


READY = Verdict()
Rule = Callable[[Object, Api], Verdict]


def condition(item: Object, name: str) -> Mapping[str, Any]:
    """The entry of `status.conditions` with this type; empty if there is none."""
    for entry in at(item, "status", "conditions") or []:
        if entry.get("type") == name:
            return dict(entry)
    return {}


def words(entry: Mapping[str, Any]) -> str:
    """A condition as its controller put it: `[Reason] message`."""
    return f"[{entry.get('reason', entry.get('type'))}] {entry.get('message', '')}".strip()


def _observed(item: Object) -> bool:
    return bool((at(item, "status", "observedGeneration") or 0) >= (metadata(item).get("generation") or 0))


def _count(item: Object, *path: str) -> int:
    return int(at(item, *path) or 0)


def _wanted(item: Object) -> int:
    replicas = at(item, "spec", "replicas")
    return 1 if replicas is None else int(replicas)


def deployment(item: Object, api: Api) -> Verdict:
    if not _observed(item):
        return Verdict(["the Deployment controller has not looked at it yet"])
    available, progressing = condition(item, "Available"), condition(item, "Progressing")
    wanted, updated = _wanted(item), _count(item, "status", "updatedReplicas")
    live = _count(item, "status", "availableReplicas")
    reasons = [
        words(entry)
        for entry in (available, progressing, condition(item, "ReplicaFailure"))
        if entry and (entry["status"] == "True") == (entry["type"] == "ReplicaFailure")
    ]
    if updated < wanted or live < wanted:
        reasons.append(f"{live} of {wanted} replicas available, {updated} updated")
    elif at(item, "spec", "paused") is not True and progressing.get("reason") != "NewReplicaSetAvailable":
        reasons.append("the rollout is not complete")
    if available.get("status") != "True" and not reasons:
        reasons.append("not available yet")
    return Verdict(reasons)


def stateful_set(item: Object, api: Api) -> Verdict:
    if not _observed(item):
        return Verdict(["the StatefulSet controller has not looked at it yet"])
    wanted, ready = _wanted(item), _count(item, "status", "readyReplicas")
    if ready < wanted:
        return Verdict([f"{ready} of {wanted} replicas ready"])
    current, update = at(item, "status", "currentRevision"), at(item, "status", "updateRevision")
    return READY if current == update else Verdict([f"update to revision {update} is not complete"])


def daemon_set(item: Object, api: Api) -> Verdict:
    if not _observed(item):
        return Verdict(["the DaemonSet controller has not looked at it yet"])
    wanted = _count(item, "status", "desiredNumberScheduled")
    steps = {
        "scheduled": "currentNumberScheduled",
        "updated": "updatedNumberScheduled",
        "available": "numberAvailable",
        "ready": "numberReady",
    }
    for word, field in steps.items():
        have = _count(item, "status", field)
        if have < wanted:
            return Verdict([f"{have} of {wanted} pods {word}"])
    return READY


def job(item: Object, api: Api) -> Verdict:
    failed = condition(item, "Failed")
    if failed.get("status") == "True":
        return Verdict([words(failed)], final=True)
    if condition(item, "Complete").get("status") == "True":
        return READY
    counts = {word: _count(item, "status", word) for word in ("active", "succeeded", "failed")}
    shown = ", ".join(f"{number} {word}" for word, number in counts.items())
    return Verdict([f"the Job has not completed (pods: {shown})"])


def pod(item: Object, api: Api) -> Verdict:
    phase = at(item, "status", "phase")
    if phase == "Failed":
        return Verdict(
            [f"the Pod failed: {at(item, 'status', 'message') or 'see its containers'}"], final=True
        )
    if phase == "Succeeded" or condition(item, "Ready").get("status") == "True":
        return READY
    return Verdict([f"the Pod is {phase or 'Pending'} and not ready"])


def service(item: Object, api: Api) -> Verdict:
    spec = item.get("spec") or {}
    reasons = []
    if spec.get("type") == "LoadBalancer" and not at(item, "status", "loadBalancer", "ingress"):
        reasons.append("Service was not allocated an IP address; does your cloud provider support this?")
    if spec.get("type") == "ExternalName" or spec.get("clusterIP") == "None" or not spec.get("selector"):
        return Verdict(reasons)
    meta = metadata(item)
    slices = api.list(
        f"/apis/discovery.k8s.io/v1/namespaces/{meta['namespace']}/endpointslices",
        {"labelSelector": f"kubernetes.io/service-name={meta['name']}"},
    )
    endpoints = [endpoint for part in slices for endpoint in part.get("endpoints") or []]
    unready = sum(at(endpoint, "conditions", "ready") is False for endpoint in endpoints)
    if not slices:
        reasons.append("the endpoints of the Service have not been computed yet")
    elif unready:
        reasons.append(f"{unready} of {len(endpoints)} Pods that the Service selects are not ready")
    return Verdict(reasons)


def ingress(item: Object, api: Api) -> Verdict:
    if at(item, "status", "loadBalancer", "ingress"):
        return READY
    return Verdict(["Ingress has no address: no ingress controller has taken it"])


def claim(item: Object, api: Api) -> Verdict:
    phase = at(item, "status", "phase")
    name = at(item, "spec", "storageClassName")
    if phase == "Bound":
        return READY
    storage_class = api.find(f"/apis/storage.k8s.io/v1/storageclasses/{name}") if name else None
    if at(storage_class, "volumeBindingMode") == "WaitForFirstConsumer":
        return READY
    return Verdict([f"PersistentVolumeClaim is {phase or 'Pending'}, not Bound"])


def volume(item: Object, api: Api) -> Verdict:
    phase = at(item, "status", "phase")
    return (
        READY if phase in ("Available", "Bound") else Verdict([f"PersistentVolume is {phase or 'Pending'}"])
    )


def quota(item: Object, api: Api) -> Verdict:
    wanted, counted = at(item, "spec", "hard") or {}, at(item, "status", "hard") or {}
    return READY if wanted == counted else Verdict(["the quota controller has not counted it yet"])


def secret(item: Object, api: Api) -> Verdict:
    if item.get("type") == "kubernetes.io/service-account-token" and not item.get("data"):
        return Verdict(["the token controller has not filled it yet"])
    return READY


def definition(item: Object, api: Api) -> Verdict:
    """A CustomResourceDefinition: its names accepted, established, and really served."""
    names = condition(item, "NamesAccepted")
    if names.get("status") == "False":
        return Verdict([words(names)], final=True)
    if condition(item, "Established").get("status") != "True":
        return Verdict(["not established yet"])
    spec = item["spec"]
    for version in spec["versions"]:
        path = f"/apis/{spec['group']}/{version['name']}"
        listed = (api.find(path) or {}).get("resources") or []
        if version["served"] and spec["names"]["plural"] not in {entry["name"] for entry in listed}:
            return Verdict([f"version {version['name']} is not served yet"])
    return READY


RULES: Mapping[str, Rule] = {
    "apiextensions.k8s.io/v1/CustomResourceDefinition": definition,
    "apps/v1/DaemonSet": daemon_set,
    "apps/v1/Deployment": deployment,
    "apps/v1/StatefulSet": stateful_set,
    "batch/v1/Job": job,
    "networking.k8s.io/v1/Ingress": ingress,
    "v1/PersistentVolume": volume,
    "v1/PersistentVolumeClaim": claim,
    "v1/Pod": pod,
    "v1/ResourceQuota": quota,
    "v1/Secret": secret,
    "v1/Service": service,
}

"""Workloads that use a GPU ask for exactly what they get, and may run where the GPUs are."""

from __future__ import annotations

from typing import Any

from pulumi_policy import ResourceValidationArgs

from policies.common import Fail, dig, every, mandatory
from policies.pods import POD_SPECS, each_container, pod_spec

TAINT = "nvidia.com/gpu"
GPU_LABELS = ("accelerator", "nvidia.com/gpu.present")


def _is_gpu(resource: str) -> bool:
    return resource.startswith(("nvidia.com/gpu", "nvidia.com/mig-"))


def _gpu_resources(container: Any) -> set[str]:
    """The GPU resources that a container names in requests or limits."""
    found = (dig(container, "resources", part) or {} for part in ("requests", "limits"))
    return {name for amounts in found for name in amounts if _is_gpu(name)}


def _check_container(container: Any, fail: Fail) -> None:
    for name in sorted(_gpu_resources(container)):
        limit = dig(container, "resources", "limits", name)
        request = dig(container, "resources", "requests", name)
        # Kubernetes takes the limit for a request that is not given.
        if limit is None or (request is not None and str(request) != str(limit)):
            place = f"Container {dig(container, 'name')}: {name}"
            fail(f"{place} requests {request or 'nothing'} with a limit of {limit or 'nothing'}.")


def _tolerates(toleration: Any) -> bool:
    """Whether a toleration covers the NoSchedule taint of the GPU nodes, by Kubernetes' own rule."""
    key = dig(toleration, "key")
    operator = dig(toleration, "operator") or "Equal"
    if dig(toleration, "effect") not in (None, "", "NoSchedule"):
        return False
    if operator == "Exists":
        return key in (None, "", TAINT)
    return bool(key == TAINT and dig(toleration, "value") == "present")


def _gpu_workload(args: ResourceValidationArgs, fail: Fail) -> None:
    spec = pod_spec(args)
    uses: list[str] = []

    def note(container: Any) -> None:
        if _gpu_resources(container):
            uses.append(str(dig(container, "name")))

    def selector() -> None:
        labels = dig(spec, "nodeSelector") or {}
        uses.extend(f"nodeSelector {label}" for label in GPU_LABELS if label in list(labels))

    def tolerations() -> None:
        given = dig(spec, "tolerations") or ()
        if uses and not any(_tolerates(given[index]) for index in range(len(given))):
            fail(f"{', '.join(uses)} needs a GPU node, but its taint {TAINT} is not tolerated.")

    every(
        [
            lambda: each_container(spec, lambda container: _check_container(container, fail)),
            lambda: each_container(spec, note),
            selector,
            tolerations,
        ]
    )
    if not uses:
        args.not_applicable("uses no GPU")


GPU_REQUEST_EQUALS_LIMIT = mandatory(
    name="gpu-request-equals-limit",
    description="A workload that uses a GPU has equal GPU request and limit and tolerates the GPU taint.",
    remedy="Give nvidia.com/gpu the same number in requests and limits, and add the toleration "
    "{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}.",
    url="https://kubernetes.io/docs/tasks/manage-gpus/scheduling-gpus/",
    types=frozenset(POD_SPECS),
    check=_gpu_workload,
)

"""What pods may be: no part of their node, of an image that stays the same, with limits that leave room."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pulumi_policy import PolicyConfigSchema, ResourceValidationArgs, Severity

from config.quantities import quantity
from policies.common import Fail, dig, each, every, mandatory, strings

LIMIT_RANGE = "kubernetes:core/v1:LimitRange"

_TEMPLATE = ("spec", "template", "spec")

# Where each kind keeps its pod spec.
POD_SPECS: dict[str, tuple[str, ...]] = {
    "kubernetes:core/v1:Pod": ("spec",),
    "kubernetes:apps/v1:DaemonSet": _TEMPLATE,
    "kubernetes:apps/v1:Deployment": _TEMPLATE,
    "kubernetes:apps/v1:ReplicaSet": _TEMPLATE,
    "kubernetes:apps/v1:StatefulSet": _TEMPLATE,
    "kubernetes:batch/v1:Job": _TEMPLATE,
    "kubernetes:batch/v1:CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}

# Pods that may be a part of their node, each with the reason.
PRIVILEGED = {
    "tigera-operator/tigera-operator": "uses the host's network, for it makes the pods'",
}
_HOST = ("hostNetwork", "hostPID", "hostIPC")


def pod_spec(args: ResourceValidationArgs) -> Any:
    return dig(args.props, *POD_SPECS[args.resource_type])


def each_container(spec: Any, check: Callable[[Any], None]) -> None:
    """The check for every container of a pod, those of its start as well."""
    every(partial(each, dig(spec, kind), check) for kind in ("containers", "initContainers"))


def _within(requests: Any, limits: Any, fail: Fail, where: str) -> None:
    """No request above the limit of the same resource."""

    def compare(name: str) -> None:
        request, limit = dig(requests, name), dig(limits, name)
        if request is None or limit is None:
            return
        try:
            if quantity(request) > quantity(limit):
                fail(f"{where}: {name} requests {request} with a limit of {limit}.")
        except ValueError as error:
            fail(f"{where}: {name}: {error}.")

    every(partial(compare, name) for name in sorted(requests or ()))


def _limits_cover_requests(args: ResourceValidationArgs, fail: Fail) -> None:
    def container(value: Any) -> None:
        resources = dig(value, "resources")
        _within(dig(resources, "requests"), dig(resources, "limits"), fail, f"Container {dig(value, 'name')}")

    def defaults(value: Any) -> None:
        where = f"Defaults for each {dig(value, 'type')}"
        _within(dig(value, "defaultRequest"), dig(value, "default"), fail, where)

    if args.resource_type == LIMIT_RANGE:
        each(dig(args.props, "spec", "limits"), defaults)
    else:
        each_container(pod_spec(args), container)


def _no_privileged_pod(args: ResourceValidationArgs, fail: Fail) -> None:
    allowed = [*PRIVILEGED, *args.get_config().get("allowed", [])]
    metadata = args.props.get("metadata")
    name = f"{dig(metadata, 'namespace') or 'default'}/{dig(metadata, 'name')}"
    if name in allowed:
        args.not_applicable(f"{name} is on the list of those that may")
    spec = pod_spec(args)

    def host(key: str) -> None:
        if dig(spec, key):
            fail(f"{name} has {key}: true.")

    def container(value: Any) -> None:
        if dig(value, "securityContext", "privileged"):
            fail(f"Container {dig(value, 'name')} of {name} is privileged.")

    every([*(partial(host, key) for key in _HOST), lambda: each_container(spec, container)])


def _is_pinned(image: str) -> bool:
    """Whether the same words will be the same image tomorrow, as far as words tell."""
    name, _, digest = image.partition("@")
    if digest:
        return digest.startswith("sha256:")
    tag = name.rpartition("/")[2].partition(":")[2]
    return bool(tag) and "latest" not in tag.lower()


def _images_pinned(args: ResourceValidationArgs, fail: Fail) -> None:
    moving = args.get_config().get("moving", [])

    def container(value: Any) -> None:
        image = str(dig(value, "image"))
        if not _is_pinned(image) or image.rpartition(":")[2] in moving:
            fail(f"The image of container {dig(value, 'name')} may change: {image}.")

    each_container(pod_spec(args), container)


LIMITS_COVER_REQUESTS = mandatory(
    name="limits-cover-requests",
    description="No request is above its limit: the API server would refuse the pod, long after the update.",
    remedy="Raise the limit or lower the request.",
    url="https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/",
    severity=Severity.MEDIUM,
    types=frozenset({*POD_SPECS, LIMIT_RANGE}),
    check=_limits_cover_requests,
)

NO_PRIVILEGED_POD = mandatory(
    name="no-privileged-pod",
    description="No pod is privileged or shares the network, the processes or the memory of its node, except "
    "those on a list.",
    remedy="Remove privileged, hostNetwork, hostPID and hostIPC. One that makes the node work is put on the "
    "list with its reason: PRIVILEGED in policies/pods.py, or `allowed` in the pack's configuration.",
    url="https://kubernetes.io/docs/concepts/security/pod-security-standards/#baseline",
    severity=Severity.CRITICAL,
    types=frozenset(POD_SPECS),
    check=_no_privileged_pod,
    config=PolicyConfigSchema(properties={"allowed": strings("more pods that may, as NAMESPACE/NAME")}),
)

IMAGES_PINNED = mandatory(
    name="images-pinned",
    description="Images have a digest or a tag that stays: what ran yesterday runs after a restart, too.",
    remedy="Name a release's tag or a digest (@sha256:...). Tags that move by agreement are listed in the "
    "pack's configuration (`moving`).",
    url="https://kubernetes.io/docs/concepts/containers/images/#image-names",
    severity=Severity.MEDIUM,
    types=frozenset(POD_SPECS),
    check=_images_pinned,
    config=PolicyConfigSchema(properties={"moving": strings("more tags that move, as stable or main")}),
)

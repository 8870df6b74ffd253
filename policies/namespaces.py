"""What belongs together in a namespace, and what a Role may not be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from pulumi_policy import PolicyResource, ResourceValidationArgs, StackValidationArgs

from policies.common import (
    Fail,
    FailOf,
    dig,
    each,
    every,
    mandatory,
    mandatory_for_stack,
    of_types,
)
from policies.pods import LIMIT_RANGE, POD_SPECS

QUOTA = "kubernetes:core/v1:ResourceQuota"
PROFILE = "kubernetes:kubeflow.org/v1:Profile"
NETWORK_POLICY = "kubernetes:networking.k8s.io/v1:NetworkPolicy"
ROLES = frozenset(
    {
        "kubernetes:rbac.authorization.k8s.io/v1:Role",
        "kubernetes:rbac.authorization.k8s.io/v1:ClusterRole",
    }
)
DEX = "dex"  # the last part of its image's name

# Entries of a quota after which every container must say what it needs, and which defaults say it for those
# that do not. A default limit is the request, too.
# Source: Kubernetes documentation, "Resource Quotas" and "Limit Ranges".
NEEDED_DEFAULTS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "cpu": ("cpu", ("defaultRequest", "default")),
    "memory": ("memory", ("defaultRequest", "default")),
    "requests.cpu": ("cpu", ("defaultRequest", "default")),
    "requests.memory": ("memory", ("defaultRequest", "default")),
    "limits.cpu": ("cpu", ("default",)),
    "limits.memory": ("memory", ("default",)),
}


def _no_star_role(args: ResourceValidationArgs, fail: Fail) -> None:
    def check(rule: Any) -> None:
        if "*" in (dig(rule, "verbs") or ()) and "*" in (dig(rule, "resources") or ()):
            groups = ", ".join(dig(rule, "apiGroups") or ()) or "the core group"
            fail(f"Every verb is allowed on every resource of {groups}.")

    each(args.props.get("rules"), check)


def _quota(resource: PolicyResource) -> tuple[str, Any]:
    """Namespace and `hard` entries of a quota, also of one that Kubeflow's controller will make."""
    if resource.resource_type == PROFILE:
        return dig(resource.props, "metadata", "name"), dig(
            resource.props, "spec", "resourceQuotaSpec", "hard"
        )
    return dig(resource.props, "metadata", "namespace"), dig(resource.props, "spec", "hard")


def _has_default(ranges: Iterable[PolicyResource], name: str, fields: tuple[str, ...]) -> bool:
    return any(
        dig(entry, field, name) is not None
        for each_range in ranges
        for entry in dig(each_range.props, "spec", "limits") or ()
        if dig(entry, "type") == "Container"
        for field in fields
    )


def _quota_has_defaults(args: StackValidationArgs, fail: FailOf) -> None:
    ranges: dict[Any, list[PolicyResource]] = {}
    somewhere: list[PolicyResource] = []  # in a namespace that is not known yet

    def place(resource: PolicyResource) -> None:
        somewhere.append(resource)
        ranges.setdefault(_namespace(resource), []).append(resource)
        somewhere.pop()

    def check(resource: PolicyResource) -> None:
        namespace, hard = _quota(resource)
        for key in sorted(set(hard or ()) & NEEDED_DEFAULTS.keys()):
            name, fields = NEEDED_DEFAULTS[key]
            if not _has_default(ranges.get(namespace, ()), name, fields):
                for other in somewhere:
                    _namespace(other)  # raises: it may be that one's
                fail(
                    resource, f"{namespace} has a quota of {key} and no LimitRange with {fields[-1]} {name}."
                )

    placing = [partial(place, resource) for resource in of_types(args, LIMIT_RANGE)]
    every([*placing, *(partial(check, resource) for resource in of_types(args, QUOTA, PROFILE))])


def _namespace(resource: PolicyResource) -> Any:
    return dig(resource.props, "metadata", "namespace")


def _selects(policy: PolicyResource, namespace: str, labels: Any) -> bool:
    """Whether a NetworkPolicy closes the ingress of pods with these labels."""
    spec = policy.props.get("spec")
    if dig(policy.props, "metadata", "namespace") != namespace:
        return False
    if "Ingress" not in (dig(spec, "policyTypes") or ("Ingress",)):
        return False
    if len(dig(spec, "podSelector", "matchExpressions") or ()) > 0:
        return False  # not evaluated here, so it does not count
    wanted = dig(spec, "podSelector", "matchLabels") or {}
    return all(dig(labels, key) == wanted[key] for key in wanted)


def _is_dex(container: Any) -> bool:
    image = str(dig(container, "image")).partition("@")[0]
    return image.rpartition("/")[2].partition(":")[0] == DEX


def _dex_is_closed(args: StackValidationArgs, fail: FailOf) -> None:
    policies = of_types(args, NETWORK_POLICY)

    def check(resource: PolicyResource) -> None:
        *above, _ = POD_SPECS[resource.resource_type]
        template = dig(resource.props, *above)
        if not any(_is_dex(container) for container in dig(template, "spec", "containers") or ()):
            return
        namespace, labels = dig(resource.props, "metadata", "namespace"), dig(template, "metadata", "labels")
        if not any(_selects(policy, namespace, labels) for policy in policies):
            fail(resource, f"No NetworkPolicy of {namespace} says who may reach Dex.")

    every(partial(check, resource) for resource in of_types(args, *POD_SPECS))


NO_STAR_ROLE = mandatory(
    name="no-star-role",
    description="No Role allows every verb on every resource: it would allow what nobody knows of yet.",
    remedy="Name the verbs and the resources that are used.",
    url="https://kubernetes.io/docs/concepts/security/rbac-good-practices/",
    types=ROLES,
    check=_no_star_role,
)

QUOTA_HAS_DEFAULTS = mandatory_for_stack(
    name="quota-has-defaults",
    description="A namespace with a quota has a LimitRange: without one, pods that do not say what they need "
    "are refused, sidecars first.",
    remedy="Add a LimitRange with defaults for containers to the namespace, or take the entry from the "
    "quota.",
    url="https://kubernetes.io/docs/concepts/policy/resource-quotas/",
    check=_quota_has_defaults,
)

DEX_IS_CLOSED = mandatory_for_stack(
    name="dex-is-closed",
    description="A NetworkPolicy says who may reach Dex, which knows everybody's password hash.",
    remedy="Add a NetworkPolicy for Ingress to Dex's namespace whose podSelector.matchLabels are labels of "
    "Dex's pods.",
    url="https://kubernetes.io/docs/concepts/services-networking/network-policies/",
    check=_dex_is_closed,
)

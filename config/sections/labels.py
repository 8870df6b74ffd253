"""Further labels of GPU nodes, by the rules of who reads them: the kubelet's `--node-labels`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from config.nodes import PLANNED_LABELS
from config.validation import Section, matching

# Source of both forms and lengths: k8s.io/apimachinery, pkg/api/validate/content (IsLabelKey, IsLabelValue,
# IsDNS1123Subdomain), as the kubelet uses them.
_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_PREFIX = 253

# Domains that are Kubernetes' own, and what of them a kubelet may set itself: what is below the second, and
# single labels. Source: kubernetes 1.36, cmd/kubelet/app/options (ValidateKubeletFlags) and
# k8s.io/kubelet/pkg/apis/well_known_labels.go. The API server's NodeRestriction agrees.
_KUBERNETES = ("kubernetes.io", "k8s.io")
_OPEN = ("kubelet.kubernetes.io", "node.kubernetes.io")
_SINGLE = frozenset(
    {
        "beta.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
    }
)
# The others that it may set it does set itself, to what the machine is (pkg/kubelet/kubelet_node_status.go).
_OF_THE_KUBELET = frozenset(
    {
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "kubernetes.io/arch",
        "kubernetes.io/hostname",
        "kubernetes.io/os",
    }
)


def labels(section: Section) -> Mapping[str, str]:
    """The labels; recorded is what a kubelet would refuse, and what is not for the stack to say."""
    found = {}
    for key in section.names():
        if wrong := _wrong_key(key):
            section.refuse(key, wrong, "another label", None)
        found[key] = section.value(
            key, matching(_VALUE, "a label value"), accepted="a Kubernetes label value", example="shared"
        )
    return found


def _wrong_key(key: str) -> str:
    """What is wrong with a label's key; empty if nothing is."""
    prefix, slash, name = key.rpartition("/")
    is_prefix = len(prefix) <= _LONGEST_PREFIX and _PREFIX.fullmatch(prefix)
    if not _NAME.fullmatch(name) or (slash and not is_prefix):
        return "is not the key of a label"
    if key in PLANNED_LABELS:
        return "is set by the program, from what the node is"
    if key in _OF_THE_KUBELET:
        return "is set by the kubelet, from what the machine is"
    if _below(prefix, _KUBERNETES) and not _below(prefix, _OPEN) and key not in _SINGLE:
        return f"is Kubernetes' own: of these a kubelet may set only what is below {' and '.join(_OPEN)}"
    return ""


def _below(domain: str, parents: tuple[str, ...]) -> bool:
    return domain in parents or domain.endswith(tuple(f".{parent}" for parent in parents))

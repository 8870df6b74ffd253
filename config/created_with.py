"""Settings that only a new cluster can take: refused before any resource is registered.

The stack's own outputs of the last update say what the cluster was made with. A difference would
otherwise be carried out as a replacement of the network or ignored by a control plane that was
initialised long ago.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from config.model import Settings
from config.naming import PROJECT, Naming
from config.validation import Problem, SettingsError

OUTPUT = "created_with"

# Key of the output -> the setting that it comes from.
_NETWORK = {
    "vpc_cidr": "network.vpcCidr",
    "availability_zone": "network.availabilityZone",
    "cluster": "clusterName",
}
_CLUSTER = {
    "pod_cidr": "network.podCidr",
    "service_cidr": "network.serviceCidr",
    "kubernetes": "platform.kubernetes",
    "platform": "platform.os",
    "api_name": "clusterName",
}


def describe(settings: Settings) -> dict[str, str]:
    """What the cluster is made with, for the stack output."""
    return {
        "cluster": settings.cluster,
        "vpc_cidr": str(settings.network.vpc_cidr),
        "availability_zone": settings.network.availability_zone,
        "pod_cidr": str(settings.network.pod_cidr),
        "service_cidr": str(settings.network.service_cidr),
        "kubernetes": settings.versions.minor,
        "platform": settings.platform,
        "api_name": Naming(settings.cluster).api_name,
        "identity": str(settings.control_plane.identity),
    }


def previous() -> Mapping[str, Any]:
    """All outputs of the last successful update; empty on the first."""
    stack = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    # The engine's own call behind StackReference, without a resource in the state.
    answer = pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", {"name": stack}).value or {}
    return answer.get("outputs") or {}


def check(settings: Settings, outputs: Mapping[str, Any]) -> None:
    """Compare with what the cluster was made with, as the outputs of the last update say.

    Raises: SettingsError naming each key with its old and new value and the way to change it.
    """
    now, before = describe(settings), outputs.get(OUTPUT) or {}
    same_cluster = before.get("identity") == now["identity"]
    keys = {**_NETWORK, **(_CLUSTER if same_cluster else {})}
    problems = [
        Problem(
            key=f"{PROJECT}:{setting}",
            wrong=f"was {before[name]} when the cluster was made, now {now[name]}",
            accepted=str(before[name]),
            fix=f"pulumi config set --stack {pulumi.get_stack()} --path {PROJECT}:{setting} {before[name]}, "
            "or destroy the stack and make it anew",
        )
        for name, setting in keys.items()
        if name in before and before[name] != now[name]
    ]
    if problems:
        raise SettingsError(pulumi.get_stack(), problems)

"""Settings of the provider resource, with the environment variables that the official one honours."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox.providers.backend import UNKNOWN, CheckFailure, ProviderError, config_value
from sandbox.providers.kubernetes import kubeconfig, sdk

_TEXT = ("kubeconfig", "context", "cluster", "namespace", "clusterIdentifier")
# Setting -> environment variable that counts when the setting is absent.
_FLAGS = {
    "deleteUnreachable": "PULUMI_K8S_DELETE_UNREACHABLE",
    "enableConfigMapMutable": "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE",
    "enablePatchForce": "PULUMI_K8S_ENABLE_PATCH_FORCE",
    "enableSecretMutable": "PULUMI_K8S_ENABLE_SECRET_MUTABLE",
    "enableServerSideApply": "PULUMI_K8S_ENABLE_SERVER_SIDE_APPLY",
    "skipUpdateUnreachable": "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE",
    "suppressDeprecationWarnings": "PULUMI_K8S_SUPPRESS_DEPRECATION_WARNINGS",
    "suppressHelmHookWarnings": "PULUMI_K8S_SUPPRESS_HELM_HOOK_WARNINGS",
    "upsertExistingObjects": "PULUMI_K8S_UPSERT_EXISTING_OBJECTS",
}
# What decides, without a clusterIdentifier, whether the provider points to another cluster.
_POINTS = ("kubeconfig", "context", "cluster")


@dataclass(frozen=True)
class Settings:
    """What the operations need to know."""

    target: kubeconfig.Target
    namespace: str
    delete_unreachable: bool
    mutable_config_maps: bool
    mutable_secrets: bool
    patch_force: bool
    upsert: bool


def problems(variables: Mapping[str, Any]) -> list[CheckFailure]:
    """Every setting that is unknown, malformed or beyond this stand-in."""
    found: list[CheckFailure] = []
    for name, value in variables.items():
        if value is UNKNOWN or value is None:
            continue
        if name not in sdk.settings():
            found.append((name, "unknown setting of the Kubernetes provider"))
        elif name in _FLAGS:
            found += _flag_problem(name, value)
        elif name not in _TEXT:
            found.append((name, "not supported by the stand-in for the Kubernetes provider"))
        elif not isinstance(value, str):
            found.append((name, "expected a string"))
    for name, wanted in (("enableServerSideApply", True), ("skipUpdateUnreachable", False)):
        if not found and _flag(variables, name, default=wanted) is not wanted:
            needs = "enabled" if wanted else "disabled"
            found.append((name, f"the stand-in for the Kubernetes provider works with it {needs} only"))
    return found


def load(variables: Mapping[str, Any]) -> Settings:
    """Settings from a complete set of variables. Raises ProviderError."""
    refused = problems(variables)
    if refused:
        raise ProviderError("", "; ".join(f"{name}: {reason}" for name, reason in refused))
    text = variables.get("kubeconfig")
    if not text:
        raise ProviderError("", "kubeconfig: the provider needs the contents of a kubeconfig")
    target = kubeconfig.parse(text, variables.get("context"), variables.get("cluster"))
    return Settings(
        target=target,
        namespace=variables.get("namespace") or target.namespace,
        delete_unreachable=_flag(variables, "deleteUnreachable"),
        mutable_config_maps=_flag(variables, "enableConfigMapMutable"),
        mutable_secrets=_flag(variables, "enableSecretMutable"),
        patch_force=_flag(variables, "enablePatchForce"),
        upsert=_flag(variables, "upsertExistingObjects"),
    )


def replacing(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[bool, list[str]]:
    """(anything changed, settings whose change replaces every resource), by the official rules.

    With an unchanged clusterIdentifier nothing replaces; a changed one replaces. Without, or when it
    is being added or removed, another active cluster in the kubeconfig replaces, and so does a value
    that is not known yet.
    """
    changed = {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
    identifiers = old.get("clusterIdentifier"), new.get("clusterIdentifier")
    if not changed or (identifiers[0] and identifiers[0] == identifiers[1]):
        return bool(changed), []
    replaces = ["clusterIdentifier"] if all(identifiers) else []
    unknown = [name for name in _POINTS if new.get(name) is UNKNOWN]
    if unknown:
        return True, replaces + unknown
    clusters = kubeconfig.active_cluster(old), kubeconfig.active_cluster(new)
    if None not in clusters and clusters[0] != clusters[1]:
        replaces += [name for name in _POINTS if name in changed]
    return True, replaces


def _flag(variables: Mapping[str, Any], name: str, default: bool = False) -> bool:
    value = variables.get(name)
    if value is None or value is UNKNOWN:
        value = os.environ.get(_FLAGS[name])
        return default if value is None else value == "true"
    return config_value(value) is True


def _flag_problem(name: str, value: Any) -> list[CheckFailure]:
    wrong = value not in (True, False, "true", "false")
    return [(name, f"expected true or false, got {value!r}")] if wrong else []

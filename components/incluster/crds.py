"""CustomResourceDefinitions of others: most of what a stack's state would hold, and twice, if all were kept.

Pure functions. A schema's descriptions are three quarters of it, and an operator that makes its CRDs by
itself needs them from nobody else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

Object = dict[str, Any]

CRD = "CustomResourceDefinition"
# The operator makes and updates its CRDs when it starts. Source: tigera/operator, cmd/main.go ("Operator
# should manage the projectcalico.org and operator.tigera.io CRDs") and pkg/crds.
_MANAGES = ("-manage-crds=true", "--manage-crds=true")
_ONE = ("items", "additionalProperties", "not")  # keys of a structural schema that hold one,
_MANY = ("allOf", "anyOf", "oneOf")  # and that hold a list of them
_NAMED = ("properties",)  # and that hold them by name: a property may well be called `description`


def is_complete(spec: Any) -> bool:
    """Whether the spec of a CRD has what is asked of it here."""
    if not isinstance(spec, Mapping) or not isinstance(spec.get("names"), Mapping):
        return False
    versions = spec.get("versions")
    listed = isinstance(versions, list) and all(isinstance(each, Mapping) for each in versions)
    return listed and bool(spec.get("group") and spec["names"].get("kind"))


def slim(definition: Object) -> Object:
    """A complete CRD without the texts about its fields and columns; what the API server checks stays."""
    spec = definition["spec"]
    return {**definition, "spec": {**spec, "versions": [_slim_version(each) for each in spec["versions"]]}}


def _slim_version(version: Mapping[str, Any]) -> Mapping[str, Any]:
    found = dict(version)
    if isinstance(schema := version.get("schema"), Mapping):
        found["schema"] = {key: _slim(value) for key, value in schema.items()}
    if isinstance(columns := version.get("additionalPrinterColumns"), list):
        found["additionalPrinterColumns"] = [_slim(each) for each in columns]
    return found


def _slim(schema: Any) -> Any:
    if not isinstance(schema, Mapping):  # `additionalProperties: true`
        return schema
    found = {}
    for key, value in schema.items():
        if key == "description" and isinstance(value, str):
            continue
        if key in _NAMED:
            value = {name: _slim(each) for name, each in value.items()}
        elif key in _ONE:
            value = _slim(value)
        elif key in _MANY:
            value = [_slim(each) for each in value]
        found[key] = value
    return found


def without_managed(manifests: Collection[Object]) -> tuple[Object, ...]:
    """The manifests without the CRDs that an operator among them makes by itself.

    Which those are its own role says: the ones by name that it may update.
    """
    names = _updatable(manifests) if any(map(_manages, manifests)) else frozenset()
    return tuple(each for each in manifests if each["kind"] != CRD or each["metadata"]["name"] not in names)


def _manages(manifest: Mapping[str, Any]) -> bool:
    pod = ((manifest.get("spec") or {}).get("template") or {}).get("spec") or {}
    containers = pod.get("containers") or []
    return any(argument in _MANAGES for each in containers for argument in each.get("args") or [])


def _updatable(manifests: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    roles = [rule for each in manifests if each["kind"] == "ClusterRole" for rule in each.get("rules") or []]
    return frozenset(
        name
        for rule in roles
        if "customresourcedefinitions" in (rule.get("resources") or []) and "update" in rule["verbs"]
        for name in rule.get("resourceNames") or []
    )

"""Kubernetes objects as plain dictionaries: their names in Pulumi, their order, what each needs first.

Pure functions. Everything here is decided from the manifest alone, so the resource graph is the same
before the cluster exists as after.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from components.incluster.crds import CRD, is_complete, slim
from config.naming import PROJECT
from config.quantities import canonical

Object = dict[str, Any]  # a Kubernetes object, as its manifest says it

# On everything that we make ourselves: `kubectl get -l` finds it.
MANAGED_BY: Mapping[str, str] = {"app.kubernetes.io/managed-by": PROJECT}

_FIRST = frozenset({"Namespace", CRD})
_WORKLOADS = frozenset({"CronJob", "DaemonSet", "Deployment", "Job", "Pod", "ReplicaSet", "StatefulSet"})
# What a pod fails without, or starts wrongly without: registered before the workloads beside it.
_SUPPORT = frozenset(
    {
        "ClusterRole",
        "ClusterRoleBinding",
        "ConfigMap",
        CRD,
        "PriorityClass",
        "Role",
        "RoleBinding",
        "RuntimeClass",
        "Secret",
        "ServiceAccount",
    }
)
# Groups and keys of the API's own objects that hold quantities by name. A custom resource keeps its text.
_QUANTITY_GROUPS = frozenset({"v1", "apps", "batch"})
_QUANTITIES = frozenset(
    {
        "capacity",
        "default",
        "defaultRequest",
        "emptyDir",
        "hard",
        "limits",
        "max",
        "maxLimitRequestRatio",
        "min",
        "requests",
    }
)
# Cluster-scoped, but about the namespace that bears its name: Kubeflow's controller adopts that one.
_ABOUT_NAMESPACE = frozenset({"Profile"})


def make(
    version: str,
    kind: str,
    name: str,
    namespace: str | None = None,
    *,
    labels: Mapping[str, str] = MANAGED_BY,
    annotations: Mapping[str, str] | None = None,
    **fields: Any,
) -> Object:
    """An object of ours, with the label that says so; `fields` are what it has besides metadata."""
    metadata = {
        "name": name,
        "namespace": namespace,
        "labels": {**labels, **MANAGED_BY},
        "annotations": dict(annotations or {}),
    }
    kept = {key: value for key, value in metadata.items() if value}
    return {"apiVersion": version, "kind": kind, "metadata": kept, **fields}


def namespace(manifest: Mapping[str, Any]) -> str | None:
    """The namespace the manifest names; None for a cluster-scoped object."""
    named: str | None = manifest["metadata"].get("namespace")
    return named


def namespaces_of(manifests: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The namespaces that come to be with these objects; a Profile makes the one that bears its name."""
    kinds = {"Namespace", *_ABOUT_NAMESPACE}
    return tuple(each["metadata"]["name"] for each in manifests if each["kind"] in kinds)


def identity(manifest: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """What makes it one object of the API: group, kind, namespace and name, whatever the version."""
    group = manifest["apiVersion"].rpartition("/")[0]
    return group, manifest["kind"], namespace(manifest) or "default", manifest["metadata"]["name"]


def type_token(manifest: Mapping[str, Any]) -> str:
    """The Pulumi type: that of the SDK's own class, or of its CustomResource for a CRD's kind."""
    version = manifest["apiVersion"]
    return f"kubernetes:{version if '/' in version else f'core/{version}'}:{manifest['kind']}"


def resource_names(manifests: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The Pulumi name of each, part of the URN and so fixed for life: `<kind>-<namespace>-<name>`.

    The namespace may have dashes, too: of `a/b-c` and `a-b/c` only the first in the alphabet has that name,
    the other is `<kind>-a-b/c`, with a slash, which is in no name of Kubernetes.
    """
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for manifest in manifests:
        key, own = (type_token(manifest), _joined(manifest)), _identity(manifest)
        first[key] = min(own, first.get(key, own))
    return tuple(
        _joined(manifest)
        if first[type_token(manifest), _joined(manifest)] == _identity(manifest)
        else f"{manifest['kind'].lower()}-{'/'.join(_identity(manifest))}"
        for manifest in manifests
    )


def _identity(manifest: Mapping[str, Any]) -> tuple[str, str]:
    return (namespace(manifest) or "", manifest["metadata"]["name"])


def _joined(manifest: Mapping[str, Any]) -> str:
    parts = (manifest["kind"], *_identity(manifest))
    return "-".join(part for part in parts if part).lower()


def in_order(manifests: Iterable[Object]) -> tuple[Object, ...]:
    """Namespaces and CRDs first, workloads last, otherwise as given."""
    return tuple(sorted(manifests, key=_rank))


def needs(manifests: Sequence[Mapping[str, Any]]) -> list[tuple[int, ...]]:
    """For each, the places of those among them that must exist before it."""
    found: dict[tuple[str, ...], list[int]] = {}  # by what they are needed for
    for place, manifest in enumerate(manifests):
        for key in _gives(manifest):
            found.setdefault(key, []).append(place)
    return [
        tuple(sorted({place for key in _wants(manifest) for place in found.get(key, ())} - {own}))
        for own, manifest in enumerate(manifests)
    ]


def _gives(manifest: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    kind = manifest["kind"]
    if kind == "Namespace":
        yield "namespace", manifest["metadata"]["name"]
        return
    if kind == CRD:
        yield "kind", manifest["spec"]["group"], manifest["spec"]["names"]["kind"]
    if kind in _SUPPORT:
        yield "support", namespace(manifest) or ""


def _wants(manifest: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    kind = manifest["kind"]
    named = manifest["metadata"]["name"] if kind in _ABOUT_NAMESPACE else namespace(manifest)
    yield "namespace", named or ""
    yield "kind", manifest["apiVersion"].partition("/")[0], kind
    if kind in _WORKLOADS:
        yield "support", ""
        yield "support", namespace(manifest) or ""


def _rank(manifest: Mapping[str, Any]) -> int:
    kind = manifest["kind"]
    return 0 if kind in _FIRST else 2 if kind in _WORKLOADS else 1


def normalise(documents: Iterable[Any], where: str, problems: list[str]) -> tuple[Object, ...]:
    """The objects of one YAML stream in the order of registration; what is wrong goes to `problems`.

    Empty documents are dropped, and so is what only a server may write: `status`, the null
    `creationTimestamp` that generators leave behind, the `rules` of an aggregated ClusterRole; and the
    texts in CRDs' schemas. Quantities are spelled as the server does. `where` names the stream in the
    problems.
    """
    found: list[Object] = []
    seen: dict[tuple[str, ...], int] = {}
    for number, document in enumerate(documents, start=1):
        if document is None:
            continue
        wrong = _fault(document)
        if wrong is None:
            first = seen.setdefault((type_token(document), *_identity(document)), number)
            if first == number:
                found.append(_cleaned(document))
                continue
            wrong = f"{document['kind']} {spelled(document)} is there already, in document {first}"
        problems.append(f"{where}, document {number}: {wrong}")
    return in_order(found)


def _fault(document: Any) -> str | None:
    """Why a document is not one named object; None when it is."""
    if not isinstance(document, dict):
        return f"a {type(document).__name__} is not an object; accepted: a mapping with apiVersion and kind"
    for key in ("apiVersion", "kind"):
        if not isinstance(document.get(key), str) or not document[key]:
            return f"{key} is missing"
    if document["kind"].endswith("List") and "items" in document:
        return f"{document['kind']} is not registered object by object; accepted: its items as documents"
    metadata = document.get("metadata")
    if not isinstance(metadata, dict):
        return f"{document['kind']} without metadata"
    if "generateName" in metadata:
        return f"{document['kind']} has generateName, a new name each time; accepted: metadata.name"
    if not isinstance(metadata.get("name"), str) or not metadata["name"]:
        return f"{document['kind']} without metadata.name"
    if document["kind"] == CRD and not is_complete(document.get("spec")):
        return f"{CRD} {metadata['name']} without spec.group, spec.names.kind or spec.versions"
    return None


def spelled(document: Mapping[str, Any]) -> str:
    """An object's name as people write it, with its namespace."""
    return "/".join(part for part in (namespace(document), document["metadata"]["name"]) if part)


def _cleaned(document: Object) -> Object:
    """What is left when nothing is ours that a server or a controller would write otherwise."""
    metadata = {key: value for key, value in document["metadata"].items() if key != "creationTimestamp"}
    theirs = {"status"} | (
        {"rules"} if document["kind"] == "ClusterRole" and document.get("aggregationRule") else set()
    )
    kept = {**{key: value for key, value in document.items() if key not in theirs}, "metadata": metadata}
    if kept["kind"] == CRD:
        return slim(kept)
    return _with_canonical(kept) if kept["apiVersion"].partition("/")[0] in _QUANTITY_GROUPS else kept


def _with_canonical(node: Any, key: str = "") -> Any:
    if isinstance(node, list):
        return [_with_canonical(item) for item in node]
    if isinstance(node, dict):
        return {
            name: _spelling(value) if key in _QUANTITIES else _with_canonical(value, name)
            for name, value in node.items()
        }
    return node


def _spelling(value: Any) -> Any:
    """What is no quantity stays: the server has the better words for it."""
    try:
        return canonical(value)
    except ValueError:
        return value

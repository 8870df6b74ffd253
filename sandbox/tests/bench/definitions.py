"""CustomResourceDefinitions of the size and shape of Calico's and Istio's, made up: nothing of theirs is copied.

A schema is a tree as deep as a pod template's, most of whose bytes are descriptions. What an engine does with
it grows with its objects and with how deep they lie, so these are as many as in Istio's (`shape`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Shape:
    """How many values a document has, how many of them are objects, and the sum over all objects of the values
    in each: what it is to copy each with all below it, as the engine does."""

    values: int = 0
    objects: int = 0
    nested: int = 0

    def __add__(self, other: Shape) -> Shape:
        return Shape(self.values + other.values, self.objects + other.objects, self.nested + other.nested)


# Compact JSON of each CRD in kB, with and without its descriptions, as measured: projectcalico/calico v3.32.1,
# manifests/v1_crd_projectcalico_org.yaml, but for the Installation and for 21 that have 3 kB each ...
INSTALLATION = (629, 143)
CALICO = [
    (192, 42),
    (119, 28),
    (102, 23),
    (61, 13),
    (54, 12),
    (54, 12),
    (35, 11),
    (16, 16),
    (13, 4),
    (10, 10),
]
CALICO += [(3, 3)] * 21
# ... and istio-crds of kubeflow/manifests v1.11.0.
ISTIO = [(150, 74), (73, 36), (48, 22), (26, 16), (24, 14), (22, 13), (22, 10), (17, 11), (16, 10), (15, 8)]
ISTIO += [(10, 5), (10, 5), (9, 5), (4, 2)]

# Istio's 14 without descriptions, as measured.
ISTIO_SHAPE = Shape(values=14_174, objects=5_549, nested=194_921)

_LEAVES = 8  # of each object, beside two objects: so they lie in each other as deep as in a pod template
_LEAF = 56  # bytes of a leaf without its description, and of its share in its object


def write(folder: Path, calico: Path, kubeflow: Path) -> tuple[Path, ...]:
    """The sandbox's manifests with CRDs of that size: for `manifests.calico` and `manifests.kubeflow`, what
    Calico's operator makes of them by itself, and the last of those, which its own manifest begins with."""
    operator = list(_documents(calico))
    definitions = [definition("crd.example.org", f"Calico{n:02d}", *size) for n, size in enumerate(CALICO)]
    (own,) = (each for each in operator if each["kind"] == "CustomResourceDefinition")
    schema = own["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["status"] = tree(*INSTALLATION)
    managed = [each["metadata"]["name"] for each in (own, *definitions)]
    for each in operator:
        if each["kind"] == "Deployment":
            each["spec"]["template"]["spec"]["containers"][0]["args"] = ["-manage-crds=true"]
    kinds = {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"]}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "operator-of-definitions"},
        "rules": [{**kinds, "verbs": ["update"], "resourceNames": managed}],
    }
    istio = [definition("net.example.org", f"Istio{n:02d}", *size) for n, size in enumerate(ISTIO)]
    names = "calico-large", "kubeflow-large", "operator", "installation"
    made = tuple(folder / f"{name}.yaml" for name in names)
    made[0].write_text(yaml.safe_dump_all([*operator, role, *definitions]), encoding="utf-8")
    made[1].write_text(yaml.safe_dump_all([*_documents(kubeflow), *istio]), encoding="utf-8")
    made[2].write_text(yaml.safe_dump_all(definitions), encoding="utf-8")
    made[3].write_text(yaml.safe_dump(own), encoding="utf-8")
    return made


def definition(group: str, kind: str, described: int, bare: int) -> dict[str, Any]:
    """A CRD of so many kB with descriptions, and so many without."""
    plural = f"{kind.lower()}s"
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": tree(described, bare)},
    }
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": "Cluster", "names": names, "versions": [version]},
    }


def tree(described: int, bare: int) -> dict[str, Any]:
    """A schema of so many kB with descriptions, and so many without."""
    leaves = max(1, bare * 1000 // _LEAF)
    text = "What this field says, and what it means to whoever reads it. " * 40
    words = text[: max(0, (described - bare) * 1000 // leaves - len('"description":"",'))]
    leaf = {"type": "integer", "format": "int32"} | ({"description": words} if words else {})
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    for number in range(leaves):
        place, path = schema, number // _LEAVES
        while path:
            path, branch = divmod(path - 1, 2)
            place = place["properties"].setdefault(f"object{branch}", {"type": "object", "properties": {}})
        place["properties"][f"property{number:06d}"] = dict(leaf)
    return schema


def shape(document: Any) -> Shape:
    """Of a document as JSON has it."""
    if not isinstance(document, dict | list):
        return Shape(values=1)
    below = document.values() if isinstance(document, dict) else document
    found = sum(map(shape, below), start=Shape(values=1))
    return found + Shape(objects=1, nested=found.values) if isinstance(document, dict) else found


def size(document: Any) -> int:
    """Bytes as compact JSON."""
    return len(json.dumps(document, separators=(",", ":")))


def _documents(path: Path) -> Iterator[dict[str, Any]]:
    return (each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each)

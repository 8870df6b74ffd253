"""Which CRDs of others are registered, and what of them."""

from __future__ import annotations

from typing import Any

import pytest

from components.incluster.crds import slim, without_managed
from components.incluster.objects import normalise


def definition(plural: str, group: str, kind: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    version = {"name": "v1", "served": True, "storage": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural},
            "scope": "Cluster",
            "versions": [version | ({"schema": {"openAPIV3Schema": schema}} if schema else {})],
        },
    }


INSTALLATIONS = definition("installations", "operator.tigera.io", "Installation")
POOLS = definition("ippools", "crd.projectcalico.org", "IPPool")
OTHERS = definition("widgets", "example.org", "Widget")


def role(*names: str, verb: str = "update") -> dict[str, Any]:
    rule = {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"]}
    rules = [rule | {"verbs": ["create"]}, rule | {"verbs": [verb], "resourceNames": list(names)}]
    metadata = {"name": "operator"}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": metadata,
        "rules": rules,
    }


def operator(*arguments: str) -> dict[str, Any]:
    pod = {"containers": [{"name": "operator", **({"args": list(arguments)} if arguments else {})}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "tigera-operator", "namespace": "tigera-operator"},
        "spec": {"template": {"spec": pod}},
    }


MANAGED = ("installations.operator.tigera.io", "ippools.crd.projectcalico.org")


@pytest.mark.parametrize(
    ("rest", "left"),
    [
        ([role(*MANAGED), operator("-manage-crds=true")], [OTHERS]),
        ([role(*MANAGED), operator("-manage-crds=false")], [INSTALLATIONS, POOLS, OTHERS]),
        ([role(*MANAGED), operator()], [INSTALLATIONS, POOLS, OTHERS]),
        ([role(*MANAGED, verb="delete"), operator("-manage-crds=true")], [INSTALLATIONS, POOLS, OTHERS]),
        ([role("widgets.example.org"), operator("-manage-crds=true")], [INSTALLATIONS, POOLS]),
    ],
)
def test_what_an_operator_makes_by_itself_is_left_to_it(
    rest: list[dict[str, Any]], left: list[dict[str, Any]]
) -> None:
    found = without_managed([INSTALLATIONS, POOLS, OTHERS, *rest])
    assert list(found) == [*left, *rest]


def test_descriptions_go_and_everything_that_is_checked_stays() -> None:
    text = {"description": "what it is"}
    schema = {
        "type": "object",
        **text,
        "required": ["description"],
        "x-kubernetes-validations": [{"rule": "has(self.description)", "message": "needed"}],
        "properties": {
            "description": {
                "type": "string",
                "default": "",
                "minLength": 0,
                **text,
            },  # a property of that name
            "list": {"type": "array", "items": {"type": "object", **text, "additionalProperties": True}},
            "map": {
                "type": "object",
                "additionalProperties": {"anyOf": [{"type": "string", **text}], **text},
            },
            "filled": {
                "type": "object",
                "default": {"description": "data"},
                "enum": [{"description": "data"}],
            },
        },
    }
    bare = {
        "type": "object",
        "required": ["description"],
        "x-kubernetes-validations": [{"rule": "has(self.description)", "message": "needed"}],
        "properties": {
            "description": {"type": "string", "default": "", "minLength": 0},
            "list": {"type": "array", "items": {"type": "object", "additionalProperties": True}},
            "map": {"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}]}},
            "filled": {
                "type": "object",
                "default": {"description": "data"},
                "enum": [{"description": "data"}],
            },
        },
    }
    whole = definition("widgets", "example.org", "Widget", schema)
    bare_definition = definition("widgets", "example.org", "Widget", bare)
    assert slim(whole) == bare_definition
    assert slim(OTHERS) == OTHERS, "a version without a schema"
    column = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    for each, columns in ((whole, [{**column, **text}]), (bare_definition, [column])):
        each["spec"]["versions"][0]["additionalPrinterColumns"] = columns
    assert slim(whole) == bare_definition
    problems: list[str] = []
    assert normalise([whole], "upstream", problems) == (slim(whole),)
    assert problems == []


@pytest.mark.parametrize(
    "spec", [None, [], {"group": "g"}, {"group": "g", "names": {"kind": "K"}, "versions": [1]}]
)
def test_a_crd_without_what_makes_one_is_a_problem(spec: Any) -> None:
    problems: list[str] = []
    assert normalise([{**OTHERS, "spec": spec}], "upstream", problems) == ()
    said = "CustomResourceDefinition widgets.example.org without spec.group, spec.names.kind or spec.versions"
    assert problems == [f"upstream, document 1: {said}"]

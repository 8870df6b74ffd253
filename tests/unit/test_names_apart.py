"""Names that are put together stay apart, and nobody gets a namespace that others make."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from components.incluster import sources
from config import ROOT
from tests.configuration import HASH, configuration
from tests.program import run

PEOPLE = [
    {"name": "n", "email": "n@example.org"},
    {"name": "nx", "email": "nx@example.org", "namespace": "n-user-x"},
    {"name": "y", "email": "y@example.org", "namespace": "y", "access": {"nx": "edit"}},
    {"name": "xy", "email": "x.user.y@example.org", "namespace": "xy", "access": {"n": "edit"}},
]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A root with the manifests of the sandbox, to which a test adds its own."""
    shutil.copytree(ROOT / "sandbox" / "manifests", tmp_path / "sandbox" / "manifests")
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    return tmp_path


def add(project: Path, *documents) -> None:
    with (project / "sandbox" / "manifests" / "kubeflow.yaml").open("a") as file:
        file.writelines(f"---\n{yaml.safe_dump(document)}" for document in documents)


def an_object(kind, name, namespace=None, version="v1"):
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def people(*listed):
    return configuration(people=list(listed), passwordHashes={each["name"]: HASH for each in listed})


def test_bindings_of_similar_people_are_registered_side_by_side():
    """`n` and `user-x-user-y...` join to the same as `n-user-x` and `user-y...`."""
    found = run(preview=True, config=people(*PEOPLE))
    assert found.error is None, found.error
    for kind in ("RoleBinding", "AuthorizationPolicy"):
        names = {item.name for item in found.resources.values() if item.type.endswith(f":{kind}")}
        start = f"{kind.lower()}-n-user-x"
        assert {name for name in names if name.startswith(start)} == {
            f"{start}-user-y-example-org-clusterrole-edit",
            f"{start}/user-y-example-org-clusterrole-edit",
        }


def test_objects_of_manifests_with_similar_names_are_registered_side_by_side(project):
    add(project, an_object("ConfigMap", "b-c", "a"), an_object("ConfigMap", "c", "a-b"))
    found = run(preview=True)
    assert found.error is None, found.error
    made = {
        item.name: item.inputs["metadata"]
        for item in found.resources.values()
        if item.type.endswith(":ConfigMap")
    }
    assert (made["configmap-a-b-c"]["namespace"], made["configmap-a-b/c"]["namespace"]) == ("a", "a-b")


@pytest.mark.parametrize(
    "made", [an_object("Namespace", "y"), an_object("Profile", "y", version="kubeflow.org/v1")]
)
def test_a_namespace_that_a_manifest_makes_is_nobodys(made, project):
    add(project, made)
    refused = run(preview=True, config=people({**PEOPLE[2], "access": {}}, PEOPLE[0]))
    assert str(refused.error) == (
        "the configuration of stack dev has 1 problem; nothing was changed:\n"
        "  - kubepark:people[0].namespace: y is a namespace that kubepark:manifests.kubeflow makes; accepted: one "
        "that nothing else makes; fix: pulumi config set --stack dev --path 'kubepark:people[0].namespace' y-2"
    )
    purged = {**PEOPLE[2], "access": {}, "state": "removed", "data": "purge"}
    assert run(preview=True, config=people(purged, PEOPLE[0])).error is None

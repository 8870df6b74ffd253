"""Names, order and needs of Kubernetes objects, and what is refused in upstream YAML."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from components.incluster.objects import in_order, needs, normalise, resource_names, type_token
from tests.unit import incluster_stack as stack

SDK_MODULES = {
    "v1": "core.v1",
    "apps/v1": "apps.v1",
    "policy/v1": "policy.v1",
    "node.k8s.io/v1": "node.v1",
    "networking.k8s.io/v1": "networking.v1",
    "rbac.authorization.k8s.io/v1": "rbac.v1",
    "apiextensions.k8s.io/v1": "apiextensions.v1",
}
CUSTOM = {"operator.tigera.io/v1", "kubeflow.org/v1"}


def an_object(kind: str, name: str = "x", namespace: str | None = None, **fields: Any) -> dict[str, Any]:
    metadata = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}


def test_every_planned_object_has_the_type_token_of_the_sdks_own_class():
    tokens = {}
    for planned in stack.every_object():
        tokens[planned["apiVersion"], planned["kind"]] = type_token(planned)
    for (version, kind), token in tokens.items():
        if version in CUSTOM:
            assert token == f"kubernetes:{version}:{kind}"
            continue
        module = importlib.import_module(f"pulumi_kubernetes.{SDK_MODULES[version]}.{kind}")
        assert getattr(module, kind).pulumi_type == token
    assert {version for version, _ in tokens} == SDK_MODULES.keys() | CUSTOM


@pytest.mark.parametrize(
    ("planned", "name"),
    [
        (an_object("ConfigMap", "dex", "auth"), "configmap-auth-dex"),
        (an_object("Namespace", "auth"), "namespace-auth"),
        (an_object("ClusterRole", "system:Node"), "clusterrole-system:node"),
    ],
)
def test_pulumi_names(planned, name):
    assert resource_names([planned]) == (name,)


def test_objects_of_other_namespaces_never_share_a_pulumi_name():
    alike = [
        an_object("ConfigMap", "c", "a-b"),
        an_object("ConfigMap", "b-c", "a"),
        an_object("ConfigMap", "a-b-c"),
        an_object("Secret", "c", "a-b"),
        an_object("ConfigMap", "C", "a-b"),
    ]
    problems: list[str] = []
    assert len(normalise(alike, "upstream", problems)) == 5
    assert problems == []
    found = resource_names(alike)
    assert found == (
        "configmap-a-b/c",
        "configmap-a/b-c",
        "configmap-a-b-c",
        "secret-a-b-c",
        "configmap-a-b/C",
    )
    assert resource_names(alike[::-1]) == found[::-1], "whatever their order"


def test_no_two_objects_of_a_stack_share_a_pulumi_name():
    names = resource_names(stack.every_object())
    assert len(names) == len(set(names))


def test_namespaces_and_crds_come_first_and_workloads_last():
    given = [
        an_object("Deployment"),
        an_object("Secret"),
        an_object("CustomResourceDefinition"),
        an_object("Namespace"),
    ]
    kinds = [planned["kind"] for planned in in_order(given)]
    assert kinds == ["CustomResourceDefinition", "Namespace", "Secret", "Deployment"]


def test_a_deployment_needs_what_its_pods_read_in_its_namespace_and_no_other():
    crd = an_object(
        "CustomResourceDefinition",
        "things.example.org",
        spec={"group": "example.org", "names": {"kind": "Thing"}},
    )
    others = [
        an_object("Namespace", "auth"),
        an_object("Namespace", "elsewhere"),
        an_object("Secret", "mine", "auth"),
        an_object("Secret", "theirs", "elsewhere"),
        an_object("ClusterRoleBinding", "bound"),
        an_object("Service", "dex", "auth"),
        crd,
    ]
    thing = {**an_object("Thing", "t"), "apiVersion": "example.org/v1"}
    *theirs, deployment, kind = needs([*others, an_object("Deployment", "dex", "auth"), thing])
    assert [others[place] for place in deployment] == [others[0], others[2], others[4], crd]
    assert [others[place] for place in kind] == [crd]
    assert theirs == [(), (), (0,), (1,), (), (0,), ()]


def test_a_profile_needs_the_namespace_it_adopts():
    profile = {**an_object("Profile", "ana"), "apiVersion": "kubeflow.org/v1"}
    assert needs([an_object("Namespace", "bob"), an_object("Namespace", "ana"), profile])[2] == (1,)


def test_normalising_drops_empty_documents_and_what_only_a_server_writes():
    spec = {"group": "example.org", "names": {"kind": "Thing"}, "versions": []}
    crd = an_object("CustomResourceDefinition", spec=spec, status={"conditions": []})
    crd["metadata"]["creationTimestamp"] = None
    problems: list[str] = []
    assert normalise([None, crd], "calico", problems) == (
        {"apiVersion": "v1", "kind": "CustomResourceDefinition", "metadata": {"name": "x"}, "spec": spec},
    )
    assert not problems


def test_the_rules_of_an_aggregated_role_are_its_controllers():
    """`rules: []` of ours would empty the role at each update, until the controller fills it again."""
    role = {
        **an_object("ClusterRole", "kubeflow-view", aggregationRule={"clusterRoleSelectors": []}, rules=[]),
        "apiVersion": "rbac.authorization.k8s.io/v1",
    }
    plain = {key: value for key, value in role.items() if key != "aggregationRule"}
    aggregated, kept = normalise([role, {**plain, "metadata": {"name": "y"}}], "kubeflow", [])
    assert "rules" not in aggregated
    assert aggregated["aggregationRule"] == role["aggregationRule"]
    assert kept["rules"] == []


def test_quantities_of_upstream_yaml_are_spelled_as_the_server_does():
    resources = {"requests": {"cpu": "0.5", "memory": "2048Mi"}, "limits": {"cpu": 1, "memory": "many"}}
    volume = {"name": "cache", "emptyDir": {"medium": "Memory", "sizeLimit": "1024Mi"}}
    spec = {"containers": [{"name": "a", "args": ["0.5"], "resources": resources}], "volumes": [volume]}
    pod = an_object("Pod", spec=spec)
    custom = {**an_object("Thing", spec={"resources": resources}), "apiVersion": "example.org/v1"}
    read = {item["kind"]: item["spec"] for item in normalise([pod, custom], "x", [])}
    (container,) = read["Pod"]["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "500m", "memory": "2Gi"},
        "limits": {"cpu": "1", "memory": "many"},
    }
    assert container["args"] == ["0.5"]
    assert read["Pod"]["volumes"] == [{**volume, "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}]
    assert read["Thing"] == {"resources": resources}, "a custom resource is kept as it is written"


def test_every_faulty_document_is_named_in_one_go():
    documents = [
        an_object("Secret", "twice", "auth"),
        an_object("Secret", "twice", "auth"),
        {"apiVersion": "v1", "kind": "List", "items": []},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "p-"}},
        {"apiVersion": "v1", "metadata": {"name": "x"}},
        {"kind": "Pod", "metadata": {"name": "x"}},
        {"apiVersion": "v1", "kind": "Pod", "metadata": {}},
        {"apiVersion": "v1", "kind": "Pod"},
        "text",
    ]
    problems: list[str] = []
    assert len(normalise(documents, "upstream", problems)) == 1
    assert problems == [
        "upstream, document 2: Secret auth/twice is there already, in document 1",
        "upstream, document 3: List is not registered object by object; accepted: its items as documents",
        "upstream, document 4: Pod has generateName, a new name each time; accepted: metadata.name",
        "upstream, document 5: kind is missing",
        "upstream, document 6: apiVersion is missing",
        "upstream, document 7: Pod without metadata.name",
        "upstream, document 8: Pod without metadata",
        "upstream, document 9: a str is not an object; accepted: a mapping with apiVersion and kind",
    ]

"""The class of each kind of change, and that the program registers nothing that has none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cli.review_effects import Effect
from cli.review_kinds import KINDS, UNKNOWN, classify, is_known, key_of
from cli.review_preview import STACK, Step
from tests.configuration import HOURS, configuration
from tests.program import run
from tests.review_previews import DEPLOYMENT, preview, step, workload

INSTANCE = "aws:ec2/instance:Instance"
ROLE, CONFIG_MAP = "aws:iam/role:Role", "kubernetes:core/v1:ConfigMap"
PARAMETER, NAMESPACE = "aws:ssm/parameter:Parameter", "kubernetes:core/v1:Namespace"


def only(event: dict[str, Any]) -> Step:
    (found,) = preview(event).steps
    return found


def effect(operation: str, kind: str, inputs: dict[str, Any], *paths: str, **more: Any) -> Effect:
    old = None if operation == "create" else inputs
    new = None if operation == "delete" else inputs
    return classify(only(step(operation, kind, "x", old, new, *paths, **more)))[0]


def node(role: str) -> dict[str, Any]:
    return {"tags": {"kubepark:role": role}, "instanceType": "m7i.large"}


def trusting(*services: str) -> dict[str, Any]:
    statements = [{"Effect": "Allow", "Principal": {"Service": each}} for each in services]
    return {"assumeRolePolicy": json.dumps({"Statement": statements})}


def test_every_type_that_the_program_registers_has_a_class() -> None:
    connector = {"type": "github", "id": "github", "clientId": "x", "orgs": ["team"]}
    configurations = (
        configuration(),
        configuration(gpu__timeSlicing={"replicas": 2}, kubeflow__profiles="none"),
        configuration(workers__power="stopped", gpu__schedule=HOURS),
        configuration(
            connectors=[connector],
            connectorSecrets={"github": "x" * 40},
            oidcIssuer="https://k.example.org/dex",
        ),
    )
    types = {
        item.type for config in configurations for item in run(preview=True, config=config).resources.values()
    }
    assert len(types) > 30, "the search must find them"
    assert {kind for kind in types if not is_known(kind)} == set()


def test_the_table_has_no_row_that_cannot_be_found() -> None:
    assert {key for key in KINDS if key.count(":") != 2} == set()
    assert key_of("kubernetes:rbac.authorization.k8s.io/v1:Role") in KINDS
    assert key_of("kubernetes:core/v1:Namespace") == "kubernetes:core:Namespace"
    assert STACK in KINDS


def test_what_nobody_knows_counts_as_part_of_the_control_plane() -> None:
    for kind in ("aws:rds/cluster:Cluster", "kubernetes:example.org/v1:Thing"):
        assert not is_known(kind)
        for operation in ("create", "delete", "replace"):
            assert classify(only(step(operation, kind, "x", {"a": 1}, {"a": 2}))) == UNKNOWN
        assert effect("update", kind, {}, "a") is Effect.CONTROL_PLANE


@pytest.mark.parametrize(
    ("operation", "role", "paths", "expected"),
    [
        ("replace", "worker", (), Effect.NODE),
        ("replace", "gpu", (), Effect.NODE),
        ("replace", "master", (), Effect.DATA),
        ("delete", "worker", (), Effect.NODE),
        ("delete", "master", (), Effect.DATA),
        ("create", "worker", (), Effect.HARMLESS),
        ("create", "master", (), Effect.CONTROL_PLANE),
        ("update", "worker", ('tags["a"]',), Effect.HARMLESS),
        ("update", "worker", ("instanceType",), Effect.NODE),
        ("update", "master", ("instanceType",), Effect.CONTROL_PLANE),
        ("update", "worker", ("rootBlockDevice.volumeSize",), Effect.HARMLESS),
        ("update", "worker", ("rootBlockDevice.tags.x",), Effect.HARMLESS),
        ("update", "master", ("metadataOptions.httpPutResponseHopLimit",), Effect.ACCESS),
        ("update", "master", ("iamInstanceProfile",), Effect.ACCESS),
        ("update", "worker", ("somethingNew",), Effect.NODE),
        ("update", "master", ("somethingNew",), Effect.CONTROL_PLANE),
        ("update", "worker", ("tags.x", "instanceType"), Effect.NODE),
    ],
)
def test_an_instance(operation: str, role: str, paths: tuple[str, ...], expected: Effect) -> None:
    assert effect(operation, INSTANCE, node(role), *paths) is expected


@pytest.mark.parametrize(
    ("operation", "kind", "inputs", "paths", "expected"),
    [
        ("create", ROLE, trusting("ec2.amazonaws.com"), (), Effect.HARMLESS),
        ("create", ROLE, trusting("ec2.amazonaws.com", "lambda.amazonaws.com"), (), Effect.ACCESS),
        ("create", ROLE, {"assumeRolePolicy": "04da6b54-80e4-46f7-96ec-b56ff0331ba9"}, (), Effect.ACCESS),
        ("update", ROLE, trusting("ec2.amazonaws.com"), ("assumeRolePolicy",), Effect.ACCESS),
        ("update", PARAMETER, {"name": "/lab/hosts/00"}, ("value",), Effect.HARMLESS),
        ("delete", PARAMETER, {"name": "/lab/status/worker01"}, (), Effect.HARMLESS),
        ("replace", PARAMETER, {"name": "/lab/join"}, (), Effect.CONTROL_PLANE),
        ("update", DEPLOYMENT, workload(), ("metadata.labels.team",), Effect.HARMLESS),
        ("update", DEPLOYMENT, workload(), ("metadata.name",), Effect.POD),
        ("update", DEPLOYMENT, workload(), ("spec.template.spec.containers[0].image",), Effect.POD),
        ("update", DEPLOYMENT, workload(), ("spec.strategy.type",), Effect.HARMLESS),
        ("delete", DEPLOYMENT, workload(), (), Effect.POD),
        ("update", CONFIG_MAP, {"metadata": {"name": "dex", "namespace": "auth"}}, ("data",), Effect.ACCESS),
        ("update", CONFIG_MAP, {"metadata": {"name": "dex", "namespace": "x"}}, ("data",), Effect.POD),
        ("update", "kubernetes:core/v1:Secret", {}, ("data",), Effect.ACCESS),
        ("delete", NAMESPACE, {}, (), Effect.DATA),
        ("replace", NAMESPACE, {}, (), Effect.DATA),
        ("update", NAMESPACE, {}, ("metadata.labels.a",), Effect.HARMLESS),
        (
            "update",
            NAMESPACE,
            {},
            ('metadata.labels["pod-security.kubernetes.io/enforce"]',),
            Effect.ACCESS,
        ),
        ("update", NAMESPACE, {}, ("metadata.annotations.owner",), Effect.ACCESS),
        ("delete", "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition", {}, (), Effect.DATA),
        ("create", "kubernetes:rbac.authorization.k8s.io/v1:RoleBinding", {}, (), Effect.ACCESS),
        ("update", "kubernetes:operator.tigera.io/v1:Installation", {}, ("spec.x",), Effect.CONTROL_PLANE),
        (
            "update",
            "kubernetes:kubeflow.org/v1:Profile",
            {},
            ("spec.resourceQuotaSpec.hard",),
            Effect.HARMLESS,
        ),
        ("update", "kubernetes:kubeflow.org/v1:Profile", {}, ("spec.owner.name",), Effect.ACCESS),
        ("create", "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", {}, (), Effect.ACCESS),
        ("replace", "aws:ec2/subnet:Subnet", {}, (), Effect.CONTROL_PLANE),
        ("replace", "aws:kms/key:Key", {}, (), Effect.DATA),
        ("update", "pulumi:providers:aws", {}, ("defaultTags",), Effect.HARMLESS),
        ("update", "pulumi:providers:aws", {}, ("region",), Effect.CONTROL_PLANE),
        ("replace", "pulumi:providers:kubernetes", {}, (), Effect.DATA),
    ],
)
def test_other_types(
    operation: str, kind: str, inputs: dict[str, Any], paths: tuple[str, ...], expected: Effect
) -> None:
    assert effect(operation, kind, inputs, *paths) is expected


def test_what_stays_in_aws_is_not_lost() -> None:
    assert effect("delete", "aws:kms/key:Key", {}) is Effect.DATA
    assert effect("delete", "aws:kms/key:Key", {}, retainOnDelete=True) is Effect.HARMLESS


def test_a_coarse_difference_is_looked_into() -> None:
    """Some providers name the property at the top alone."""
    event = step("update", DEPLOYMENT, "dex", workload(), workload(team="ml"))
    event["resourcePreEvent"]["metadata"]["diffs"] = ["metadata"]
    assert only(event).changed == ('metadata["labels"]["team"]',)
    assert classify(only(event))[0] is Effect.HARMLESS
    event["resourcePreEvent"]["metadata"]["diffs"] = ["spec"]
    assert only(event).changed == ("spec",), "what differs is no input"
    assert classify(only(event))[0] is Effect.POD

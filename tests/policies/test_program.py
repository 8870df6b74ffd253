"""The rules on what our own program registers: nothing is violated, and every rule finds its subject."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import pulumi
import pytest
from pulumi._types import resource_types

from policies.compute import INSTANCE
from policies.network import INGRESS_RULE
from policies.rules import POLICIES
from policies.secrecy import PARAMETER
from policies.tagging import TAGGABLE
from tests.configuration import HASH
from tests.engine import UNKNOWN as NOT_KNOWN_YET
from tests.engine import Recording, Resource
from tests.engine_outputs import class_of
from tests.policies.support import UNKNOWN, Result, evaluate
from tests.program import run

RULES = {policy.name: policy for policy in POLICIES}


@cache
def recorded(preview: bool) -> Recording:
    recording = run(preview=preview)
    assert recording.error is None, recording.error
    return recording


def for_policies(value: Any) -> Any:
    """Recorded inputs with the unknown values that policies know."""
    if isinstance(value, dict):
        return {key: for_policies(item) for key, item in value.items()}
    if isinstance(value, list):
        return [for_policies(item) for item in value]
    return UNKNOWN if value is NOT_KNOWN_YET else value


def result_of(
    rule: str, resource: Resource, recording: Recording, props: dict[str, Any] | None = None
) -> Result:
    provider = recording.resources.get(resource.provider)
    return evaluate(
        RULES[rule],
        resource.type,
        for_policies(resource.inputs if props is None else props),
        name=resource.name,
        provider=for_policies(provider.inputs) if provider else None,
    )


def results(rule: str, *, preview: bool) -> dict[str, Result]:
    """By resource name, where the rule applies."""
    recording = recorded(preview)
    found = {
        f"{item.type} {item.name}": result_of(rule, item, recording) for item in recording.resources.values()
    }
    return {name: result for name, result in found.items() if result.applicable}


@pytest.mark.parametrize("preview", [False, True], ids=["up", "preview"])
@pytest.mark.parametrize("rule", sorted(RULES))
def test_the_program_violates_nothing_and_each_rule_finds_its_subject(rule, preview):
    found = results(rule, preview=preview)
    assert found, f"{rule} applies to nothing that the program registers"
    assert {name: result.violations for name, result in found.items() if result.violations} == {}


@pytest.mark.parametrize("rule", sorted(RULES))
def test_nothing_is_left_unevaluated_in_an_update(rule):
    assert {
        name: result.unknown for name, result in results(rule, preview=False).items() if result.unknown
    } == {}


def test_a_preview_from_nothing_leaves_nothing_unevaluated():
    """A rule that waits for the update fires when everything before the resource is made."""
    unevaluated = {
        (rule, name, result.unknown)
        for rule in RULES
        for name, result in results(rule, preview=True).items()
        if result.unknown
    }
    assert unevaluated == set()


def test_a_preview_from_nothing_shows_every_document():
    """What a reviewer must read is known before anything exists: policies, trust, user data, values."""
    documents = {"policy", "assumeRolePolicy", "userDataBase64", "value", "valueWo"}
    found = [
        (item.name, key, value)
        for item in recorded(True).resources.values()
        for key, value in item.inputs.items()
        if key in documents
    ]
    assert {key for _, key, _ in found} == documents
    assert [(name, key) for name, key, value in found if value is NOT_KNOWN_YET] == []


def test_every_type_of_ours_that_takes_tags_is_evaluated():
    types = {item.type for item in recorded(False).resources.values() if item.package == "aws"}
    with_tags = set()
    for token in types:
        cls = class_of(token)
        assert cls is not None
        assert issubclass(cls, pulumi.CustomResource)
        if "tagsAll" in resource_types(cls):
            with_tags.add(token)
    assert len(with_tags) >= 15, "the SDK must say which types have tags"
    assert with_tags - TAGGABLE == set()


def opened(props: dict[str, Any]) -> None:
    props["cidrIpv4"] = "0.0.0.0/0"


def ssh(props: dict[str, Any]) -> None:
    props.update(ipProtocol="tcp", fromPort=22, toPort=22)


def tokenless(props: dict[str, Any]) -> None:
    props["metadataOptions"]["httpTokens"] = "optional"


def plain_disk(props: dict[str, Any]) -> None:
    props["rootBlockDevice"]["encrypted"] = False


def any_parameter(props: dict[str, Any]) -> None:
    props["policy"] = props["policy"].replace("ssm:PutParameter", "ssm:*")


def big(props: dict[str, Any]) -> None:
    props["instanceType"] = "p5.48xlarge"


def nameless(props: dict[str, Any]) -> None:
    del props["tags"]["kubepark:node"]


def plain_text(props: dict[str, Any]) -> None:
    props["type"] = "String"


def intolerant(props: dict[str, Any]) -> None:
    del props["spec"]["template"]["spec"]["tolerations"]


def leaking(props: dict[str, Any]) -> None:
    props["data"]["config.yaml"] = f"hash: {HASH}"


BROKEN: dict[str, tuple[str, Callable[[dict[str, Any]], None]]] = {
    "no-world-open-ingress": (INGRESS_RULE, opened),
    "no-ssh": (INGRESS_RULE, ssh),
    "imdsv2-required": (INSTANCE, tokenless),
    "volumes-encrypted": (INSTANCE, plain_disk),
    "iam-no-wildcard-mutation": ("aws:iam/rolePolicy:RolePolicy", any_parameter),
    "instance-type-allowed": (INSTANCE, big),
    "required-tags": (INSTANCE, nameless),
    "secure-string-for-secrets": (PARAMETER, plain_text),
    "gpu-request-equals-limit": ("kubernetes:apps/v1:DaemonSet", intolerant),
    "no-secret-in-configmap": ("kubernetes:core/v1:ConfigMap", leaking),
}


@pytest.mark.parametrize("rule", sorted(RULES))
def test_one_change_to_a_recorded_resource_is_a_violation(rule):
    recording = recorded(False)
    token, change = BROKEN[rule]
    subjects = [item for item in recording.of_type(token) if result_of(rule, item, recording).applicable]
    assert subjects
    for subject in subjects:
        props = copy.deepcopy(subject.inputs)
        change(props)
        assert props != subject.inputs
        assert result_of(rule, subject, recording, props).violations, subject.name


def test_without_the_provider_s_default_tags_most_of_the_program_has_no_owner():
    recording = recorded(False)
    bare = [item for item in recording.resources.values() if item.type in TAGGABLE and item.type != INSTANCE]
    missing = [
        item.name
        for item in bare
        if evaluate(RULES["required-tags"], item.type, item.inputs, provider={}).violations
    ]
    assert len(missing) == len(bare) > 30

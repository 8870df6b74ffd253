"""The rules on what our own program registers: nothing is violated, and every rule finds its subject."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import pulumi
import pytest
from pulumi._types import resource_types
from pulumi_policy import PolicyResource, StackValidationPolicy

from policies.cluster import INTERFACE
from policies.compute import INSTANCE
from policies.namespaces import NETWORK_POLICY
from policies.network import INGRESS_RULE
from policies.pods import LIMIT_RANGE
from policies.rules import POLICIES, STACK
from policies.secrecy import PARAMETER
from policies.storage import KEY
from policies.tagging import TAGGABLE
from tests.configuration import HASH, HOURS, configuration
from tests.engine import UNKNOWN as NOT_KNOWN_YET
from tests.engine import Recording, Resource
from tests.engine_outputs import class_of
from tests.policies.support import Result, evaluate, evaluate_stack, for_policies
from tests.policies.support import resource as of_a_stack
from tests.program import run

RULES = {policy.name: policy for policy in POLICIES}


@cache
def recorded(preview: bool) -> Recording:
    """A stack of production, to which every rule applies."""
    config = configuration(controlPlane__protected=True, gpu__schedule=HOURS)
    recording = run(stack="prod", preview=preview, config=config)
    assert recording.error is None, recording.error
    return recording


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
        stack="prod",
        protect=resource.protect,
    )


def stack_result(
    rule: str, recording: Recording, changed: Resource | None = None, props: dict[str, Any] | None = None
) -> Result:
    """Of all that was recorded, with other inputs of one resource."""
    made: dict[str, PolicyResource] = {}
    for urn, item in recording.resources.items():
        inputs = props if item is changed and props is not None else item.inputs
        needed = [made[each] for each in item.depends_on if each in made]
        made[urn] = of_a_stack(item.type, for_policies(inputs), item.name, needed)
    return evaluate_stack(RULES[rule], made.values())


def results(rule: str, *, preview: bool) -> dict[str, Result]:
    """By resource name, where the rule applies."""
    recording = recorded(preview)
    if isinstance(RULES[rule], StackValidationPolicy):
        return {"the stack": stack_result(rule, recording)}
    if rule == "waivers-in-force":
        return {"the stack": evaluate(RULES[rule], STACK, {})}
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


def test_a_guard_of_spot_instances_violates_nothing():
    gpu = {"idleMinutes": 60, "wakeOnDemand": True, "market": "spot"}
    config = configuration(controlPlane__protected=True, gpu=gpu)
    recording = run(stack="prod", config=config)
    assert recording.error is None
    for rule in (each for each in RULES if not isinstance(RULES[each], StackValidationPolicy)):
        for item in recording.resources.values():
            if rule != "waivers-in-force":
                assert not result_of(rule, item, recording).violations, (rule, item.name)


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


def old_disk(props: dict[str, Any]) -> None:
    props["rootBlockDevice"]["volumeType"] = "gp2"


def any_parameter(props: dict[str, Any]) -> None:
    props["policy"] = props["policy"].replace("ssm:PutParameter", "ssm:*")


def any_key(props: dict[str, Any]) -> None:
    props["policy"] = props["policy"].replace("kms:ResourceAliases", "kms:CallerAccount")


def big(props: dict[str, Any]) -> None:
    props["instanceType"] = "p5.48xlarge"


def four_gpus_more(props: dict[str, Any]) -> None:
    props["instanceType"] = "g4dn.12xlarge"


def nameless(props: dict[str, Any]) -> None:
    del props["tags"]["kubepark:node"]


def second_master(props: dict[str, Any]) -> None:
    props["tags"]["kubepark:role"] = "master"


def address_of_the_master(props: dict[str, Any]) -> None:
    props["privateIp"] = recorded(False).one(INTERFACE).inputs["privateIps"][0]


def terminable(props: dict[str, Any]) -> None:
    props["disableApiTermination"] = False


def without_rotation(props: dict[str, Any]) -> None:
    props["enableKeyRotation"] = False


def public_key(props: dict[str, Any]) -> None:
    props["policy"] = props["policy"].replace("arn:aws:iam::123456789012:root", "*")


def plain_text(props: dict[str, Any]) -> None:
    props["type"] = "String"


def intolerant(props: dict[str, Any]) -> None:
    del props["spec"]["template"]["spec"]["tolerations"]


def greedy(props: dict[str, Any]) -> None:
    props["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["memory"] = "1Ti"


def on_the_host(props: dict[str, Any]) -> None:
    props["spec"]["template"]["spec"]["hostNetwork"] = True


def latest(props: dict[str, Any]) -> None:
    container = props["spec"]["template"]["spec"]["containers"][0]
    container["image"] = container["image"].rpartition(":")[0]


def leaking(props: dict[str, Any]) -> None:
    props["data"]["config.yaml"] = f"hash: {HASH}"


def everything(props: dict[str, Any]) -> None:
    props["rules"][0]["verbs"] = ["*"]


def without_defaults(props: dict[str, Any]) -> None:
    props["spec"]["limits"] = []


def about_nobody(props: dict[str, Any]) -> None:
    props["spec"]["podSelector"]["matchLabels"] = {"app": "nobody"}


DAEMON_SET, DEPLOYMENT = "kubernetes:apps/v1:DaemonSet", "kubernetes:apps/v1:Deployment"
NODE_POLICY = "aws:iam/rolePolicy:RolePolicy"

# Rule, one resource of the program by type and name, and the change of its inputs.
BROKEN: list[tuple[str, str, str, Callable[[dict[str, Any]], None]]] = [
    ("no-world-open-ingress", INGRESS_RULE, "security-api-from-nodes", opened),
    ("no-ssh", INGRESS_RULE, "security-etcd", ssh),
    ("imdsv2-required", INSTANCE, "worker01", tokenless),
    ("volumes-encrypted", INSTANCE, "gpu01", plain_disk),
    ("volumes-gp3", INSTANCE, "master1", old_disk),
    ("iam-no-wildcard-mutation", NODE_POLICY, "iam-worker02", any_key),
    ("iam-no-wildcard-mutation", NODE_POLICY, "iam-master1", any_parameter),
    ("iam-no-wildcard-mutation", KEY, "keys-data", public_key),
    ("instance-type-allowed", INSTANCE, "worker03", big),
    ("gpus-in-budget", INSTANCE, "worker01", four_gpus_more),
    ("required-tags", INSTANCE, "gpu01", nameless),
    ("kms-key-rotation", KEY, "keys-cluster", without_rotation),
    ("secure-string-for-secrets", PARAMETER, "parameters-join", plain_text),
    ("secure-string-for-secrets", PARAMETER, "parameters-kubeconfig", plain_text),
    ("secure-string-for-secrets", PARAMETER, "parameters-encryption-key", plain_text),
    ("gpu-request-equals-limit", DAEMON_SET, "daemonset-kube-system-nvidia-device-plugin", intolerant),
    ("limits-cover-requests", DEPLOYMENT, "deployment-auth-dex", greedy),
    ("no-secret-in-configmap", "kubernetes:core/v1:ConfigMap", "configmap-auth-dex", leaking),
    ("no-privileged-pod", DEPLOYMENT, "deployment-auth-dex", on_the_host),
    ("images-pinned", DEPLOYMENT, "deployment-tigera-operator-tigera-operator", latest),
    ("no-star-role", "kubernetes:rbac.authorization.k8s.io/v1:Role", "role-auth-dex", everything),
    ("quota-has-defaults", LIMIT_RANGE, "limitrange-ana-kubepark-defaults", without_defaults),
    ("dex-is-closed", NETWORK_POLICY, "networkpolicy-auth-dex", about_nobody),
    ("one-master", INSTANCE, "worker01", second_master),
    ("node-addresses-unique", INSTANCE, "worker01", address_of_the_master),
    ("production-protected", INSTANCE, "master1", terminable),
]
# The program has no bucket; what is about waivers is no input of a resource (test_waivers.py).
WITHOUT_SUBJECT = {"bucket-closed", "waivers-in-force"}


def test_every_rule_has_a_subject_in_the_program_that_breaks_it():
    assert {rule for rule, *_ in BROKEN} == RULES.keys() - WITHOUT_SUBJECT
    of_buckets = [item for item in recorded(False).resources.values() if item.type.startswith("aws:s3/")]
    assert of_buckets == [], "now bucket-closed has one: break it above"


@pytest.mark.parametrize(("rule", "token", "name", "change"), BROKEN)
def test_one_change_to_a_recorded_resource_is_a_violation(rule, token, name, change):
    """And of a preview from nothing, too: no rule waits for the update."""
    for preview in (False, True):
        recording = recorded(preview)
        subject = recording.one(token, name)
        props = copy.deepcopy(subject.inputs)
        change(props)
        assert props != subject.inputs
        if isinstance(RULES[rule], StackValidationPolicy):
            assert stack_result(rule, recording, subject, props).violations
        else:
            assert result_of(rule, subject, recording, props).violations


def test_without_the_provider_s_default_tags_most_of_the_program_has_no_owner():
    recording = recorded(False)
    bare = [item for item in recording.resources.values() if item.type in TAGGABLE and item.type != INSTANCE]
    missing = [
        item.name
        for item in bare
        if evaluate(RULES["required-tags"], item.type, item.inputs, provider={}).violations
    ]
    assert len(missing) == len(bare) > 30

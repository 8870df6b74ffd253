"""The pack as a whole: what is in it, and that importing the rules starts nothing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import json_format, struct_pb2
from pulumi.runtime import proto
from pulumi_policy import EnforcementLevel, ResourceValidationPolicy, policy

from policies.conversion import convert_once
from policies.rules import POLICIES
from tests.engine_outputs import known_type
from tests.policies.support import evaluate

PACK = Path(__file__).parents[2] / "policies"
RESOURCE_RULES = [rule for rule in POLICIES if isinstance(rule, ResourceValidationPolicy)]


def test_the_page_lists_every_rule_once_with_its_severity():
    text = (PACK.parent / "docs" / "policies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| (\w+) \|", text, re.MULTILINE)
    assert rows == [(rule.name, rule.severity.value) for rule in POLICIES]


def test_the_page_says_what_each_rule_takes_as_configuration():
    text = (PACK.parent / "docs" / "policies.md").read_text(encoding="utf-8")
    for rule in POLICIES:
        (row,) = re.findall(rf"^\| `{rule.name}` .*$", text, re.MULTILINE)
        keys = list(rule.config_schema.properties) if rule.config_schema else []
        assert re.findall(r"`(\w+)`", row.split("|")[4]) == keys, rule.name


def test_names_are_used_once():
    assert len({rule.name for rule in POLICIES}) == len(POLICIES) >= 24


@pytest.mark.parametrize("rule", POLICIES, ids=lambda rule: rule.name)
def test_each_rule_is_mandatory_and_says_what_to_do(rule):
    assert rule.enforcement_level is EnforcementLevel.MANDATORY
    assert rule.description.endswith(".")
    assert rule.remediation_steps
    assert rule.description.endswith(f". {rule.remediation_steps}"), "the CLI shows no more than this"
    assert rule.severity is not None
    assert rule.url.startswith("https://")


@pytest.mark.parametrize("rule", RESOURCE_RULES, ids=lambda rule: rule.name)
def test_a_rule_leaves_other_types_alone(rule):
    assert not evaluate(rule, "aws:sns/topic:Topic", {}).applicable


def test_the_type_tokens_of_the_rules_exist():
    # A token with a typing error never matches, and a rule that never matches always passes.
    texts = {
        node.value
        for path in PACK.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    tokens = {text for text in texts if re.match(r"(aws|kubernetes):[^:{]+/", text)}
    assert len(tokens) >= 45, "the search must find the tokens"
    assert {token for token in tokens if not known_type(token)} == set()


def test_importing_the_rules_starts_and_prints_nothing():
    code = "import threading, policies.rules; assert threading.active_count() == 1"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PACK.parent, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_resource_is_converted_once_for_all_rules(monkeypatch):
    converted = []

    def count(message, *more):
        converted.append(message)
        return original(message, *more)

    original = json_format.MessageToDict
    with monkeypatch.context() as patch:
        for name in ("json_format", "deserialize_properties", "unknown_checking_proxy"):
            patch.setattr(policy, name, vars(policy)[name])  # what is put back
        patch.setattr(json_format, "MessageToDict", count)
        before = [analyze(ingress(port)) for port in (22, 443)]
        assert len(converted) == 2 * len(RESOURCE_RULES)
        converted.clear()
        convert_once()
        assert [analyze(ingress(port)) for port in (22, 443)] == before
        assert len(converted) == 2
        converted.clear()
        assert not analyze(definition()).diagnostics
        assert converted == [], "no rule is about it"
    ssh, https = ({found.policyName for found in each.diagnostics} for each in before)
    assert ssh - https == {"no-ssh"}


def ingress(port):
    properties = struct_pb2.Struct()
    properties.update({"ipProtocol": "tcp", "fromPort": port, "toPort": port, "cidrIpv4": "0.0.0.0/0"})
    token = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    return proto.AnalyzeRequest(
        type=token, urn=f"urn:pulumi:a::b::{token}::c", name="c", properties=properties
    )


def definition():
    properties = struct_pb2.Struct()
    properties.update({"kind": "CustomResourceDefinition", "spec": {"versions": [{"name": "v1"}]}})
    token = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"
    return proto.AnalyzeRequest(
        type=token, urn=f"urn:pulumi:a::b::{token}::c", name="c", properties=properties
    )


def servicer():
    more = [None] * 7
    return policy._PolicyAnalyzerServicer("pack", "1", [*POLICIES], EnforcementLevel.MANDATORY, *more)


def analyze(request):
    return servicer().Analyze(request, None)


def test_rules_about_the_stack_convert_what_they_are_about(monkeypatch):
    converted = []

    def count(message):
        converted.append(message)
        return original(message)

    original = json_format.MessageToDict
    nodes = [as_in_the_stack(node(name)) for name in ("a", "b")]
    crds = [as_in_the_stack(definition()) for _ in range(9)]
    request = proto.AnalyzeStackRequest(resources=[*crds, *nodes])
    before = servicer().AnalyzeStack(request, None)
    with monkeypatch.context() as patch:
        for name in ("json_format", "deserialize_properties", "unknown_checking_proxy"):
            patch.setattr(policy, name, vars(policy)[name])
        patch.setattr(json_format, "MessageToDict", count)
        convert_once()
        assert servicer().AnalyzeStack(request, None) == before
    assert {found.policyName for found in before.diagnostics} == {"one-master", "node-addresses-unique"}
    assert {message["privateIp"] for message in converted} == {"10.20.0.11"}


def node(name):
    properties = struct_pb2.Struct()
    properties.update({"privateIp": "10.20.0.11", "instanceType": "m7i.large"})
    token = "aws:ec2/instance:Instance"
    return proto.AnalyzeRequest(
        type=token, urn=f"urn:pulumi:a::b::{token}::{name}", name=name, properties=properties
    )


def as_in_the_stack(request):
    return proto.AnalyzerResource(
        type=request.type, urn=request.urn, name=request.name, properties=request.properties
    )


def test_no_rule_remediates():
    """Properties would have to say which values are secret: see policies/conversion.py."""
    assert not any(rule.has_remediation() for rule in RESOURCE_RULES)

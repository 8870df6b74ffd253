"""The pack in the real engine: a violation stops the preview, unknown values wait for the update."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pulumi
import pulumi_aws as aws
import pytest

from policies.rules import POLICIES
from sandbox.tests.program.planted import CONFIG, PLANTED
from sandbox.tests.program.real_engine import engine_run

PACK = Path(__file__).parents[3] / "policies"
HERE = "sandbox.tests.program.test_policies_engine"

pytestmark = pytest.mark.sandbox


def provider(**tags: str) -> pulumi.ResourceOptions:
    made = aws.Provider("aws", region="us-east-1", default_tags={"tags": tags} if tags else None)
    return pulumi.ResourceOptions(provider=made)


def compliant() -> None:
    opts = provider(**{"kubepark:cluster": "lab"})
    vpc = aws.ec2.Vpc("vpc", cidr_block="10.20.0.0/16", opts=opts)
    group = aws.ec2.SecurityGroup("nodes", vpc_id=vpc.id, opts=opts)
    aws.vpc.SecurityGroupIngressRule(
        "api",
        security_group_id=group.id,
        ip_protocol="tcp",
        from_port=6443,
        to_port=6443,
        cidr_ipv4="203.0.113.7/32",
        opts=opts,
    )


def violating() -> None:
    opts = provider()
    aws.ec2.Instance("master1", ami="ami-1", instance_type="p5.48xlarge", opts=opts)
    aws.ssm.Parameter("join", name="/lab/join", type="String", value="pending", opts=opts)


def late() -> None:
    """What is wrong hangs on an ARN that is known only when the key exists."""
    opts = provider(**{"kubepark:cluster": "lab"})
    key = aws.kms.Key("cluster", enable_key_rotation=True, opts=opts)
    allow = {"Effect": "Allow", "Action": "kms:*"}
    policy = key.arn.apply(lambda arn: json.dumps({"Statement": [allow | {"Resource": arn}]}))
    aws.iam.RolePolicy("key", role="node", policy=policy, opts=opts)


def test_a_compliant_program_passes_preview_and_update(tmp_path):
    preview = engine_run(tmp_path, f"{HERE}:compliant", "preview", PACK)
    assert preview.ok, preview.output
    assert "kubepark@v1.0.0" in preview.output
    update = engine_run(tmp_path, f"{HERE}:compliant", "up", PACK)
    assert update.ok, update.output
    assert len([item for item in update.resources if item["type"].startswith("aws:")]) == 3


def test_violations_stop_the_preview_and_are_all_listed(tmp_path):
    preview = engine_run(tmp_path, f"{HERE}:violating", "preview", PACK)
    assert not preview.ok
    for rule, words in {
        "imdsv2-required": "metadataOptions.httpTokens is not set",
        "volumes-encrypted": "rootBlockDevice is not encrypted.",
        "instance-type-allowed": "Instance type p5.48xlarge is not allowed.",
        "required-tags": "The tag kubepark:cluster is missing.",
        "secure-string-for-secrets": "/lab/join holds a secret and is of type String.",
    }.items():
        assert f"]  {rule}  (" in preview.output
        assert words in preview.output
    assert engine_run(tmp_path, f"{HERE}:violating", "preview").ok


def test_the_pack_starts_while_the_cli_logs_and_traces(tmp_path):
    flags = ("--logtostderr", "--logflow", "-v=1", "--otel-traces", f"file://{tmp_path / 'trace.json'}")
    preview = engine_run(tmp_path, f"{HERE}:compliant", "preview", PACK, more=flags)
    assert preview.ok, preview.output
    assert "kubepark@v1.0.0" in preview.output


def test_one_preview_names_every_planted_violation_and_nothing_else(tmp_path):
    """One for each rule but that about waivers: resources, and what only the whole stack shows."""
    preview = engine_run(tmp_path, "sandbox.tests.program.planted:planted", "preview", PACK, CONFIG)
    assert not preview.ok
    found = re.findall(
        r"\[mandatory\] \[severity: (\w+)\]  ([a-z0-9-]+)  \((.+?)\)$", preview.output, re.MULTILINE
    )
    severities = {policy.name: policy.severity.value for policy in POLICIES}
    assert len(PLANTED) >= 20
    assert severities.keys() - PLANTED.keys() == {"waivers-in-force"}
    assert sorted(found) == sorted((severities[rule], rule, blamed) for rule, blamed in PLANTED.items())
    assert "can't run policy" not in preview.output, "nothing was left unevaluated"
    again = engine_run(tmp_path, "sandbox.tests.program.planted:planted", "preview")
    assert again.ok, again.output


def test_what_a_preview_cannot_know_stops_the_update(tmp_path):
    preview = engine_run(tmp_path, f"{HERE}:late", "preview", PACK)
    assert preview.ok, preview.output
    assert "can't run policy 'iam-no-wildcard-mutation'" in preview.output
    update = engine_run(tmp_path, f"{HERE}:late", "up", PACK)
    assert not update.ok
    assert "Action kms:* has a wildcard." in update.output
    assert "aws:iam/rolePolicy:RolePolicy" not in {item["type"] for item in update.resources}

"""The rule about IAM wildcards."""

from __future__ import annotations

import json

import pytest

from policies.identity import (
    ATTACHMENTS,
    NO_WILDCARD_MUTATION,
    ONLY_STAR,
    OWN_POLICIES,
    POLICY_DOCUMENTS,
    ROLE,
)
from tests.policies.support import UNKNOWN, evaluate

POLICY = "aws:iam/rolePolicy:RolePolicy"
ARN = "arn:aws:ssm:us-east-1:123456789012:parameter/lab/join"
VOLUMES = "arn:aws:ec2:us-east-1:123456789012:volume/*"
KEYS = "arn:aws:kms:us-east-1:123456789012:key/*"
OUR_TAG = {"aws:ResourceTag/kubepark:cluster": "lab"}
OUR_ALIAS = {"kms:ResourceAliases": "alias/kubepark/lab"}
TRUST = json.dumps(
    {
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ]
    }
)


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def evaluated(*statements):
    return evaluate(NO_WILDCARD_MUTATION, POLICY, {"policy": document(*statements)}).violations


@pytest.mark.parametrize(
    "statement",
    [
        allow("ec2:DescribeInstances"),
        allow("ecr:GetAuthorizationToken"),
        allow("ssm:PutParameter", ARN),
        allow("ssm:GetParameter", [ARN]),
        allow("kms:Decrypt", "arn:aws:kms:us-east-1:123456789012:key/0b6c8b7e"),
        allow("ssm:GetParameter", "arn:aws:ssm:us-east-1:123456789012:parameter/lab/hosts/*"),
        allow("s3:PutObject", ["arn:aws:s3:::lab-backup/*", "arn:aws:s3:::lab-*"]),
        allow("ec2:DetachVolume", VOLUMES, Condition={"StringEquals": OUR_TAG}),
        allow("ec2:DetachVolume", "*", Condition={"StringLike": {"EC2:ResourceTag/Name": "lab-*"}}),
        allow("kms:Decrypt", KEYS, Condition={"ForAnyValue:StringEquals": OUR_ALIAS}),
        {"Effect": "Deny", "Action": "*", "Resource": "*"},
    ],
)
def test_reading_and_named_resources_are_compliant(statement):
    assert evaluated(statement) == ()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (allow("*"), "Action * has a wildcard."),
        (allow("ec2:*", ARN), "Action ec2:* has a wildcard."),
        (allow("ssm:Put*", ARN), "Action ssm:Put* has a wildcard."),
        (allow("ec2:Describe*"), "Action ec2:Describe* has a wildcard."),
        (allow("kms:Decryp?", ARN), "Action kms:Decryp? has a wildcard."),
        (allow("ssm:Get*", ARN), "Action ssm:Get* has a wildcard."),
        (allow("ec2:TerminateInstances"), "Action ec2:TerminateInstances is allowed on *."),
        (allow("ssm:GetParameter"), "Action ssm:GetParameter is allowed on *."),
        (allow("SSM:getparametersbypath"), "Action SSM:getparametersbypath is allowed on *."),
        (allow("secretsmanager:GetSecretValue"), "Action secretsmanager:GetSecretValue is allowed on *."),
        (allow("ssm:PutParameter", [ARN, "*"]), "Action ssm:PutParameter is allowed on *."),
        (allow("s3:PutObject", "arn:aws:s3:::*"), "Action s3:PutObject is allowed on arn:aws:s3:::*."),
        (
            allow("ec2:DetachVolume", "arn:aws:ec2:us-east-1:1:volume/*"),
            "Action ec2:DetachVolume is allowed on arn:aws:ec2:us-east-1:1:volume/*.",
        ),
        (
            {"Effect": "Allow", "NotAction": "iam:*", "Resource": ARN},
            "NotAction allows everything that it does not name.",
        ),
        (
            {"Effect": "Allow", "Action": "ssm:PutParameter", "NotResource": ARN},
            "NotResource allows everything that it does not name.",
        ),
    ],
)
def test_wildcards_are_violations(statement, message):
    assert evaluated(allow("ec2:DescribeInstances"), statement) == (message,)


def test_every_exception_is_exact_and_needed():
    assert evaluated(allow(sorted(ONLY_STAR))) == ()
    for action in ONLY_STAR:
        assert evaluated(allow(action + "x")) != ()
        assert evaluated(allow(action[:-1] + "*")) != ()


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"aws:RequestedRegion": "us-east-1"}},
        {"StringEquals": {"aws:RequestTag/kubepark:cluster": "lab"}},
        {"StringEqualsIfExists": OUR_TAG},
        {"StringNotEquals": OUR_TAG},
        {"ForAllValues:StringEquals": OUR_ALIAS},
        {"ForAnyValue:StringLike": {"kms:ResourceAliases": ["alias/kubepark/lab", "*"]}},
        {"Null": {"aws:ResourceTag/kubepark:cluster": "false"}},
    ],
)
def test_other_conditions_leave_every_resource_open(condition):
    assert evaluated(allow("kms:Decrypt", KEYS, Condition=condition)) == (
        f"Action kms:Decrypt is allowed on {KEYS}.",
    )


@pytest.mark.parametrize("end", ["key/**", "key/?", "k*", "*/x", "key:*"])
def test_a_wildcard_without_a_part_of_a_name_is_everything(end):
    resource = f"arn:aws:kms:us-east-1:123456789012:{end}"
    assert evaluated(allow("kms:Decrypt", resource)) == (f"Action kms:Decrypt is allowed on {resource}.",)


@pytest.mark.parametrize("type_", sorted(OWN_POLICIES))
def test_only_named_principals_may_use_a_key_or_a_bucket(type_):
    """In these documents `*` as the resource is the key or the bucket itself."""

    def of(principal):
        statement = allow("kms:*", "*", Principal=principal)
        return evaluate(NO_WILDCARD_MUTATION, type_, {"policy": document(statement)}).violations

    assert of({"AWS": "arn:aws:iam::123456789012:root"}) == ()
    [message] = of({"AWS": "*"})
    assert message == f"Anybody may {OWN_POLICIES[type_]}: Principal is *."
    assert len(of("*")) == 1
    assert not evaluate(NO_WILDCARD_MUTATION, type_, {}).applicable
    assert evaluate(NO_WILDCARD_MUTATION, type_, {"policy": UNKNOWN}).unknown == "policy"


@pytest.mark.parametrize("type_", sorted(POLICY_DOCUMENTS))
@pytest.mark.parametrize("props", [{}, {"policy": "not json"}, {"policy": "{}"}, {"policy": "[]"}])
def test_a_document_that_is_missing_or_unreadable_is_a_violation(type_, props):
    expected = ("The policy document is not JSON with a Statement.",)
    assert evaluate(NO_WILDCARD_MUTATION, type_, props).violations == expected


@pytest.mark.parametrize("type_", sorted(ATTACHMENTS))
def test_only_our_own_policies_may_be_attached(type_):
    ours = {"policyArn": "arn:aws:iam::123456789012:policy/lab"}
    theirs = {"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}
    assert evaluate(NO_WILDCARD_MUTATION, type_, ours).violations == ()
    [message] = evaluate(NO_WILDCARD_MUTATION, type_, theirs).violations
    assert "AdministratorAccess" in message
    assert evaluate(NO_WILDCARD_MUTATION, type_, {"policyArn": UNKNOWN}).unknown == "policyArn"


def test_a_role_is_judged_by_trust_inline_and_managed_policies():
    clean = {"assumeRolePolicy": TRUST, "inlinePolicies": [{"policy": document(allow("ec2:DescribeVpcs"))}]}
    assert evaluate(NO_WILDCARD_MUTATION, ROLE, clean).violations == ()
    open_trust = TRUST.replace('{"Service": "ec2.amazonaws.com"}', '{"AWS": ["*"]}')
    dirty = {
        "assumeRolePolicy": open_trust,
        "inlinePolicies": [{"policy": document(allow("iam:PassRole"))}],
        "managedPolicyArns": ["arn:aws:iam::aws:policy/PowerUserAccess"],
    }
    messages = evaluate(NO_WILDCARD_MUTATION, ROLE, dirty).violations
    assert [message.split(":")[0] for message in messages] == [
        "Anybody may assume the role",
        "Action iam",
        "arn",
    ]
    star = TRUST.replace('{"Service": "ec2.amazonaws.com"}', '"*"')
    assert len(evaluate(NO_WILDCARD_MUTATION, ROLE, {"assumeRolePolicy": star}).violations) == 1


def test_an_unknown_document_is_reported_and_the_rest_still_evaluated():
    props = {
        "assumeRolePolicy": TRUST,
        "inlinePolicies": [{"policy": UNKNOWN}, {"policy": document(allow("iam:PassRole"))}],
    }
    result = evaluate(NO_WILDCARD_MUTATION, ROLE, props)
    assert result.violations == ("Action iam:PassRole is allowed on *.",)
    assert result.unknown == "inlinePolicies.0.policy"
    assert evaluate(NO_WILDCARD_MUTATION, POLICY, {"policy": UNKNOWN}).unknown == "policy"


def test_declared_actions_are_agreed_to_by_exact_name():
    wide = allow(["ec2:Describe*", "ec2:CreateVpc", "ec2:RunInstances"])
    declared = {"declared": ["ec2:Describe*", "ec2:CreateVpc"]}
    result = evaluate(NO_WILDCARD_MUTATION, POLICY, {"policy": document(wide)}, config=declared)
    assert result.violations == ("Action ec2:RunInstances is allowed on *.",)

"""The rule about IAM wildcards."""

from __future__ import annotations

import json

import pytest

from policies.identity import ATTACHMENTS, NO_WILDCARD_MUTATION, ONLY_STAR, POLICY_DOCUMENTS, ROLE
from tests.policies.support import UNKNOWN, evaluate

POLICY = "aws:iam/rolePolicy:RolePolicy"
ARN = "arn:aws:ssm:us-east-1:123456789012:parameter/lab/join"
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
        allow(["ec2:Describe*", "iam:List*", "ec2:Get*"]),
        allow("ssm:PutParameter", ARN),
        allow("ssm:GetParameter", [ARN]),
        allow("kms:Decrypt", "arn:aws:kms:us-east-1:123456789012:key/0b6c8b7e"),
        allow("ssm:GetParameter", "arn:aws:ssm:us-east-1:123456789012:parameter/lab/hosts/*"),
        allow(
            "ec2:DetachVolume",
            "arn:aws:ec2:us-east-1:123456789012:volume/*",
            Condition={"StringEquals": {"aws:ResourceTag/kubepark:cluster": "lab"}},
        ),
        {"Effect": "Deny", "Action": "*", "Resource": "*"},
    ],
)
def test_reading_and_named_resources_are_compliant(statement):
    assert evaluated(statement) == ()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (allow("*"), "Action * has a wildcard and is more than reading."),
        (allow("ec2:*", ARN), "Action ec2:* has a wildcard and is more than reading."),
        (allow("ssm:Put*", ARN), "Action ssm:Put* has a wildcard and is more than reading."),
        (allow("ssm:Get*", ARN), "Action ssm:Get* has a wildcard and is more than reading."),
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

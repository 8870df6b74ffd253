"""What the roles of `foundation/` may do and who may assume them, as the sandbox's IAM evaluator decides.

Workflows of unreviewed code have subjects of their own (a pull request, another branch, a fork's); no role
trusts one of those.
"""

from __future__ import annotations

from typing import Any

import pytest

from foundation import documents
from foundation.documents import RolePlan
from foundation.settings import Settings, parse
from sandbox.aws.statements import Call, applies, statements
from sandbox.config import ACCOUNT_ID, REGION
from tests.foundation import configuration

REPOSITORY = "repo:octo-org/octo-repo"
# Source: GitHub's documentation, "OpenID Connect reference", "Example subject claims".
UNREVIEWED = (
    f"{REPOSITORY}:pull_request",
    f"{REPOSITORY}:ref:refs/heads/feature",
    f"{REPOSITORY}:ref:refs/tags/v1",
    f"{REPOSITORY}:ref:refs/heads/main-2",
    f"{REPOSITORY}:environment:dev2",
    "repo:somebody/octo-repo:environment:dev",
    "repo:somebody/octo-repo:ref:refs/heads/main",
)
BUCKET = f"arn:aws:s3:::kubepark-state-{ACCOUNT_ID}-{REGION}"
OUR_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT_ID}:key/0b6c8b7e"
CLUSTERS_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT_ID}:key/5d1f0c2a"
CLUSTER = {"dev": "kubepark-dev", "prod": "lab"}
# Every condition key that the documents ask for, and which these calls may be without.
UNSET: dict[str, Any] = dict.fromkeys(
    (
        "aws:RequestTag/kubepark:cluster", "aws:ResourceTag/kubepark:cluster", "ec2:CreateAction",
        "iam:PassedToService", "kms:EncryptionContext:aws:s3:arn", "kms:EncryptionContext:environment",
        "kms:ResourceAliases", "kms:ViaService", "ssm:resourceTag/kubepark:cluster",
    )
)  # fmt: skip


def settings() -> Settings:
    return parse("prod", configuration())


ROLES = {role.use: role for role in documents.roles(settings())}
NAMES = sorted(ROLES)


def may(role: RolePlan, action: str, resource: str, **context: Any) -> bool:
    call = Call(action, resource, {**UNSET, "aws:RequestedRegion": REGION, **context})
    found = [each for name, document in role.policies.items() for each in statements(name, document)]
    return any(applies(each.body, call) for each in found)


def trusts(role: RolePlan, subject: str, audience: str = "sts.amazonaws.com") -> bool:
    """A trust policy has no resource: it hangs on the role."""
    context = {f"{documents.ISSUER}:aud": audience, f"{documents.ISSUER}:sub": subject}
    call = Call("sts:AssumeRoleWithWebIdentity", "*", context)
    document = documents.trust(settings().aws, role.subject)
    return any(applies({**each.body, "Resource": "*"}, call) for each in statements("trust", document))


def kubeconfig(role: RolePlan, environment: str) -> bool:
    cluster = CLUSTER[environment]
    arn = f"arn:aws:ssm:{REGION}:{ACCOUNT_ID}:parameter/{cluster}/kubeconfig"
    tag, alias = (
        {"aws:ResourceTag/kubepark:cluster": cluster},
        {"kms:ResourceAliases": (f"alias/kubepark/{cluster}",)},
    )
    by_ssm = {**tag, **alias, "kms:ViaService": f"ssm.{REGION}.amazonaws.com"}
    reads = [
        may(role, f"ssm:{action}", arn) for action in ("GetParameter", "GetParameters", "GetParameterHistory")
    ]
    return any(reads) or may(role, "kms:Decrypt", CLUSTERS_KEY, **by_ssm)


def secrets(role: RolePlan, environment: str, action: str = "kms:Decrypt") -> bool:
    context = {
        "kms:ResourceAliases": (documents.KEY_ALIAS,),
        "kms:EncryptionContext:environment": environment,
    }
    return may(role, action, OUR_KEY, **context)


def in_state(role: RolePlan, environment: str, action: str) -> bool:
    """The object and the key that it is under."""
    arn = f"{BUCKET}/{environment}/.pulumi/stacks/kubepark/{environment}.json.zst"
    context = {
        "kms:ResourceAliases": (documents.KEY_ALIAS,),
        "kms:ViaService": f"s3.{REGION}.amazonaws.com",
        "kms:EncryptionContext:aws:s3:arn": arn,
    }
    key = {"s3:GetObject": "kms:Decrypt", "s3:PutObject": "kms:GenerateDataKey"}[action]
    return may(role, action, arn) and may(role, key, OUR_KEY, **context)


@pytest.mark.parametrize("name", NAMES)
def test_no_role_is_for_unreviewed_code(name: str):
    role = ROLES[name]
    assert [subject for subject in UNREVIEWED if trusts(role, subject)] == []
    assert trusts(role, role.subject)
    assert not trusts(role, role.subject, audience="https://github.com/octo-org")
    others = {each.subject for each in ROLES.values()} - {role.subject}
    assert len(others) == len(ROLES) - 1
    assert not any(trusts(role, subject) for subject in others)


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_previews_read_no_kubeconfig_and_change_nothing(environment: str):
    role = ROLES[f"preview-{environment}"]
    assert not any(kubeconfig(role, each) for each in CLUSTER)
    assert in_state(role, environment, "s3:GetObject")
    assert not in_state(role, environment, "s3:PutObject")
    assert secrets(role, environment)
    assert not secrets(role, environment, "kms:Encrypt")
    actions = {
        action
        for document in role.policies.values()
        for each in document["Statement"]
        for action in each["Action"]
    }
    assert actions == {
        "ec2:DescribeInstanceTypes", "kms:Decrypt", "s3:GetObject", "s3:ListBucket", "ssm:GetParametersByPath",
    }  # fmt: skip


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_drift_reads_the_state_and_what_is_in_aws_and_no_secret_at_all(environment: str):
    role, cluster = ROLES[f"drift-{environment}"], CLUSTER[environment]
    assert in_state(role, environment, "s3:GetObject")
    assert not in_state(role, environment, "s3:PutObject")
    for each in CLUSTER:
        assert not secrets(role, each)
        assert not kubeconfig(role, each)
        assert in_state(role, each, "s3:GetObject") is (each == environment)
    parameters = f"arn:aws:ssm:{REGION}:{ACCOUNT_ID}:parameter/{cluster}"
    for name, read in (("status/worker01", True), ("hosts/00", True), ("power", True), ("join", False)):
        assert may(role, "ssm:GetParameter", f"{parameters}/{name}") is read
    assert not may(role, "ssm:GetParameter", f"{parameters}/encryption-key")
    actions = [
        action
        for document in role.policies.values()
        for each in document["Statement"]
        for action in each["Action"]
        if each["Sid"] != "StateKey"
    ]
    assert "kms:Decrypt" not in actions
    assert all(action.partition(":")[2].startswith(("Describe", "Get", "List")) for action in actions)


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_an_environments_roles_reach_its_own_state_and_secrets_and_no_others(environment: str):
    other = ({*CLUSTER} - {environment}).pop()
    for use in ("preview", "deploy", "park"):
        role = ROLES[f"{use}-{environment}"]
        assert in_state(role, environment, "s3:GetObject")
        assert secrets(role, environment)
        assert not in_state(role, other, "s3:GetObject")
        assert not secrets(role, other)
        assert not kubeconfig(role, other)
        assert may(role, "s3:ListBucket", BUCKET), "else an object that is missing is forbidden"
        assert not may(role, "s3:DeleteObjectVersion", f"{BUCKET}/{environment}/.pulumi/meta.yaml")
    deploy = ROLES[f"deploy-{environment}"]
    assert in_state(deploy, environment, "s3:PutObject")
    assert secrets(deploy, environment, "kms:Encrypt")
    assert kubeconfig(deploy, environment)


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_park_stops_and_starts_its_clusters_instances_alone(environment: str):
    role, machine = ROLES[f"park-{environment}"], f"arn:aws:ec2:{REGION}:{ACCOUNT_ID}:instance/i-1"
    for action in ("ec2:StopInstances", "ec2:StartInstances", "ec2:ModifyInstanceAttribute"):
        for cluster in CLUSTER.values():
            own = {"aws:ResourceTag/kubepark:cluster": cluster}
            assert may(role, action, machine, **own) is (cluster == CLUSTER[environment])
    own = {"aws:ResourceTag/kubepark:cluster": CLUSTER[environment]}
    for action in ("ec2:TerminateInstances", "ec2:RunInstances", "ec2:CreateTags", "iam:PassRole"):
        assert not may(role, action, machine, **own)
    assert not in_state(role, environment, "s3:PutObject")
    by_ec2 = {**own, "kms:ViaService": f"ec2.{REGION}.amazonaws.com"}
    assert may(role, "kms:CreateGrant", CLUSTERS_KEY, **by_ec2), "else what it starts stops again"
    assert not may(role, "kms:CreateGrant", CLUSTERS_KEY, **own)


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_park_holds_off_its_clusters_schedules_alone(environment: str):
    role, scheduler = ROLES[f"park-{environment}"], f"arn:aws:scheduler:{REGION}:{ACCOUNT_ID}"
    to_scheduler = {"iam:PassedToService": "scheduler.amazonaws.com"}
    for cluster in CLUSTER.values():
        ours = cluster == CLUSTER[environment]
        for action in ("CreateSchedule", "DeleteSchedule", "GetSchedule", "UpdateSchedule"):
            assert may(role, f"scheduler:{action}", f"{scheduler}:schedule/{cluster}/gpu01-stop") is ours
            assert not may(role, f"scheduler:{action}", f"{scheduler}:schedule/default/gpu01-stop")
        passed = f"arn:aws:iam::{ACCOUNT_ID}:role/{cluster}-schedule"
        assert may(role, "iam:PassRole", passed, **to_scheduler) is ours
        assert not may(role, "iam:PassRole", passed, **{"iam:PassedToService": "ec2.amazonaws.com"})
        assert not may(
            role, "iam:PassRole", f"arn:aws:iam::{ACCOUNT_ID}:role/{cluster}-gpu01", **to_scheduler
        )
    assert not may(
        role, "scheduler:DeleteScheduleGroup", f"{scheduler}:schedule-group/{CLUSTER[environment]}"
    )


@pytest.mark.parametrize(
    "role", documents.roles(parse("prod", configuration(environments=[], reviewStacks=True)))
)
def test_roles_of_review_stacks_reach_clusters_of_pull_requests_alone(role: RolePlan):
    assert [subject for subject in UNREVIEWED if trusts(role, subject)] == []
    assert trusts(role, f"{REPOSITORY}:environment:{role.use}")
    machine = f"arn:aws:ec2:{REGION}:{ACCOUNT_ID}:instance/i-1"
    for cluster, own in (("kubepark-pr-12", True), ("kubepark-dev", False), ("kubepark-prod", False)):
        tag = {"aws:ResourceTag/kubepark:cluster": cluster}
        assert may(role, "ec2:TerminateInstances", machine, **tag) is own
        assert may(role, "kms:ScheduleKeyDeletion", CLUSTERS_KEY, **tag) is own
        parameter = f"arn:aws:ssm:{REGION}:{ACCOUNT_ID}:parameter/{cluster}/kubeconfig"
        assert may(role, "ssm:GetParameter", parameter) is own
        assert may(role, "iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT_ID}:role/{cluster}-master1") is own
    assert in_state(role, "review", "s3:PutObject")
    assert secrets(role, "review")
    for environment in CLUSTER:
        assert not in_state(role, environment, "s3:GetObject")
        assert not secrets(role, environment)


def test_no_workflow_administers_the_key_whatever_its_policy_says():
    """A deploy role may tag keys, and keys with its tag are its own."""
    denials = [
        each.body
        for each in statements("key", documents.key_policy(settings().aws))
        if each.body["Effect"] == "Deny"
    ]
    deploy = f"arn:aws:iam::{ACCOUNT_ID}:role{documents.PATH}kubepark-deploy-dev"
    for who, denied in ((deploy, True), (f"arn:aws:iam::{ACCOUNT_ID}:role/administrator", False)):
        for action in ("kms:TagResource", "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:CreateGrant"):
            call = Call(action, OUR_KEY, {"aws:PrincipalArn": who})
            assert any(applies(each, call) for each in denials) is denied
        use = Call("kms:Decrypt", OUR_KEY, {"aws:PrincipalArn": who})
        assert not any(applies(each, use) for each in denials)
    assert may(
        ROLES["deploy-dev"], "kms:TagResource", OUR_KEY, **{"aws:RequestTag/kubepark:cluster": "kubepark-dev"}
    )


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_a_deploy_role_changes_roles_of_its_cluster_and_none_of_these(environment: str):
    role = ROLES[f"deploy-{environment}"]
    assert may(role, "iam:PutRolePolicy", f"arn:aws:iam::{ACCOUNT_ID}:role/{CLUSTER[environment]}-gpu01")
    for name in NAMES:
        arn = f"arn:aws:iam::{ACCOUNT_ID}:role{documents.PATH}{ROLES[name].name}"
        assert not may(role, "iam:PutRolePolicy", arn)
        assert not may(role, "iam:UpdateAssumeRolePolicy", arn)

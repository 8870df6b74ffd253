"""Who may assume which role, and what it may do then: documents as plain values.

Nothing in them is known to AWS alone: ARNs follow from names, and the key is the one that has our alias. So
the first preview shows each document whole, and the policy pack evaluates it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cli import permissions
from config.model import AwsSettings
from config.naming import Naming, default_cluster, partition
from foundation.settings import DRIFT, PARK, PREVIEW, Environment, Settings

Document = dict[str, Any]

# Review stacks' state and secrets are below this name; their roles, and what each is for.
REVIEW, REVIEW_CLUSTERS = "review", default_cluster("pr-*")
REVIEW_ROLES = {
    "review-stack": "Makes the cluster of a pull request, after a review",
    "review-sweep": "Destroys clusters of pull requests that have expired",
}
_READING = ("Describe", "Get", "List")  # begin the names of actions that change nothing
# Those of a cluster's parameters that hold no secret (config/naming.py).
PLAIN_PARAMETERS = permissions.Scope(
    "PlainParameters",
    tuple(
        f"arn:{{partition}}:ssm:{{region}}:{{account}}:parameter/{{cluster}}/{name}"
        for name in ("hosts/*", "power", "status/*")
    ),
)

# GitHub's identity provider, and the audience that its action asks for.
# Source: GitHub's documentation, "Configuring OpenID Connect in Amazon Web Services".
ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
KEY_ALIAS = "alias/kubepark-foundation"  # the cluster's keys are below alias/kubepark/
# A path that no cluster's `NAME-*` matches: a deploy role may change its cluster's roles, and none of these.
PATH = "/kubepark/"
# Of the tag `kubepark:cluster`: no cluster has this name, so no deploy role may change what has it.
NO_CLUSTER = "/foundation"


@dataclass(frozen=True, kw_only=True)
class RolePlan:
    """A role: `subject` is the `sub` claim of the workflow's token. `policies`: by name.

    `use`: what for, and of which environment; roles of an account have one name each, whatever their path."""

    use: str
    description: str
    subject: str
    policies: Mapping[str, Document]

    @property
    def name(self) -> str:
        return f"kubepark-{self.use}"


def bucket_name(aws: AwsSettings) -> str:
    """Names of buckets are unique among all accounts."""
    return f"kubepark-state-{aws.account_id}-{aws.region}"


def provider_arn(aws: AwsSettings) -> str:
    return f"arn:{partition(aws.region)}:iam::{aws.account_id}:oidc-provider/{ISSUER}"


def backend_url(aws: AwsSettings, environment: str) -> str:
    """Each environment's state is below its name, so that its roles reach no other's."""
    return f"s3://{bucket_name(aws)}/{environment}"


def secrets_provider(aws: AwsSettings, environment: str) -> str:
    """Source: gocloud.dev, secrets/awskms (`context_` parameters make the encryption context)."""
    return f"awskms://{KEY_ALIAS}?region={aws.region}&context_environment={environment}"


def trust(aws: AwsSettings, subject: str) -> Document:
    """Tokens of GitHub Actions for AWS, of exactly this subject."""
    claims = {f"{ISSUER}:aud": AUDIENCE, f"{ISSUER}:sub": subject}
    return _document(
        {
            "Effect": "Allow",
            "Principal": {"Federated": provider_arn(aws)},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": claims},
        }
    )


def key_policy(aws: AwsSettings) -> Document:
    """The account decides by IAM who may use the key; a workflow's role never administers it, whatever its
    own policy says (a deploy role may tag keys)."""
    account = f"arn:{partition(aws.region)}:iam::{aws.account_id}"
    administration = [
        "kms:CreateAlias", "kms:CreateGrant", "kms:DeleteAlias", "kms:DisableKey", "kms:DisableKeyRotation",
        "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource",
        "kms:UpdateAlias",
    ]  # fmt: skip
    return _document(
        {
            "Sid": "AccountByIam",
            "Effect": "Allow",
            "Principal": {"AWS": f"{account}:root"},
            "Action": "kms:*",
            "Resource": "*",
        },
        {
            "Sid": "NoWorkflowAdministers",
            "Effect": "Deny",
            "Principal": {"AWS": "*"},
            "Action": administration,
            "Resource": "*",
            "Condition": {"ArnLike": {"aws:PrincipalArn": f"{account}:role{PATH}*"}},
        },
    )


def bucket_policy(aws: AwsSettings) -> Document:
    """TLS only. Source: the S3 user guide, "Security best practices for Amazon S3"."""
    bucket = _bucket(aws)
    return _document(
        {
            "Sid": "OnlyTls",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": [bucket, f"{bucket}/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    )


def roles(settings: Settings) -> list[RolePlan]:
    """For each environment: preview, deploy, park, drift. Of review stacks: the one that makes them, after a
    review, and the one that ends them, by the clock."""
    found = [role for each in settings.environments for role in _of_environment(settings, each)]
    if settings.review_stacks:
        found += [_of_review_stacks(settings, *each) for each in REVIEW_ROLES.items()]
    return found


def _of_review_stacks(settings: Settings, use: str, description: str) -> RolePlan:
    aws = settings.aws
    of_stacks = permissions.policy(REVIEW_CLUSTERS, aws.region, aws.account_id)
    return RolePlan(
        use=use,
        description=description,
        subject=f"repo:{settings.repository}:environment:{use}",
        policies={"deploy": of_stacks, "state": state(aws, REVIEW, write=True)},
    )


def _of_environment(settings: Settings, environment: Environment) -> list[RolePlan]:
    aws, name, repository = settings.aws, environment.name, f"repo:{settings.repository}"
    of_stack = permissions.policy(environment.cluster, aws.region, aws.account_id)
    return [
        RolePlan(
            use=f"preview-{name}",
            description=f"Previews of stack {name}, after a review",
            subject=f"{repository}:environment:{name}{PREVIEW}",
            policies={"preview": preview(aws, environment), "state": state(aws, name)},
        ),
        RolePlan(
            use=f"deploy-{name}",
            description=f"Updates of stack {name}",
            subject=f"{repository}:environment:{name}",
            policies={"deploy": of_stack, "state": state(aws, name, write=True)},
        ),
        RolePlan(
            use=f"park-{name}",
            description=f"Parks nodes of stack {name}, by schedule and by hand",
            subject=f"{repository}:environment:{name}{PARK}",
            policies={"park": park(aws, environment), "state": state(aws, name)},
        ),
        RolePlan(
            use=f"drift-{name}",
            description=f"Compares stack {name} with what AWS has, each night",
            subject=f"{repository}:environment:{name}{DRIFT}",
            policies={"drift": drift(aws, environment), "state": state(aws, name, secrets=False)},
        ),
    ]


def preview(aws: AwsSettings, environment: Environment) -> Document:
    """What a preview reads beside the state: no kubeconfig, no cluster's key."""
    status = _parameter(aws, Naming(environment.cluster).status_path)
    return _document(
        _allow("NodesRecords", ["ssm:GetParametersByPath"], [status]),
        _allow("Types", ["ec2:DescribeInstanceTypes"], ["*"]),
    )


def park(aws: AwsSettings, environment: Environment) -> Document:
    """To stop and start the cluster's instances, after their pods were evicted: that needs the kubeconfig."""
    naming = Naming(environment.cluster)
    grants: permissions.Grants = {
        permissions.READ: ("ec2:DescribeInstances",),
        permissions.OWN: ("ec2:ModifyInstanceAttribute", "ec2:StartInstances", "ec2:StopInstances"),
        permissions.KEY_USE: ("kms:Decrypt", "kms:CreateGrant"),  # the latter: of root disks, for a start
        permissions.SCHEDULES: (  # keep-on
            "scheduler:CreateSchedule",
            "scheduler:DeleteSchedule",
            "scheduler:GetSchedule",
            "scheduler:UpdateSchedule",
        ),
        **{
            scope: actions
            for scope, actions in permissions.VERBS["tunnel"].items()
            if scope is not permissions.READ
        },
    }
    account = f"arn:{partition(aws.region)}:iam::{aws.account_id}"
    own = permissions.policy(environment.cluster, aws.region, aws.account_id, [grants])
    records = [_parameter(aws, name) for name in (naming.status_path, f"/{environment.cluster}/power")]
    return _document(
        *own["Statement"],
        _allow(
            "Kubeconfig", ["ssm:GetParameter"], [_parameter(aws, naming.kubeconfig_parameter), records[1]]
        ),
        _allow("PowerRecord", ["ssm:PutParameter"], [records[1]]),
        _allow("NodesRecords", ["ssm:GetParametersByPath"], [records[0]]),
        {
            **_allow("SchedulesRole", ["iam:PassRole"], [f"{account}:role/{naming.role_name('schedule')}"]),
            "Condition": {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}},
        },
    )


def drift(aws: AwsSettings, environment: Environment) -> Document:
    """To read what the stack has in AWS, but for the parameters that hold secrets: no key of the cluster."""
    # One action is not found by its first word: the deploy policy has it in `ssm:*Tags*Resource`.
    found: dict[permissions.Scope, tuple[str, ...]] = {PLAIN_PARAMETERS: ("ssm:ListTagsForResource",)}
    for grants in permissions.RESOURCES.values():
        for scope, actions in grants.items():
            kept = PLAIN_PARAMETERS if scope is permissions.PARAMETERS else scope
            reading = [each for each in actions if each.partition(":")[2].startswith(_READING)]
            found[kept] = (*found.get(kept, ()), *reading)
    reads = {scope: actions for scope, actions in found.items() if actions}
    return permissions.policy(environment.cluster, aws.region, aws.account_id, [reads])


def state(aws: AwsSettings, environment: str, *, write: bool = False, secrets: bool = True) -> Document:
    """An environment's state and its secrets: both under the one key, told apart by the encryption context.

    S3 has the object's ARN as context where bucket keys are off. Source: the S3 user guide, "Reducing the
    cost of SSE-KMS with Amazon S3 Bucket Keys".
    """
    objects = f"{_bucket(aws)}/{environment}/*"
    put = ["s3:DeleteObject", "s3:PutObject"] if write else []
    by_s3 = {
        "StringEquals": {"kms:ViaService": f"s3.{aws.region}.amazonaws.com"},
        "StringLike": {"kms:EncryptionContext:aws:s3:arn": objects},
    }
    by_pulumi = {"StringEquals": {"kms:EncryptionContext:environment": environment}}
    own = _with_key(aws, "StackSecrets", ["kms:Decrypt", *(["kms:Encrypt"] if write else [])], by_pulumi)
    return _document(
        # Of the whole bucket: the CLI asks for objects that may be missing, and who may not list is told 403,
        # not 404; in such a call there is no `s3:prefix` for a condition. Sources: the S3 API, GetObject;
        # pulumi/pulumi, pkg/backend/diy/stack_tags.go.
        _allow("ListState", ["s3:ListBucket"], [_bucket(aws)]),
        _allow("State", ["s3:GetObject", *put], [objects]),
        _with_key(aws, "StateKey", ["kms:Decrypt", *(["kms:GenerateDataKey"] if write else [])], by_s3),
        *([own] if secrets else []),
    )


def _with_key(aws: AwsSettings, sid: str, actions: list[str], conditions: Document) -> Document:
    keys = f"arn:{partition(aws.region)}:kms:{aws.region}:{aws.account_id}:key/*"
    ours = {"ForAnyValue:StringEquals": {"kms:ResourceAliases": KEY_ALIAS}}
    return {**_allow(sid, actions, [keys]), "Condition": {**ours, **conditions}}


def _bucket(aws: AwsSettings) -> str:
    return f"arn:{partition(aws.region)}:s3:::{bucket_name(aws)}"


def _parameter(aws: AwsSettings, name: str) -> str:
    return f"arn:{partition(aws.region)}:ssm:{aws.region}:{aws.account_id}:parameter{name}"


def _allow(sid: str, actions: list[str], resources: list[str]) -> Document:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}


def _document(*statements: Document) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}

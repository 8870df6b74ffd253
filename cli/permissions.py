"""`kubepark permissions`: the IAM policy of who deploys a stack, from what the program and this command use.

One table says which actions each resource type and each verb needs, and in which scope; the policy is made
from it. What the AWS provider calls for a type was read in JamesWoolfenden/pike, src/mapping/aws/resource/;
the sandbox's IAM evaluator replays a stack's life against it (sandbox/tests/stack/test_stack_life.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.errors import CommandError
from cli.leftovers import TAG_BALANCERS
from cli.stackfile import cluster_of, config_of, setting
from config.naming import TAG_CLUSTER, Naming, partition

Document = dict[str, Any]
_OWN_TAG = {f"aws:ResourceTag/{TAG_CLUSTER}": "{cluster}"}
_NEW_TAG = {f"aws:RequestTag/{TAG_CLUSTER}": "{cluster}"}
_IN_REGION = {"aws:RequestedRegion": "{region}"}


@dataclass(frozen=True)
class Scope:
    """One statement: on what, and under which conditions (all by StringEquals)."""

    sid: str
    resources: tuple[str, ...] = ("*",)
    conditions: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict, hash=False)


def _of_kind(*kinds: str) -> tuple[str, ...]:
    return tuple(f"arn:{{partition}}:ec2:{{region}}:{{account}}:{kind}/*" for kind in kinds)


def _of_role(*kinds: str) -> tuple[str, ...]:
    return tuple(f"arn:{{partition}}:iam::{{account}}:{kind}/{{cluster}}-*" for kind in kinds)


_KEYS = ("arn:{partition}:kms:{region}:{account}:key/*",)
# EC2's reads take no resource. All of them, for the provider reads more with each release, and a read that
# is refused fails an update half way.
READ = Scope("Read", conditions=_IN_REGION)
# New things, and changes of what AWS does not tag at its creation or at all.
MAKE = Scope("Make", conditions=_IN_REGION)
OWN = Scope("Own", conditions=_IN_REGION | _OWN_TAG)
TAG_NEW = Scope("TagNew", conditions=_IN_REGION | {"ec2:CreateAction": "{creations}"})
# The provider tags these by a second call: hashicorp/terraform-provider-aws, internal/service/ec2/,
# ec2_instance.go (the root disk) and vpc_security_group_ingress_rule.go.
TAG_LATER = Scope("TagLater", _of_kind("security-group*", "volume"), _IN_REGION | _NEW_TAG)
ROLES = Scope("Roles", _of_role("role", "instance-profile"))
_TO_SERVICES = ("ec2.amazonaws.com", "scheduler.amazonaws.com")
PASS_ROLE = Scope("PassRole", _of_role("role"), {"iam:PassedToService": _TO_SERVICES})
SCHEDULES = Scope(
    "Schedules",
    tuple(
        f"arn:{{partition}}:scheduler:{{region}}:{{account}}:{name}"
        for name in ("schedule-group/{group}", "schedule/{group}/*")
    ),
)
KEYS = Scope("Keys", _KEYS, _OWN_TAG)
NEW_KEYS = Scope("NewKeys", conditions=_NEW_TAG)
ALIASES = Scope("Aliases", ("arn:{partition}:kms:{region}:{account}:{alias}*",))
# By EC2 for root disks, by Parameter Store for the values of parameters.
_EC2_AND_SSM = ("ec2.{region}.amazonaws.com", "ssm.{region}.amazonaws.com")
KEY_USE = Scope("KeyUse", _KEYS, _OWN_TAG | {"kms:ViaService": _EC2_AND_SSM})
PARAMETERS = Scope("Parameters", ("arn:{partition}:ssm:{region}:{account}:parameter/{cluster}/*",))
# What controllers of the cluster made. They put their own tags on it (cli/leftovers.py), and not ours.
LEFT = Scope("Left", conditions=_IN_REGION | {"aws:ResourceTag/{cluster_tag}": "owned"})
LEFT_BALANCERS = Scope(
    "LeftBalancers", conditions=_IN_REGION | {f"aws:ResourceTag/{TAG_BALANCERS}": "{cluster}"}
)
LISTS = Scope("Lists")
IMAGES = Scope("Images", ("arn:{partition}:ssm:{region}::parameter/aws/service/canonical/*",))
SESSION = Scope("Session", _of_kind("instance"), {f"ssm:resourceTag/{TAG_CLUSTER}": "{cluster}"})
SESSION_DOCUMENT = Scope(
    "SessionDocument", ("arn:{partition}:ssm:{region}::document/AWS-StartPortForwardingSession",)
)
OWN_SESSIONS = Scope("OwnSessions", ("arn:{partition}:ssm:*:*:session/${{aws:userid}}-*",))

Grants = Mapping[Scope, tuple[str, ...]]
_READ: Grants = {READ: ("ec2:Describe*",)}
_TAGGED: Grants = {**_READ, TAG_NEW: ("ec2:CreateTags",)}  # at its creation
_TAGGED_LATER: Grants = {**_READ, TAG_LATER: ("ec2:CreateTags",)}
# A managed policy has little room, so deletions of what has the tag, and reads of it, are not told apart.
_CHANGE = ("ec2:CreateTags", "ec2:Delete*")
_KEY_READS = ("kms:DescribeKey", "kms:ListResourceTags")  # of any key: whose it is, only its tags say
_OF_CONTROLLERS = ("ec2:Delete*", "elasticloadbalancing:Delete*")
# What these mean on the resources that they stand with is all needed, and they are shorter than its list.
_REVOKE = "ec2:RevokeSecurityGroup*"
_RULES = ("ec2:AuthorizeSecurityGroup*", "ec2:ModifySecurityGroupRules", _REVOKE)
_OF_ALIASES = ("kms:*Alias",)
_IAM_TAGS = ("iam:Tag*", "iam:Untag*")
_OF_SCHEDULES = ("scheduler:*",)  # with names that are the cluster's alone
_CREATIONS = ("ec2:Allocate", "ec2:Create", "ec2:Run")

# By resource type of the program.
RESOURCES: Mapping[str, Grants] = {
    "aws:ec2/vpc:Vpc": {
        **_TAGGED,
        MAKE: ("ec2:CreateVpc", "ec2:ModifyVpcAttribute"),
        OWN: _CHANGE,
    },
    "aws:ec2/subnet:Subnet": {
        **_TAGGED,
        MAKE: ("ec2:CreateSubnet", "ec2:ModifySubnetAttribute"),
        OWN: _CHANGE,
    },
    "aws:ec2/subnetCidrReservation:SubnetCidrReservation": {
        READ: ("ec2:GetSubnetCidrReservations",),
        MAKE: ("ec2:CreateSubnetCidrReservation", "ec2:DeleteSubnetCidrReservation"),
    },
    "aws:ec2/internetGateway:InternetGateway": {
        **_TAGGED,
        MAKE: ("ec2:CreateInternetGateway", "ec2:AttachInternetGateway", "ec2:DetachInternetGateway"),
        OWN: _CHANGE,
    },
    "aws:ec2/routeTable:RouteTable": {
        **_TAGGED,
        MAKE: ("ec2:CreateRouteTable",),
        OWN: _CHANGE,
    },
    "aws:ec2/route:Route": {
        **_READ,
        MAKE: ("ec2:CreateRoute", "ec2:ReplaceRoute", "ec2:DeleteRoute"),
    },
    "aws:ec2/routeTableAssociation:RouteTableAssociation": {
        **_READ,
        MAKE: ("ec2:AssociateRouteTable", "ec2:ReplaceRouteTableAssociation", "ec2:DisassociateRouteTable"),
    },
    "aws:ec2/securityGroup:SecurityGroup": {
        **_TAGGED,
        MAKE: ("ec2:CreateSecurityGroup", _REVOKE),
        OWN: _CHANGE,
    },
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": {
        **_TAGGED_LATER,
        MAKE: (_REVOKE,),
    },
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": {**_TAGGED_LATER, MAKE: _RULES},
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": {**_TAGGED_LATER, MAKE: _RULES},
    "aws:ec2/vpcSecurityGroupRulesExclusive:VpcSecurityGroupRulesExclusive": {
        **_READ,
        MAKE: (_REVOKE,),
    },
    "aws:ec2/networkInterface:NetworkInterface": {
        **_TAGGED,
        MAKE: ("ec2:CreateNetworkInterface", "ec2:ModifyNetworkInterfaceAttribute"),
        OWN: _CHANGE,
    },
    "aws:ec2/eip:Eip": {
        **_TAGGED,
        MAKE: ("ec2:AllocateAddress", "ec2:AssociateAddress", "ec2:DisassociateAddress"),
        OWN: (*_CHANGE, "ec2:ReleaseAddress"),
    },
    "aws:ec2/instance:Instance": {
        **_TAGGED,
        # The request behind a Spot Instance has no tag, and the provider cancels it before it terminates the
        # instance. Source: hashicorp/terraform-provider-aws, internal/service/ec2/ec2_instance.go.
        MAKE: ("ec2:RunInstances", "ec2:CancelSpotInstanceRequests"),
        OWN: (
            *_CHANGE,
            "ec2:AssociateIamInstanceProfile",
            "ec2:DisassociateIamInstanceProfile",
            "ec2:ModifyInstanceAttribute",
            "ec2:ModifyInstanceMetadataOptions",
            "ec2:ModifyVolume",
            "ec2:ReplaceIamInstanceProfileAssociation",
            "ec2:StartInstances",
            "ec2:StopInstances",
            "ec2:TerminateInstances",
        ),
        TAG_LATER: ("ec2:CreateTags",),  # of the root disk
        PASS_ROLE: ("iam:PassRole",),
        # For a root disk under our key. Source: the EBS user guide, "Requirements for Amazon EBS encryption".
        KEY_USE: ("kms:CreateGrant", "kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncrypt*"),
    },
    "aws:ec2transitgateway/instanceState:InstanceState": {
        **_READ,
        OWN: ("ec2:StartInstances", "ec2:StopInstances"),
    },
    "aws:iam/role:Role": {
        ROLES: (
            "iam:CreateRole",
            "iam:DeleteRole",
            "iam:Get*",
            "iam:List*",
            *_IAM_TAGS,
            "iam:UpdateAssumeRolePolicy",
            "iam:UpdateRoleDescription",
        ),
    },
    "aws:iam/rolePolicy:RolePolicy": {
        ROLES: ("iam:DeleteRolePolicy", "iam:Get*", "iam:PutRolePolicy"),
    },
    "aws:iam/instanceProfile:InstanceProfile": {
        ROLES: (
            "iam:AddRoleToInstanceProfile",
            "iam:CreateInstanceProfile",
            "iam:DeleteInstanceProfile",
            "iam:Get*",
            "iam:RemoveRoleFromInstanceProfile",
            *_IAM_TAGS,
        ),
        PASS_ROLE: ("iam:PassRole",),
    },
    "aws:kms/key:Key": {
        NEW_KEYS: ("kms:CreateKey", "kms:TagResource"),
        LISTS: _KEY_READS,
        KEYS: (
            "kms:EnableKeyRotation",
            "kms:Get*",
            "kms:PutKeyPolicy",
            "kms:ScheduleKeyDeletion",
            "kms:TagResource",
            "kms:UntagResource",
            "kms:UpdateKeyDescription",
        ),
    },
    "aws:kms/alias:Alias": {  # on the alias and on its key
        LISTS: ("kms:ListAliases",),
        ALIASES: _OF_ALIASES,
        KEYS: _OF_ALIASES,
    },
    "aws:scheduler/scheduleGroup:ScheduleGroup": {SCHEDULES: _OF_SCHEDULES},
    "aws:scheduler/schedule:Schedule": {SCHEDULES: _OF_SCHEDULES, PASS_ROLE: ("iam:PassRole",)},
    "aws:ssm/parameter:Parameter": {
        LISTS: ("ssm:DescribeParameters",),
        PARAMETERS: (
            "ssm:*Tags*Resource",
            "ssm:DeleteParameter",
            "ssm:GetParameter*",
            "ssm:PutParameter",
        ),
        KEY_USE: ("kms:Encrypt", "kms:Decrypt"),
    },
}

# By what the program reads and this command does beside resources. Who one is (sts:GetCallerIdentity) may
# be asked by anybody.
VERBS: Mapping[str, Grants] = {
    "up: the nodes' records and the kubeconfig": {
        PARAMETERS: ("ssm:GetParameter*",),
        KEY_USE: ("kms:Decrypt",),
    },
    "up: what a killed run left": {**_READ, LISTS: ("kms:ListKeys", *_KEY_READS)},
    "park, unpark, keep-on; up: who is parked": {
        **_READ,
        SCHEDULES: _OF_SCHEDULES,
        PASS_ROLE: ("iam:PassRole",),
        PARAMETERS: ("ssm:GetParameter", "ssm:PutParameter"),
        OWN: ("ec2:ModifyInstanceAttribute", "ec2:StartInstances", "ec2:StopInstances"),
    },
    "status": {**_READ, PARAMETERS: ("ssm:GetParameter*",), KEY_USE: ("kms:Decrypt",)},
    "init, up: what the account would refuse": {
        **_READ,
        LISTS: ("servicequotas:Get*ServiceQuota",),
    },
    "init: the newest image": {IMAGES: ("ssm:GetParameter",)},
    "destroy: what carries the cluster's tag": {
        READ: ("ec2:Describe*", "elasticloadbalancing:Describe*"),
        LISTS: (
            "iam:ListInstanceProfiles",
            "iam:ListRoles",
            "kms:ListKeys",
            "ssm:DescribeParameters",
            *_KEY_READS,
        ),
        ROLES: ("iam:Get*",),
    },
    "destroy: what controllers left": {
        LEFT: _OF_CONTROLLERS,
        LEFT_BALANCERS: _OF_CONTROLLERS,
        OWN: ("ec2:Delete*",),
        MAKE: (_REVOKE,),
        TAG_LATER: ("ec2:CreateTags",),  # of a volume that only the cluster knew
    },
    "destroy --volumes snapshot": {MAKE: ("ec2:CreateSnapshot",), TAG_NEW: ("ec2:CreateTags",)},
    "destroy --purge": {LISTS: _KEY_READS, KEYS: ("kms:ScheduleKeyDeletion",)},
    "tunnel": {
        **_READ,
        SESSION: ("ssm:StartSession",),
        SESSION_DOCUMENT: ("ssm:StartSession",),
        OWN_SESSIONS: ("ssmmessages:OpenDataChannel", "ssm:ResumeSession", "ssm:TerminateSession"),
    },
}


def policy(cluster: str, region: str, account: str, granted: Iterable[Grants] | None = None) -> Document:
    """The policy document for one stack: a statement for each scope, with its actions sorted.

    `cluster`: its name, or with a `*` those of several; then a scope whose condition has the name in a key,
    where IAM takes no wildcard, is left out: what controllers made.
    `granted`: rows of the tables, or of that form; all of both unless given."""
    chosen: dict[Scope, set[str]] = {}
    for grants in (*RESOURCES.values(), *VERBS.values()) if granted is None else granted:
        for scope, actions in grants.items():
            chosen.setdefault(scope, set()).update(actions)
    creations = [
        action.partition(":")[2] for action in sorted(chosen.get(MAKE, ())) if action.startswith(_CREATIONS)
    ]
    values = {
        "account": account,
        "alias": Naming(cluster).key_alias,
        "cluster": cluster,
        "group": Naming(cluster).schedule_group,
        "cluster_tag": Naming(cluster).cluster_tag[0],
        "partition": partition(region),
        "region": region,
    }

    def filled(template: str | tuple[str, ...]) -> Any:
        if isinstance(template, tuple):
            return [filled(each) for each in template]
        return creations if template == "{creations}" else template.format_map(values)

    def statement(scope: Scope, actions: set[str]) -> Document:
        conditions = {filled(key): filled(value) for key, value in scope.conditions.items()}
        return {
            "Sid": scope.sid,
            "Effect": "Allow",
            "Action": sorted(action for action in actions if not _covered(action, actions)),
            "Resource": filled(scope.resources),
            **({"Condition": {operator: conditions}} if conditions else {}),
        }

    operator = "StringLike" if "*" in cluster else "StringEquals"
    kept = [each for each in chosen.items() if "*" not in "".join(map(filled, each[0].conditions))]
    return {"Version": "2012-10-17", "Statement": [statement(*each) for each in kept]}


def _covered(action: str, actions: Iterable[str]) -> bool:
    """Whether one with a wildcard at its end says it too."""
    return any(action != each and each.endswith("*") and action.startswith(each[:-1]) for each in actions)


def show(stack: str) -> None:
    """Print the policy of a stack as JSON. Raises `CommandError` if its file names no region or account."""
    config = config_of(stack)
    region, account = (setting(config, f"kubepark:aws.{name}") for name in ("region", "accountId"))
    if not region or not account:
        raise CommandError(
            "kubepark:aws.region and kubepark:aws.accountId are needed; fix: "
            f"bin/kubepark init --stack {stack} --write"
        )
    print(json.dumps(policy(cluster_of(stack), str(region), str(account)), indent=2))

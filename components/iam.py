"""IAM: what each node's role may do, and who may use the keys. Documents first, as plain values.

Each node has a role of its own, so that it can write its own status record and no other's. Nothing in a
document is known to AWS alone: ARNs of parameters are derived from names, and the key is the one that has our
alias. So the first preview shows each document whole, and the policy pack evaluates it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

import pulumi
from pulumi_aws import iam

from config.model import AwsSettings, NodePlan, NodeRole
from config.naming import TAG_CLUSTER, TAG_NODE, TAG_ROLE, Naming, partition

Document = dict[str, Any]

ASSUME_BY_EC2: Document = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}

# Session Manager's agent. These actions take no resource.
# Source: AWS Systems Manager user guide, "Create a custom IAM role for Session Manager".
_SESSION_MANAGER = (
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)

_SPOT_ROLE = "aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"
_DISK_USE = (
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:Encrypt",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
)


def parameter_arn(aws: AwsSettings, name: str) -> str:
    return f"arn:{partition(aws.region)}:ssm:{aws.region}:{aws.account_id}:parameter{name}"


def key_policy(aws: AwsSettings, *, spot: bool = False) -> Document:
    """The account decides by IAM who may use the key; nobody outside it can.

    `spot`: EC2's own role starts Spot Instances that it took back, whose disks are under the key. Nobody can
    give that role a policy, so the key's says it. Source: EC2 user guide, "Service-linked role for Spot
    Instance requests"; what EC2 needs of a key: EBS user guide, "Requirements for Amazon EBS encryption".
    """
    account = f"arn:{partition(aws.region)}:iam::{aws.account_id}"
    statements: list[Document] = [
        {
            "Sid": "AccountByIam",
            "Effect": "Allow",
            "Principal": {"AWS": f"{account}:root"},
            "Action": "kms:*",
            "Resource": "*",
        }
    ]
    if spot:
        through_ec2 = {"StringEquals": {"kms:ViaService": f"ec2.{aws.region}.amazonaws.com"}}
        role = {"AWS": f"{account}:role/{_SPOT_ROLE}"}
        statements += [
            {
                **_allow("SpotDisks", list(_DISK_USE), "*"),
                "Principal": role,
                "Condition": through_ec2,
            },
            {
                **_allow("SpotGrants", "kms:CreateGrant", "*"),
                "Principal": role,
                "Condition": {**through_ec2, "Bool": {"kms:GrantIsForAWSResource": "true"}},
            },
        ]
    return {"Version": "2012-10-17", "Statement": statements}


def node_policy(node: NodePlan, aws: AwsSettings, naming: Naming, *, guards: bool = False) -> Document:
    """What this node's role may do.

    The master writes join data, kubeconfig and the encryption key's copy, and reads none of them
    back; it reads every status record, to tell whose Node objects are stale. A worker reads the join
    data. Both read the host rows and write their own status. A master that `guards` stops and starts this
    cluster's GPU nodes, and keeps the record of it.
    """

    def arn(parameter: str) -> str:
        return parameter_arn(aws, parameter)

    master = node.role is NodeRole.MASTER
    secrets = [arn(naming.join_parameter)]
    if master:
        secrets += [arn(naming.kubeconfig_parameter), arn(naming.encryption_key_parameter)]
    own = arn(naming.status_parameter(node.name))
    keys = f"arn:{partition(aws.region)}:kms:{aws.region}:{aws.account_id}:key/*"
    through_ssm = {
        "kms:ViaService": f"ssm.{aws.region}.amazonaws.com",
        "kms:EncryptionContext:PARAMETER_ARN": secrets,
    }
    if master:
        reads = _allow("ReadRecords", "ssm:GetParametersByPath", arn(naming.status_path))
    else:
        reads = _allow("ReadJoin", "ssm:GetParameter", secrets)
    statements = [
        reads,
        _allow("Write", "ssm:PutParameter", [own, *secrets] if master else [own]),
        _allow("ReadHosts", "ssm:GetParametersByPath", arn(naming.hosts_path)),
        {
            **_allow("Key", "kms:Encrypt" if master else "kms:Decrypt", keys),
            # The key with our alias: its ARN is in no first preview. As `Resource` an alias names itself.
            # Source: KMS developer guide, "Use aliases to control access to KMS keys".
            "Condition": {
                "ForAnyValue:StringEquals": {"kms:ResourceAliases": naming.key_alias},
                "StringEquals": through_ssm,
            },
        },
        _allow("SessionManager", list(_SESSION_MANAGER), "*"),
    ]
    if master and guards:
        statements += [
            _allow(
                "ReadPower",
                "ssm:GetParameter",
                [arn(naming.gpu_power_parameter), arn(naming.power_parameter)],
            ),
            _allow("WritePower", "ssm:PutParameter", arn(naming.power_parameter)),
            *start_and_stop(aws, naming),
        ]
    return {"Version": "2012-10-17", "Statement": statements}


def start_and_stop(aws: AwsSettings, naming: Naming, nodes: Collection[str] | None = None) -> list[Document]:
    """Start and stop of this cluster's GPU nodes, or of these alone; which instances they are, tags say.

    A start needs the key of the root disk: EC2 uses it by a grant in the name of who starts. Without it the
    call succeeds, and the instance stops again. Sources: EBS user guide, "Requirements for Amazon EBS
    encryption"; https://repost.aws/knowledge-center/kms-iam-ec2-permission;
    aws-solutions/instance-scheduler-on-aws, issues 9 and 504.
    """
    prefix, where = f"arn:{partition(aws.region)}", f"{aws.region}:{aws.account_id}"
    theirs: Document = {
        f"aws:ResourceTag/{TAG_CLUSTER}": naming.cluster,
        f"aws:ResourceTag/{TAG_ROLE}": NodeRole.GPU.value,
    }
    if nodes is not None:
        theirs[f"aws:ResourceTag/{TAG_NODE}"] = sorted(nodes)
    verbs = ["ec2:StartInstances", "ec2:StopInstances"]
    return [
        {
            **_allow("GpuNodes", verbs, f"{prefix}:ec2:{where}:instance/*"),
            "Condition": {"StringEquals": theirs},
        },
        {
            **_allow("RootDisks", "kms:CreateGrant", f"{prefix}:kms:{where}:key/*"),
            "Condition": {
                "ForAnyValue:StringEquals": {"kms:ResourceAliases": naming.key_alias},
                "StringEquals": {"kms:ViaService": f"ec2.{aws.region}.amazonaws.com"},
                "Bool": {"kms:GrantIsForAWSResource": "true"},
            },
        },
    ]


def _allow(sid: str, actions: str | list[str], resources: str | list[str]) -> Document:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}


class Iam(pulumi.ComponentResource):
    """One role for each node, with its policy and its instance profile. Maps are by node name."""

    profiles: dict[str, iam.InstanceProfile]
    policies: dict[str, iam.RolePolicy]

    def __init__(
        self,
        name: str,
        nodes: Sequence[NodePlan],
        aws: AwsSettings,
        naming: Naming,
        guards: bool,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("kubepark:index:Iam", name, None, opts)
        self.profiles, self.policies = {}, {}
        child = pulumi.ResourceOptions(parent=self)
        for node in nodes:
            label, role_name = f"{name}-{node.name}", naming.role_name(node.name)
            role = iam.Role(
                label,
                name=role_name,
                description=f"kubepark {node.role} {node.name}",
                assume_role_policy=json.dumps(ASSUME_BY_EC2),
                opts=child,
            )
            document = json.dumps(node_policy(node, aws, naming, guards=guards))
            self.policies[node.name] = iam.RolePolicy(
                label, name="node", role=role.name, policy=document, opts=child
            )
            self.profiles[node.name] = iam.InstanceProfile(label, name=role_name, role=role.name, opts=child)
        self.register_outputs({"roles": {node: profile.role for node, profile in self.profiles.items()}})

"""Every AWS resource says which cluster it belongs to, so that a sweep finds it and a bill names it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from pulumi_policy import ResourceValidationArgs, Severity

from policies.common import Fail, dig, every, mandatory

CLUSTER = "kubepark:cluster"
NODE_TAGS = ("Name", "kubepark:node", "kubepark:role")
INSTANCE = "aws:ec2/instance:Instance"

# The types of ours that take tags. A test compares this with what the SDK says about every type that
# the program registers, so a new type cannot slip through.
TAGGABLE = frozenset(
    {
        INSTANCE,
        "aws:ec2/vpc:Vpc",
        "aws:ec2/subnet:Subnet",
        "aws:ec2/internetGateway:InternetGateway",
        "aws:ec2/natGateway:NatGateway",
        "aws:ec2/routeTable:RouteTable",
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
        "aws:ec2/networkInterface:NetworkInterface",
        "aws:ec2/eip:Eip",
        "aws:ec2/launchTemplate:LaunchTemplate",
        "aws:ec2/spotInstanceRequest:SpotInstanceRequest",
        "aws:ebs/volume:Volume",
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        "aws:kms/key:Key",
        "aws:ssm/parameter:Parameter",
        "aws:iam/role:Role",
        "aws:iam/policy:Policy",
        "aws:iam/instanceProfile:InstanceProfile",
        "aws:iam/openIdConnectProvider:OpenIdConnectProvider",
        "aws:s3/bucket:Bucket",
        "aws:scheduler/scheduleGroup:ScheduleGroup",
    }
)


def _default_tags(args: ResourceValidationArgs) -> Mapping[str, Any]:
    """The provider's default tags. They are no input of the resource; a provider's nested settings
    travel as JSON text."""
    settings = dig(args.provider.props, "defaultTags") if args.provider is not None else None
    if isinstance(settings, str):
        settings = json.loads(settings)
    return dig(settings, "tags") or {}


def _has_tag(args: ResourceValidationArgs, tag: str) -> bool:
    """Whether the tag has a value, on the provider or on the resource (in this order: the provider's
    are known first)."""
    if _default_tags(args).get(tag):
        return True
    return any(dig(args.props, source, tag) for source in ("tags", "tagsAll"))


def _required_tags(args: ResourceValidationArgs, fail: Fail) -> None:
    def check(tag: str) -> None:
        if not _has_tag(args, tag):
            fail(f"The tag {tag} is missing.")

    wanted = (CLUSTER, *NODE_TAGS) if args.resource_type == INSTANCE else (CLUSTER,)
    every(partial(check, tag) for tag in wanted)


REQUIRED_TAGS = mandatory(
    name="required-tags",
    description=f"Every AWS resource has the tag {CLUSTER}; instances also say which node they are.",
    remedy="Register the resource with the stack's own provider, whose default tags name the cluster; "
    "set Name, kubepark:node and kubepark:role on an instance.",
    url="https://docs.aws.amazon.com/tag-editor/latest/userguide/tagging.html",
    severity=Severity.MEDIUM,
    types=TAGGABLE,
    check=_required_tags,
)

"""Where is the thing whose creation was interrupted? One row for each type that the program uses.

A creation that was cut off may have happened: the cloud has the object, the state has no id of it.
Types that are named by their own inputs need no search: the id is written down here in the form that
`pulumi import` takes, and the provider's own Read says whether it exists. All others get an id from
AWS, so they are looked up by what they were created with: tags, and where several resources share
all tags, the inputs that make each unique.

Nothing is a candidate that does not carry the cluster's tag. What gets no tag, or gets it later, is a part
of something that has it: a role's policy counts with its role; a route, a reservation and a group's rule
with what the state says they are in. (The provider tags a rule by a call of its own:
hashicorp/terraform-provider-aws, internal/service/ec2/vpc_security_group_ingress_rule.go.)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from cli.aws import LIVE
from cli.errors import CommandError
from config.naming import TAG_CLUSTER

Inputs = Mapping[str, Any]
Tags = Mapping[str, str]

# Import ids, from each resource's "Import" section in the AWS provider's documentation.
NAMED: Mapping[str, str] = {
    "aws:ec2/route:Route": "{routeTableId}_{destinationCidrBlock}",
    "aws:ec2/routeTableAssociation:RouteTableAssociation": "{subnetId}/{routeTableId}",
    "aws:iam/instanceProfile:InstanceProfile": "{name}",
    "aws:iam/role:Role": "{name}",
    "aws:iam/rolePolicy:RolePolicy": "{role}:{name}",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "{role}/{policyArn}",
    "aws:kms/alias:Alias": "{name}",
    "aws:scheduler/schedule:Schedule": "{groupName}/{name}",
    "aws:scheduler/scheduleGroup:ScheduleGroup": "{name}",
    "aws:ssm/parameter:Parameter": "{name}",
}


class NotOurs(Exception):
    """What may be the thing that was to be created does not carry the cluster's tag. The text says what."""


@dataclass(frozen=True)
class Search:
    """An EC2 list call. `filters`: API filter name to input; `tagged`: narrow by tags as well."""

    operation: str
    items: str
    id: str
    filters: Mapping[str, str]
    tagged: bool = True
    constants: Mapping[str, tuple[str, ...]] | None = None


_LIVE = {"instance-state-name": LIVE}
_USABLE = {"state": ("pending", "available")}
_DEFAULT = {"group-name": ("default",)}

SEARCHED: Mapping[str, Search] = {
    "aws:ec2/vpc:Vpc": Search("describe_vpcs", "Vpcs", "VpcId", {"cidr": "cidrBlock"}),
    "aws:ec2/subnet:Subnet": Search(
        "describe_subnets", "Subnets", "SubnetId", {"vpc-id": "vpcId", "cidr-block": "cidrBlock"}
    ),
    "aws:ec2/internetGateway:InternetGateway": Search(
        "describe_internet_gateways", "InternetGateways", "InternetGatewayId", {}
    ),
    "aws:ec2/natGateway:NatGateway": Search(
        "describe_nat_gateways",
        "NatGateways",
        "NatGatewayId",
        {"subnet-id": "subnetId"},
        constants=_USABLE,
    ),
    "aws:ec2/routeTable:RouteTable": Search(
        "describe_route_tables", "RouteTables", "RouteTableId", {"vpc-id": "vpcId"}
    ),
    "aws:ec2/securityGroup:SecurityGroup": Search(
        "describe_security_groups", "SecurityGroups", "GroupId", {"vpc-id": "vpcId", "group-name": "name"}
    ),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": Search(
        "describe_security_groups",
        "SecurityGroups",
        "GroupId",
        {"vpc-id": "vpcId"},
        tagged=False,
        constants=_DEFAULT,
    ),
    "aws:ec2/networkInterface:NetworkInterface": Search(
        "describe_network_interfaces", "NetworkInterfaces", "NetworkInterfaceId", {"subnet-id": "subnetId"}
    ),
    "aws:ec2/eip:Eip": Search("describe_addresses", "Addresses", "AllocationId", {}),
    "aws:ec2/instance:Instance": Search(
        "describe_instances",
        "Reservations",
        "InstanceId",
        {"instance-type": "instanceType"},
        constants=_LIVE,
    ),
}


class Cloud:
    """Searches the account of a stack. `client` makes the boto3 client of a service.

    `account`: the one that credentials must be of; elsewhere nothing would be found, and all of it be made
    a second time. None: any.
    """

    def __init__(self, client: Callable[[str], Any], account: str | None = None) -> None:
        self.client = cache(client)
        self._account = account

    def candidates(self, resource: Mapping[str, Any], default_tags: Tags) -> list[str] | None:
        """Ids that the object of this pending resource may have; None: a type without a row.

        For named types the id is a guess that the provider's Read confirms. Raises: NotOurs; `CommandError`
        for credentials of another account.
        """
        typ, inputs = resource["type"], resource.get("inputs") or {}
        if typ.startswith("kubernetes:"):
            metadata = inputs["metadata"]
            return ["/".join(filter(None, (metadata.get("namespace"), metadata["name"])))]
        if not knows(typ):
            return None
        self._require_account()
        if TAG_CLUSTER not in default_tags:
            raise NotOurs(f"its provider tags nothing with {TAG_CLUSTER}, so it cannot be told from others")
        tags = {**default_tags, **(inputs.get("tags") or {})}
        if typ in NAMED:
            self._require_tag(typ, inputs, default_tags[TAG_CLUSTER])
            return [NAMED[typ].format_map(inputs)]
        if typ in SEARCHED:
            return list(self._search(SEARCHED[typ], inputs, tags))
        return list(_SPECIAL[typ](self, inputs, tags))

    def _require_account(self) -> None:
        if self._account is None:
            return
        found = self.client("sts").get_caller_identity()["Account"]
        if found != self._account:
            raise CommandError(
                f"an earlier run was killed, and what it left is in account {self._account}; "
                f"these credentials are of {found}"
            )
        self._account = None  # once is enough

    def _require_tag(self, typ: str, inputs: Inputs, cluster: str) -> None:
        """Of what is named: whether it, or what it is a part of, is the cluster's, if it exists."""
        from botocore.exceptions import ClientError

        if typ not in _OWNERS:
            return
        what, found = _OWNERS[typ]
        try:
            tags = found(self, inputs)
        except ClientError as error:
            if error.response["Error"]["Code"] in _NOT_FOUND:
                return
            raise
        if tags.get(TAG_CLUSTER) != cluster:
            name = what.format_map(inputs)
            raise NotOurs(f"{name} exists without the tag {TAG_CLUSTER}={cluster}: it is somebody else's")

    def _search(self, row: Search, inputs: Inputs, tags: Tags) -> Iterable[str]:
        wanted: dict[str, tuple[str, ...]] = dict(row.constants or {})
        for name, key in row.filters.items():
            if inputs.get(key):
                wanted[name] = (str(inputs[key]),)
        if row.tagged:
            wanted |= {f"tag:{key}": (value,) for key, value in tags.items()}
        filters = [{"Name": name, "Values": list(values)} for name, values in wanted.items()]
        found = getattr(self.client("ec2"), row.operation)(Filters=filters)[row.items]
        if row.items == "Reservations":
            found = [instance for reservation in found for instance in reservation["Instances"]]
        return (item[row.id] for item in found)


def knows(typ: str) -> bool:
    """Whether an interrupted creation of this type can be put right."""
    return typ.startswith("kubernetes:") or typ in NAMED or typ in SEARCHED or typ in _SPECIAL


def default_tags(provider: Mapping[str, Any] | None) -> Tags:
    """The tags that a provider adds to everything. Provider settings are JSON text in the state."""
    text = ((provider or {}).get("inputs") or {}).get("defaultTags")
    tags = (json.loads(text) if isinstance(text, str) else text or {}).get("tags") or {}
    return {str(key): str(value) for key, value in tags.items()}


def _security_group_rules(egress: bool) -> Callable[[Cloud, Inputs, Tags], Iterable[str]]:
    """Rules of one group are told apart by what they allow."""

    def search(cloud: Cloud, inputs: Inputs, _tags: Tags) -> Iterable[str]:
        filters = [{"Name": "group-id", "Values": [inputs["securityGroupId"]]}]
        rules = cloud.client("ec2").describe_security_group_rules(Filters=filters)["SecurityGroupRules"]
        wanted = (
            egress,
            str(inputs["ipProtocol"]),
            _port(inputs.get("fromPort")),
            _port(inputs.get("toPort")),
            inputs.get("cidrIpv4"),
            inputs.get("referencedSecurityGroupId"),
        )
        return (rule["SecurityGroupRuleId"] for rule in rules if _allows(rule) == wanted)

    return search


def _allows(rule: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        rule["IsEgress"],
        rule["IpProtocol"],
        _port(rule.get("FromPort")),
        _port(rule.get("ToPort")),
        rule.get("CidrIpv4"),
        (rule.get("ReferencedGroupInfo") or {}).get("GroupId"),
    )


def _port(value: object) -> int:
    """AWS says -1 for "all"; the program leaves it out."""
    return -1 if value is None else int(str(value).removesuffix(".0"))


def _reservations(cloud: Cloud, inputs: Inputs, _tags: Tags) -> Iterable[str]:
    subnet = inputs["subnetId"]
    answer = cloud.client("ec2").get_subnet_cidr_reservations(SubnetId=subnet)
    return (
        f"{subnet}:{item['SubnetCidrReservationId']}"
        for item in answer["SubnetIpv4CidrReservations"]
        if item["Cidr"] == inputs["cidrBlock"]
    )


def _keys(cloud: Cloud, _inputs: Inputs, tags: Tags) -> Iterable[str]:
    """Keys have no filters; those on their way out do not count."""
    kms = cloud.client("kms")
    for page in kms.get_paginator("list_keys").paginate():
        for key in page["Keys"]:
            description = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
            if description["KeyState"] == "PendingDeletion" or description["KeyManager"] != "CUSTOMER":
                continue
            listed = kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]
            if tags.items() <= _tags(listed, "Tag").items():
                yield key["KeyId"]


def _tags(listed: Iterable[Mapping[str, str]] | None, prefix: str = "") -> dict[str, str]:
    return {tag[f"{prefix}Key"]: tag[f"{prefix}Value"] for tag in listed or ()}


def _role_tags(cloud: Cloud, inputs: Inputs) -> Tags:
    role = inputs.get("role") or inputs["name"]
    return _tags(cloud.client("iam").get_role(RoleName=role)["Role"].get("Tags"))


def _profile_tags(cloud: Cloud, inputs: Inputs) -> Tags:
    found = cloud.client("iam").get_instance_profile(InstanceProfileName=inputs["name"])
    return _tags(found["InstanceProfile"].get("Tags"))


def _parameter_tags(cloud: Cloud, inputs: Inputs) -> Tags:
    found = cloud.client("ssm").list_tags_for_resource(ResourceType="Parameter", ResourceId=inputs["name"])
    return _tags(found["TagList"])


def _alias_tags(cloud: Cloud, inputs: Inputs) -> Tags:
    """Of the key that it names: an alias has no tags."""
    kms = cloud.client("kms")
    key = kms.describe_key(KeyId=inputs["name"])["KeyMetadata"]["KeyId"]
    return _tags(kms.list_resource_tags(KeyId=key)["Tags"], "Tag")


def _group_tags(cloud: Cloud, inputs: Inputs) -> Tags:
    """A schedule has no tags of its own."""
    scheduler = cloud.client("scheduler")
    group = scheduler.get_schedule_group(Name=inputs.get("groupName") or inputs["name"])
    return _tags(scheduler.list_tags_for_resource(ResourceArn=group["Arn"])["Tags"])


# What is looked at for the tag of a named type, and how people know it.
_OWNERS: Mapping[str, tuple[str, Callable[[Cloud, Inputs], Tags]]] = {
    "aws:iam/instanceProfile:InstanceProfile": ("the instance profile {name}", _profile_tags),
    "aws:iam/role:Role": ("the role {name}", _role_tags),
    "aws:iam/rolePolicy:RolePolicy": ("the role {role}", _role_tags),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": ("the role {role}", _role_tags),
    "aws:kms/alias:Alias": ("the key behind {name}", _alias_tags),
    "aws:scheduler/schedule:Schedule": ("the schedule group {groupName}", _group_tags),
    "aws:scheduler/scheduleGroup:ScheduleGroup": ("the schedule group {name}", _group_tags),
    "aws:ssm/parameter:Parameter": ("the parameter {name}", _parameter_tags),
}
_NOT_FOUND = ("NoSuchEntity", "NotFoundException", "InvalidResourceId", "ResourceNotFoundException")


def _whole_group(_cloud: Cloud, inputs: Inputs, _tags: Tags) -> Iterable[str]:
    """Nothing of its own in AWS: it is there as soon as its group is."""
    return (str(inputs["securityGroupId"]),)


_SPECIAL: Mapping[str, Callable[[Cloud, Inputs, Tags], Iterable[str]]] = {
    "aws:ec2/subnetCidrReservation:SubnetCidrReservation": _reservations,
    "aws:ec2/vpcSecurityGroupRulesExclusive:VpcSecurityGroupRulesExclusive": _whole_group,
    "aws:kms/key:Key": _keys,
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _security_group_rules(egress=True),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _security_group_rules(egress=False),
}

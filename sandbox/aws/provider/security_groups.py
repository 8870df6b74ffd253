"""Security groups and their rules, each rule a resource of its own."""

from __future__ import annotations

from collections.abc import Collection
from types import MappingProxyType
from typing import Any, ClassVar

from sandbox.aws.provider.api import Api, AwsError, first, given, if_there
from sandbox.aws.provider.ec2 import Ec2ResourceType, filters
from sandbox.aws.provider.resource_type import Change, ResourceType, as_set, paths
from sandbox.aws.provider.values import CheckFailure, Properties

_SOURCES = ("cidrIpv4", "referencedSecurityGroupId")


class _Group(Ec2ResourceType):
    """A security group, as AWS has it."""

    resource_type = "security-group"
    id_name = "GroupId"
    fields = paths("description vpcId ownerId")

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        return {
            "name": found["GroupName"],
            "ingress": [_inline(rule, id) for rule in found["IpPermissions"]],
            "egress": [_inline(rule, id) for rule in found["IpPermissionsEgress"]],
        }


class SecurityGroup(_Group):
    token = "aws:ec2/securityGroup:SecurityGroup"
    # Inline `ingress` and `egress` are left out on purpose: they fight with rule resources.
    handles = force_new = paths("name description vpcId")
    arguments = paths("groupName description vpcId")
    defaults = MappingProxyType({"description": "Managed by Pulumi"})
    computed = paths("vpcId name")
    name_prefix = ""

    def create(self, api: Api, inputs: Properties) -> str:
        return super().create(api, {**inputs, "groupName": inputs["name"]})

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        # AWS lets everything out of a new group; the provider takes that rule away.
        _revoke_others(api, id, egress=True)


class DefaultSecurityGroup(_Group):
    """The group that each VPC has. It is adopted, stripped of its rules, and never deleted."""

    token = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
    handles = force_new = computed = paths("vpcId")

    def check(self, inputs: Properties) -> list[CheckFailure]:
        return [] if "vpcId" in inputs else [("vpcId", "required: the stand-in knows no default VPC")]

    def create(self, api: Api, inputs: Properties) -> str:
        here = filters(vpc_id=inputs["vpcId"], group_name="default")
        group = first(api.ec2.describe_security_groups(Filters=here), "SecurityGroups")
        if group is None:
            raise AwsError("InvalidGroup.NotFound", f"no default security group in {inputs['vpcId']}")
        return str(group["GroupId"])

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        self.retag(api, id, [], inputs.get("tagsAll") or {})
        _revoke_others(api, id, egress=True)
        _revoke_others(api, id, egress=False)

    def delete(self, api: Api, id: str, state: Properties) -> None:
        """Only the state forgets it, as with the real provider."""


def _inline(rule: Any, own: str) -> Properties:
    """A rule as the group's computed output shows it."""
    pairs = [pair["GroupId"] for pair in rule["UserIdGroupPairs"]]
    return {
        "protocol": rule["IpProtocol"],
        "fromPort": rule.get("FromPort", 0),
        "toPort": rule.get("ToPort", 0),
        "cidrBlocks": sorted(item["CidrIp"] for item in rule["IpRanges"]),
        "securityGroups": sorted(group for group in pairs if group != own),
        "self": own in pairs,
    }


def _rule_ids(api: Api, group: str, *, egress: bool) -> list[str]:
    rules = api.ec2.describe_security_group_rules(Filters=filters(group_id=group))["SecurityGroupRules"]
    return sorted(rule["SecurityGroupRuleId"] for rule in rules if rule["IsEgress"] == egress)


def _revoke_others(api: Api, group: str, kept: Collection[str] = (), *, egress: bool) -> None:
    """Revoke the rules of one direction that are not among `kept`. Raises AwsError if one of `kept`
    is not there."""
    there = set(_rule_ids(api, group, egress=egress))
    if missing := sorted(set(kept) - there):
        raise AwsError("InvalidSecurityGroupRuleId.NotFound", f"{group} has no rule {', '.join(missing)}")
    _revoke(api, group, sorted(there - set(kept)), egress=egress)


def _revoke(api: Api, group: str, ids: list[str], *, egress: bool) -> None:
    if ids:
        revoke = api.ec2.revoke_security_group_egress if egress else api.ec2.revoke_security_group_ingress
        revoke(GroupId=group, SecurityGroupRuleIds=ids)


class _Rule(Ec2ResourceType):
    """A rule of either direction."""

    egress: ClassVar[bool]
    resource_type = "security-group-rule"
    handles = paths(
        "securityGroupId ipProtocol fromPort toPort cidrIpv4 referencedSecurityGroupId description"
    )
    fields = paths("securityGroupRuleId ipProtocol cidrIpv4")
    force_new = paths("securityGroupId")
    cidr_blocks = ("cidrIpv4",)

    def check(self, inputs: Properties) -> list[CheckFailure]:
        found = super().check(inputs)
        if sum(name in inputs for name in _SOURCES) != 1:
            found.append(("cidrIpv4", f"exactly one of {', '.join(_SOURCES)} must be given"))
        if inputs.get("ipProtocol") == "-1" and ("fromPort" in inputs or "toPort" in inputs):
            found.append(("fromPort", "fromPort and toPort have no meaning when ipProtocol is -1"))
        if inputs.get("ipProtocol") in ("tcp", "udp") and not ("fromPort" in inputs and "toPort" in inputs):
            found.append(("fromPort", "fromPort and toPort are required for tcp and udp"))
        return found

    def create(self, api: Api, inputs: Properties) -> str:
        ec2 = api.ec2
        call = ec2.authorize_security_group_egress if self.egress else ec2.authorize_security_group_ingress
        about = given(Description=inputs.get("description"))
        if inputs.get("cidrIpv4"):
            source = {"IpRanges": [{"CidrIp": inputs["cidrIpv4"], **about}]}
        else:
            source = {"UserIdGroupPairs": [{"GroupId": inputs["referencedSecurityGroupId"], **about}]}
        ports = given(FromPort=inputs.get("fromPort"), ToPort=inputs.get("toPort"))
        permission = {"IpProtocol": inputs["ipProtocol"], **ports, **source}
        group = inputs["securityGroupId"]
        answer = call(GroupId=group, IpPermissions=[permission], **self.specifications(inputs))
        return str(answer["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    def find(self, api: Api, id: str) -> Any:
        found = super().find(api, id)
        return found if found is not None and found["IsEgress"] == self.egress else None

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        every = found["IpProtocol"] == "-1"  # all protocols: the API shows ports -1, nobody declares them
        return {
            "securityGroupId": found["GroupId"],
            "fromPort": None if every else found.get("FromPort"),
            "toPort": None if every else found.get("ToPort"),
            "referencedSecurityGroupId": (found.get("ReferencedGroupInfo") or {}).get("GroupId"),
            "description": found.get("Description") or None,
        }

    def update(self, api: Api, id: str, change: Change) -> None:
        rule = change.new
        request = given(
            IpProtocol=rule["ipProtocol"],
            FromPort=rule.get("fromPort", -1),
            ToPort=rule.get("toPort", -1),
            Description=rule.get("description", ""),
            CidrIpv4=rule.get("cidrIpv4"),
            ReferencedGroupId=rule.get("referencedSecurityGroupId"),
        )
        api.ec2.modify_security_group_rules(
            GroupId=rule["securityGroupId"],
            SecurityGroupRules=[{"SecurityGroupRuleId": id, "SecurityGroupRule": request}],
        )

    def delete(self, api: Api, id: str, state: Properties) -> None:
        _revoke(api, state["securityGroupId"], [id], egress=self.egress)


class SecurityGroupIngressRule(_Rule):
    token = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    egress = False


class SecurityGroupEgressRule(_Rule):
    token = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    egress = True


class SecurityGroupRulesExclusive(ResourceType):
    """All rules of a group: what is not listed is revoked. Deleting it revokes nothing."""

    token = "aws:ec2/vpcSecurityGroupRulesExclusive:VpcSecurityGroupRulesExclusive"
    handles = paths("securityGroupId ingressRuleIds egressRuleIds")
    force_new = paths("securityGroupId")
    same = MappingProxyType({"ingressRuleIds": as_set, "egressRuleIds": as_set})

    def create(self, api: Api, inputs: Properties) -> str:
        for egress, name in ((False, "ingressRuleIds"), (True, "egressRuleIds")):
            _revoke_others(api, inputs["securityGroupId"], inputs[name], egress=egress)
        return str(inputs["securityGroupId"])

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        if if_there(api.ec2.describe_security_groups, GroupIds=[id]) is None:
            return None
        return {
            "securityGroupId": id,
            "ingressRuleIds": _rule_ids(api, id, egress=False),
            "egressRuleIds": _rule_ids(api, id, egress=True),
        }

    def update(self, api: Api, id: str, change: Change) -> None:
        self.create(api, change.new)

    def delete(self, api: Api, id: str, state: Properties) -> None:
        """Nothing to call: the rules are resources of their own."""

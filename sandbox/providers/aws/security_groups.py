"""Security groups and their rules, each rule a resource of its own."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, ClassVar

from sandbox.providers.aws.api import Api, AwsError, first, given, if_there
from sandbox.providers.aws.ec2 import Ec2Row, filters, require_no_interfaces, tags_of
from sandbox.providers.aws.network import cidr_failures
from sandbox.providers.aws.table import Change, Row, as_set, paths
from sandbox.providers.backend import CheckFailure, Properties

_SOURCES = {
    "cidrIpv4": "CidrIpv4",
    "cidrIpv6": "CidrIpv6",
    "prefixListId": "PrefixListId",
    "referencedSecurityGroupId": "ReferencedGroupId",
}


class SecurityGroup(Ec2Row):
    token = "aws:ec2/securityGroup:SecurityGroup"
    resource_type = "security-group"
    # Inline `ingress` and `egress` are left out on purpose: they fight with rule resources.
    handles = paths("name description vpcId revokeRulesOnDelete")
    force_new = paths("name description vpcId")
    defaults = MappingProxyType({"description": "Managed by Pulumi", "revokeRulesOnDelete": False})
    computed = paths("vpcId name")
    local = paths("revokeRulesOnDelete")
    name_prefix = ""

    def create(self, api: Api, inputs: Properties) -> str:
        answer = api.ec2.create_security_group(
            GroupName=inputs["name"],
            Description=inputs["description"],
            **given(VpcId=inputs.get("vpcId")),
            **self.specifications(inputs),
        )
        return str(answer["GroupId"])

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        # AWS lets everything out of a new group; the provider takes that rule away.
        strip(api, id, egress=True)

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        return group_state(api, id)

    def delete(self, api: Api, id: str, state: Properties) -> None:
        if state.get("revokeRulesOnDelete"):
            strip(api, id, egress=True)
            strip(api, id, egress=False)
        require_no_interfaces(api, "resource", id, group_id=id)
        users = api.ec2.describe_security_groups(Filters=filters(ip_permission__group_id=id))[
            "SecurityGroups"
        ]
        if any(group["GroupId"] != id for group in users):
            raise AwsError("DependencyViolation", f"resource {id} has a dependent object")
        api.ec2.delete_security_group(GroupId=id)


class DefaultSecurityGroup(Ec2Row):
    """The group that each VPC has. It is adopted, stripped of its rules, and never deleted."""

    token = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
    resource_type = "security-group"
    handles = paths("vpcId revokeRulesOnDelete")
    force_new = paths("vpcId")
    defaults = MappingProxyType({"revokeRulesOnDelete": False})
    computed = paths("vpcId")
    local = paths("revokeRulesOnDelete")

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
        strip(api, id, egress=True)
        strip(api, id, egress=False)

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        return group_state(api, id)

    def delete(self, api: Api, id: str, state: Properties) -> None:
        """Only the state forgets it, as with the real provider."""


def group_state(api: Api, id: str) -> Properties | None:
    group = first(if_there(api.ec2.describe_security_groups, GroupIds=[id]), "SecurityGroups")
    if group is None:
        return None
    return {
        "arn": api.arn("ec2", f"security-group/{id}"),
        "name": group["GroupName"],
        "description": group["Description"],
        "vpcId": group["VpcId"],
        "ownerId": group["OwnerId"],
        "ingress": [_inline(rule, id) for rule in group["IpPermissions"]],
        "egress": [_inline(rule, id) for rule in group["IpPermissionsEgress"]],
        "tagsAll": tags_of(group),
    }


def _inline(rule: Any, own: str) -> Properties:
    """A rule as the group's computed output shows it."""
    pairs = [pair["GroupId"] for pair in rule.get("UserIdGroupPairs", [])]
    ports = given(fromPort=rule.get("FromPort", 0), toPort=rule.get("ToPort", 0))
    return {
        "protocol": rule["IpProtocol"],
        **ports,
        "cidrBlocks": sorted(item["CidrIp"] for item in rule.get("IpRanges", [])),
        "ipv6CidrBlocks": sorted(item["CidrIpv6"] for item in rule.get("Ipv6Ranges", [])),
        "prefixListIds": sorted(item["PrefixListId"] for item in rule.get("PrefixListIds", [])),
        "securityGroups": sorted(group for group in pairs if group != own),
        "self": own in pairs,
    }


def _rules(api: Api, group: str, egress: bool) -> list[dict[str, Any]]:
    answer = api.ec2.describe_security_group_rules(Filters=filters(group_id=group))
    return [rule for rule in answer["SecurityGroupRules"] if rule["IsEgress"] == egress]


def _rule_ids(api: Api, group: str, *, egress: bool) -> list[str]:
    return sorted(rule["SecurityGroupRuleId"] for rule in _rules(api, group, egress))


def strip(api: Api, group: str, *, egress: bool) -> None:
    """Revoke every rule of one direction."""
    _revoke(api, group, _rule_ids(api, group, egress=egress), egress=egress)


def _revoke(api: Api, group: str, ids: list[str], *, egress: bool) -> None:
    if ids:
        revoke = api.ec2.revoke_security_group_egress if egress else api.ec2.revoke_security_group_ingress
        revoke(GroupId=group, SecurityGroupRuleIds=ids)


class _Rule(Ec2Row):
    """A rule of either direction."""

    egress: ClassVar[bool]
    resource_type = "security-group-rule"
    handles = paths(
        "securityGroupId ipProtocol fromPort toPort cidrIpv4 cidrIpv6 prefixListId referencedSecurityGroupId"
        " description"
    )
    force_new = paths("securityGroupId")

    def check(self, inputs: Properties) -> list[CheckFailure]:
        found = cidr_failures(inputs, "cidrIpv4", "cidrIpv6")
        if sum(name in inputs for name in _SOURCES) != 1:
            found.append(("cidrIpv4", f"exactly one of {', '.join(_SOURCES)} must be given"))
        if inputs.get("ipProtocol") == "-1" and ("fromPort" in inputs or "toPort" in inputs):
            found.append(("fromPort", "fromPort and toPort have no meaning when ipProtocol is -1"))
        if inputs.get("ipProtocol") in ("tcp", "udp") and not ("fromPort" in inputs and "toPort" in inputs):
            found.append(("fromPort", "fromPort and toPort are required for tcp and udp"))
        return found

    def create(self, api: Api, inputs: Properties) -> str:
        group = inputs["securityGroupId"]
        for rule in _rules(api, group, self.egress):
            if _what(_rule_state(rule)) == _what(inputs):
                raise AwsError(
                    "InvalidPermission.Duplicate", f"the specified rule {_spelt(inputs)} already exists"
                )
        call = (
            api.ec2.authorize_security_group_egress
            if self.egress
            else api.ec2.authorize_security_group_ingress
        )
        answer = call(GroupId=group, IpPermissions=[_permission(inputs)], **self.specifications(inputs))
        return str(answer["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        if inputs.get("description") and (self.read(api, id, inputs) or {}).get("description") is None:
            # The emulator drops the description of a rule whose source is a group.
            _modify(api, id, inputs)

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        answer = if_there(api.ec2.describe_security_group_rules, SecurityGroupRuleIds=[id])
        rule = first(answer, "SecurityGroupRules")
        if rule is None or rule["IsEgress"] != self.egress:
            return None
        return {
            "arn": api.arn("ec2", f"security-group-rule/{id}"),
            "securityGroupRuleId": id,
            **_rule_state(rule),
            "tagsAll": tags_of(rule),
        }

    def update(self, api: Api, id: str, change: Change) -> None:
        new = change.new
        others = _rules(api, new["securityGroupId"], self.egress)
        if any(
            rule["SecurityGroupRuleId"] != id and _what(_rule_state(rule)) == _what(new) for rule in others
        ):
            raise AwsError("InvalidPermission.Duplicate", f"the specified rule {_spelt(new)} already exists")
        _modify(api, id, new)

    def delete(self, api: Api, id: str, state: Properties) -> None:
        revoke = (
            api.ec2.revoke_security_group_egress if self.egress else api.ec2.revoke_security_group_ingress
        )
        revoke(GroupId=state["securityGroupId"], SecurityGroupRuleIds=[id])


class SecurityGroupIngressRule(_Rule):
    token = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    egress = False


class SecurityGroupEgressRule(_Rule):
    token = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    egress = True


class SecurityGroupRulesExclusive(Row):
    """All rules of a group: what is not listed is revoked. Deleting it revokes nothing."""

    token = "aws:ec2/vpcSecurityGroupRulesExclusive:VpcSecurityGroupRulesExclusive"
    handles = paths("securityGroupId ingressRuleIds egressRuleIds")
    force_new = paths("securityGroupId")
    same = MappingProxyType({"ingressRuleIds": as_set, "egressRuleIds": as_set})

    def create(self, api: Api, inputs: Properties) -> str:
        _revoke_others(api, inputs)
        return str(inputs["securityGroupId"])

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        if group_state(api, id) is None:
            return None
        return {
            "securityGroupId": id,
            "ingressRuleIds": _rule_ids(api, id, egress=False),
            "egressRuleIds": _rule_ids(api, id, egress=True),
        }

    def update(self, api: Api, id: str, change: Change) -> None:
        _revoke_others(api, change.new)

    def delete(self, api: Api, id: str, state: Properties) -> None:
        """Nothing to call: the rules are resources of their own."""


def _revoke_others(api: Api, declared: Properties) -> None:
    group = declared["securityGroupId"]
    for egress, name in ((False, "ingressRuleIds"), (True, "egressRuleIds")):
        there, wanted = set(_rule_ids(api, group, egress=egress)), set(declared[name])
        if missing := sorted(wanted - there):
            raise AwsError("InvalidSecurityGroupRuleId.NotFound", f"{group} has no rule {', '.join(missing)}")
        _revoke(api, group, sorted(there - wanted), egress=egress)


def _modify(api: Api, id: str, rule: Properties) -> None:
    request = given(
        IpProtocol=rule["ipProtocol"],
        FromPort=rule.get("fromPort", -1),
        ToPort=rule.get("toPort", -1),
        Description=rule.get("description", ""),
        **{field: rule.get(name) for name, field in _SOURCES.items()},
    )
    api.ec2.modify_security_group_rules(
        GroupId=rule["securityGroupId"],
        SecurityGroupRules=[{"SecurityGroupRuleId": id, "SecurityGroupRule": request}],
    )


def _permission(inputs: Properties) -> dict[str, Any]:
    about = given(Description=inputs.get("description"))
    permission = given(
        IpProtocol=inputs["ipProtocol"], FromPort=inputs.get("fromPort"), ToPort=inputs.get("toPort")
    )
    if inputs.get("cidrIpv4"):
        permission["IpRanges"] = [{"CidrIp": inputs["cidrIpv4"], **about}]
    elif inputs.get("cidrIpv6"):
        permission["Ipv6Ranges"] = [{"CidrIpv6": inputs["cidrIpv6"], **about}]
    elif inputs.get("prefixListId"):
        permission["PrefixListIds"] = [{"PrefixListId": inputs["prefixListId"], **about}]
    else:
        permission["UserIdGroupPairs"] = [{"GroupId": inputs["referencedSecurityGroupId"], **about}]
    return permission


def _rule_state(rule: Any) -> Properties:
    every = rule["IpProtocol"] == "-1"  # all protocols: the API shows ports -1, nobody declares them
    return {
        "securityGroupId": rule["GroupId"],
        "ipProtocol": rule["IpProtocol"],
        "fromPort": None if every else rule.get("FromPort"),
        "toPort": None if every else rule.get("ToPort"),
        "cidrIpv4": rule.get("CidrIpv4"),
        "cidrIpv6": rule.get("CidrIpv6"),
        "prefixListId": rule.get("PrefixListId"),
        "referencedSecurityGroupId": (rule.get("ReferencedGroupInfo") or {}).get("GroupId"),
        "description": rule.get("Description") or None,
    }


def _what(rule: Properties) -> tuple[Any, ...]:
    """What makes two rules the same to AWS: everything but the description."""
    return tuple(rule.get(name) for name in ("ipProtocol", "fromPort", "toPort", *_SOURCES))


def _spelt(rule: Properties) -> str:
    source = next(rule[name] for name in _SOURCES if rule.get(name))
    ports = f"from port: {rule.get('fromPort')}, to port: {rule.get('toPort')}"
    return f'"peer: {source}, {rule["ipProtocol"]}, {ports}"'

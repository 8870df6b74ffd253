"""Whether a packet would arrive, by the emulator's own routes and security groups.

moto answers every call from everywhere; a real node behind a missing route or rule hears nothing.
Only what decides between the two is looked at: the default route, the public address and egress rules for one
TCP port. Network ACLs are not. Between nodes, rules are those of a switch (sandbox/nodes/real/firewall.py).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from sandbox.aws.cloud import Cloud, Instance, Versioned

_ANYWHERE = "0.0.0.0/0"
_PROTOCOLS = {"tcp": "tcp", "6": "tcp", "udp": "udp", "17": "udp"}
Rule = Mapping[str, Any]  # as DescribeSecurityGroups shows it
# Documentation address (RFC 5737): stands for any host on the internet.
_SOME_PUBLIC_HOST = "203.0.113.1"


class Network:
    """Questions about the routes and rules of one emulator; each is answered from its state now."""

    def __init__(self, cloud: Cloud) -> None:
        self.ec2 = cloud.ec2
        self._internet: Versioned[bool] = Versioned(lambda: cloud.version("ec2"))

    def reaches_internet(self, instance: Instance, port: int) -> bool:
        """Whether the instance can open a TCP connection to a public host. Raises a `CloudError`."""
        return self._internet.get((instance.id, port), lambda: self._reaches_internet(instance, port))

    def _reaches_internet(self, instance: Instance, port: int) -> bool:
        rules = self._rules(instance.groups)
        return any(_allows(rule, port) for rule in rules) and self._routed(
            instance.vpc_id, instance.subnet_id, has_address=instance.public_ip is not None
        )

    def _rules(self, groups: Iterable[str]) -> list[Mapping[str, Any]]:
        ids = sorted(groups)
        if not ids:
            return []
        found = self.ec2.describe_security_groups(GroupIds=ids)["SecurityGroups"]
        return [rule for group in found for rule in group["IpPermissionsEgress"]]

    def _routed(self, vpc_id: str, subnet_id: str, *, has_address: bool) -> bool:
        """Whether the subnet's default route leads out; through a gateway only with an address."""
        for route in self._routes(vpc_id, subnet_id):
            if route.get("DestinationCidrBlock") != _ANYWHERE or route.get("State") == "blackhole":
                continue
            gateway = str(route.get("GatewayId") or "")
            if gateway.startswith("igw-"):
                return has_address and self._attached(gateway, vpc_id)
        return False

    def _routes(self, vpc_id: str, subnet_id: str) -> list[Mapping[str, Any]]:
        """Routes of the table that the subnet is associated with, else of the VPC's main table."""
        here = [{"Name": "vpc-id", "Values": [vpc_id]}]
        main: list[Mapping[str, Any]] = []
        for table in self.ec2.describe_route_tables(Filters=here)["RouteTables"]:
            for association in table["Associations"]:
                if association.get("SubnetId") == subnet_id:
                    return list(table["Routes"])
                if association.get("Main"):
                    main = list(table["Routes"])
        return main

    def _attached(self, gateway: str, vpc_id: str) -> bool:
        filters = [{"Name": "attachment.vpc-id", "Values": [vpc_id]}]
        found = self.ec2.describe_internet_gateways(Filters=filters)["InternetGateways"]
        return any(each["InternetGatewayId"] == gateway for each in found)


def _allows(rule: Rule, port: int) -> bool:
    """Whether one rule lets TCP traffic on `port` pass to any host on the internet."""
    allowed = port_range(rule)
    one = PortRange("tcp", port, port)
    return allowed is not None and allowed.meet(one) is not None and concerns(rule, _SOME_PUBLIC_HOST, ())


@dataclass(frozen=True)
class PortRange:
    """A protocol (`*`: all) and a range of ports."""

    protocol: str
    low: int
    high: int

    def meet(self, other: PortRange) -> PortRange | None:
        """What both allow; None if that is nothing."""
        if "*" in (self.protocol, other.protocol):
            return other if self.protocol == "*" else self
        low, high = max(self.low, other.low), min(self.high, other.high)
        both = self.protocol == other.protocol and low <= high
        return PortRange(self.protocol, low, high) if both else None


def port_range(rule: Rule) -> PortRange | None:
    """What a rule speaks about; None for protocols that no node uses."""
    protocol = str(rule["IpProtocol"])
    if protocol == "-1":
        return PortRange("*", 0, 65535)
    known = _PROTOCOLS.get(protocol)
    return PortRange(known, int(rule["FromPort"]), int(rule["ToPort"])) if known else None


def concerns(rule: Rule, peer: str, peer_groups: Container[str]) -> bool:
    """Whether a rule speaks about this peer, by group or by address."""
    if any(pair.get("GroupId") in peer_groups for pair in rule.get("UserIdGroupPairs", [])):
        return True
    address = ip_address(peer)
    return any(address in ip_network(row["CidrIp"]) for row in rule.get("IpRanges", []))

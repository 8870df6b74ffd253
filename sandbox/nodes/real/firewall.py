"""Security groups between real nodes, as rules of the switch that they are plugged into.

The machine's own software never sees them, as on AWS. Filtering is without state: a TCP packet that
opens no connection passes, everything else needs a rule. What a node sends to the internet and the AWS
API is judged where those are played (`sandbox.boot.gate`, `sandbox.boot.outside`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from sandbox.boot.cloud import Instance

TABLE = "kubepark"
_PROTOCOLS = {"tcp": "tcp", "6": "tcp", "udp": "udp", "17": "udp"}
Rule = Mapping[str, Any]
Groups = Mapping[str, Mapping[str, Any]]


def ruleset(instances: Iterable[Instance], groups: Groups) -> str:
    """An nft script that replaces the switch's rules.

    `groups`: id -> security group as DescribeSecurityGroups shows it. Instances that share a VPC meet.
    """
    members = sorted(instances, key=lambda each: each.id)
    lines = [
        f"        ip saddr {source.private_ip} ip daddr {target.private_ip}{match} accept"
        for target in members
        for source in members
        if source.id != target.id and source.vpc_id == target.vpc_id
        for match in _matches(source, target, groups)
    ]
    addresses = ", ".join(each.private_ip for each in members)
    closed = [f"        ip daddr {{ {addresses} }} drop"] if addresses else []
    return "\n".join(
        [
            f"table bridge {TABLE}",
            f"delete table bridge {TABLE}",
            f"table bridge {TABLE} {{",
            "    chain security_groups {",
            "        type filter hook forward priority 0; policy accept;",
            "        tcp flags & (syn | ack) != syn accept",
            *lines,
            *closed,
            "    }",
            "}",
            "",
        ]
    )


def _matches(source: Instance, target: Instance, groups: Groups) -> Iterator[str]:
    """What `source` may send to `target`: let out by a rule of its own and in by one of the other's."""
    out = _reaches(source.groups, "IpPermissionsEgress", target, groups)
    into = _reaches(target.groups, "IpPermissions", source, groups)
    both = (allowed_in.meet(allowed_out) for allowed_in in into for allowed_out in out)
    yield from dict.fromkeys(reach.match() for reach in both if reach)  # groups may say the same


def _reaches(names: Iterable[str], direction: str, peer: Instance, groups: Groups) -> list[Reach]:
    """What these groups allow to or from a peer."""
    rules = [rule for name in sorted(names) for rule in groups[name][direction] if _names(rule, peer)]
    return [reach for rule in rules if (reach := _reach(rule))]


def _names(rule: Rule, peer: Instance) -> bool:
    """Whether the rule speaks about this peer, by group or by address."""
    if any(pair.get("GroupId") in peer.groups for pair in rule.get("UserIdGroupPairs", [])):
        return True
    address = ip_address(peer.private_ip)
    return any(address in ip_network(row["CidrIp"]) for row in rule.get("IpRanges", []))


@dataclass(frozen=True)
class Reach:
    """A protocol (`*`: all) and a range of ports."""

    protocol: str
    low: int
    high: int

    def meet(self, other: Reach) -> Reach | None:
        """What both allow; None if that is nothing."""
        if "*" in (self.protocol, other.protocol):
            return other if self.protocol == "*" else self
        low, high = max(self.low, other.low), min(self.high, other.high)
        return Reach(self.protocol, low, high) if self.protocol == other.protocol and low <= high else None

    def match(self) -> str:
        """As an nft expression; "" matches everything."""
        return "" if self.protocol == "*" else f" {self.protocol} dport {self.low}-{self.high}"


def _reach(rule: Rule) -> Reach | None:
    """What a rule speaks about; None for protocols that no node uses."""
    protocol = str(rule["IpProtocol"])
    if protocol == "-1":
        return Reach("*", 0, 65535)
    known = _PROTOCOLS.get(protocol)
    return Reach(known, int(rule["FromPort"]), int(rule["ToPort"])) if known else None

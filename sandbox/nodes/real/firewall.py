"""Security groups between real nodes, as rules of the switch that they are plugged into.

The machine's own software never sees them, as on AWS. Filtering is without state: a TCP packet that opens no
connection passes, everything else needs a rule. What a node sends to the AWS API is decided where that is
emulated (`sandbox.aws.gate`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sandbox.aws.cloud import Instance
from sandbox.aws.network import PortRange, concerns, port_range
from sandbox.nodes.real.netns import OUTSIDE_ADDRESS

TABLE = "kubepark"
Groups = Mapping[str, Mapping[str, Any]]


def ruleset(instances: Iterable[Instance], groups: Groups) -> str:
    """An nft script that replaces the switch's rules.

    `groups`: id -> security group as DescribeSecurityGroups shows it. Instances that share a VPC meet.
    """
    members = sorted(instances, key=lambda each: each.id)
    lines = [
        f"ip saddr {source.private_ip} ip daddr {target.private_ip}{match} accept"
        for target in members
        for source in members
        if source.id != target.id and source.vpc_id == target.vpc_id
        for match in _matches(source, target, groups)
    ]
    addresses = ", ".join(each.private_ip for each in members)
    closed = [f"ip daddr {{ {addresses} }} drop"] if addresses else []
    rules = ["tcp flags & (syn | ack) != syn accept", *lines, *closed]
    return table(f"bridge {TABLE}", "security_groups", "filter hook forward priority 0", *rules)


def internet(reached: Iterable[tuple[str, int]]) -> str:
    """An nft script that lets these addresses through to these TCP ports outside, and nobody else."""
    pairs = ", ".join(f"{address} . {port}" for address, port in sorted(reached))
    accept = [f"ip saddr . tcp dport {{ {pairs} }} accept"] if pairs else []
    inside = f"ip daddr != {OUTSIDE_ADDRESS} accept"
    return table(f"ip {TABLE}", "internet", "filter hook input priority 0", inside, *accept, "drop")


def table(name: str, chain: str, kind: str, *rules: str) -> str:
    """An nft script that makes a table of one chain, in place of the one that may be there."""
    lines = "".join(f"        {rule}\n" for rule in (f"type {kind}; policy accept;", *rules))
    return f"table {name}\ndelete table {name}\ntable {name} {{\n    chain {chain} {{\n{lines}    }}\n}}\n"


def _matches(source: Instance, target: Instance, groups: Groups) -> Iterator[str]:
    """What `source` may send to `target`: let out by a rule of its own and in by one of the other's."""
    out = _reaches(source.groups, "IpPermissionsEgress", target, groups)
    into = _reaches(target.groups, "IpPermissions", source, groups)
    both = (allowed_in.meet(allowed_out) for allowed_in in into for allowed_out in out)
    yield from dict.fromkeys(_match(each) for each in both if each)  # groups may say the same


def _reaches(own: Iterable[str], direction: str, peer: Instance, groups: Groups) -> list[PortRange]:
    """What these groups allow to or from a peer."""
    rules = [rule for each in sorted(own) for rule in groups[each][direction]]
    speaking = [rule for rule in rules if concerns(rule, peer.private_ip, peer.groups)]
    return [found for rule in speaking if (found := port_range(rule))]


def _match(found: PortRange) -> str:
    """As an nft expression; "" matches everything."""
    return "" if found.protocol == "*" else f" {found.protocol} dport {found.low}-{found.high}"

"""Who may reach the cluster from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Any

from pulumi_policy import PolicyConfigSchema, ResourceValidationArgs, Severity

from policies.common import Fail, each, every, mandatory, strings

INGRESS_RULE = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
LEGACY_RULE = "aws:ec2/securityGroupRule:SecurityGroupRule"
GROUPS = frozenset(
    {
        "aws:ec2/securityGroup:SecurityGroup",
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
    }
)

# The shortest prefix that may still be somebody's network. Anything shorter is the world in pieces
# (0.0.0.0/1 and 128.0.0.0/1 together are everything). Private space has no prefix shorter than /8.
SHORTEST_PREFIX = {4: 8, 6: 16}
SSH = 22

Entry = Mapping[str, Any]


def _entries(args: ResourceValidationArgs, check: Callable[[Entry], None]) -> None:
    """The check for each opening that a resource makes towards the inside."""
    if args.resource_type == LEGACY_RULE and args.props.get("type") == "egress":
        args.not_applicable("an egress rule lets nobody in")
    if args.resource_type in GROUPS:
        each(args.props.get("ingress"), check)
    else:
        check(args.props)


def _protocol(entry: Entry) -> str:
    """The protocol's name; rule resources and inline rules spell the key differently."""
    value = str(entry.get("ipProtocol", entry.get("protocol"))).lower()
    return {"6": "tcp", "17": "udp", "all": "-1"}.get(value, value)


def _ports(entry: Entry) -> tuple[int, int]:
    """The port range; without one, all ports."""
    low, high = entry.get("fromPort"), entry.get("toPort")
    if _protocol(entry) == "-1" or low is None or high is None or int(low) == -1:
        return 0, 65535
    return int(low), int(high)


def _no_world_open_ingress(args: ResourceValidationArgs, fail: Fail) -> None:
    declared = args.get_config().get("declared", [])

    def check_cidr(cidr: Any, entry: Entry) -> None:
        if cidr is None:
            return
        try:
            network = ip_network(cidr, strict=False)
        except ValueError:
            fail(f"{cidr!r} is not a CIDR block.")
            return
        if network.prefixlen >= SHORTEST_PREFIX[network.version]:
            return
        low, high = _ports(entry)
        opening = f"{_protocol(entry)}/{low}" if low == high else f"{_protocol(entry)}/{low}-{high}"
        if opening not in declared:
            fail(f"Ingress {opening} is open to {cidr}.")

    def check(entry: Entry) -> None:
        every(
            [
                lambda: check_cidr(entry.get("cidrIpv4"), entry),
                lambda: check_cidr(entry.get("cidrIpv6"), entry),
                lambda: each(entry.get("cidrBlocks"), lambda cidr: check_cidr(cidr, entry)),
                lambda: each(entry.get("ipv6CidrBlocks"), lambda cidr: check_cidr(cidr, entry)),
            ]
        )

    _entries(args, check)


def _no_ssh(args: ResourceValidationArgs, fail: Fail) -> None:
    def check(entry: Entry) -> None:
        low, high = _ports(entry)
        if _protocol(entry) in ("tcp", "-1") and low <= SSH <= high:
            fail(f"Ingress of {low}-{high} opens port {SSH}.")

    _entries(args, check)


NO_WORLD_OPEN_INGRESS = mandatory(
    name="no-world-open-ingress",
    description="No ingress is open to the world, except ports declared in the pack's configuration.",
    remedy="Name the networks of the people who need it: pulumi config set --path "
    "'kubepark:network.adminCidrs[0]' <address>/32. A port that must be public is declared in the pack's "
    "configuration (`declared`).",
    url="https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html",
    severity=Severity.CRITICAL,
    types=GROUPS | {INGRESS_RULE, LEGACY_RULE},
    check=_no_world_open_ingress,
    config=PolicyConfigSchema(
        properties={"declared": strings("openings that may be public, as tcp/443 or udp/1000-1010")}
    ),
)

NO_SSH = mandatory(
    name="no-ssh",
    description="No security group lets anybody reach port 22: nodes pull, nothing is pushed to them.",
    remedy="Remove the rule or narrow its ports. A node's log lines are in its status record, and "
    "`kubectl debug node/<name>` gives a shell on a node of a running cluster.",
    url="https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html",
    types=GROUPS | {INGRESS_RULE, LEGACY_RULE},
    check=_no_ssh,
)

"""The two rules about ingress."""

from __future__ import annotations

import pytest

from policies.network import GROUPS, INGRESS_RULE, LEGACY_RULE, NO_SSH, NO_WORLD_OPEN_INGRESS
from tests.policies.support import UNKNOWN, evaluate

GROUP = "aws:ec2/securityGroup:SecurityGroup"
API = {"ipProtocol": "tcp", "fromPort": 6443, "toPort": 6443}
INLINE = {"protocol": "tcp", "fromPort": 6443, "toPort": 6443}


@pytest.mark.parametrize(
    "cidrs",
    [
        {"cidrIpv4": "203.0.113.7/32"},
        {"cidrIpv4": "10.0.0.0/8"},
        {"cidrIpv6": "2001:db8::/32"},
        {"referencedSecurityGroupId": "sg-1"},
        {"cidrIpv4": None},
    ],
)
def test_a_named_network_is_compliant(cidrs):
    result = evaluate(NO_WORLD_OPEN_INGRESS, INGRESS_RULE, API | cidrs)
    assert result.violations == ()
    assert result.unknown is None


@pytest.mark.parametrize(
    ("cidrs", "shown"),
    [
        ({"cidrIpv4": "0.0.0.0/0"}, "0.0.0.0/0"),
        ({"cidrIpv4": "0.0.0.0/1"}, "0.0.0.0/1"),
        ({"cidrIpv4": "9.9.9.9/0"}, "9.9.9.9/0"),
        ({"cidrIpv6": "::/0"}, "::/0"),
        ({"cidrIpv6": "2000::/3"}, "2000::/3"),
    ],
)
def test_the_world_is_a_violation(cidrs, shown):
    result = evaluate(NO_WORLD_OPEN_INGRESS, INGRESS_RULE, API | cidrs)
    assert result.violations == (f"Ingress tcp/6443 is open to {shown}.",)


def test_what_is_no_cidr_is_a_violation():
    result = evaluate(NO_WORLD_OPEN_INGRESS, INGRESS_RULE, API | {"cidrIpv4": "everybody"})
    assert result.violations == ("'everybody' is not a CIDR block.",)


def test_each_block_of_older_rules_is_evaluated():
    world = {"cidrBlocks": ["10.1.0.0/16", "0.0.0.0/0"], "ipv6CidrBlocks": ["::/0"]}
    both = ("Ingress tcp/6443 is open to 0.0.0.0/0.", "Ingress tcp/6443 is open to ::/0.")
    assert (
        evaluate(NO_WORLD_OPEN_INGRESS, LEGACY_RULE, INLINE | {"type": "ingress"} | world).violations == both
    )
    for group in GROUPS:
        result = evaluate(NO_WORLD_OPEN_INGRESS, group, {"ingress": [INLINE | world]})
        assert result.violations == both


def test_egress_to_anywhere_is_not_evaluated():
    egress = {"type": "egress", "protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["0.0.0.0/0"]}
    assert not evaluate(NO_WORLD_OPEN_INGRESS, LEGACY_RULE, egress).applicable
    assert evaluate(NO_WORLD_OPEN_INGRESS, GROUP, {"egress": [egress]}).violations == ()
    rule = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    assert not evaluate(NO_WORLD_OPEN_INGRESS, rule, {"cidrIpv4": "0.0.0.0/0"}).applicable


def test_a_declared_opening_may_be_public_and_no_other_port():
    config = {"declared": ["tcp/443"]}
    https = {"ipProtocol": "tcp", "fromPort": 443, "toPort": 443, "cidrIpv4": "0.0.0.0/0"}
    assert evaluate(NO_WORLD_OPEN_INGRESS, INGRESS_RULE, https, config=config).violations == ()
    wider = evaluate(NO_WORLD_OPEN_INGRESS, INGRESS_RULE, https | {"toPort": 444}, config=config)
    assert wider.violations == ("Ingress tcp/443-444 is open to 0.0.0.0/0.",)


def test_nothing_given_is_compliant():
    assert evaluate(NO_WORLD_OPEN_INGRESS, GROUP, {}).violations == ()
    assert evaluate(NO_SSH, GROUP, {}).violations == ()


def test_an_unknown_block_does_not_hide_a_known_one():
    props = API | {"cidrIpv4": UNKNOWN, "cidrIpv6": "::/0"}
    result = evaluate(NO_WORLD_OPEN_INGRESS, INGRESS_RULE, props)
    assert result.violations == ("Ingress tcp/6443 is open to ::/0.",)
    assert result.unknown == "cidrIpv4"
    mixed = {"ingress": [INLINE | {"cidrBlocks": [UNKNOWN, "0.0.0.0/0"]}]}
    result = evaluate(NO_WORLD_OPEN_INGRESS, GROUP, mixed)
    assert result.violations == ("Ingress tcp/6443 is open to 0.0.0.0/0.",)
    assert result.unknown == "ingress.0.cidrBlocks.0"


@pytest.mark.parametrize(
    "ports",
    [
        {"ipProtocol": "tcp", "fromPort": 23, "toPort": 65535},
        {"ipProtocol": "tcp", "fromPort": 0, "toPort": 21},
        {"ipProtocol": "udp", "fromPort": 22, "toPort": 22},
        {"ipProtocol": "icmp", "fromPort": 8, "toPort": 0},
    ],
)
def test_ports_without_22_are_compliant(ports):
    assert evaluate(NO_SSH, INGRESS_RULE, ports).violations == ()


@pytest.mark.parametrize(
    "ports",
    [
        {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22},
        {"ipProtocol": "6", "fromPort": 20, "toPort": 25},
        {"ipProtocol": "-1"},
        {"ipProtocol": "-1", "fromPort": -1, "toPort": -1},
        {"ipProtocol": "tcp"},
        {"ipProtocol": "TCP", "fromPort": 22.0, "toPort": 22.0},
    ],
)
def test_port_22_is_a_violation_however_it_is_written(ports):
    private = ports | {"cidrIpv4": "10.0.0.0/16"}
    [message] = evaluate(NO_SSH, INGRESS_RULE, private).violations
    assert message.endswith("opens port 22.")


def test_unknown_ports_are_reported_as_such_and_others_still_evaluated():
    ssh = {"protocol": "tcp", "fromPort": 22, "toPort": 22}
    unknown = {"protocol": "tcp", "fromPort": UNKNOWN, "toPort": 22}
    result = evaluate(NO_SSH, GROUP, {"ingress": [unknown, ssh]})
    assert result.violations == ("Ingress of 22-22 opens port 22.",)
    assert result.unknown == "ingress.0.fromPort"

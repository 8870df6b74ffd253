"""Addresses and flows: both directions of the table, what is allowed and that nothing else is."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from components.parameters import plan_hosts
from components.security import GROUPS, Flow, plan_flows
from config import settings
from config.model import NodeRole, Settings
from config.naming import Naming
from config.nodes import NODE_NUMBERS, node_address, plan_nodes
from config.subnets import plan_subnets
from tests.configuration import configuration


@pytest.fixture
def lab() -> Settings:
    return settings.parse("dev", configuration())


def test_subnets_are_in_two_zones_and_apart(lab: Settings) -> None:
    nodes, balancers = plan_subnets(lab.network)
    assert (str(nodes.cidr), nodes.availability_zone) == ("10.20.0.0/22", "us-east-1a")
    assert (str(balancers.cidr), balancers.availability_zone) == ("10.20.4.0/22", "us-east-1b")
    assert (str(nodes.reserved), str(balancers.reserved)) == ("10.20.0.0/23", "10.20.4.0/23")


@pytest.mark.parametrize("vpc", ["10.20.0.0/16", "10.20.16.0/20"])
def test_every_possible_address_is_reserved_usable_and_unique(vpc: str) -> None:
    lab = settings.parse("dev", configuration(network__vpcCidr=vpc))
    subnet, second = plan_subnets(lab.network)
    addresses = [node_address(NodeRole.MASTER, "master1", subnet.cidr)]
    addresses += [node_address(NodeRole.WORKER, f"worker{n:02d}", subnet.cidr) for n in NODE_NUMBERS]
    addresses += [node_address(NodeRole.GPU, f"gpu{n:02d}", subnet.cidr) for n in NODE_NUMBERS]
    elsewhere = [node_address(NodeRole.GPU, f"gpu{n:02d}", second.cidr) for n in NODE_NUMBERS]
    assert len({*addresses, *elsewhere}) == 1 + 3 * len(NODE_NUMBERS)
    assert all(IPv4Address(address) in second.reserved for address in elsewhere)
    kept_by_aws = [subnet.cidr[n] for n in range(4)] + [subnet.cidr[-1]]
    for address in addresses:
        assert IPv4Address(address) in subnet.reserved
        assert IPv4Address(address) not in kept_by_aws


def test_a_new_worker_moves_no_other(lab: Settings) -> None:
    subnet = plan_subnets(lab.network)[0].cidr
    before = {node.name: node for node in plan_nodes(lab, subnet)}
    more = replace(lab, workers=(*lab.workers, replace(lab.workers[0], name="worker04")))
    after = {node.name: node for node in plan_nodes(more, subnet)}
    assert after.keys() - before.keys() == {"worker04"}
    assert {name: after[name] for name in before} == before
    fewer = replace(lab, workers=lab.workers[1:])
    assert all(before[node.name] == node for node in plan_nodes(fewer, subnet))


def test_gpu_nodes_in_the_other_zone_have_its_addresses_and_nobody_else_moves(lab: Settings) -> None:
    first, second = (subnet.cidr for subnet in plan_subnets(lab.network))
    before = {node.name: node for node in plan_nodes(lab, first, first)}
    elsewhere = replace(lab, gpu=replace(lab.gpu, availability_zone="us-east-1b"))
    after = {node.name: node for node in plan_nodes(elsewhere, first, second)}
    assert before["gpu01"].private_ip == "10.20.1.1"
    gpu = after.pop("gpu01")
    assert (gpu.private_ip, gpu.availability_zone) == ("10.20.5.1", "us-east-1b")
    assert after == {name: node for name, node in before.items() if name != "gpu01"}


def test_hosts_rows_fit_a_parameter_each(lab: Settings) -> None:
    many = replace(lab, workers=tuple(replace(lab.workers[0], name=f"worker{n:03d}") for n in range(1, 201)))
    nodes = plan_nodes(many, plan_subnets(lab.network)[0].cidr)
    chunks = plan_hosts(nodes, Naming("lab"))
    assert len(chunks) > 1
    assert all(len(chunk) <= 4096 for chunk in chunks)
    assert sum(chunk.count("10.20.") for chunk in chunks) == len(nodes)
    assert '["10.20.0.10",["master1","api.lab.internal"]]' in chunks[0]


ADMIN = IPv4Network("203.0.113.7/32")


def allowed(
    flows: tuple[Flow, ...], source: NodeRole | str, target: NodeRole, protocol: str, port: int
) -> bool:
    """Would AWS let a packet from a node's role or an address pass to a node of role `target`?"""
    for flow in flows:
        if flow.egress or flow.group not in GROUPS[target] or flow.protocol != protocol:
            continue
        if flow.ports is None or not flow.ports[0] <= port <= flow.ports[1]:
            continue
        if isinstance(source, NodeRole) and flow.peer in GROUPS[source]:
            return True
        if (
            not isinstance(source, NodeRole)
            and isinstance(flow.peer, IPv4Network)
            and IPv4Address(source) in flow.peer
        ):
            return True
    return False


M, W, G, INTERNET, OPERATOR = NodeRole.MASTER, NodeRole.WORKER, NodeRole.GPU, "192.0.2.1", "203.0.113.7"
NODE_TO_NODE = [(a, b) for a in (M, W, G) for b in (M, W, G)]
MUST_PASS = (
    [(a, b, "udp", 4789) for a, b in NODE_TO_NODE]
    + [(a, b, "tcp", 5473) for a, b in NODE_TO_NODE]
    + [(a, b, "tcp", 10250) for a, b in NODE_TO_NODE]
    + [(a, M, "tcp", 6443) for a in (M, W, G)]
    + [(OPERATOR, M, "tcp", 6443), (M, M, "tcp", 2379), (M, M, "tcp", 2380)]
)
PORTS = [("tcp", p) for p in (22, 80, 179, 443, 2379, 2380, 5473, 6443, 10250, 10257, 10259, 30000, 32767)]
PORTS += [("udp", 4789), ("udp", 53), ("udp", 51820)]


def test_what_the_cluster_needs_passes_and_nothing_else() -> None:
    flows = plan_flows([ADMIN])
    passing = {
        (source, target, protocol, port)
        for source in (M, W, G, INTERNET, OPERATOR)
        for target in (M, W, G)
        for protocol, port in PORTS
        if allowed(flows, source, target, protocol, port)
    }
    assert passing == set(MUST_PASS)


def test_a_missing_row_would_be_seen() -> None:
    for flow in plan_flows([ADMIN]):
        if not flow.egress:
            rest = tuple(other for other in plan_flows([ADMIN]) if other != flow)
            assert any(not allowed(rest, *need) for need in MUST_PASS), flow.name


def test_the_only_open_flow_is_egress() -> None:
    wide = [
        flow for flow in plan_flows([ADMIN]) if isinstance(flow.peer, IPv4Network) and flow.peer.prefixlen < 8
    ]
    assert [(flow.name, flow.egress) for flow in wide] == [("egress", True)]

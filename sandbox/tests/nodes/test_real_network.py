"""The network of real nodes: firewall, cables and pod network."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Interface, IPv4Network

import pytest

from sandbox.errors import SandboxError
from sandbox.files import cache_dir
from sandbox.nodes.real.calico import Member, PodNetwork, cni_config
from sandbox.nodes.real.firewall import internet, ruleset
from sandbox.nodes.real.netns import (
    METADATA_ADDRESS,
    NAMESPACES,
    OUTSIDE_ADDRESS,
    RESOLVER_ADDRESS,
    Vpc,
    connect,
    inside,
    ip,
    listen,
    run,
)
from sandbox.nodes.real.tools import nft as find_nft
from sandbox.tests.nodes.commands import until
from sandbox.tests.nodes.test_nodes_parts import INSTANCE

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and iproute2"
)


def instance(name, address, *groups, vpc="vpc-1"):
    return replace(INSTANCE, id=name, private_ip=address, vpc_id=vpc, groups=frozenset(groups))


def rule(protocol, low=None, high=None, *, group=None, cidr=None):
    """As DescribeSecurityGroups shows it."""
    found = {"IpProtocol": protocol, "UserIdGroupPairs": [], "IpRanges": []}
    if low is not None:
        found |= {"FromPort": low, "ToPort": low if high is None else high}
    if group:
        found["UserIdGroupPairs"] = [{"GroupId": group, "UserId": "1"}]
    if cidr:
        found["IpRanges"] = [{"CidrIp": cidr}]
    return found


EVERYTHING = rule("-1", cidr="0.0.0.0/0")


def group(*ingress, egress=(EVERYTHING,)):
    return {"IpPermissions": list(ingress), "IpPermissionsEgress": list(egress)}


MASTER = instance("i-m", "10.0.0.10", "nodes", "control-plane")
ONE, TWO = (instance(f"i-{number}", f"10.0.0.1{number}", "nodes") for number in (1, 2))
# The flows of the program (components/security.py), as the emulator shows them.
OWN = {
    "nodes": group(
        rule("udp", 4789, group="nodes"), rule("tcp", 5473, group="nodes"), rule("tcp", 10250, group="nodes")
    ),
    "control-plane": group(
        rule("tcp", 6443, group="nodes"),
        rule("tcp", 6443, cidr="203.0.113.7/32"),
        rule("tcp", 2379, 2380, group="control-plane"),
    ),
}


def allowed(instances, groups):
    """(source, target) -> what may pass, as the ruleset has it."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in ruleset(instances, groups).splitlines():
        if match := re.fullmatch(r" *ip saddr (\S+) ip daddr (\S+)(.*) accept", line):
            found.setdefault((match[1], match[2]), []).append(match[3].strip())
    return found


def test_the_programs_own_groups():
    nodes = ["udp dport 4789-4789", "tcp dport 5473-5473", "tcp dport 10250-10250"]
    master = ["tcp dport 6443-6443", *nodes]
    a, b, m = ONE.private_ip, TWO.private_ip, MASTER.private_ip
    found = allowed([ONE, MASTER, TWO], OWN)
    assert {pair: sorted(rules) for pair, rules in found.items()} == {
        **{pair: sorted(nodes) for pair in ((a, b), (b, a), (m, a), (m, b))},
        **{pair: sorted(master) for pair in ((a, m), (b, m))},
    }
    assert "ip daddr { 10.0.0.11, 10.0.0.12, 10.0.0.10 } drop" in ruleset([MASTER, ONE, TWO], OWN)
    assert ruleset([TWO, MASTER, ONE], OWN) == ruleset([MASTER, ONE, TWO], OWN)


A, B = "10.0.1.1", "10.0.1.2"


@pytest.mark.parametrize(
    ("ingress", "egress", "wanted"),
    [
        ([EVERYTHING], [EVERYTHING], [""]),
        ([EVERYTHING], [], []),
        ([EVERYTHING], [rule("tcp", 443, cidr="0.0.0.0/0")], ["tcp dport 443-443"]),
        ([rule("tcp", 1, 100, cidr=f"{A}/32")], [rule("tcp", 50, 200, cidr=f"{B}/32")], ["tcp dport 50-100"]),
        ([rule("tcp", 1, 100, cidr=f"{A}/32")], [rule("tcp", 101, 200, cidr=f"{B}/32")], []),
        ([rule("tcp", 80, cidr=f"{A}/32")], [rule("udp", 80, cidr=f"{B}/32")], []),
        ([rule("17", 53, cidr="10.0.1.0/24")], [EVERYTHING], ["udp dport 53-53"]),
        ([rule("6", 53, cidr="10.0.1.0/24")], [EVERYTHING], ["tcp dport 53-53"]),
        ([rule("tcp", 80, cidr="10.0.2.0/24")], [EVERYTHING], []),
        ([rule("tcp", 80, group="source")], [rule("-1", group="target")], ["tcp dport 80-80"]),
        ([rule("tcp", 80, group="target")], [EVERYTHING], []),
        ([rule("icmp", -1, -1, cidr="0.0.0.0/0")], [EVERYTHING], []),
        (
            [rule("tcp", 80, group="source"), rule("udp", 90, cidr=f"{A}/32")],
            [EVERYTHING],
            ["tcp dport 80-80", "udp dport 90-90"],
        ),
    ],
)
def test_what_one_machine_may_send_to_another(ingress, egress, wanted):
    groups = {"source": group(egress=egress), "target": group(*ingress, egress=())}
    found = allowed([instance("i-a", A, "source"), instance("i-b", B, "target")], groups)
    assert found.get((A, B), []) == wanted
    assert (B, A) not in found, "the other way is closed"


def test_machines_of_other_vpcs_and_without_groups_are_closed():
    groups = {"open": group(EVERYTHING)}
    apart = [instance("i-a", A, "open"), instance("i-b", B, "open", vpc="vpc-2")]
    assert allowed(apart, groups) == {}
    assert allowed([instance("i-a", A, "open"), instance("i-b", B)], groups) == {}
    assert "drop" in ruleset(apart, groups)
    assert "drop" not in ruleset([], {})


# -- on cables -------------------------------------------------------------------------------------


@pytest.fixture
def vpc():
    made = Vpc(f"kp-{secrets.token_hex(3)}")
    assert not list(NAMESPACES.glob(f"{made.prefix}-*"))
    yield made
    made.remove()
    assert not list(NAMESPACES.glob(f"{made.prefix}-*"))


@pytest.fixture(scope="module")
def nft():
    return find_nft(cache_dir())


def network_of_the_host():
    """Links, addresses and routes."""
    return ip("-brief", "addr"), ip("route", "show", "table", "all")


@needs_root
def test_cables_are_plugged_in_and_leave_nothing(vpc):
    """All at once: machines boot in threads of their own, and the first ones find no switch."""
    before = network_of_the_host()
    names = [f"i-0123456789abcdef{number}" for number in range(5)]
    addresses = [IPv4Interface(f"10.0.0.1{number}/24") for number in range(5)]
    with ThreadPoolExecutor(5) as pool:
        paths = list(pool.map(vpc.attach, names, addresses))
    assert paths == [vpc.namespace(each) for each in names]
    assert all("default via 10.0.0.1 dev eth0" in run(each, ["ip", "route"]) for each in paths)
    assert vpc.attach(names[0], addresses[0]) == paths[0], "again: nothing happens"
    shown = json.loads(run(paths[1], ["ip", "-json", "addr"]))
    assert {
        each["ifname"]: [row["local"] for row in each["addr_info"] if row["family"] == "inet"]
        for each in shown
    } == {"lo": ["127.0.0.1", METADATA_ADDRESS, RESOLVER_ADDRESS], "eth0": ["10.0.0.11"]}
    assert connects(paths[1], paths[2], "10.0.0.12", 9000)
    assert network_of_the_host() == before, "no address of the VPC ever appears there"
    vpc.detach(names[1])
    vpc.detach(names[1])
    assert not paths[1].exists()
    # The cable goes with its machine, as soon as the kernel has cleared the namespace away.
    ports = ["ip", "-brief", "link", "show", "type", "veth"]
    until("its port is gone", lambda: run(vpc.path, ports).count("\n") == 4)
    vpc.remove()
    assert not any(each.exists() for each in paths)
    assert network_of_the_host() == before


def test_a_prefix_that_is_not_a_sandboxes():
    with pytest.raises(ValueError, match="not a sandbox's prefix"):
        Vpc("kp-*")


@needs_root
def test_what_goes_wrong_inside_is_told_outside(vpc):
    with pytest.raises(FileNotFoundError):
        inside(vpc.path, lambda: None)
    vpc.ensure()
    with pytest.raises(SandboxError, match=r"ip link show dev none: exit 1: .*none"):
        run(vpc.path, ["ip", "link", "show", "dev", "none"])
    with pytest.raises(OSError):
        listen(vpc.path, "10.9.9.9", 80)


BRIEFLY = 0.4  # seconds to wait for what shall not come


def arrives(source, target, address, port, patience=5.0):
    """Whether a datagram gets there."""
    made = partial(socket.socket, type=socket.SOCK_DGRAM)
    with inside(target, made) as receiver, inside(source, made) as sender:
        receiver.bind((address, port))
        receiver.settimeout(patience)
        sender.sendto(b"x", (address, port))
        try:
            return receiver.recv(1) == b"x"
        except TimeoutError:
            return False


def connects(source, target, address, port, patience=5.0):
    """Whether a connection can be made and carries an answer."""
    with listen(target, address, port) as listener:
        listener.settimeout(5)
        try:
            client = connect(source, address, port, timeout=patience)
        except TimeoutError:
            return False
        with client, listener.accept()[0] as served:
            client.settimeout(5)
            served.sendall(b"x")
            return client.recv(1) == b"x"


@needs_root
def test_the_rules_hold_on_the_wire(vpc, nft):
    where = {each.id: vpc.attach(each.id, IPv4Interface(f"{each.private_ip}/24")) for each in (MASTER, ONE)}
    master, node = where["i-m"], where["i-1"]
    assert connects(node, master, MASTER.private_ip, 8080), "no rules yet"

    def load(groups):
        run(vpc.path, [nft, "-f", "-"], ruleset([MASTER, ONE], groups))

    load(OWN)
    assert connects(node, master, MASTER.private_ip, 6443)
    assert not connects(node, master, MASTER.private_ip, 8080, BRIEFLY)
    assert not connects(master, node, ONE.private_ip, 6443, BRIEFLY)
    assert arrives(node, master, MASTER.private_ip, 4789)
    assert not arrives(node, master, MASTER.private_ip, 4790, BRIEFLY)
    # A second script replaces the first one: without egress nothing leaves the node.
    load({**OWN, "nodes": {**OWN["nodes"], "IpPermissionsEgress": []}})
    assert not connects(node, master, MASTER.private_ip, 6443, BRIEFLY)
    assert not arrives(node, master, MASTER.private_ip, 4789, BRIEFLY)
    assert arrives(master, node, ONE.private_ip, 4789), "the master's other group lets it out"


@needs_root
def test_what_is_outside_is_reached_by_those_whose_routes_lead_there(vpc, nft):
    """Others hear nothing, as where a route is missing."""
    one, two = (vpc.attach(each.id, IPv4Interface(f"{each.private_ip}/24")) for each in (ONE, TWO))
    run(vpc.path, [nft, "-f", "-"], internet([(ONE.private_ip, 443)]))
    assert connects(one, vpc.path, OUTSIDE_ADDRESS, 443)
    assert not connects(one, vpc.path, OUTSIDE_ADDRESS, 80, BRIEFLY)
    assert not connects(two, vpc.path, OUTSIDE_ADDRESS, 443, BRIEFLY)
    run(vpc.path, [nft, "-f", "-"], internet([]))
    assert not connects(one, vpc.path, OUTSIDE_ADDRESS, 443, BRIEFLY)
    run(vpc.path, [nft, "-f", "-"], internet([(TWO.private_ip, 80), (TWO.private_ip, 443)]))
    assert connects(two, vpc.path, OUTSIDE_ADDRESS, 443)


# -- pod network -----------------------------------------------------------------------------------


@needs_root
def test_two_nodes_with_a_pod_network(vpc, nft, tmp_path):
    members = []
    for number, name in enumerate("ab", start=1):
        address, pods = f"10.0.0.1{number}", IPv4Network(f"192.168.{number}.0/24")
        space = vpc.attach(f"i-{name}", IPv4Interface(f"{address}/24"))
        run(space, ["ip", "addr", "add", f"{pods[5]}/32", "dev", "lo"])  # a pod's
        root = tmp_path / name
        members.append(Member(name=name, address=address, pods=pods, namespace=space, root=root))
    network, pool = PodNetwork(nft), IPv4Network("192.168.0.0/16")
    assert network.connect(pool, members) == ["a", "b"]
    assert network.connect(pool, members) == [], "nothing to do"
    a, b = members
    assert connects(a.namespace, b.namespace, "192.168.2.5", 80)
    assert json.loads((b.root / "etc/cni/net.d/10-calico.conflist").read_text()) == json.loads(cni_config(b))
    assert PodNetwork(nft).connect(pool, members) == ["a", "b"], "a new boot makes it over what is there"
    rules = run(a.namespace, [nft, "list", "table", "ip", "calico-nat"])
    assert rules.count("masquerade") == 1
    # Under security groups the overlay needs its own flow.
    closed = {"nodes": group(rule("tcp", 80, group="nodes"))}
    run(vpc.path, [nft, "-f", "-"], ruleset([ONE, TWO], closed))
    assert not connects(a.namespace, b.namespace, "192.168.2.5", 80, BRIEFLY)
    run(vpc.path, [nft, "-f", "-"], ruleset([ONE, TWO], OWN))
    assert connects(a.namespace, b.namespace, "192.168.2.5", 80)

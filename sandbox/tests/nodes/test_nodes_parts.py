"""Parts of the simulated nodes that need no API server, and routes and rules by the emulator's data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from sandbox.aws.cloud import Hardware, Instance
from sandbox.aws.network import Network
from sandbox.errors import SandboxError
from sandbox.nodes.simulated.controlplane import registration
from sandbox.nodes.simulated.kubelet import node_object
from sandbox.nodes.watcher import pause

INSTANCE = Instance(
    id="i-1",
    state="running",
    type="m6i.large",
    private_ip="10.0.0.11",
    public_ip="198.51.100.1",
    zone="us-east-1a",
    subnet_id="subnet-1",
    vpc_id="vpc-1",
    groups=frozenset({"sg-node"}),
    profile=None,
)
EVERYWHERE = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


class FakeCloud:
    """Answers of EC2 as the network check reads them. `state` is that of the default route."""

    def __init__(self, *egress: dict[str, Any], state: str = "active", gateways: tuple = ("igw-1",)) -> None:
        self.egress = egress or (EVERYWHERE,)
        local = {"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local", "State": "active"}
        default = {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-1", "State": state}
        self.tables = [
            {"Associations": [{"Main": False, "SubnetId": "subnet-1"}], "Routes": [local, default]},
            {"Associations": [{"Main": True}], "Routes": []},
        ]
        self.gateways = gateways
        self.ec2 = self

    def version(self, _service: str) -> object:
        return object()  # changed since it was last asked for

    def describe_security_groups(self, GroupIds: list[str]) -> dict[str, Any]:
        groups = {"sg-node": {"IpPermissionsEgress": self.egress, "IpPermissions": []}}
        return {"SecurityGroups": [groups[each] for each in GroupIds]}

    def describe_route_tables(self, **_: Any) -> dict[str, Any]:
        return {"RouteTables": self.tables}

    def describe_internet_gateways(self, **_: Any) -> dict[str, Any]:
        return {"InternetGateways": [{"InternetGatewayId": each} for each in self.gateways]}


def online(account: FakeCloud, instance: Instance = INSTANCE, port: int = 443) -> bool:
    network: Network = Network(account)  # type: ignore[arg-type]
    return network.reaches_internet(instance, port)


def test_the_internet_needs_rule_route_gateway_and_address() -> None:
    assert online(FakeCloud())
    assert not online(FakeCloud(), replace(INSTANCE, public_ip=None))
    assert not online(FakeCloud(), replace(INSTANCE, groups=frozenset()))
    assert not online(FakeCloud(), replace(INSTANCE, subnet_id="subnet-other"))
    narrow = FakeCloud({**EVERYWHERE, "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443})
    assert online(narrow, port=443)
    assert not online(narrow, port=80)
    assert not online(FakeCloud({"IpProtocol": "-1", "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}))
    assert not online(FakeCloud(gateways=()))
    assert not online(FakeCloud(state="blackhole"))


REGISTRATION = {
    "name": "ignored",
    "taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}],
    "kubeletExtraArgs": [
        {"name": "hostname-override", "value": "gpu01"},
        {"name": "node-ip", "value": "10.0.0.12"},
        {"name": "provider-id", "value": "aws:///z/i-1"},
        {"name": "node-labels", "value": "x=y,topology.kubernetes.io/zone=z"},
    ],
}


def test_node_object_is_what_the_kubelets_flags_say() -> None:
    document = yaml.safe_dump_all(
        [{"kind": "KubeletConfiguration"}, {"kind": "JoinConfiguration", "nodeRegistration": REGISTRATION}]
    )
    node = node_object(registration(document), Hardware(4, 16384, 1), "10.0.0.99", "1.36.4", "boot")
    assert node["metadata"]["name"] == "gpu01"
    expected = {"x": "y", "topology.kubernetes.io/zone": "z", "kubernetes.io/hostname": "gpu01"}
    assert expected.items() <= node["metadata"]["labels"].items()
    assert node["spec"] == {"taints": REGISTRATION["taints"], "providerID": "aws:///z/i-1"}
    assert node["status"]["addresses"][0] == {"type": "InternalIP", "address": "10.0.0.12"}
    assert node["status"]["capacity"]["memory"] == "16384Mi"
    assert "nvidia.com/gpu" not in node["status"]["capacity"]
    (ready,) = (each for each in node["status"]["conditions"] if each["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "KubeletNotReady")
    assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.36.4"


def test_node_object_without_flags_uses_the_machines_own() -> None:
    node = node_object({"name": "worker01"}, Hardware(2, 8192, 0), "10.0.0.11", "v1.36.4", "boot")
    assert node["metadata"]["name"] == "worker01"
    assert node["spec"] == {"taints": []}
    assert node["status"]["addresses"][0]["address"] == "10.0.0.11"
    with pytest.raises(SandboxError, match="has no InitConfiguration or JoinConfiguration"):
        registration("kind: ClusterConfiguration\n")


@pytest.mark.parametrize(("instances", "seconds"), [(0, 0.5), (5, 0.5), (50, 0.5), (200, 2.0)])
def test_many_instances_are_looked_at_less_often(instances: int, seconds: float) -> None:
    assert pause(instances) == seconds

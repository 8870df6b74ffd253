"""Parts of the simulated nodes that need no API server, and routes and rules by the emulator's data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import Mock

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


def online(
    *egress: dict[str, Any], state: str = "active", gateway: str = "igw-1", port: int = 443, **change: Any
) -> bool:
    """Whether the instance, so changed, reaches the internet. `state` is that of the default route."""
    local = {"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local", "State": "active"}
    default = {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-1", "State": state}
    tables = [
        {"Associations": [{"Main": False, "SubnetId": "subnet-1"}], "Routes": [local, default]},
        {"Associations": [{"Main": True}], "Routes": []},
    ]
    cloud = Mock()
    cloud.ec2.describe_security_groups.return_value = {"SecurityGroups": [{"IpPermissionsEgress": egress}]}
    cloud.ec2.describe_route_tables.return_value = {"RouteTables": tables}
    gateways = {"InternetGateways": [{"InternetGatewayId": gateway}]}
    cloud.ec2.describe_internet_gateways.return_value = gateways
    return Network(cloud).reaches_internet(replace(INSTANCE, **change), port)


def test_the_internet_needs_rule_route_gateway_and_address() -> None:
    assert online(EVERYWHERE)
    assert not online(EVERYWHERE, public_ip=None)
    assert not online(EVERYWHERE, groups=frozenset())
    assert not online(EVERYWHERE, subnet_id="subnet-other")
    assert not online(EVERYWHERE, gateway="igw-of-another")
    assert not online(EVERYWHERE, state="blackhole")
    narrow = {**EVERYWHERE, "IpProtocol": "tcp", "FromPort": 443, "ToPort": 443}
    assert online(narrow)
    assert not online(narrow, port=80)
    assert not online({"IpProtocol": "-1", "IpRanges": [{"CidrIp": "10.0.0.0/8"}]})


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


def test_node_object_is_what_the_kubelets_flags_say_or_the_machines_own() -> None:
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

    node = node_object({"name": "worker01"}, Hardware(2, 8192, 0), "10.0.0.11", "v1.36.4", "boot")
    assert (node["metadata"]["name"], node["spec"]) == ("worker01", {"taints": []})
    assert node["status"]["addresses"][0]["address"] == "10.0.0.11"
    with pytest.raises(SandboxError, match="has no InitConfiguration or JoinConfiguration"):
        registration("kind: ClusterConfiguration\n")


@pytest.mark.parametrize(("instances", "seconds"), [(0, 0.5), (5, 0.5), (50, 0.5), (200, 2.0)])
def test_many_instances_are_looked_at_less_often(instances: int, seconds: float) -> None:
    assert pause(instances) == seconds

"""Parts of the simulated nodes that need no API server, and routes and rules by the emulator's data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from sandbox.aws.cloud import Hardware, Instance
from sandbox.aws.network import Network
from sandbox.errors import SandboxError
from sandbox.nodes import kubelet
from sandbox.nodes.api import Api
from sandbox.nodes.backend import Power
from sandbox.nodes.disk import SimulatedDisk
from sandbox.nodes.kubelet import NO_CNI, node_object
from sandbox.nodes.simulated import agent
from sandbox.nodes.simulated.backend import SimulatedBackend
from sandbox.nodes.simulated.controlplane import registration
from sandbox.nodes.simulated.node import SimulatedNode
from sandbox.nodes.simulated.plugins import DevicePlugins, is_plugin

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
MASTER = replace(INSTANCE, id="i-2", private_ip="10.0.0.10", groups=frozenset({"sg-master"}))
EVERYWHERE = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


def tcp(low: int, high: int, **peers: Any) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": low, "ToPort": high, **peers}


class FakeCloud:
    """Answers of EC2 as the network check reads them; every field is a plain value to change."""

    def __init__(self) -> None:
        self.egress: list[dict[str, Any]] = [EVERYWHERE]
        self.ingress: list[dict[str, Any]] = [tcp(6443, 6443, UserIdGroupPairs=[{"GroupId": "sg-node"}])]
        self.tables = [
            table("subnet-1", GatewayId="igw-1"),
            table("subnet-nat", GatewayId="igw-1"),
            {"Associations": [{"Main": True}], "Routes": []},
        ]
        self.gateways = ["igw-1"]
        self.ec2 = self

    def version(self, _service: str) -> object:
        return object()  # changed since it was last asked for

    def describe_security_groups(self, GroupIds: list[str]) -> dict[str, Any]:
        groups = {
            "sg-node": {"IpPermissionsEgress": self.egress, "IpPermissions": []},
            "sg-master": {"IpPermissionsEgress": [], "IpPermissions": self.ingress},
        }
        return {"SecurityGroups": [groups[each] for each in GroupIds]}

    def describe_route_tables(self, **_: Any) -> dict[str, Any]:
        return {"RouteTables": self.tables}

    def describe_internet_gateways(self, **_: Any) -> dict[str, Any]:
        return {"InternetGateways": [{"InternetGatewayId": each} for each in self.gateways]}


def table(subnet: str, **target: str) -> dict[str, Any]:
    local = {"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local", "State": "active"}
    return {
        "Associations": [{"Main": False, "SubnetId": subnet}],
        "Routes": [local, {"DestinationCidrBlock": "0.0.0.0/0", "State": "active", **target}],
    }


def online(account: FakeCloud, instance: Instance = INSTANCE, port: int = 443) -> bool:
    network: Network = Network(account)  # type: ignore[arg-type]
    return network.reaches_internet(instance, port)


def test_the_internet_needs_rule_route_gateway_and_address() -> None:
    assert online(FakeCloud())
    assert not online(FakeCloud(), replace(INSTANCE, public_ip=None))
    assert not online(FakeCloud(), replace(INSTANCE, groups=frozenset()))
    assert not online(FakeCloud(), replace(INSTANCE, subnet_id="subnet-other"))
    narrow = FakeCloud()
    narrow.egress = [tcp(443, 443, IpRanges=[{"CidrIp": "0.0.0.0/0"}])]
    assert online(narrow, port=443)
    assert not online(narrow, port=80)
    inside = FakeCloud()
    inside.egress = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}]
    assert not online(inside)
    detached = FakeCloud()
    detached.gateways = []
    assert not online(detached)
    hole = FakeCloud()
    hole.tables[0]["Routes"][1]["State"] = "blackhole"
    assert not online(hole)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (tcp(6443, 6443, UserIdGroupPairs=[{"GroupId": "sg-node"}]), True),
        (tcp(6000, 7000, IpRanges=[{"CidrIp": "10.0.0.0/24"}]), True),
        (tcp(6443, 6443, UserIdGroupPairs=[{"GroupId": "sg-other"}]), False),
        (tcp(6444, 6444, UserIdGroupPairs=[{"GroupId": "sg-node"}]), False),
        ({**tcp(6443, 6443, IpRanges=[{"CidrIp": "0.0.0.0/0"}]), "IpProtocol": "udp"}, False),
        (EVERYWHERE, True),
    ],
)
def test_ingress_rules(rule: dict[str, Any], expected: bool) -> None:
    account = FakeCloud()
    account.ingress = [rule]
    network: Network = Network(account)  # type: ignore[arg-type]
    assert network.reaches(INSTANCE, MASTER, 6443) is expected
    assert not network.reaches(INSTANCE, replace(MASTER, vpc_id="vpc-2"), 6443)
    account.egress = []
    assert not network.reaches(INSTANCE, MASTER, 6443)


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
    assert (ready["status"], ready["reason"], ready["message"]) == ("False", "KubeletNotReady", NO_CNI)
    assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.36.4"


def test_node_object_without_flags_uses_the_machines_own() -> None:
    node = node_object({"name": "worker01"}, Hardware(2, 8192, 0), "10.0.0.11", "v1.36.4", "boot")
    assert node["metadata"]["name"] == "worker01"
    assert node["spec"] == {"taints": []}
    assert node["status"]["addresses"][0]["address"] == "10.0.0.11"
    with pytest.raises(SandboxError, match="has no InitConfiguration or JoinConfiguration"):
        registration("kind: ClusterConfiguration\n")


def test_only_one_process_starts_pods_that_need_the_network() -> None:
    host, rest = agent.stages(host_only=True), agent.stages(host_only=False)

    def keys(stages: list[dict[str, Any]], name: str) -> list[str]:
        (stage,) = (each for each in stages if each["metadata"]["name"] == name)
        return [each["key"] for each in stage["spec"]["selector"]["matchExpressions"]]

    assert ".spec.hostNetwork" in keys(host, "pod-start")
    assert ".spec.hostNetwork" not in keys(rest, "pod-start")
    assert keys(rest, "node-heartbeat") == [".metadata.name"]
    assert {each["metadata"]["name"] for each in host} == {
        "node-heartbeat",
        "pod-start",
        "pod-ready-again",
        "job-pod-completes",
        "pod-delete",
    }


@pytest.mark.parametrize(
    ("owner", "path", "expected"),
    [
        ("DaemonSet", "/var/lib/kubelet/device-plugins", True),
        ("DaemonSet", "/var/lib/kubelet/device-plugins/", True),
        ("ReplicaSet", "/var/lib/kubelet/device-plugins", False),
        ("DaemonSet", "/var/lib/kubelet", False),
    ],
)
def test_what_counts_as_a_device_plugin(owner: str, path: str, expected: bool) -> None:
    volumes = [{"name": "a", "emptyDir": {}}, {"name": "b", "hostPath": {"path": path}}]
    assert (
        is_plugin({"metadata": {"ownerReferences": [{"kind": owner}]}, "spec": {"volumes": volumes}})
        is expected
    )


class Cluster:
    """An API with one Node and the pod of a device plugin on it."""

    def __init__(self, instance_id: str) -> None:
        labels = {kubelet.RUNNING_LABEL: "simulated", kubelet.NETWORK_LABEL: "ready"}
        self.node: dict[str, Any] = {
            "metadata": {"name": "gpu01", "labels": labels},
            "spec": {"providerID": f"aws:///us-east-1a/{instance_id}"},
            "status": {"capacity": {}, "addresses": [{"type": "InternalIP", "address": "10.0.0.12"}]},
        }
        volumes = [{"name": "a", "hostPath": {"path": "/var/lib/kubelet/device-plugins"}}]
        containers = [{"name": "main", "image": "plugin:1"}]
        self.pod: dict[str, Any] = {
            "metadata": {
                "name": "p",
                "namespace": "n",
                "uid": "1",
                "ownerReferences": [{"kind": "DaemonSet"}],
            },
            "spec": {"nodeName": "gpu01", "volumes": volumes, "containers": containers},
            "status": {},
        }

    def find(self, path: str) -> dict[str, Any] | None:
        return self.node if path == "/api/v1/nodes/gpu01" else None

    def patch(self, path: str, body: dict[str, Any], _kind: str) -> dict[str, Any]:
        item = self.node if "/nodes/" in path else self.pod
        item["status"] |= body["status"]
        return item

    def started(self, gpus: dict[str, int]) -> str:
        """How the plugin's container is after its start, and the count that the Node shows."""
        plugins = DevicePlugins(cast(Api, self), gpus)
        plugins._note("ADDED", self.pod)
        plugins.reconcile()
        (container,) = self.pod["status"]["containerStatuses"]
        return f"{next(iter(container['state']))} {self.node['status']['capacity'].get(kubelet.GPU)}"


def test_gpus_are_the_machines_and_not_its_names(tmp_path: Path) -> None:
    """A machine that is gone late takes nothing from the one that has its name since."""
    nothing = cast(Any, None)
    backend = SimulatedBackend(tmp_path, nothing, nothing, nothing, tools=tmp_path, join_timeout=0.0)
    backend.gpus.update({"i-old": 1, "i-new": 1})
    old = SimulatedNode(backend, SimulatedDisk(tmp_path / "i-old"))
    old.switch(Power.TERMINATED)
    old.reconcile()
    assert old.gone
    assert backend.gpus == {"i-new": 1}
    assert Cluster("i-new").started(backend.gpus) == "running 1"
    assert Cluster("i-old").started(backend.gpus) == "waiting None"

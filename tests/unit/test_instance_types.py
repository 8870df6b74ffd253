"""Instance types: one list, the facts in it, and GPUs counted for each node."""

from __future__ import annotations

import gzip
import json
from functools import cache
from importlib.resources import files
from typing import Any

import pytest

from config import settings
from config.instance_types import GPU_INSTANCE_TYPES, INSTANCE_TYPES, unusable
from config.nodes import plan_nodes
from config.problems import SettingsError
from tests.configuration import configuration


@cache
def described() -> dict[str, Any]:
    """What EC2's DescribeInstanceTypes says of every type, by its name; a copy that moto keeps."""
    packed = files("moto").joinpath("ec2/resources/instance_types.json.gz").read_bytes()
    found: dict[str, Any] = json.loads(gzip.decompress(packed))
    assert len(found) > 1000
    return found


def wrongs(**changes: Any) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        settings.parse("dev", configuration(**changes))
    return [f"{each.key}: {each.wrong}" for each in raised.value.problems]


@pytest.mark.parametrize("name", INSTANCE_TYPES)
def test_what_the_list_says_is_what_ec2_says(name: str) -> None:
    """Any of them can be the master: kubeadm needs 2 CPUs (cmd/kubeadm/app/constants), the issue 4 GiB."""
    found = described()[name]
    assert found["ProcessorInfo"]["SupportedArchitectures"] == ["x86_64"]
    assert found["VCpuInfo"]["DefaultVCpus"] >= 2
    assert found["MemoryInfo"]["SizeInMiB"] >= 4096
    gpus = [
        (f"nvidia-{each['Name'].lower()}", each["Count"]) for each in found.get("GpuInfo", {}).get("Gpus", [])
    ]
    accelerator = INSTANCE_TYPES[name]
    assert gpus == ([(accelerator.label, accelerator.count)] if accelerator else [])


def test_architectures_are_told_by_the_name() -> None:
    for name, found in described().items():
        runs = found["ProcessorInfo"]["SupportedArchitectures"]
        reason = unusable(name)
        assert (reason == "runs macOS") == any(each.endswith("_mac") for each in runs), name
        assert reason.startswith("is arm64") == (runs == ["arm64"]), name


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("m7g.large", "is arm64, and the images are for x86_64"),
        ("a1.large", "is arm64, and the images are for x86_64"),
        ("mac1.metal", "runs macOS"),
        ("mac2-m2.metal", "runs macOS"),
        ("t3.micro", "is not a type that kubepark knows"),  # 2 vCPU, 1 GiB
        ("t3.small", "is not a type that kubepark knows"),  # 2 vCPU, 2 GiB
        ("t1.micro", "is not a type that kubepark knows"),  # 1 vCPU
        ("", "is not a text"),
        (5, "is not a text"),
        (["m7i.large"], "is not a text"),
    ],
)
@pytest.mark.parametrize("key", ["controlPlane__instanceType", "workers__instanceType", "gpu__instanceType"])
def test_a_type_that_a_node_cannot_be_is_refused_with_the_reason(key: str, name: Any, wrong: str) -> None:
    (found,) = wrongs(**{key: name})
    assert found == f"kubepark:{key.replace('__', '.')}: {json.dumps(name)} {wrong}"


def test_the_node_that_is_wrong_is_named() -> None:
    nodes = {"gpu01": {}, "gpu02": {"instanceType": "m5.large"}, "gpu03": {"instanceType": "g5g.xlarge"}}
    assert wrongs(gpu__nodes=nodes) == [
        'kubepark:gpu.nodes.gpu02.instanceType: "m5.large" has no GPU',
        'kubepark:gpu.nodes.gpu03.instanceType: "g5g.xlarge" is arm64, and the images are for x86_64',
    ]


@pytest.mark.parametrize("large", ["gpu01", "gpu02"])
def test_the_gpus_of_every_node_are_counted(large: str) -> None:
    """In either order: no node stands for all of them."""

    def config(gpus: int) -> dict[str, Any]:
        nodes: dict[str, Any] = {"gpu01": {}, "gpu02": {}, large: {"instanceType": "g4dn.12xlarge"}}
        people = [{"name": "ana", "email": "ana@example.org", "quota": {"requests.nvidia.com/gpu": gpus}}]
        return configuration(gpu__nodes=nodes, people=people, passwordHashes__bo=None)

    found = settings.parse("dev", config(5))
    assert sum(GPU_INSTANCE_TYPES[node.instance_type].count for node in found.gpu.nodes) == 5
    with pytest.raises(SettingsError, match=r'"6" is more than the 5 that pods can ask for \(cards: 5, pods'):
        settings.parse("dev", config(6))


def test_every_gpu_node_has_the_label_of_its_own_gpus() -> None:
    found = settings.parse(
        "dev", configuration(gpu__nodes={"gpu01": {"instanceType": "g4dn.12xlarge"}, "gpu02": {}})
    )
    subnet = next(found.network.vpc_cidr.subnets(new_prefix=22))
    labels = {node.name: node.labels for node in plan_nodes(found, subnet) if node.role == "gpu"}
    assert labels.keys() == {"gpu01", "gpu02"}
    for node in found.gpu.nodes:
        assert labels[node.name]["accelerator"] == GPU_INSTANCE_TYPES[node.instance_type].label

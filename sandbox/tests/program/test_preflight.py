"""The preflight's questions against the emulator: each is answered, in the form that AWS has."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from cli.preflight import warnings
from cli.preflight_checks import Plan
from config.model import NodeSettings
from sandbox.tests.aws.emulator_server import IMAGE, REGION, Emulator


@pytest.fixture(scope="module")
def emulator(tmp_path_factory):
    running = Emulator(tmp_path_factory.mktemp("preflight"), IMAGE)
    yield running
    running.stop()


def node(name: str, instance_type: str, ami: str = IMAGE) -> NodeSettings:
    return NodeSettings(name=name, instance_type=instance_type, ami=ami, volume_gb=40, generation=1)


NODES = (node("master1", "m7i.large"), node("worker01", "m7i.xlarge"), node("gpu01", "g4dn.xlarge"))


def plan(*nodes: NodeSettings, zone: str = "us-east-1a") -> Plan:
    return Plan(
        stack="s",
        region=REGION,
        cluster="c",
        zone=zone,
        nodes=nodes or NODES,
        admin_cidrs=(IPv4Network("203.0.113.7/32"),),
    )


def asked(emulator: Emulator, wanted: Plan, caller: str = "203.0.113.7") -> list[str]:
    return warnings(wanted, emulator.client, lambda: caller)


def test_a_stack_that_fits_is_told_nothing_and_it_does_not_take_long(emulator: Emulator) -> None:
    clients = {name: emulator.client(name) for name in ("ec2", "service-quotas")}
    began = time.monotonic()
    assert warnings(plan(), clients.__getitem__, lambda: "203.0.113.7") == []
    assert time.monotonic() - began < 5
    for action in ("GetServiceQuota", "DescribeInstanceTypes", "DescribeInstanceTypeOfferings"):
        assert emulator.recorded(action), action


def test_what_the_account_does_not_have_is_named(emulator: Emulator) -> None:
    assert asked(emulator, plan(node("worker01", "nosuch.large")), "198.51.100.9") == [
        "nosuch.large (worker01) is not offered in us-east-1a; offered in: no zone of us-east-1; name another "
        "type by instanceType of the node's pool; see "
        "https://us-east-1.console.aws.amazon.com/ec2/home?region=us-east-1#InstanceTypes:",
        "AWS sees this machine at 198.51.100.9, and the API server will let in 203.0.113.7/32 "
        "(kubepark:network.adminCidrs); fix: pulumi config set --stack s --path "
        "'kubepark:network.adminCidrs[1]' 198.51.100.9/32, or bin/kubepark tunnel --stack s",
    ]
    (line,) = asked(emulator, plan(node("worker01", "m7i.large", "ami-0fedcba9876543210")))
    assert line.startswith("the image ami-0fedcba9876543210 does not exist in us-east-1, or is not shared ")


def test_a_zone_and_an_image_that_do_not_fit_a_type_are_named(emulator: Emulator) -> None:
    ec2 = emulator.client("ec2")
    offers = ec2.describe_instance_type_offerings(
        LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": ["g4dn.xlarge"]}]
    )["InstanceTypeOfferings"]
    zones = {zone["ZoneName"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]}
    (without, *_) = sorted(zones - {offer["Location"] for offer in offers})
    (line,) = asked(emulator, plan(node("gpu01", "g4dn.xlarge"), zone=without))
    assert f"g4dn.xlarge (gpu01) is not offered in {without}; offered in: us-east-1" in line
    assert "pulumi config set --stack s --path kubepark:network.availabilityZone us-east-1" in line
    (line,) = asked(emulator, plan(node("worker01", "t4g.large")))
    assert line.startswith(f"the image {IMAGE} is for x86_64, and t4g.large has arm64; fix: ")


def test_a_root_disk_that_ec2_would_refuse_is_named(emulator: Emulator) -> None:
    (image,) = emulator.client("ec2").describe_images(ImageIds=[IMAGE])["Images"]
    (root,) = [each for each in image["BlockDeviceMappings"] if each["DeviceName"] == image["RootDeviceName"]]
    small = replace(node("worker01", "m7i.large"), volume_gb=root["Ebs"]["VolumeSize"] - 1)
    (line,) = asked(emulator, plan(small))
    assert line.startswith(f"the root disk of {IMAGE} has {small.volume_gb + 1} GB; that of worker01 ")


def test_what_is_there_already_is_not_needed_and_others_count(emulator: Emulator) -> None:
    ec2 = emulator.client("ec2")
    needs = [f"worker{number:02d}" for number in range(1, 161)]  # 640 vCPUs: all that there is
    wanted = plan(*[node(name, "m7i.xlarge") for name in needs])
    assert asked(emulator, wanted) == []
    others = ec2.run_instances(ImageId=IMAGE, InstanceType="m7i.large", MinCount=1, MaxCount=1)
    (line,) = asked(emulator, wanted)
    assert line.startswith(
        "640 more vCPU will be needed, and the quota 'Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) "
        "instances' (L-1216C47A) of us-east-1 is 640, with 2 in use; ask for more, which may take days: aws "
        "service-quotas request-service-quota-increase --region us-east-1 --service-code ec2 --quota-code "
        "L-1216C47A --desired-value 642, or https://us-east-1.console.aws.amazon.com/servicequotas/"
    )
    tags = [{"Key": "kubepark:cluster", "Value": "c"}, {"Key": "kubepark:node", "Value": "worker01"}]
    ours = ec2.run_instances(
        ImageId=IMAGE,
        InstanceType="m7i.xlarge",
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )
    (line,) = asked(emulator, wanted)
    assert line.startswith("636 more vCPU will be needed")
    assert "with 6 in use" in line
    for made in (others, ours):
        ec2.terminate_instances(InstanceIds=[made["Instances"][0]["InstanceId"]])
    assert asked(emulator, wanted) == []

"""Load balancers in the emulator: what holds what, as in AWS, and errors that a test injects into their API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.config import REFUSALS_PATH
from sandbox.tests.aws.emulator_server import Emulator


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    made = Emulator(tmp_path_factory.mktemp("balancers"))
    yield made
    made.stop()


@pytest.fixture
def network(emulator: Emulator) -> dict[str, str]:
    ec2 = emulator.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.20.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.20.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
    return {"vpc": vpc, "subnet": subnet, "group": group}


def code(call: Any, **arguments: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return str(refused.value.response["Error"]["Code"])


def test_a_load_balancer_holds_its_subnet_its_group_and_its_target_group(
    emulator: Emulator, network: dict[str, str]
) -> None:
    ec2, elbv2 = emulator.client("ec2"), emulator.client("elbv2")
    wanted = {"Name": "n", "Type": "network", "Subnets": [network["subnet"]]}
    made = elbv2.create_load_balancer(**wanted, SecurityGroups=[network["group"]])["LoadBalancers"][0]
    target = elbv2.create_target_group(Name="t", Protocol="TCP", Port=80, VpcId=network["vpc"])
    group = target["TargetGroups"][0]["TargetGroupArn"]
    action = {"Type": "forward", "TargetGroupArn": group}
    elbv2.create_listener(
        LoadBalancerArn=made["LoadBalancerArn"], Protocol="TCP", Port=80, DefaultActions=[action]
    )
    assert code(ec2.delete_subnet, SubnetId=network["subnet"]) == "DependencyViolation"
    assert code(ec2.delete_security_group, GroupId=network["group"]) == "DependencyViolation"
    assert code(elbv2.delete_target_group, TargetGroupArn=group) == "ResourceInUse"
    elbv2.delete_load_balancer(LoadBalancerArn=made["LoadBalancerArn"])
    elbv2.delete_target_group(TargetGroupArn=group)
    ec2.delete_security_group(GroupId=network["group"])
    ec2.delete_subnet(SubnetId=network["subnet"])
    assert emulator.recorded("CreateLoadBalancer")[-1]["made"][0] == made["LoadBalancerArn"]


def test_a_classic_one_holds_them_too(emulator: Emulator, network: dict[str, str]) -> None:
    ec2, elb = emulator.client("ec2"), emulator.client("elb")
    listener = {"Protocol": "tcp", "LoadBalancerPort": 80, "InstancePort": 30080}
    where = {"Subnets": [network["subnet"]], "SecurityGroups": [network["group"]]}
    elb.create_load_balancer(LoadBalancerName="classic", Listeners=[listener], **where)
    assert code(ec2.delete_subnet, SubnetId=network["subnet"]) == "DependencyViolation"
    assert code(ec2.delete_security_group, GroupId=network["group"]) == "DependencyViolation"
    elb.delete_load_balancer(LoadBalancerName="classic")
    ec2.delete_security_group(GroupId=network["group"])
    ec2.delete_subnet(SubnetId=network["subnet"])


def test_errors_are_injected_by_the_arguments_of_either_api(emulator: Emulator) -> None:
    rows = [
        {
            "operation": "elasticloadbalancing:DeleteLoadBalancer",
            "arguments": {name: value},
            "code": "OperationNotPermitted",
            "message": "protected",
        }
        for name, value in (("LoadBalancerName", "mine"), ("LoadBalancerArn", "arn:mine"))
    ]
    emulator.call(REFUSALS_PATH, "PUT", json.dumps(rows).encode())
    elb, elbv2 = emulator.client("elb"), emulator.client("elbv2")
    assert code(elb.delete_load_balancer, LoadBalancerName="mine") == "OperationNotPermitted"
    assert code(elbv2.delete_load_balancer, LoadBalancerArn="arn:mine") == "OperationNotPermitted"
    elb.delete_load_balancer(LoadBalancerName="another")
    emulator.call(REFUSALS_PATH, "PUT", b"[]")

"""Load balancers in the emulator: what holds what, as in AWS, and errors that a test injects into their API."""

from __future__ import annotations

import json

import pytest

from sandbox.config import REFUSALS_PATH
from sandbox.tests.aws.aws_provider import client, server
from sandbox.tests.aws.emulator_server import error_code


@pytest.fixture
def network() -> dict[str, str]:
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.20.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.20.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
    return {"vpc": vpc, "subnet": subnet, "group": group}


def test_a_load_balancer_holds_its_subnet_its_group_and_its_target_group(network: dict[str, str]) -> None:
    ec2, elbv2 = client("ec2"), client("elbv2")
    wanted = {"Name": "n", "Type": "network", "Subnets": [network["subnet"]]}
    made = elbv2.create_load_balancer(**wanted, SecurityGroups=[network["group"]])["LoadBalancers"][0]
    target = elbv2.create_target_group(Name="t", Protocol="TCP", Port=80, VpcId=network["vpc"])
    group = target["TargetGroups"][0]["TargetGroupArn"]
    action = {"Type": "forward", "TargetGroupArn": group}
    elbv2.create_listener(
        LoadBalancerArn=made["LoadBalancerArn"], Protocol="TCP", Port=80, DefaultActions=[action]
    )
    assert error_code(ec2.delete_subnet, SubnetId=network["subnet"]) == "DependencyViolation"
    assert error_code(ec2.delete_security_group, GroupId=network["group"]) == "DependencyViolation"
    assert error_code(elbv2.delete_target_group, TargetGroupArn=group) == "ResourceInUse"
    elbv2.delete_load_balancer(LoadBalancerArn=made["LoadBalancerArn"])
    elbv2.delete_target_group(TargetGroupArn=group)
    ec2.delete_security_group(GroupId=network["group"])
    ec2.delete_subnet(SubnetId=network["subnet"])
    assert server().recorded("CreateLoadBalancer")[-1]["made"][0] == made["LoadBalancerArn"]


def test_a_classic_one_holds_them_too(network: dict[str, str]) -> None:
    ec2, elb = client("ec2"), client("elb")
    listener = {"Protocol": "tcp", "LoadBalancerPort": 80, "InstancePort": 30080}
    where = {"Subnets": [network["subnet"]], "SecurityGroups": [network["group"]]}
    elb.create_load_balancer(LoadBalancerName="classic", Listeners=[listener], **where)
    assert error_code(ec2.delete_subnet, SubnetId=network["subnet"]) == "DependencyViolation"
    assert error_code(ec2.delete_security_group, GroupId=network["group"]) == "DependencyViolation"
    elb.delete_load_balancer(LoadBalancerName="classic")
    ec2.delete_security_group(GroupId=network["group"])
    ec2.delete_subnet(SubnetId=network["subnet"])


def test_errors_are_injected_by_the_arguments_of_either_api() -> None:
    row = {
        "operation": "elasticloadbalancing:DeleteLoadBalancer",
        "code": "OperationNotPermitted",
        "message": "no",
    }
    rows = [
        row | {"arguments": each} for each in ({"LoadBalancerName": "mine"}, {"LoadBalancerArn": "arn:mine"})
    ]
    server().call(REFUSALS_PATH, "PUT", json.dumps(rows).encode())
    elb, elbv2 = client("elb"), client("elbv2")
    assert error_code(elb.delete_load_balancer, LoadBalancerName="mine") == "OperationNotPermitted"
    assert error_code(elbv2.delete_load_balancer, LoadBalancerArn="arn:mine") == "OperationNotPermitted"
    elb.delete_load_balancer(LoadBalancerName="another")
    server().call(REFUSALS_PATH, "PUT", b"[]")

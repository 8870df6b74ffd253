"""Load balancers in the emulator: what holds what, as in AWS, and errors that a test injects."""

from __future__ import annotations

import json

from sandbox.config import REFUSALS_PATH
from sandbox.tests.aws.aws_provider import client, server
from sandbox.tests.aws.emulator_server import error_code


def test_load_balancers_of_either_api_hold_their_subnet_their_group_and_their_target_group() -> None:
    ec2, elbv2, elb = client("ec2"), client("elbv2"), client("elb")
    vpc = ec2.create_vpc(CidrBlock="10.20.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.20.0.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
    where = {"Subnets": [subnet], "SecurityGroups": [group]}

    def is_held() -> None:
        assert error_code(ec2.delete_subnet, SubnetId=subnet) == "DependencyViolation"
        assert error_code(ec2.delete_security_group, GroupId=group) == "DependencyViolation"

    (made,) = elbv2.create_load_balancer(Name="n", Type="network", **where)["LoadBalancers"]
    arn = {"LoadBalancerArn": made["LoadBalancerArn"]}
    (target,) = elbv2.create_target_group(Name="t", Protocol="TCP", Port=80, VpcId=vpc)["TargetGroups"]
    action = {"Type": "forward", "TargetGroupArn": target["TargetGroupArn"]}
    elbv2.create_listener(**arn, Protocol="TCP", Port=80, DefaultActions=[action])
    is_held()
    held = error_code(elbv2.delete_target_group, TargetGroupArn=target["TargetGroupArn"])
    assert held == "ResourceInUse"
    listener = {"Protocol": "tcp", "LoadBalancerPort": 80, "InstancePort": 30080}
    elb.create_load_balancer(LoadBalancerName="classic", Listeners=[listener], **where)
    elbv2.delete_load_balancer(**arn)
    is_held()
    elb.delete_load_balancer(LoadBalancerName="classic")
    elbv2.delete_target_group(TargetGroupArn=target["TargetGroupArn"])
    ec2.delete_security_group(GroupId=group)
    ec2.delete_subnet(SubnetId=subnet)
    recorded = [each for each in server().recorded("CreateLoadBalancer") if "Name" in each["params"]]
    assert recorded[-1]["made"][0] == made["LoadBalancerArn"]


def test_errors_are_injected_by_the_arguments_of_either_api() -> None:
    elb, elbv2 = client("elb"), client("elbv2")
    mine = [(elb, {"LoadBalancerName": "mine"}), (elbv2, {"LoadBalancerArn": "arn:mine"})]
    row = {"operation": "elasticloadbalancing:DeleteLoadBalancer", "code": "Busy", "message": "no"}
    rows = [{**row, "arguments": arguments} for _, arguments in mine]
    server().call(REFUSALS_PATH, "PUT", json.dumps(rows).encode())
    for api, arguments in mine:
        assert error_code(api.delete_load_balancer, **arguments) == "Busy"
    elb.delete_load_balancer(LoadBalancerName="another")
    server().call(REFUSALS_PATH, "PUT", b"[]")

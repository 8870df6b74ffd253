"""What the stand-in refuses before any call: each row changes one thing of inputs that are right."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.aws.provider.values import UNKNOWN, ProviderError
from sandbox.tests.aws import aws_standin as aws
from sandbox.tests.aws.aws_standin import IMAGE, ROOT_ONLY, TRUST, Cloud

PRIMARY = {"networkInterfaceId": "eni-1"}
CIDR = "10.0.0.0/16"


@pytest.fixture(scope="module")
def cloud() -> Cloud:
    return Cloud()


VALID: dict[str, dict[str, Any]] = {
    aws.VPC: {"cidrBlock": CIDR},
    aws.SUBNET: {"vpcId": "vpc-1", "cidrBlock": CIDR},
    aws.RESERVATION: {"subnetId": "subnet-1", "cidrBlock": CIDR, "reservationType": "explicit"},
    aws.ROUTE: {"routeTableId": "rtb-1", "destinationCidrBlock": CIDR, "gatewayId": "igw-1"},
    aws.ASSOCIATION: {"routeTableId": "rtb-1", "subnetId": "subnet-1"},
    aws.DEFAULT_GROUP: {"vpcId": "vpc-1"},
    aws.INTERFACE: {"subnetId": "subnet-1", "privateIps": ["10.0.0.4"]},
    aws.INSTANCE: {"ami": IMAGE, "instanceType": "t3.large", "primaryNetworkInterface": PRIMARY},
    aws.STATE: {"instanceId": "i-1", "state": "running"},
    aws.ROLE: {"assumeRolePolicy": TRUST},
    aws.ROLE_POLICY: {"role": "r", "policy": ROOT_ONLY},
    aws.PROFILE: {"name": "p"},
    aws.KEY: {"deletionWindowInDays": 7},
    aws.ALIAS: {"name": "alias/a", "targetKeyId": "key"},
    aws.PARAMETER: {"type": "String", "value": "x"},
    aws.INGRESS: {"securityGroupId": "sg-1", "ipProtocol": "-1", "cidrIpv4": CIDR},
}
NOT_HANDLED = "not implemented by the stand-in provider"


@pytest.mark.parametrize("typ", VALID)
def test_check_passes_what_is_right_and_what_is_not_known_yet(cloud: Cloud, typ: str):
    assert cloud.check(typ, VALID[typ]) == []
    assert cloud.check(typ, dict.fromkeys(VALID[typ], UNKNOWN)) == []


@pytest.mark.parametrize(
    ("typ", "change", "path", "reason"),
    [
        (aws.VPC, {"cidrBlock": 10}, "cidrBlock", "expected a string, got the number 10"),
        (aws.VPC, {"cidrBlok": CIDR}, "cidrBlok", "unknown property; known: "),
        (aws.VPC, {"cidrBlock": "10.0.0.1/16"}, "cidrBlock", "is not a valid CIDR block"),
        (aws.VPC, {"tags": {"a.b": 1}}, 'tags["a.b"]', "expected a string"),
        (aws.VPC, {"tags": "x"}, "tags", "expected a map, got a string"),
        (aws.VPC, {"ipv4IpamPoolId": "x"}, "ipv4IpamPoolId", NOT_HANDLED),
        (aws.VPC, {"region": "eu-west-1"}, "region", "serves us-east-1 only"),
        (aws.SUBNET, {"vpcId": None}, "vpcId", "missing required property"),
        (aws.RESERVATION, {"reservationType": "x"}, "reservationType", "one of: prefix, explicit"),
        (aws.ROUTE, {"destinationCidrBlock": None}, "destinationCidrBlock", "missing required property"),
        (aws.ROUTE, {"gatewayId": None}, "gatewayId", "missing required property"),
        (aws.ASSOCIATION, {"subnetId": None}, "subnetId", "one of gatewayId, subnetId must be given"),
        (aws.DEFAULT_GROUP, {"vpcId": None}, "vpcId", "required"),
        (aws.INTERFACE, {"privateIps": ["10.0.0.4", "10.0.0.5"]}, "privateIps", "exactly one address"),
        (aws.INSTANCE, {"instanceType": None}, "instanceType", "missing required property"),
        (aws.INSTANCE, {"hibernation": True}, "hibernation", NOT_HANDLED),
        (aws.INSTANCE, {"metadataOptions": {"a": "b"}}, "metadataOptions.a", "unknown property; known: "),
        (
            aws.INSTANCE,
            {"metadataOptions": {"httpTokens": "x"}},
            "metadataOptions.httpTokens",
            "optional, required",
        ),
        (aws.INSTANCE, {"rootBlockDevice": {"iops": 1}}, "rootBlockDevice.iops", NOT_HANDLED),
        (aws.INSTANCE, {"subnetId": "subnet-1"}, "subnetId", "conflicts with primaryNetworkInterface"),
        (aws.INSTANCE, {"userDataBase64": "no base64"}, "userDataBase64", "expected base64"),
        (aws.STATE, {"state": "gone"}, "state", "one of: running, stopped"),
        (aws.ROLE, {"assumeRolePolicy": "{"}, "assumeRolePolicy", "contains an invalid JSON policy"),
        (aws.ROLE, {"name": "a b"}, "name", "expected 1 to 64 of letters"),
        (aws.ROLE_POLICY, {"policy": "[]"}, "policy", "not a JSON object"),
        (aws.PROFILE, {"name": "x" * 129}, "name", "expected 1 to 128 of letters"),
        (aws.KEY, {"deletionWindowInDays": 3}, "deletionWindowInDays", "in the range (7 - 30), got 3"),
        (aws.ALIAS, {"name": "kubepark"}, "name", "expected alias/"),
        (aws.ALIAS, {"name": "alias/aws/x"}, "name", "not alias/aws/"),
        (aws.PARAMETER, {"value": None}, "value", "exactly one of value, valueWo must be specified"),
        (
            aws.PARAMETER,
            {"valueWo": "x", "valueWoVersion": 1},
            "value",
            "exactly one of value, valueWo must be specified",
        ),
        (aws.PARAMETER, {"valueWoVersion": 1}, "valueWo", "all of valueWo, valueWoVersion must be specified"),
        (aws.PARAMETER, {"type": "Text"}, "type", "one of: String, StringList, SecureString"),
        (aws.PARAMETER, {"tier": "Big"}, "tier", "one of: Standard, Advanced, Intelligent-Tiering"),
        (aws.PARAMETER, {"description": "d" * 1025}, "description", "at most 1024 characters"),
        (aws.INGRESS, {"cidrIpv4": None}, "cidrIpv4", "exactly one of cidrIpv4, referencedSecurityGroupId"),
        (aws.INGRESS, {"fromPort": 1}, "fromPort", "have no meaning when ipProtocol is -1"),
        (aws.INGRESS, {"ipProtocol": "tcp"}, "fromPort", "required for tcp and udp"),
    ],
)
def test_check_names_the_property_and_what_is_wrong(
    cloud: Cloud, typ: str, change: dict[str, Any], path: str, reason: str
):
    changed = {**VALID[typ], **change}
    failures = dict(cloud.check(typ, {name: value for name, value in changed.items() if value is not None}))
    assert list(failures) == [path]
    assert reason in failures[path]


def test_check_lists_every_problem(cloud: Cloud):
    found = cloud.check(aws.SUBNET, {"cidrBlock": 5, "nope": 1, "region": "eu-west-1"})
    assert {path for path, _ in found} == {"vpcId", "cidrBlock", "nope", "region"}


@pytest.mark.parametrize(
    ("typ", "message"),
    [
        ("aws:ec2/nothing:Nothing", "unknown resource type aws:ec2/nothing:Nothing"),
        ("gcp:a/b:C", "unknown resource type gcp:a/b:C"),
        ("aws:sqs/queue:Queue", "resource type aws:sqs/queue:Queue is not implemented"),
    ],
)
def test_unknown_types(cloud: Cloud, typ: str, message: str):
    with pytest.raises(ProviderError, match=message):
        cloud.check(typ, {})


@pytest.mark.parametrize(
    ("token", "args", "message"),
    [
        ("aws:ssm/getNothing:getNothing", {}, "unknown function"),
        ("aws:ec2/getVpc:getVpc", {}, "is not implemented by the stand-in provider"),
        ("aws:ssm/getParameter:getParameter", {"name": "/a", "path": "x"}, "path: unknown property"),
        ("aws:ssm/getParameter:getParameter", {"name": 1}, "name: expected a string"),
        ("aws:ssm/getParameter:getParameter", {"name": "/a", "region": "eu-west-1"}, "serves us-east-1 only"),
        ("aws:ssm/getParameter:getParameter", {"name": "/none"}, "ParameterNotFound"),
        ("aws:ssm/getParameter:getParameter", {}, "missing required argument name"),
        ("aws:ssm/getParametersByPath:getParametersByPath", {}, "missing required argument path"),
        ("aws:ssm/getParametersByPath:getParametersByPath", {"path": UNKNOWN}, "unknown argument"),
    ],
)
def test_functions_are_strict(cloud: Cloud, token: str, args: dict[str, Any], message: str):
    with pytest.raises(ProviderError, match=message):
        cloud.backend.invoke(token, args)


@pytest.mark.parametrize(
    ("typ", "id", "message"),
    [
        (aws.RESERVATION, "scr-1", "import a reservation as SUBNET_ID:RESERVATION_ID"),
        (aws.ROUTE, "r-1", "import a route as ROUTE_TABLE_ID_DESTINATION"),
    ],
)
def test_an_import_by_half_an_id_says_the_form(cloud: Cloud, typ: str, id: str, message: str):
    with pytest.raises(ProviderError, match=message):
        cloud.backend.read(typ, id, {}, {})

"""What the stand-in refuses before any call: each row changes one thing of inputs that are right."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.aws.provider.values import UNKNOWN, ProviderError
from sandbox.tests.aws.aws_standin import (
    ALIAS,
    ASSOCIATION,
    DEFAULT_GROUP,
    IMAGE,
    INGRESS,
    INSTANCE,
    INTERFACE,
    KEY,
    PARAMETER,
    PROFILE,
    RESERVATION,
    ROLE,
    ROLE_POLICY,
    ROOT_ONLY,
    ROUTE,
    STATE,
    SUBNET,
    TRUST,
    VPC,
    Cloud,
)

PRIMARY = {"networkInterfaceId": "eni-1"}
CIDR = "10.0.0.0/16"


@pytest.fixture(scope="module")
def cloud() -> Cloud:
    return Cloud()


VALID: dict[str, dict[str, Any]] = {
    VPC: {"cidrBlock": CIDR},
    SUBNET: {"vpcId": "vpc-1", "cidrBlock": CIDR},
    RESERVATION: {"subnetId": "subnet-1", "cidrBlock": CIDR, "reservationType": "explicit"},
    ROUTE: {"routeTableId": "rtb-1", "destinationCidrBlock": CIDR, "gatewayId": "igw-1"},
    ASSOCIATION: {"routeTableId": "rtb-1", "subnetId": "subnet-1"},
    DEFAULT_GROUP: {"vpcId": "vpc-1"},
    INTERFACE: {"subnetId": "subnet-1", "privateIps": ["10.0.0.4"]},
    INSTANCE: {"ami": IMAGE, "instanceType": "t3.large", "primaryNetworkInterface": PRIMARY},
    STATE: {"instanceId": "i-1", "state": "running"},
    ROLE: {"assumeRolePolicy": TRUST},
    ROLE_POLICY: {"role": "r", "policy": ROOT_ONLY},
    PROFILE: {"name": "p"},
    KEY: {"deletionWindowInDays": 7},
    ALIAS: {"name": "alias/a", "targetKeyId": "key"},
    PARAMETER: {"type": "String", "value": "x"},
    INGRESS: {"securityGroupId": "sg-1", "ipProtocol": "-1", "cidrIpv4": CIDR},
}
NOT_HANDLED = "not implemented by the stand-in provider"


@pytest.mark.parametrize("typ", VALID)
def test_check_passes_what_is_right_and_what_is_not_known_yet(cloud: Cloud, typ: str):
    assert cloud.check(typ, VALID[typ]) == []
    assert cloud.check(typ, dict.fromkeys(VALID[typ], UNKNOWN)) == []


@pytest.mark.parametrize(
    ("typ", "change", "path", "reason"),
    [
        (VPC, {"cidrBlock": 10}, "cidrBlock", "expected a string, got the number 10"),
        (VPC, {"cidrBlok": CIDR}, "cidrBlok", "unknown property; known: "),
        (VPC, {"cidrBlock": "10.0.0.1/16"}, "cidrBlock", "is not a valid CIDR block"),
        (VPC, {"tags": {"a.b": 1}}, 'tags["a.b"]', "expected a string"),
        (VPC, {"tags": "x"}, "tags", "expected a map, got a string"),
        (VPC, {"ipv4IpamPoolId": "x"}, "ipv4IpamPoolId", NOT_HANDLED),
        (VPC, {"region": "eu-west-1"}, "region", "serves us-east-1 only"),
        (SUBNET, {"vpcId": None}, "vpcId", "missing required property"),
        (RESERVATION, {"reservationType": "x"}, "reservationType", "one of: prefix, explicit"),
        (ROUTE, {"destinationCidrBlock": None}, "destinationCidrBlock", "missing required property"),
        (ROUTE, {"gatewayId": None}, "gatewayId", "missing required property"),
        (ASSOCIATION, {"subnetId": None}, "subnetId", "one of gatewayId, subnetId must be given"),
        (DEFAULT_GROUP, {"vpcId": None}, "vpcId", "required"),
        (INTERFACE, {"privateIps": ["10.0.0.4", "10.0.0.5"]}, "privateIps", "exactly one address"),
        (INSTANCE, {"instanceType": None}, "instanceType", "missing required property"),
        (INSTANCE, {"hibernation": True}, "hibernation", NOT_HANDLED),
        (INSTANCE, {"metadataOptions": {"a": "b"}}, "metadataOptions.a", "unknown property; known: "),
        (
            INSTANCE,
            {"metadataOptions": {"httpTokens": "x"}},
            "metadataOptions.httpTokens",
            "optional, required",
        ),
        (INSTANCE, {"rootBlockDevice": {"iops": 1}}, "rootBlockDevice.iops", NOT_HANDLED),
        (INSTANCE, {"subnetId": "subnet-1"}, "subnetId", "conflicts with primaryNetworkInterface"),
        (INSTANCE, {"userDataBase64": "no base64"}, "userDataBase64", "expected base64"),
        (STATE, {"state": "gone"}, "state", "one of: running, stopped"),
        (ROLE, {"assumeRolePolicy": "{"}, "assumeRolePolicy", "contains an invalid JSON policy"),
        (ROLE, {"name": "a b"}, "name", "expected 1 to 64 of letters"),
        (ROLE_POLICY, {"policy": "[]"}, "policy", "not a JSON object"),
        (PROFILE, {"name": "x" * 129}, "name", "expected 1 to 128 of letters"),
        (KEY, {"deletionWindowInDays": 3}, "deletionWindowInDays", "in the range (7 - 30), got 3"),
        (ALIAS, {"name": "kubepark"}, "name", "expected alias/"),
        (ALIAS, {"name": "alias/aws/x"}, "name", "not alias/aws/"),
        (PARAMETER, {"value": None}, "value", "exactly one of value, valueWo must be specified"),
        (
            PARAMETER,
            {"valueWo": "x", "valueWoVersion": 1},
            "value",
            "exactly one of value, valueWo must be specified",
        ),
        (PARAMETER, {"valueWoVersion": 1}, "valueWo", "all of valueWo, valueWoVersion must be specified"),
        (PARAMETER, {"type": "Text"}, "type", "one of: String, StringList, SecureString"),
        (PARAMETER, {"tier": "Big"}, "tier", "one of: Standard, Advanced, Intelligent-Tiering"),
        (PARAMETER, {"description": "d" * 1025}, "description", "at most 1024 characters"),
        (INGRESS, {"cidrIpv4": None}, "cidrIpv4", "exactly one of cidrIpv4, referencedSecurityGroupId"),
        (INGRESS, {"fromPort": 1}, "fromPort", "have no meaning when ipProtocol is -1"),
        (INGRESS, {"ipProtocol": "tcp"}, "fromPort", "required for tcp and udp"),
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
    found = cloud.check(SUBNET, {"cidrBlock": 5, "nope": 1, "region": "eu-west-1"})
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
        (RESERVATION, "scr-1", "import a reservation as SUBNET_ID:RESERVATION_ID"),
        (ROUTE, "r-1", "import a route as ROUTE_TABLE_ID_DESTINATION"),
    ],
)
def test_an_import_by_half_an_id_says_the_form(cloud: Cloud, typ: str, id: str, message: str):
    with pytest.raises(ProviderError, match=message):
        cloud.backend.read(typ, id, {}, {})

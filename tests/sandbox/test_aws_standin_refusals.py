"""What AWS would refuse, the stand-in refuses: in AWS's words, with the emulator untouched."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.providers.aws.backend import AwsBackend
from sandbox.providers.backend import UNKNOWN, ProviderError
from tests.sandbox.aws_standin import (
    ACCOUNT,
    IMAGE,
    ROOT_ONLY,
    TRUST,
    Cloud,
    World,
    client,
    document,
    settings,
    statement,
    unique,
)

VPC = "aws:ec2/vpc:Vpc"
SUBNET = "aws:ec2/subnet:Subnet"
INTERFACE = "aws:ec2/networkInterface:NetworkInterface"
INSTANCE = "aws:ec2/instance:Instance"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
ROLE = "aws:iam/role:Role"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
KEY = "aws:kms/key:Key"
ALIAS = "aws:kms/alias:Alias"
PARAMETER = "aws:ssm/parameter:Parameter"
STATEMENT: dict[str, Any] = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}


@pytest.fixture(scope="module")
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def world(cloud: Cloud) -> World:
    return World(cloud)


# --- before any call ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typ", "inputs", "path", "reason"),
    [
        (VPC, {"cidrBlock": 10}, "cidrBlock", "expected a string, got the number 10"),
        (VPC, {"cidrBlok": "10.0.0.0/16"}, "cidrBlok", "unknown property; known: "),
        (VPC, {"cidrBlock": "10.0.0.1/16"}, "cidrBlock", "is not a valid CIDR block"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "tags": {"a.b": 1}}, 'tags["a.b"]', "expected a string"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "tags": "x"}, "tags", "expected a map, got a string"),
        (VPC, {"ipv4IpamPoolId": "x"}, "ipv4IpamPoolId", "not implemented by the stand-in provider"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "region": "eu-west-1"}, "region", "serves us-east-1 only"),
        (SUBNET, {"cidrBlock": "10.0.0.0/16"}, "vpcId", "missing required property"),
        (INSTANCE, {"ami": IMAGE}, "instanceType", "missing required property"),
        (
            INSTANCE,
            {"ami": IMAGE, "instanceType": "t3.large", "creditSpecification": {"cpuCredits": "standard"}},
            "creditSpecification",
            "not implemented by the stand-in provider",
        ),
        (
            INSTANCE,
            {"ami": IMAGE, "instanceType": "t3.large", "metadataOptions": {"httpToken": "required"}},
            "metadataOptions.httpToken",
            "unknown property; known: ",
        ),
        (
            INSTANCE,
            {"ami": IMAGE, "instanceType": "t3.large", "metadataOptions": {"httpTokens": "yes"}},
            "metadataOptions.httpTokens",
            "one of: optional, required",
        ),
        (
            INSTANCE,
            {
                "ami": IMAGE,
                "instanceType": "t3.large",
                "subnetId": "subnet-1",
                "primaryNetworkInterface": {"networkInterfaceId": "eni-1"},
            },
            "subnetId",
            "conflicts with primaryNetworkInterface",
        ),
        (
            INSTANCE,
            {"ami": IMAGE, "instanceType": "t3.large", "userData": "x", "userDataBase64": "eA=="},
            "userData",
            "conflicts with userDataBase64",
        ),
        (
            INSTANCE,
            {"ami": IMAGE, "instanceType": "t3.large", "userDataBase64": "no base64"},
            "userDataBase64",
            "expected base64",
        ),
        (ROLE, {"assumeRolePolicy": "{"}, "assumeRolePolicy", "contains an invalid JSON policy"),
        (ROLE, {"assumeRolePolicy": TRUST, "name": "a b"}, "name", "expected 1 to 64 of letters"),
        (KEY, {"deletionWindowInDays": 3}, "deletionWindowInDays", "in the range (7 - 30), got 3"),
        (ALIAS, {"name": "kubepark", "targetKeyId": "x"}, "name", "expected alias/"),
        (PARAMETER, {"type": "String"}, "value", "exactly one of value, insecureValue"),
        (PARAMETER, {"type": "Text", "value": "x"}, "type", "one of: String, StringList, SecureString"),
        (
            PARAMETER,
            {"type": "SecureString", "insecureValue": "x"},
            "insecureValue",
            "not allowed for the type SecureString",
        ),
        (INGRESS, {"securityGroupId": "sg-1", "ipProtocol": "-1"}, "cidrIpv4", "exactly one of cidrIpv4"),
        (
            INGRESS,
            {"securityGroupId": "sg-1", "ipProtocol": "tcp", "cidrIpv4": "10.0.0.0/8"},
            "fromPort",
            "required for tcp and udp",
        ),
    ],
)
def test_check_names_the_property_and_what_is_wrong(
    cloud: Cloud, typ: str, inputs: dict[str, Any], path: str, reason: str
):
    failures = dict(cloud.check(typ, inputs))
    assert list(failures) == [path]
    assert reason in failures[path]


def test_check_lists_every_problem(cloud: Cloud):
    found = cloud.check(SUBNET, {"cidrBlock": 5, "nope": 1, "region": "eu-west-1"})
    assert {path for path, _ in found} == {"vpcId", "cidrBlock", "nope", "region"}


def test_unknown_values_are_anything(cloud: Cloud):
    assert cloud.check(SUBNET, {"vpcId": UNKNOWN, "cidrBlock": UNKNOWN, "tags": UNKNOWN}) == []


@pytest.mark.parametrize(
    ("typ", "message"),
    [
        ("aws:ec2/nothing:Nothing", "unknown resource type aws:ec2/nothing:Nothing"),
        ("gcp:a/b:C", "unknown resource type gcp:a/b:C"),
        ("aws:s3/bucket:Bucket", "resource type aws:s3/bucket:Bucket is not implemented"),
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
        ("aws:ssm/getParameter:getParameter", {}, "missing required argument name"),
        ("aws:ssm/getParametersByPath:getParametersByPath", {}, "missing required argument path"),
        ("aws:index/getCallerIdentity:getCallerIdentity", {"id": UNKNOWN}, "unknown argument"),
    ],
)
def test_functions_are_strict(cloud: Cloud, token: str, args: dict[str, Any], message: str):
    with pytest.raises(ProviderError, match=message):
        cloud.backend.invoke(token, args, preview=False)


# --- what AWS says and the emulator does not ------------------------------------------------------


def test_addresses(cloud: Cloud, world: World):
    world.interface("10.20.0.10")
    refused(cloud, world, INTERFACE, world_interface(world, "10.20.0.10"), "InvalidIPAddress.InUse")
    refused(cloud, world, INTERFACE, world_interface(world, "10.99.0.10"), "does not fall within the subnet")
    refused(cloud, world, INTERFACE, world_interface(world, "10.20.0.3"), "reserved address range")
    launch = world.launch(privateIp="10.20.0.10")
    refused(cloud, world, INSTANCE, launch, "InvalidIPAddress.InUse: Address 10.20.0.10 is in use.")


def world_interface(world: World, address: str) -> dict[str, Any]:
    return {"subnetId": world.subnet.id, "privateIps": [address]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ami": "ami-ubuntu"}, 'InvalidAMIID.Malformed: Invalid id: "ami-ubuntu"'),
        ({"ami": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"instanceType": "t9.huge"}, "InvalidParameterValue: Invalid value 't9.huge' for InstanceType."),
        ({"iamInstanceProfile": "nobody"}, "Invalid IAM Instance Profile name"),
        (
            {"userDataBase64": base64.b64encode(bytes(16385)).decode()},
            "InvalidParameterValue: User data is limited to 16384 bytes",
        ),
        ({"vpcSecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound"),
        ({"rootBlockDevice": {"volumeSize": 4}}, "is smaller than snapshot"),
    ],
)
def test_launches(cloud: Cloud, world: World, change: dict[str, Any], message: str):
    refused(cloud, world, INSTANCE, world.launch(**change), message)


def test_the_largest_user_data_is_accepted(cloud: Cloud, world: World):
    text = base64.b64encode(bytes(16384)).decode()
    assert world.instance(userDataBase64=text).outputs["userDataBase64"] == text


def test_type_not_offered_in_the_zone(cloud: Cloud, world: World):
    ec2 = client("ec2")
    zones = {zone["ZoneName"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]}
    wanted = [{"Name": "instance-type", "Values": ["g4dn.xlarge"]}]
    offers = ec2.describe_instance_type_offerings(LocationType="availability-zone", Filters=wanted)
    zone = min(zones - {offer["Location"] for offer in offers["InstanceTypeOfferings"]})
    subnet = cloud.make(
        SUBNET, {"vpcId": world.vpc.id, "cidrBlock": "10.20.8.0/22", "availabilityZone": zone}
    )
    launch = world.launch(instanceType="g4dn.xlarge", subnetId=subnet.id, privateIp="10.20.8.9")
    refused(cloud, world, INSTANCE, launch, f"Unsupported: .*g4dn.xlarge.*{zone}")


def test_an_interface_serves_one_instance(cloud: Cloud, world: World):
    interface = world.interface()
    launch = {k: v for k, v in world.launch().items() if k not in ("subnetId", "privateIp")}
    launch["primaryNetworkInterface"] = {"networkInterfaceId": interface.id}
    cloud.make(INSTANCE, launch)
    refused(
        cloud, world, INSTANCE, launch, f"InvalidNetworkInterface.InUse: Interface: {interface.id} in use"
    )
    with pytest.raises(ProviderError, match="is currently in use"):
        cloud.delete(interface)


def test_a_disk_does_not_shrink(cloud: Cloud, world: World):
    instance = world.instance()
    smaller = {**instance.inputs["rootBlockDevice"], "volumeSize": 20}
    with pytest.raises(ProviderError, match="New size cannot be smaller than existing size"):
        cloud.change(instance, rootBlockDevice=smaller)


def test_protected_instances_stay_unless_forced(cloud: Cloud, world: World):
    instance = world.instance(disableApiTermination=True)
    with pytest.raises(ProviderError, match="OperationNotPermitted"):
        cloud.delete(instance)
    cloud.delete(cloud.change(instance, forceDestroy=True))
    assert cloud.refresh(instance) is None


def test_rules_are_not_doubled(cloud: Cloud, world: World):
    group = world.group()
    rules: list[dict[str, Any]] = [
        {"ipProtocol": "tcp", "fromPort": 6443, "toPort": 6443, "cidrIpv4": "192.0.2.0/24"},
        {"ipProtocol": "udp", "fromPort": 4789, "toPort": 4789, "referencedSecurityGroupId": group.id},
        {"ipProtocol": "-1", "cidrIpv4": "192.0.2.0/24"},
    ]
    made = [cloud.make(INGRESS, {"securityGroupId": group.id, **rule}) for rule in rules]
    for rule in rules:
        again = {"securityGroupId": group.id, **rule, "description": "again"}
        refused(cloud, world, INGRESS, again, "InvalidPermission.Duplicate")
    with pytest.raises(ProviderError, match=r"InvalidPermission\.Duplicate"):
        cloud.change(
            cloud.make(INGRESS, {"securityGroupId": group.id, **rules[0], "toPort": 6444}), toPort=6443
        )
    assert all(cloud.refresh(rule) is not None for rule in made)


@pytest.mark.parametrize(
    ("typ", "inputs", "message"),
    [
        (SUBNET, {"cidrBlock": "10.20.1.0/24"}, "InvalidSubnet.Conflict"),
        (SUBNET, {"cidrBlock": "10.99.0.0/24"}, "InvalidSubnet.Range"),
        (
            SUBNET,
            {"cidrBlock": "10.20.8.0/24", "availabilityZone": "us-east-1q"},
            "availabilityZone is invalid",
        ),
    ],
)
def test_subnets(cloud: Cloud, world: World, typ: str, inputs: dict[str, Any], message: str):
    refused(cloud, world, typ, {"vpcId": world.vpc.id, **inputs}, message)


def test_reservations(cloud: Cloud, world: World):
    typ = "aws:ec2/subnetCidrReservation:SubnetCidrReservation"
    inputs = {"subnetId": world.subnet.id, "reservationType": "explicit"}
    refused(cloud, world, typ, {**inputs, "cidrBlock": "10.99.0.0/24"}, "is not within the subnet")
    cloud.make(typ, {**inputs, "cidrBlock": "10.20.0.0/23"})
    refused(cloud, world, typ, {**inputs, "cidrBlock": "10.20.0.0/24"}, "overlap")


def test_associations(cloud: Cloud, world: World):
    typ = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    inputs = {"routeTableId": world.table().id, "subnetId": world.subnet.id}
    cloud.make(typ, inputs)
    refused(cloud, world, typ, inputs, "Resource.AlreadyAssociated")
    gateways = "aws:ec2/internetGateway:InternetGateway"
    world.gateway()
    with pytest.raises(Exception, match="already has an internet gateway attached"):
        cloud.make(gateways, {"vpcId": world.vpc.id})


@pytest.mark.parametrize(
    ("typ", "make", "code"),
    [
        (ROLE, lambda: {"name": unique("r"), "assumeRolePolicy": TRUST}, "EntityAlreadyExists"),
        ("aws:iam/instanceProfile:InstanceProfile", lambda: {"name": unique("p")}, "EntityAlreadyExists"),
        (
            PARAMETER,
            lambda: {"name": f"/{unique('c')}/x", "type": "String", "value": "v"},
            "ParameterAlreadyExists",
        ),
    ],
)
def test_names_are_taken_once(
    cloud: Cloud, world: World, typ: str, make: Callable[[], dict[str, Any]], code: str
):
    inputs = make()
    cloud.make(typ, inputs)
    refused(cloud, world, typ, inputs, code)


def test_aliases_and_group_names_are_taken_once(cloud: Cloud, world: World):
    alias = {"name": f"alias/{unique('a')}", "targetKeyId": world.key().id}
    cloud.make(ALIAS, alias)
    refused(cloud, world, ALIAS, alias, "AlreadyExistsException")
    group = {"vpcId": world.vpc.id, "name": unique("g")}
    cloud.make("aws:ec2/securityGroup:SecurityGroup", group)
    refused(cloud, world, "aws:ec2/securityGroup:SecurityGroup", group, "InvalidGroup.Duplicate")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": "x" * 4097}, "ValidationException: Standard tier parameters support a maximum .* 4096"),
        ({"value": "x" * 8193, "tier": "Advanced"}, "maximum parameter value of 8192"),
        ({"value": "{{ secret }}"}, "ValidationException: Parameter value can't nest another parameter"),
        ({"value": ""}, "length greater than or equal to 1"),
        ({"name": "a/b"}, "must be a fully qualified name"),
        ({"name": "/aws/x"}, "can't be prefixed with"),
        ({"name": "/a" * 16}, "HierarchyLevelLimitExceededException"),
        ({"type": "SecureString", "keyId": "alias/none"}, "InvalidKeyId"),
    ],
)
def test_parameters(cloud: Cloud, world: World, change: dict[str, Any], message: str):
    inputs = {"name": f"/{unique('c')}/x", "type": "String", "value": "v", **change}
    refused(cloud, world, PARAMETER, inputs, message)


def test_parameter_messages_never_show_the_value(cloud: Cloud):
    for value in ("hidden" * 700, "hidden {{x}}"):
        with pytest.raises(ProviderError) as caught:
            cloud.make(PARAMETER, {"name": f"/{unique('c')}/x", "type": "String", "value": value})
        assert "hidden" not in str(caught.value)


def test_the_largest_parameters_are_accepted(cloud: Cloud, world: World):
    assert len(world.parameter(value="x" * 4096).outputs["value"]) == 4096
    assert len(world.parameter(value="x" * 8192, tier="Advanced").outputs["value"]) == 8192


def test_parameters_do_not_step_down(cloud: Cloud, world: World):
    with pytest.raises(ProviderError, match="ValidationException"):
        cloud.change(world.parameter(tier="Advanced"), tier="Standard")


def test_a_key_about_to_be_deleted_encrypts_nothing(cloud: Cloud, world: World):
    key = world.key()
    cloud.delete(key)
    inputs = {"name": f"/{unique('c')}/x", "type": "SecureString", "value": "v", "keyId": key.outputs["arn"]}
    refused(cloud, world, PARAMETER, inputs, "InvalidKeyId: .* is not enabled")


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ([STATEMENT], "Policy statement must contain principals"),
        ([{**STATEMENT, "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/nobody"}}], "invalid principals"),
        (
            [{**STATEMENT, "Action": "kms:Decrypt", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}],
            "will not allow you to update the key policy",
        ),
        ([{**STATEMENT, "Effect": "Permit", "Principal": "*"}], "effect Allow or Deny"),
        ([{**STATEMENT, "Principals": "*"}], "Syntax errors in policy"),
        ([], "Syntax errors in policy"),
    ],
)
def test_key_policies(cloud: Cloud, world: World, statements: list[dict[str, Any]], message: str):
    text = document(*statements)
    refused(cloud, world, KEY, {"policy": text}, f"MalformedPolicyDocumentException: .*{message}")
    with pytest.raises(ProviderError, match="MalformedPolicyDocumentException"):
        cloud.change(world.key(), policy=text)


def test_a_key_policy_may_name_a_role_that_exists(cloud: Cloud, world: World):
    role = world.role()
    root = json.loads(ROOT_ONLY)["Statement"]
    extra = statement(Action="kms:Decrypt", Principal={"AWS": role.outputs["arn"]})
    key = cloud.make(KEY, {"policy": document(*root, extra)})
    assert cloud.drift(key) == set()


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (document({"Effect": "Allow", "Resource": "*"}), "must contain actions"),
        (document({"Effect": "Allow", "Action": "ssm:*"}), "must contain resources"),
        (document(statement(Principal="*")), "should not specify a principal"),
        (document(statement(Resource=["x" * 100] * 110)), "Maximum policy size of 10240 bytes exceeded"),
        ('{"Version": "2020-01-01", "Statement": []}', "valid version"),
    ],
)
def test_role_policies(cloud: Cloud, world: World, policy: str, message: str):
    refused(cloud, world, ROLE_POLICY, {"role": world.role().id, "name": "p", "policy": policy}, message)


def test_trust_policies(cloud: Cloud, world: World):
    for text, message in (
        (document({"Effect": "Allow", "Action": "sts:AssumeRole"}), "must contain principals"),
        (document(statement(Principal="*")), "Has prohibited field Resource"),
    ):
        refused(cloud, world, ROLE, {"name": unique("r"), "assumeRolePolicy": text}, message)


def test_things_in_use_are_not_deleted(cloud: Cloud, world: World):
    group, other = world.group(), world.group()
    cloud.make(
        INGRESS, {"securityGroupId": other.id, "ipProtocol": "-1", "referencedSecurityGroupId": group.id}
    )
    interface = world.interface(securityGroups=[other.id])
    gateway, address = world.gateway(), world.address()
    cloud.change(address, networkInterface=interface.id)
    role = world.role()
    cloud.make(ROLE_POLICY, {"role": role.id, "name": "p", "policy": document(statement(Action="ssm:*"))})
    for thing, code in (
        (world.vpc, "DependencyViolation"),
        (world.subnet, "DependencyViolation"),
        (group, "DependencyViolation"),
        (other, "DependencyViolation"),
        (gateway, "DependencyViolation: Network .* mapped public address"),
        (role, "DeleteConflict"),
    ):
        with pytest.raises(ProviderError, match=code):
            cloud.delete(thing)
        assert cloud.refresh(thing) is not None


def test_a_delete_waits_for_what_is_about_to_go(world: World):
    backend = AwsBackend(patience=20)
    backend.configure(settings())
    interface, subnet = world.interface(), world.subnet
    later = threading.Timer(1, world.cloud.delete, [interface])
    later.start()
    backend.delete(subnet.urn, subnet.typ, subnet.id, subnet.inputs, subnet.outputs, timeout=0)
    later.join()
    assert world.cloud.refresh(subnet) is None


def test_a_cancelled_delete_stops_waiting(world: World):
    backend = AwsBackend(patience=600)
    backend.configure(settings())
    world.interface()
    backend.cancel()
    subnet = world.subnet
    with pytest.raises(ProviderError, match="DependencyViolation"):
        backend.delete(subnet.urn, subnet.typ, subnet.id, subnet.inputs, subnet.outputs, timeout=0)


def refused(cloud: Cloud, world: World, typ: str, inputs: dict[str, Any], message: str) -> None:
    """The create fails with this message, and nothing that it would have made exists."""
    before = _inventory(world)
    with pytest.raises(ProviderError, match=message):
        cloud.make(typ, inputs)
    assert _inventory(world) == before


def _inventory(world: World) -> dict[str, int]:
    ec2, here = client("ec2"), [{"Name": "vpc-id", "Values": [world.vpc.id]}]
    rules = ec2.describe_security_group_rules()["SecurityGroupRules"]
    return {
        "subnets": len(ec2.describe_subnets(Filters=here)["Subnets"]),
        "interfaces": len(ec2.describe_network_interfaces(Filters=here)["NetworkInterfaces"]),
        "instances": len(ec2.describe_instances(Filters=here)["Reservations"]),
        "groups": len(ec2.describe_security_groups(Filters=here)["SecurityGroups"]),
        "rules": len(rules),
        "keys": len(client("kms").list_keys()["Keys"]),
        "parameters": len(client("ssm").describe_parameters()["Parameters"]),
        "roles": len(client("iam").list_roles()["Roles"]),
    }

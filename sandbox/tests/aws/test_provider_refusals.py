"""What AWS would refuse is refused: with AWS's code and message, and with nothing changed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.tests.aws import aws_provider as aws
from sandbox.tests.aws.aws_provider import (
    ACCOUNT,
    ROOT_ONLY,
    Cloud,
    ProviderError,
    Resource,
    World,
    client,
    document,
    statement,
)
from sandbox.tests.aws.emulator_server import IMAGE, error_code, refusal
from sandbox.tests.aws.samples import SAMPLES


@pytest.fixture
def world(cloud: Cloud) -> World:
    return World(cloud)


def group_elsewhere(world: World) -> list[str]:
    return [World(world.cloud).group().id]


def subnet_without_gpus(world: World) -> str:
    ec2 = client("ec2")
    zones = {zone["ZoneName"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]}
    wanted = [{"Name": "instance-type", "Values": ["g4dn.xlarge"]}]
    offers = ec2.describe_instance_type_offerings(LocationType="availability-zone", Filters=wanted)
    zone = min(zones - {offer["Location"] for offer in offers["InstanceTypeOfferings"]})
    subnet = {"vpcId": world.vpc.id, "cidrBlock": "10.20.8.0/22", "availabilityZone": zone}
    return world.cloud.make(aws.SUBNET, subnet).id


def deleted_key(world: World) -> str:
    key = world.key()
    world.cloud.delete(key)
    return str(key.outputs["arn"])


STARTED_TYPE = "InvalidParameterValue: Invalid value 't9.huge' for InstanceType."
# Type, inputs that are other than those of its sample, and what is said.
TAKEN: list[tuple[str, dict[str, Any], str]] = [
    (aws.RESERVATION, {}, "overlap"),
    (aws.ASSOCIATION, {}, "Resource.AlreadyAssociated"),
    (aws.GATEWAY, {}, "already has an internet gateway attached"),
    (aws.INSTANCE, {}, "InvalidIPAddress.InUse: Address 10.20.0.11 is in use."),
    (aws.GROUP, {}, "InvalidGroup.Duplicate"),
    (aws.INGRESS, {}, "InvalidPermission.Duplicate"),
    (aws.INGRESS, {"ipProtocol": "-1", "fromPort": None, "toPort": None}, "InvalidPermission.Duplicate"),
    (aws.EGRESS, {}, "InvalidPermission.Duplicate"),
    (aws.ROLE, {}, "EntityAlreadyExists"),
    (aws.PROFILE, {}, "EntityAlreadyExists"),
    (aws.ALIAS, {}, "AlreadyExistsException"),
    (aws.PARAMETER, {}, "ParameterAlreadyExists"),
]
TOO_MUCH = base64.b64encode(bytes(16385)).decode()
TOO_SMALL = {"volumeSize": 4}
TOO_LONG = document(statement(Resource=["x" * 100] * 110))
WITHOUT_PRINCIPAL = document({"Effect": "Allow", "Action": "sts:AssumeRole"})
WITH_PRINCIPAL = document(statement(Principal="*"))
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (aws.SUBNET, {"cidrBlock": "10.20.1.0/24"}, "InvalidSubnet.Conflict"),
    (aws.SUBNET, {"cidrBlock": "10.99.0.0/24"}, "InvalidSubnet.Range"),
    (aws.SUBNET, {"availabilityZone": "us-east-1q"}, "availabilityZone is invalid"),
    (aws.RESERVATION, {"cidrBlock": "10.99.0.0/24"}, "should be within subnet"),
    (aws.INTERFACE, {"privateIps": ["10.99.0.10"]}, "does not fall within the subnet"),
    (aws.INTERFACE, {"privateIps": ["10.20.0.3"]}, "reserved address range"),
    (aws.INTERFACE, {"privateIps": ["10.20.3.255"]}, "reserved address range"),
    (aws.INTERFACE, {"securityGroups": group_elsewhere}, "InvalidParameter: .* different networks"),
    (aws.INSTANCE, {"ami": "ami-ubuntu"}, 'InvalidAMIID.Malformed: Invalid id: "ami-ubuntu"'),
    (aws.INSTANCE, {"ami": "ami-00000000000000000"}, "couldn't find resource"),
    (aws.INSTANCE, {"instanceType": "t9.huge"}, STARTED_TYPE),
    (
        aws.INSTANCE,
        {"instanceType": "g4dn.xlarge", "subnetId": subnet_without_gpus, "privateIp": "10.20.8.9"},
        "Unsupported: .*g4dn.xlarge.*us-east-1",
    ),
    (
        aws.INSTANCE,
        {"userDataBase64": TOO_MUCH},
        "InvalidParameterValue: User data is limited to 16384 bytes",
    ),
    (aws.INSTANCE, {"vpcSecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound"),
    (aws.INSTANCE, {"vpcSecurityGroupIds": group_elsewhere}, "InvalidParameter: .* different networks"),
    (aws.INSTANCE, {"rootBlockDevice": TOO_SMALL}, "InvalidBlockDeviceMapping: .* smaller than snapshot"),
    (aws.ROLE, {"assumeRolePolicy": WITHOUT_PRINCIPAL}, "must contain principals"),
    (aws.ROLE, {"assumeRolePolicy": WITH_PRINCIPAL}, "Has prohibited field Resource"),
    (aws.ROLE_POLICY, {"policy": document({"Effect": "Allow", "Resource": "*"})}, "must contain actions"),
    (aws.ROLE_POLICY, {"policy": document({"Effect": "Allow", "Action": "ssm:*"})}, "must contain resources"),
    (aws.ROLE_POLICY, {"policy": WITH_PRINCIPAL}, "should not specify a principal"),
    (aws.ROLE_POLICY, {"policy": TOO_LONG}, "Maximum policy size of 10240"),
    (aws.ROLE_POLICY, {"policy": '{"Version": "2020-01-01", "Statement": []}'}, "valid version"),
    (aws.PARAMETER, {"value": "x" * 4097}, "ValidationException: Standard tier .* maximum .* 4096"),
    (aws.PARAMETER, {"value": "x" * 8193, "tier": "Advanced"}, "maximum parameter value of 8192"),
    (aws.PARAMETER, {"value": "{{ secret }}"}, "Parameter value can't nest another parameter"),
    (aws.PARAMETER, {"value": ""}, "length greater than or equal to 1"),
    (aws.PARAMETER, {"name": "a/b"}, "must be a fully qualified name"),
    (aws.PARAMETER, {"name": "/aws/x"}, "AccessDeniedException|can't be prefixed with"),
    (aws.PARAMETER, {"name": "/a" * 16}, "HierarchyLevelLimitExceededException"),
    (aws.PARAMETER, {"keyId": "alias/none"}, "InvalidKeyId"),
    (aws.PARAMETER, {"keyId": deleted_key}, "InvalidKeyId: .* is not enabled"),
]


@pytest.mark.parametrize(("typ", "change", "message"), TAKEN)
def test_what_there_is_already(cloud: Cloud, world: World, typ: str, change: dict[str, Any], message: str):
    inputs = inputs_of(world, typ, change)
    cloud.make(typ, inputs)
    _is_refused(cloud, typ, inputs, message)


@pytest.mark.parametrize(("typ", "change", "message"), REFUSED)
def test_what_is_not_made(cloud: Cloud, world: World, typ: str, change: dict[str, Any], message: str):
    _is_refused(cloud, typ, inputs_of(world, typ, change), message)


def inputs_of(world: World, typ: str, change: dict[str, Any]) -> dict[str, Any]:
    changed = {name: value(world) if callable(value) else value for name, value in change.items()}
    return {**SAMPLES[typ].inputs(world), **changed}


def _is_refused(cloud: Cloud, typ: str, inputs: dict[str, Any], message: str) -> None:
    before = _inventory()
    with pytest.raises(ProviderError, match=message) as caught:
        cloud.make(typ, inputs)
    assert _inventory() == before
    value = inputs.get("value")  # of a parameter: it may be a secret
    assert not value or len(value) < 6 or value not in str(caught.value)


def _inventory() -> dict[str, int]:
    ec2, iam = client("ec2"), client("iam")
    return {
        "vpcs": len(ec2.describe_vpcs()["Vpcs"]),
        "subnets": len(ec2.describe_subnets()["Subnets"]),
        "interfaces": len(ec2.describe_network_interfaces()["NetworkInterfaces"]),
        "instances": len(ec2.describe_instances()["Reservations"]),
        "groups": len(ec2.describe_security_groups()["SecurityGroups"]),
        "rules": len(ec2.describe_security_group_rules()["SecurityGroupRules"]),
        "keys": len(client("kms").list_keys()["Keys"]),
        "aliases": len(client("kms").list_aliases()["Aliases"]),
        "parameters": len(client("ssm").describe_parameters()["Parameters"]),
        "roles": len(iam.list_roles()["Roles"]),
        "profiles": len(iam.list_instance_profiles()["InstanceProfiles"]),
    }


def test_the_largest_values_are_accepted(cloud: Cloud, world: World):
    text = base64.b64encode(bytes(16384)).decode()
    assert world.instance(userDataBase64=text).outputs["userDataBase64"] == text
    for size, tier in ((4096, "Standard"), (8192, "Advanced")):
        assert len(world.parameter(value="x" * size, tier=tier).outputs["value"]) == size


NOBODY = {"AWS": f"arn:aws:iam::{ACCOUNT}:role/nobody"}
ROOT = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        ([statement(Action="kms:*")], "Policy statement must contain principals"),
        ([statement(Action="kms:*", Principal=NOBODY)], "invalid principals"),
        ([statement(Action="kms:Decrypt", Principal=ROOT)], "will not allow you to update the key policy"),
        ([statement(Effect="Permit", Principal="*")], "effect Allow or Deny"),
        ([statement(Principals="*")], "Syntax errors in policy"),
        ([], "Syntax errors in policy"),
    ],
)
def test_key_policies(world: World, statements: list[dict[str, Any]], message: str):
    """Asked without the provider, which tries again for minutes: a principal may have been made just now."""
    kms, text = client("kms"), document(*statements)
    changed = {"KeyId": world.key().id, "PolicyName": "default"}
    for call, arguments in ((kms.create_key, {}), (kms.put_key_policy, changed)):
        code, words = refusal(call, **arguments, Policy=text)
        assert (code, message in words) == ("MalformedPolicyDocumentException", True), words


def test_a_profile_that_is_not_there_and_a_lower_tier(world: World):
    """Without the provider as well."""
    ec2, profile = client("ec2"), {"IamInstanceProfile": {"Name": "nobody"}}
    launch = {"ImageId": IMAGE, "InstanceType": "t3.large", "MinCount": 1, "MaxCount": 1}
    of_instance = {"InstanceId": world.instance().id}
    tier = {"Name": world.parameter(tier="Advanced").id, "Value": "x", "Tier": "Standard", "Overwrite": True}
    for call, arguments, words in (
        (ec2.run_instances, {**launch, **profile}, "Invalid IAM Instance Profile name"),
        (ec2.associate_iam_instance_profile, {**of_instance, **profile}, "Invalid IAM Instance Profile name"),
        (client("ssm").put_parameter, tier, "You can't downgrade"),
    ):
        assert words in refusal(call, **arguments)[1]


def test_a_key_policy_may_name_a_role_that_exists(cloud: Cloud, world: World):
    extra = statement(Action="kms:Decrypt", Principal={"AWS": world.role().outputs["arn"]})
    key = cloud.make(aws.KEY, {"policy": document(*json.loads(ROOT_ONLY)["Statement"], extra)})
    assert cloud.drift(key) == set()


DISK = {"encrypted": True, "volumeType": "gp3", "volumeSize": 20}


@pytest.mark.parametrize(
    ("make", "change", "message"),
    [
        (World.instance, {"rootBlockDevice": DISK}, "New size cannot be smaller than existing size"),
        (World.instance, {"instanceType": "t9.huge"}, STARTED_TYPE),
        (World.role, {"assumeRolePolicy": WITH_PRINCIPAL}, "prohibited field Resource"),
        (World.gateway, {"vpcId": "vpc-0123456789abcdef0"}, "InvalidVpcID.NotFound"),
    ],
)
def test_what_is_not_changed(
    cloud: Cloud, world: World, make: Callable[[World], Resource], change: dict[str, Any], message: str
):
    with pytest.raises(ProviderError, match=message):
        cloud.change(make(world), **change)


def test_a_rule_does_not_become_another(cloud: Cloud, world: World):
    inputs = SAMPLES[aws.INGRESS].inputs(world)
    cloud.make(aws.INGRESS, inputs)
    other = cloud.make(aws.INGRESS, {**inputs, "toPort": 4790})
    with pytest.raises(ProviderError, match=r"InvalidPermission\.Duplicate"):
        cloud.change(other, toPort=4789)


def test_things_in_use_are_not_deleted(cloud: Cloud, world: World):
    """Asked without the provider, which would try again for twenty minutes."""
    ec2, iam = client("ec2"), client("iam")
    group, other = world.group(), world.group()
    of_another = {"securityGroupId": other.id, "ipProtocol": "-1", "referencedSecurityGroupId": group.id}
    cloud.make(aws.INGRESS, of_another)
    held = world.interface(securityGroups=[other.id])
    gateway, address = world.gateway(), world.address()
    cloud.change(address, networkInterface=held.id)
    role = world.role()
    cloud.make(aws.ROLE_POLICY, {"role": role.id, "name": "p", "policy": document(statement())})
    launched = World(cloud).launch_on_interface()
    cloud.make(aws.INSTANCE, launched)
    with_gateway, with_group = World(cloud), World(cloud)
    with_gateway.gateway(), with_group.group()
    for each in (with_gateway, with_group):
        cloud.delete(each.subnet)
    for call, arguments in (
        (ec2.delete_vpc, {"VpcId": world.vpc.id}),
        (ec2.delete_vpc, {"VpcId": with_gateway.vpc.id}),
        (ec2.delete_vpc, {"VpcId": with_group.vpc.id}),
        (ec2.delete_subnet, {"SubnetId": world.subnet.id}),
        (ec2.delete_security_group, {"GroupId": group.id}),
        (ec2.delete_security_group, {"GroupId": other.id}),
        (ec2.detach_internet_gateway, {"InternetGatewayId": gateway.id, "VpcId": world.vpc.id}),
    ):
        assert error_code(call, **arguments) == "DependencyViolation", arguments
    assert error_code(iam.delete_role, RoleName=role.id) == "DeleteConflict"
    attached = launched["primaryNetworkInterface"]["networkInterfaceId"]
    assert error_code(ec2.delete_network_interface, NetworkInterfaceId=attached) == "InvalidParameterValue"

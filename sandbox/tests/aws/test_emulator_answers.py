"""What the official AWS provider reads into its state is in the emulator's answers, as AWS gives it.

The resources are made as the program makes them. Each row is a call that the provider makes to read
one of them (`hashicorp/terraform-provider-aws`, internal/service/{ec2,iam,kms,ssm}, the Read
functions), with the fields that it takes from the answer; what AWS says there is on the page of the
operation in AWS's API reference, e.g. docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVpcs.html.
A value of `...` stands for any that is not empty.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import jmespath
import pytest
from botocore.exceptions import ClientError

from sandbox.config import ACCOUNT_ID
from sandbox.tests.aws.aws_provider import ROOT_ONLY, TRUST, client, document, statement
from sandbox.tests.aws.emulator_server import IMAGE, REGION, described

TAGS = [{"Key": "kubepark:cluster", "Value": "lab"}]
SCRIPT = b"\x1f\x8b#!/bin/sh"


def tagged(kind: str) -> dict[str, Any]:
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": TAGS}]}


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """Ids of one resource of each type of the program: `{vpc}` in the rows below."""
    ec2, iam, kms, ssm = (client(name) for name in ("ec2", "iam", "kms", "ssm"))
    vpc = ec2.create_vpc(CidrBlock="10.20.0.0/16", **tagged("vpc"))["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    subnet = ec2.create_subnet(
        VpcId=vpc, CidrBlock="10.20.0.0/22", AvailabilityZone="us-east-1a", **tagged("subnet")
    )["Subnet"]["SubnetId"]
    ec2.modify_subnet_attribute(SubnetId=subnet, MapPublicIpOnLaunch={"Value": True})
    reserved = {"SubnetId": subnet, "Cidr": "10.20.0.0/23", "ReservationType": "explicit"}
    ec2.create_subnet_cidr_reservation(**reserved)
    internet = ec2.create_internet_gateway(**tagged("internet-gateway"))["InternetGateway"]
    gateway = internet["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    table = ec2.create_route_table(VpcId=vpc, **tagged("route-table"))["RouteTable"]["RouteTableId"]
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    group = ec2.create_security_group(
        GroupName="nodes", Description="of nodes", VpcId=vpc, **tagged("security-group")
    )["GroupId"]
    rules = [
        {"IpProtocol": "udp", "FromPort": 4789, "ToPort": 4789,
         "UserIdGroupPairs": [{"GroupId": group, "Description": "overlay"}]},
        {"IpProtocol": "tcp", "FromPort": 6443, "ToPort": 6443,
         "IpRanges": [{"CidrIp": "203.0.113.7/32", "Description": "admins"}]},
    ]  # fmt: skip
    overlay, admins = (
        ec2.authorize_security_group_ingress(
            GroupId=group, IpPermissions=[rule], **tagged("security-group-rule")
        )["SecurityGroupRules"][0]["SecurityGroupRuleId"]
        for rule in rules
    )
    key = kms.create_key(
        Description="of a cluster", Policy=ROOT_ONLY, Tags=[{"TagKey": "a", "TagValue": "b"}]
    )["KeyMetadata"]
    kms.enable_key_rotation(KeyId=key["KeyId"])
    kms.create_alias(AliasName="alias/kubepark/lab", TargetKeyId=key["KeyId"])
    iam.create_role(RoleName="node", AssumeRolePolicyDocument=TRUST, Description="of a node", Tags=TAGS)
    iam.put_role_policy(RoleName="node", PolicyName="boot", PolicyDocument=document(statement()))
    iam.create_instance_profile(InstanceProfileName="node", Tags=TAGS)
    iam.add_role_to_instance_profile(InstanceProfileName="node", RoleName="node")
    interface = ec2.create_network_interface(
        SubnetId=subnet, PrivateIpAddress="10.20.0.10", Groups=[group], Description="of a master",
        **tagged("network-interface"),
    )["NetworkInterface"]["NetworkInterfaceId"]  # fmt: skip
    address = ec2.allocate_address(Domain="vpc", **tagged("elastic-ip"))["AllocationId"]
    ec2.associate_address(AllocationId=address, NetworkInterfaceId=interface, PrivateIpAddress="10.20.0.10")
    free = ec2.allocate_address(Domain="vpc")["AllocationId"]
    disk = {"VolumeSize": 40, "VolumeType": "gp3", "Encrypted": True, "KmsKeyId": key["Arn"]}
    launch = {
        "ImageId": IMAGE, "InstanceType": "t3.large", "MinCount": 1, "MaxCount": 1, "UserData": SCRIPT,
        "IamInstanceProfile": {"Name": "node"},
        "MetadataOptions": {"HttpEndpoint": "enabled", "HttpTokens": "required", "HttpPutResponseHopLimit": 2},
        "BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": {**disk, "DeleteOnTermination": True}}],
        "TagSpecifications": [{"ResourceType": kind, "Tags": TAGS} for kind in ("instance", "volume")],
    }  # fmt: skip
    own = {
        "DeviceIndex": 0, "SubnetId": subnet, "PrivateIpAddress": "10.20.0.11", "Groups": [group],
        "DeleteOnTermination": True,
    }  # fmt: skip
    given = {"DeviceIndex": 0, "NetworkInterfaceId": interface}
    master, worker = (
        ec2.run_instances(NetworkInterfaces=[network], **launch)["Instances"][0]["InstanceId"]
        for network in (given, own)
    )
    ssm.put_parameter(
        Name="/lab/join", Value="pending", Type="SecureString", KeyId=key["Arn"], Description="join record",
        Tags=TAGS,
    )  # fmt: skip
    return {
        "vpc": vpc, "subnet": subnet, "gateway": gateway, "table": table, "group": group, "overlay": overlay,
        "admins": admins, "key": key["KeyId"], "key_arn": key["Arn"], "interface": interface,
        "address": address, "free": free, "master": master, "worker": worker,
    }  # fmt: skip


INSTANCE = "Reservations[0].Instances[0]"
# (service, call, arguments, {path in the answer: value}); `{name}` is the id of what was made.
ROWS: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("ec2", "describe_vpcs", {"VpcIds": ["{vpc}"]}, {
        "Vpcs[0].[CidrBlock, InstanceTenancy, OwnerId]": ["10.20.0.0/16", "default", ACCOUNT_ID],
        "Vpcs[0].[DhcpOptionsId, State, IsDefault, Tags]": [..., "available", False, TAGS],
        "Vpcs[0].CidrBlockAssociationSet[0].CidrBlockState.State": "associated",
        "Vpcs[0].Ipv6CidrBlockAssociationSet": [],
    }),
    ("ec2", "describe_vpc_attribute", {"VpcId": "{vpc}", "Attribute": "enableDnsHostnames"},
     {"EnableDnsHostnames.Value": True}),
    ("ec2", "describe_vpc_attribute", {"VpcId": "{vpc}", "Attribute": "enableDnsSupport"},
     {"EnableDnsSupport.Value": True}),
    ("ec2", "describe_vpc_attribute", {"VpcId": "{vpc}", "Attribute": "enableNetworkAddressUsageMetrics"},
     {"EnableNetworkAddressUsageMetrics.Value": False}),
    ("ec2", "describe_network_acls", {"Filters": [{"Name": "vpc-id", "Values": ["{vpc}"]}]},
     {"NetworkAcls[].[NetworkAclId, IsDefault]": [[..., True]]}),
    ("ec2", "describe_route_tables", {"Filters": [{"Name": "association.main", "Values": ["true"]},
                                                  {"Name": "vpc-id", "Values": ["{vpc}"]}]},
     {"RouteTables[].[VpcId, RouteTableId]": [["{vpc}", ...]]}),
    ("ec2", "describe_subnets", {"SubnetIds": ["{subnet}"]}, {
        "Subnets[0].[VpcId, CidrBlock, AvailabilityZone, AvailabilityZoneId]":
            ["{vpc}", "10.20.0.0/22", "us-east-1a", ...],
        "Subnets[0].[MapPublicIpOnLaunch, AssignIpv6AddressOnCreation, EnableDns64, Ipv6Native]":
            [True, False, False, False],
        "Subnets[0].[MapCustomerOwnedIpOnLaunch, OwnerId, State, Tags]": [False, ACCOUNT_ID, "available", TAGS],
        "Subnets[0].SubnetArn": f"arn:aws:ec2:{REGION}:{ACCOUNT_ID}:subnet/{{subnet}}",
        "Subnets[0].PrivateDnsNameOptionsOnLaunch.[HostnameType, EnableResourceNameDnsARecord]":
            ["ip-name", False],
    }),
    ("ec2", "get_subnet_cidr_reservations", {"SubnetId": "{subnet}"},
     {"SubnetIpv4CidrReservations[].[SubnetCidrReservationId, SubnetId, Cidr, ReservationType, OwnerId]":
         [[..., "{subnet}", "10.20.0.0/23", "explicit", ACCOUNT_ID]]}),
    ("ec2", "describe_internet_gateways", {"InternetGatewayIds": ["{gateway}"]},
     {"InternetGateways[0].[OwnerId, Tags, Attachments]":
         [ACCOUNT_ID, TAGS, [{"State": "available", "VpcId": "{vpc}"}]]}),
    ("ec2", "describe_route_tables", {"RouteTableIds": ["{table}"]}, {
        "RouteTables[0].[VpcId, OwnerId, Tags]": ["{vpc}", ACCOUNT_ID, TAGS],
        "RouteTables[0].Routes[1].[DestinationCidrBlock, GatewayId, Origin, State]":
            ["0.0.0.0/0", "{gateway}", "CreateRoute", "active"],
        "RouteTables[0].Associations[0].[SubnetId, RouteTableId, Main, RouteTableAssociationId]":
            ["{subnet}", "{table}", False, ...],
        "RouteTables[0].Associations[0].AssociationState.State": "associated",
    }),
    ("ec2", "describe_security_groups", {"GroupIds": ["{group}"]}, {
        "SecurityGroups[0].[GroupName, Description, VpcId, OwnerId, Tags]":
            ["nodes", "of nodes", "{vpc}", ACCOUNT_ID, TAGS],
        "SecurityGroups[0].IpPermissions[0].UserIdGroupPairs[0].[GroupId, UserId, Description]":
            ["{group}", ACCOUNT_ID, "overlay"],
        "SecurityGroups[0].IpPermissions[1].[IpProtocol, FromPort, ToPort, IpRanges[0].Description]":
            ["tcp", 6443, 6443, "admins"],
    }),
    ("ec2", "describe_security_group_rules", {"SecurityGroupRuleIds": ["{overlay}"]}, {
        "SecurityGroupRules[0].[GroupId, GroupOwnerId, IsEgress]": ["{group}", ACCOUNT_ID, False],
        "SecurityGroupRules[0].[IpProtocol, FromPort, ToPort, Description]": ["udp", 4789, 4789, "overlay"],
        "SecurityGroupRules[0].[CidrIpv4, CidrIpv6, PrefixListId, Tags]": [None, None, None, TAGS],
        "SecurityGroupRules[0].ReferencedGroupInfo.[GroupId, UserId]": ["{group}", ACCOUNT_ID],
        "SecurityGroupRules[0].SecurityGroupRuleArn":
            f"arn:aws:ec2:{REGION}:{ACCOUNT_ID}:security-group-rule/{{overlay}}",
    }),
    ("ec2", "describe_security_group_rules", {"SecurityGroupRuleIds": ["{admins}"]},
     {"SecurityGroupRules[0].[CidrIpv4, Description, ReferencedGroupInfo]": ["203.0.113.7/32", "admins", None]}),
    ("ec2", "describe_network_interfaces", {"NetworkInterfaceIds": ["{interface}"]}, {
        "NetworkInterfaces[0].[SubnetId, Description, InterfaceType, SourceDestCheck]":
            ["{subnet}", "of a master", "interface", True],
        "NetworkInterfaces[0].[PrivateIpAddress, PrivateDnsName]":
            ["10.20.0.10", "ip-10-20-0-10.ec2.internal"],
        "NetworkInterfaces[0].PrivateIpAddresses[].[PrivateIpAddress, Primary]": [["10.20.0.10", True]],
        "NetworkInterfaces[0].[MacAddress, OwnerId, Groups[].GroupId]": [..., ACCOUNT_ID, ["{group}"]],
        "NetworkInterfaces[0].Attachment.[InstanceId, DeviceIndex, NetworkCardIndex, AttachmentId]":
            ["{master}", 0, 0, ...],
        "NetworkInterfaces[0].[Attachment.Status, Association.AllocationId]": ["attached", "{address}"],
        "NetworkInterfaces[0].[TagSet, Ipv6Addresses]": [TAGS, []],
    }),
    ("ec2", "describe_addresses", {"AllocationIds": ["{address}"]}, {
        "Addresses[0].[Domain, PublicIp, AssociationId]": ["vpc", ..., ...],
        "Addresses[0].[InstanceId, NetworkInterfaceId, PrivateIpAddress]":
            ["{master}", "{interface}", "10.20.0.10"],
        "Addresses[0].[NetworkBorderGroup, PublicIpv4Pool, Tags]": [REGION, "amazon", TAGS],
    }),
    ("ec2", "describe_addresses", {"AllocationIds": ["{free}"]},
     {"Addresses[0].[InstanceId, NetworkInterfaceId, PrivateIpAddress, AssociationId]": [None] * 4}),
    ("ec2", "describe_addresses_attribute", {"AllocationIds": ["{address}"], "Attribute": "domain-name"},
     {"Addresses[0].[AllocationId, PtrRecord]": ["{address}", None]}),
    ("ec2", "describe_instances", {"InstanceIds": ["{worker}"]}, {
        f"{INSTANCE}.[ImageId, InstanceType, State.Name]": [IMAGE, "t3.large", "running"],
        f"{INSTANCE}.[PrivateIpAddress, PrivateDnsName]": ["10.20.0.11", "ip-10-20-0-11.ec2.internal"],
        f"{INSTANCE}.[PublicIpAddress, KeyName, SubnetId]": [..., None, "{subnet}"],
        f"{INSTANCE}.Placement.[AvailabilityZone, Tenancy, GroupName]": ["us-east-1a", "default", ""],
        f"{INSTANCE}.IamInstanceProfile.Arn": f"arn:aws:iam::{ACCOUNT_ID}:instance-profile/node",
        f"{INSTANCE}.SecurityGroups[].GroupId": ["{group}"],
        f"{INSTANCE}.[SourceDestCheck, EbsOptimized, Monitoring.State]": [True, False, "disabled"],
        f"{INSTANCE}.CpuOptions.[CoreCount, ThreadsPerCore]": [1, 2],
        f"{INSTANCE}.[HibernationOptions.Configured, EnclaveOptions.Enabled]": [False, False],
        f"{INSTANCE}.MaintenanceOptions.AutoRecovery": "default",
        f"{INSTANCE}.CapacityReservationSpecification.CapacityReservationPreference": "open",
        f"{INSTANCE}.PrivateDnsNameOptions.[HostnameType, EnableResourceNameDnsARecord]": ["ip-name", False],
        f"{INSTANCE}.MetadataOptions.[HttpEndpoint, HttpTokens, HttpPutResponseHopLimit]":
            ["enabled", "required", 2],
        f"{INSTANCE}.MetadataOptions.[HttpProtocolIpv6, InstanceMetadataTags, State]":
            ["disabled", "disabled", "applied"],
        f"{INSTANCE}.NetworkInterfaces[].[NetworkInterfaceId, SubnetId, SourceDestCheck, Association.PublicIp]":
            [[..., "{subnet}", True, ...]],
        f"{INSTANCE}.NetworkInterfaces[0].Attachment.[DeviceIndex, NetworkCardIndex, DeleteOnTermination]":
            [0, 0, True],
        f"{INSTANCE}.NetworkInterfaces[0].PrivateIpAddresses[].[PrivateIpAddress, Primary]":
            [["10.20.0.11", True]],
        f"{INSTANCE}.[RootDeviceName, RootDeviceType]": ["/dev/sda1", "ebs"],
        f"{INSTANCE}.BlockDeviceMappings[].[DeviceName, Ebs.VolumeId, Ebs.DeleteOnTermination]":
            [["/dev/sda1", ..., True]],
        f"{INSTANCE}.Tags": TAGS,
    }),
    ("ec2", "describe_instances", {"InstanceIds": ["{master}"]}, {
        f"{INSTANCE}.NetworkInterfaces[].[NetworkInterfaceId, Attachment.DeleteOnTermination]":
            [["{interface}", False]],
        f"{INSTANCE}.[PublicIpAddress, NetworkInterfaces[0].Association.PublicIp]": [..., ...],
        f"{INSTANCE}.SecurityGroups[].GroupId": ["{group}"],
    }),
    *[("ec2", "describe_instance_attribute", {"InstanceId": "{worker}", "Attribute": name}, {path: value})
      for name, path, value in (
          ("disableApiTermination", "DisableApiTermination.Value", False),
          ("disableApiStop", "DisableApiStop.Value", False),
          ("instanceInitiatedShutdownBehavior", "InstanceInitiatedShutdownBehavior.Value", "stop"),
          ("userData", "UserData.Value", base64.b64encode(SCRIPT).decode()),
      )],
    ("ec2", "describe_instance_types", {"InstanceTypes": ["t3.large"]},
     {"InstanceTypes[0].BurstablePerformanceSupported": True}),
    ("ec2", "describe_instance_credit_specifications", {"InstanceIds": ["{worker}"]},
     {"InstanceCreditSpecifications[0].CpuCredits": "unlimited"}),
    ("ec2", "describe_volumes", {"Filters": [{"Name": "attachment.instance-id", "Values": ["{worker}"]}]}, {
        "Volumes[0].[Size, VolumeType, Iops, Throughput]": [40, "gp3", 3000, 125],
        "Volumes[0].[Encrypted, KmsKeyId, MultiAttachEnabled, Tags]": [True, "{key_arn}", False, TAGS],
        "Volumes[0].Attachments[].[InstanceId, Device, DeleteOnTermination]": [["{worker}", "/dev/sda1", True]],
    }),
    ("ec2", "describe_images", {"ImageIds": [IMAGE]},
     {"Images[0].[RootDeviceName, BlockDeviceMappings[0].DeviceName]": ["/dev/sda1", "/dev/sda1"]}),
    ("iam", "get_role", {"RoleName": "node"}, {
        "Role.[RoleName, Path, Description, MaxSessionDuration]": ["node", "/", "of a node", 3600],
        "Role.[Arn, RoleId, CreateDate, Tags]": [f"arn:aws:iam::{ACCOUNT_ID}:role/node", ..., ..., TAGS],
        "Role.[AssumeRolePolicyDocument, PermissionsBoundary]": [json.loads(TRUST), None],
    }),
    ("iam", "list_role_policies", {"RoleName": "node"}, {"[PolicyNames, IsTruncated]": [["boot"], False]}),
    ("iam", "list_attached_role_policies", {"RoleName": "node"},
     {"[AttachedPolicies, IsTruncated]": [[], False]}),
    ("iam", "list_instance_profiles_for_role", {"RoleName": "node"},
     {"[InstanceProfiles[].InstanceProfileName, IsTruncated]": [["node"], False]}),
    ("iam", "get_role_policy", {"RoleName": "node", "PolicyName": "boot"},
     {"[RoleName, PolicyName, PolicyDocument]": ["node", "boot", json.loads(document(statement()))]}),
    ("iam", "get_instance_profile", {"InstanceProfileName": "node"}, {
        "InstanceProfile.[InstanceProfileName, Path, Roles[].RoleName]": ["node", "/", ["node"]],
        "InstanceProfile.[InstanceProfileId, CreateDate, Tags]": [..., ..., TAGS],
        "InstanceProfile.Arn": f"arn:aws:iam::{ACCOUNT_ID}:instance-profile/node",
    }),
    ("kms", "describe_key", {"KeyId": "{key}"}, {
        "KeyMetadata.[Arn, KeyId, Description, Enabled]": ["{key_arn}", "{key}", "of a cluster", True],
        "KeyMetadata.[KeyState, KeyUsage, MultiRegion]": ["Enabled", "ENCRYPT_DECRYPT", False],
        "KeyMetadata.[CustomerMasterKeySpec, KeySpec, Origin]": ["SYMMETRIC_DEFAULT"] * 2 + ["AWS_KMS"],
    }),
    ("kms", "get_key_rotation_status", {"KeyId": "{key}"},
     {"[KeyRotationEnabled, RotationPeriodInDays]": [True, 365]}),
    ("kms", "get_key_policy", {"KeyId": "{key}", "PolicyName": "default"}, {"Policy": ROOT_ONLY}),
    ("kms", "list_resource_tags", {"KeyId": "{key}"},
     {"[Tags, Truncated]": [[{"TagKey": "a", "TagValue": "b"}], False]}),
    ("kms", "list_aliases", {}, {
        "Aliases[?AliasName=='alias/kubepark/lab'].[TargetKeyId, AliasArn]":
            [["{key}", f"arn:aws:kms:{REGION}:{ACCOUNT_ID}:alias/kubepark/lab"]],
    }),
    ("ssm", "get_parameter", {"Name": "/lab/join", "WithDecryption": True}, {
        "Parameter.[Name, Type, Value, Version, DataType]":
            ["/lab/join", "SecureString", "pending", 1, "text"],
        "Parameter.ARN": f"arn:aws:ssm:{REGION}:{ACCOUNT_ID}:parameter/lab/join",
    }),
    ("ssm", "describe_parameters",
     {"ParameterFilters": [{"Key": "Name", "Option": "Equals", "Values": ["/lab/join"]}]},
     {"Parameters[].[Name, Description, Tier, KeyId, DataType, AllowedPattern]":
         [["/lab/join", "join record", "Standard", "{key_arn}", "text", None]]}),
    ("ssm", "list_tags_for_resource", {"ResourceType": "Parameter", "ResourceId": "/lab/join"},
     {"TagList": TAGS}),
]  # fmt: skip


def filled(value: Any, made: dict[str, str]) -> Any:
    """`value` with the ids of what was made."""
    if isinstance(value, dict):
        return {key: filled(item, made) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, made) for item in value]
    if isinstance(value, str) and not value.startswith('{"'):  # a policy document is no template
        return value.format(**made)
    return value


def fits(wanted: Any, found: Any) -> bool:
    if wanted is ...:
        return found not in (None, "", [], {})
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(fits, wanted, found))
    return bool(wanted == found) and isinstance(wanted, bool) == isinstance(found, bool)


@pytest.mark.parametrize(
    ("service", "call", "arguments", "expected"), ROWS, ids=[f"{row[1]}-{n}" for n, row in enumerate(ROWS)]
)
def test_answers_have_what_the_provider_reads(
    made: dict[str, str], service: str, call: str, arguments: dict[str, Any], expected: dict[str, Any]
):
    answer = getattr(client(service), call)(**filled(arguments, made))
    for path, wanted in expected.items():
        found = jmespath.search(path, answer)
        assert fits(filled(wanted, made), found), f"{path}: {found}"


def test_changes_show_in_the_answers(made: dict[str, str]):
    """moto shows for ever what a rule or an instance was made with."""
    ec2, iam = client("ec2"), client("iam")
    change = {
        "IpProtocol": "udp", "FromPort": 4789, "ToPort": 4789, "ReferencedGroupId": made["group"],
        "Description": "VXLAN",
    }  # fmt: skip
    rule = {"SecurityGroupRuleId": made["overlay"], "SecurityGroupRule": change}
    ec2.modify_security_group_rules(GroupId=made["group"], SecurityGroupRules=[rule])
    rules = ec2.describe_security_group_rules(SecurityGroupRuleIds=[made["overlay"]])
    assert rules["SecurityGroupRules"][0]["Description"] == "VXLAN"
    iam.create_instance_profile(InstanceProfileName="other")
    here = [{"Name": "instance-id", "Values": [made["worker"]]}]
    (held,) = ec2.describe_iam_instance_profile_associations(Filters=here)["IamInstanceProfileAssociations"]
    ec2.replace_iam_instance_profile_association(
        AssociationId=held["AssociationId"], IamInstanceProfile={"Name": "other"}
    )
    ec2.stop_instances(InstanceIds=[made["worker"]])
    ec2.modify_instance_attribute(InstanceId=made["worker"], UserData={"Value": b"two"})
    found = described(ec2, made["worker"])
    assert found["IamInstanceProfile"]["Arn"].endswith("/other")
    assert "Association" not in found["NetworkInterfaces"][0], "stopped: it has no public address"
    data = ec2.describe_instance_attribute(InstanceId=made["worker"], Attribute="userData")["UserData"]
    assert base64.b64decode(data["Value"]) == b"two"
    ec2.terminate_instances(InstanceIds=[made["worker"]])
    assert described(ec2, made["worker"])["State"]["Name"] == "terminated"


@pytest.mark.parametrize(
    "option",
    [
        {"CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 1}},
        {"CreditSpecification": {"CpuCredits": "standard"}},
        {"HibernationOptions": {"Configured": True}},
        {"EnclaveOptions": {"Enabled": True}},
        {"MaintenanceOptions": {"AutoRecovery": "disabled"}},
        {"PrivateDnsNameOptions": {"HostnameType": "resource-name"}},
        {"CapacityReservationSpecification": {"CapacityReservationPreference": "none"}},
    ],
    ids=lambda option: next(iter(option)),
)
def test_a_launch_option_that_would_be_forgotten_is_refused(option: dict[str, Any]):
    with pytest.raises(ClientError, match=r"UnsupportedOperation.*not emulated"):
        client("ec2").run_instances(ImageId=IMAGE, MinCount=1, MaxCount=1, **option)

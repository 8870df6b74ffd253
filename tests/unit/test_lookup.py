"""Finding the thing whose creation was interrupted, against moto in this process."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from cli.errors import CommandError
from cli.lookup import Cloud, NotOurs, default_tags, knows

REGION = "us-east-1"
TAGS = {"kubepark:cluster": "c1"}
PROVIDER = "urn:pulumi:s::p::pulumi:providers:aws::aws"


@pytest.fixture
def aws(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        yield Cloud(lambda service: boto3.client(service, region_name=REGION))


def tagged(kind, **tags):
    listed = [{"Key": key, "Value": value} for key, value in {**TAGS, **tags}.items()]
    return [{"ResourceType": kind, "Tags": listed}]


def candidates(cloud, typ, **inputs):
    return cloud.candidates({"type": typ, "inputs": inputs}, TAGS)


def test_every_type_of_the_program_is_known():
    """The types are read from the program's text, so that a new one cannot be forgotten."""
    import re

    import pulumi_aws

    root = Path(__file__).resolve().parents[2] / "components"
    calls = set()
    for path in root.glob("*.py"):
        calls |= set(re.findall(r"\b(ec2|iam|kms|scheduler|ssm|vpc)\.([A-Z]\w+)\(", path.read_text()))
    types = set()
    for module, name in calls:
        made = getattr(getattr(pulumi_aws, module), name)
        if hasattr(made, "pulumi_type"):
            types.add(made.pulumi_type)
    assert len(types) >= 15
    assert {typ for typ in types if not knows(typ)} == set()


def test_ec2_objects_are_found_by_tags_and_inputs(aws):
    ec2 = boto3.client("ec2", region_name=REGION)
    vpc = ec2.create_vpc(CidrBlock="10.20.0.0/16", TagSpecifications=tagged("vpc"))["Vpc"]["VpcId"]
    ec2.create_vpc(CidrBlock="10.20.0.0/16")  # somebody else's
    assert candidates(aws, "aws:ec2/vpc:Vpc", cidrBlock="10.20.0.0/16") == [vpc]
    assert candidates(aws, "aws:ec2/vpc:Vpc", cidrBlock="10.99.0.0/16") == []

    made = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=cidr, TagSpecifications=tagged("subnet"))["Subnet"]["SubnetId"]
        for cidr in ("10.20.0.0/22", "10.20.4.0/22")
    ]
    found = candidates(aws, "aws:ec2/subnet:Subnet", vpcId=vpc, cidrBlock="10.20.4.0/22")
    assert found == [made[1]]

    address = ec2.allocate_address(Domain="vpc", TagSpecifications=tagged("elastic-ip", Name="master1"))
    assert candidates(aws, "aws:ec2/eip:Eip", tags={"Name": "master1"}) == [address["AllocationId"]]
    assert candidates(aws, "aws:ec2/eip:Eip", tags={"Name": "other"}) == []

    default = candidates(aws, "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", vpcId=vpc)
    assert len(default) == 1


def test_instances_that_end_do_not_count(aws):
    ec2 = boto3.client("ec2", region_name=REGION)
    image = ec2.describe_images()["Images"][0]["ImageId"]
    ids = [
        ec2.run_instances(
            ImageId=image,
            MinCount=1,
            MaxCount=1,
            InstanceType="m7i.large",
            TagSpecifications=tagged("instance", Name="worker01"),
        )["Instances"][0]["InstanceId"]
        for _ in range(2)
    ]
    ec2.terminate_instances(InstanceIds=ids[:1])
    found = candidates(aws, "aws:ec2/instance:Instance", instanceType="m7i.large", tags={"Name": "worker01"})
    assert found == ids[1:]


def test_rules_of_one_group_are_told_apart(aws):
    ec2 = boto3.client("ec2", region_name=REGION)
    vpc = ec2.create_vpc(CidrBlock="10.20.0.0/16")["Vpc"]["VpcId"]
    group = ec2.create_security_group(GroupName="g", Description="d", VpcId=vpc)["GroupId"]
    for port in (6443, 10250):
        ec2.authorize_security_group_ingress(
            GroupId=group,
            IpPermissions=[
                {
                    "IpProtocol": "tcp",
                    "FromPort": port,
                    "ToPort": port,
                    "IpRanges": [{"CidrIp": "10.0.0.0/8"}],
                }
            ],
        )
    rules = {
        rule["FromPort"]: rule["SecurityGroupRuleId"]
        for rule in ec2.describe_security_group_rules()["SecurityGroupRules"]
        if rule["GroupId"] == group and not rule["IsEgress"]
    }
    typ = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    wanted = {"securityGroupId": group, "ipProtocol": "tcp", "cidrIpv4": "10.0.0.0/8"}
    assert candidates(aws, typ, fromPort=6443, toPort=6443, **wanted) == [rules[6443]]
    assert candidates(aws, typ, fromPort=22, toPort=22, **wanted) == []


def test_keys_on_their_way_out_do_not_count(aws):
    kms = boto3.client("kms", region_name=REGION)
    tags = [{"TagKey": key, "TagValue": value} for key, value in {**TAGS, "Name": "data"}.items()]
    ids = [kms.create_key(Tags=tags)["KeyMetadata"]["KeyId"] for _ in range(2)]
    kms.create_key()
    kms.schedule_key_deletion(KeyId=ids[0], PendingWindowInDays=7)
    assert candidates(aws, "aws:kms/key:Key", tags={"Name": "data"}) == ids[1:]


def test_named_types_need_no_search(aws):
    assert candidates(aws, "aws:ssm/parameter:Parameter", name="/c1/join") == ["/c1/join"]
    assert candidates(aws, "aws:iam/rolePolicy:RolePolicy", role="r", name="p") == ["r:p"]
    config_map = {"metadata": {"namespace": "auth", "name": "dex"}}
    assert candidates(aws, "kubernetes:core/v1:ConfigMap", **config_map) == ["auth/dex"]
    assert candidates(aws, "kubernetes:core/v1:Namespace", metadata={"name": "auth"}) == ["auth"]
    assert candidates(aws, "other:index:Thing") is None


NAMES = {
    "aws:iam/role:Role": {"name": "c1-master1"},
    "aws:iam/rolePolicy:RolePolicy": {"role": "c1-master1", "name": "node"},
    "aws:iam/instanceProfile:InstanceProfile": {"name": "c1-master1"},
    "aws:kms/alias:Alias": {"name": "alias/kubepark/c1"},
    "aws:ssm/parameter:Parameter": {"name": "/c1/join"},
}


def made(**tags):
    """Something of each named type."""
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    iam = boto3.client("iam", region_name=REGION)
    iam.create_role(RoleName="c1-master1", AssumeRolePolicyDocument="{}", Tags=listed)
    iam.create_instance_profile(InstanceProfileName="c1-master1", Tags=listed)
    kms = boto3.client("kms", region_name=REGION)
    key = kms.create_key(Tags=[{"TagKey": key, "TagValue": value} for key, value in tags.items()])
    kms.create_alias(AliasName="alias/kubepark/c1", TargetKeyId=key["KeyMetadata"]["KeyId"])
    boto3.client("ssm", region_name=REGION).put_parameter(
        Name="/c1/join", Value="x", Type="String", Tags=listed
    )


@pytest.mark.parametrize("typ", NAMES)
def test_what_is_named_is_taken_over_only_with_the_tag_of_the_cluster(aws, typ):
    found = candidates(aws, typ, **NAMES[typ])
    assert len(found) == 1, "it does not exist: the provider's Read will say so"
    made(**TAGS)
    assert candidates(aws, typ, **NAMES[typ]) == found


@pytest.mark.parametrize("tags", [{}, {"kubepark:cluster": "other"}])
@pytest.mark.parametrize("typ", NAMES)
def test_what_somebody_else_has_named_so_is_not(aws, typ, tags):
    made(**tags)
    with pytest.raises(NotOurs, match="exists without the tag kubepark:cluster=c1: it is somebody else's"):
        candidates(aws, typ, **NAMES[typ])


def test_without_the_clusters_tag_nothing_of_aws_is_looked_for(aws):
    boto3.client("kms", region_name=REGION).create_key()
    for typ, inputs in {**NAMES, "aws:kms/key:Key": {}, "aws:ec2/eip:Eip": {}}.items():
        with pytest.raises(NotOurs, match="its provider tags nothing with kubepark:cluster"):
            aws.candidates({"type": typ, "inputs": inputs}, {})
    config_map = {"metadata": {"namespace": "auth", "name": "dex"}}
    assert aws.candidates({"type": "kubernetes:core/v1:ConfigMap", "inputs": config_map}, {}) == ["auth/dex"]
    assert aws.candidates({"type": "other:index:Thing"}, {}) is None


def test_credentials_of_another_account_are_an_error_for_there_nothing_would_be_found(aws):
    wanted = {"type": "aws:ec2/eip:Eip", "inputs": {}}
    assert Cloud(aws.client, "123456789012").candidates(wanted, TAGS) == []
    with pytest.raises(
        CommandError, match="is in account 999999999999; these credentials are of 123456789012"
    ):
        Cloud(aws.client, "999999999999").candidates(wanted, TAGS)


def test_tags_of_the_provider_are_json_text_in_the_state():
    assert default_tags({"inputs": {"defaultTags": '{"tags":{"kubepark:cluster":"c1"}}'}}) == TAGS
    assert default_tags({"inputs": {}}) == {}
    assert default_tags(None) == {}

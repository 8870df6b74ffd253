"""Finding the thing whose creation was interrupted, against moto in this process."""

from __future__ import annotations

from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from cli.errors import CommandError
from cli.lookup import Cloud, default_tags, knows
from cli.recovery import plan

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
        calls |= set(re.findall(r"\b(ec2|iam|kms|ssm|vpc)\.([A-Z]\w+)\(", path.read_text()))
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


def test_tags_of_the_provider_are_json_text_in_the_state():
    assert default_tags({"inputs": {"defaultTags": '{"tags":{"kubepark:cluster":"c1"}}'}}) == TAGS
    assert default_tags({"inputs": {}}) == {}
    assert default_tags(None) == {}


# -- the plan of a recovery ------------------------------------------------------------------------


class Found:
    """A cloud that answers one thing."""

    def __init__(self, ids):
        self.ids = ids
        self.asked = []

    def candidates(self, resource, tags):
        self.asked.append(tags)
        return self.ids


def deployment(*resources, pending):
    provider = {
        "urn": PROVIDER,
        "type": "pulumi:providers:aws",
        "id": "1",
        "inputs": {"defaultTags": '{"tags":{"kubepark:cluster":"c1"}}'},
    }
    return {"resources": [provider, *resources], "pending_operations": list(pending)}


def vpc(name, **more):
    urn = f"urn:pulumi:s::p::aws:ec2/vpc:Vpc::{name}"
    made = {"urn": urn, "type": "aws:ec2/vpc:Vpc", "custom": True, "provider": f"{PROVIDER}::1", "inputs": {}}
    return {**made, **more}


def creating(resource):
    return {"type": "creating", "resource": resource}


def test_what_exists_is_adopted_with_its_id():
    cloud = Found(["vpc-1"])
    after, adopted, unsettled, lines = plan(deployment(pending=[creating(vpc("a"))]), cloud)
    assert cloud.asked == [TAGS]
    assert after["resources"][-1]["id"] == "vpc-1"
    assert "pending_operations" not in after
    assert adopted == {vpc("a")["urn"]: "vpc-1"}
    assert (unsettled, lines) == ([], [])


def test_what_the_state_has_already_is_not_adopted_twice():
    before = deployment(vpc("b", id="vpc-1"), pending=[creating(vpc("a"))])
    after, adopted, _, lines = plan(before, Found(["vpc-1"]))
    assert adopted == {}
    assert len(after["resources"]) == 2
    assert "it will be created" in lines[0]


def test_components_and_providers_are_nowhere_to_be_looked_up():
    component = {"urn": "urn:pulumi:s::p::kubepark:x:X::x", "type": "kubepark:x:X", "inputs": {}}
    provider = {"urn": PROVIDER, "type": "pulumi:providers:aws", "custom": True, "inputs": {}}
    cloud = Found([])
    _, adopted, _, lines = plan(deployment(pending=[creating(component), creating(provider)]), cloud)
    assert (adopted, lines, cloud.asked) == ({}, [], [])


def test_a_later_run_may_have_made_it_good():
    before = deployment(vpc("a", id="vpc-1"), pending=[creating(vpc("a"))])
    _, adopted, _, lines = plan(before, Found(["vpc-1", "vpc-2"]))
    assert adopted == {}
    assert "made good by a later run" in lines[0]


def test_a_replacement_takes_the_place_of_what_was_deleted_for_it():
    """Its id may be the same, as with what is named by its inputs; its inputs, too."""
    old = vpc("a", id="vpc-1", pendingReplacement=True)
    dependent = vpc("b", id="vpc-9", dependencies=[old["urn"]])
    after, adopted, _, lines = plan(
        deployment(old, dependent, pending=[creating(vpc("a"))]), Found(["vpc-1"])
    )
    assert after["resources"][1:] == [vpc("a", id="vpc-1", outputs={}), dependent]
    assert adopted == {old["urn"]: "vpc-1"}
    assert lines == []


def test_what_a_replacement_was_made_before_is_still_to_be_deleted():
    old = vpc("a", id="vpc-1", inputs={"cidrBlock": "10.0.0.0/16"})
    dependent = vpc("b", id="vpc-9", dependencies=[old["urn"]])
    before = deployment(old, dependent, pending=[creating(vpc("a"))])
    after, adopted, _, _ = plan(before, Found(["vpc-1", "vpc-2"]))
    assert after["resources"][1:] == [vpc("a", id="vpc-2", outputs={}), {**old, "delete": True}, dependent]
    assert adopted == {old["urn"]: "vpc-2"}


def test_a_replacement_that_does_not_exist_is_left_to_the_engine():
    old = vpc("a", id="vpc-1", pendingReplacement=True)
    after, adopted, _, lines = plan(deployment(old, pending=[creating(vpc("a"))]), Found([]))
    assert after["resources"][1:] == [old]
    assert adopted == {}
    assert "it will be created" in lines[0]


def test_two_candidates_are_an_error_and_not_a_guess():
    with pytest.raises(CommandError, match=r"several may be the one .*vpc-1.*vpc-2"):
        plan(deployment(pending=[creating(vpc("a"))]), Found(["vpc-1", "vpc-2"]))


def test_other_operations_are_read_again_if_the_state_has_the_resource():
    pending = [{"type": "updating", "resource": vpc("a")}, {"type": "deleting", "resource": vpc("gone")}]
    _, _, unsettled, lines = plan(deployment(vpc("a", id="vpc-1"), pending=pending), Found([]))
    assert unsettled == [vpc("a")["urn"]]
    assert len(lines) == 2

"""Each row of the stand-in's table from create to delete, against the emulator."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from sandbox.providers.aws.rows import ROWS
from sandbox.providers.backend import UNKNOWN, PartialCreate, ProviderError
from tests.sandbox.aws_standin import (
    DEFAULT_TAGS,
    OTHER_IMAGE,
    ROOT_ONLY,
    TRUST,
    Cloud,
    World,
    client,
    document,
    outputs_fit_schema,
    statement,
    unique,
)


@dataclass(frozen=True)
class Sample:
    """How to make one, what of it can change in place, and where it differs from the rest."""

    inputs: Callable[[World], dict[str, Any]]
    change: dict[str, Any] = field(default_factory=dict)
    import_id: Callable[[dict[str, Any], str], str] = lambda inputs, id: id
    import_shows: frozenset[str] = frozenset()  # settings that AWS does not store
    survives: bool = False  # deleting it leaves what it manages


def _instance(world: World) -> dict[str, Any]:
    return world.launch(userDataBase64=base64.b64encode(b"\x1f\x8b script").decode(), tags={"Name": "w"})


SAMPLES: dict[str, Sample] = {
    "aws:ec2/vpc:Vpc": Sample(lambda w: {"cidrBlock": "10.9.0.0/16"}, {"enableDnsHostnames": True}),
    "aws:ec2/subnet:Subnet": Sample(
        lambda w: {"vpcId": w.vpc.id, "cidrBlock": "10.20.8.0/22"}, {"mapPublicIpOnLaunch": True}
    ),
    "aws:ec2/subnetCidrReservation:SubnetCidrReservation": Sample(
        lambda w: {"subnetId": w.subnet.id, "cidrBlock": "10.20.0.0/23", "reservationType": "explicit"},
        import_id=lambda inputs, id: f"{inputs['subnetId']}:{id}",
    ),
    "aws:ec2/internetGateway:InternetGateway": Sample(lambda w: {"vpcId": w.vpc.id}, {"tags": {"a": "b"}}),
    "aws:ec2/routeTable:RouteTable": Sample(lambda w: {"vpcId": w.vpc.id}, {"tags": {"a": "b"}}),
    "aws:ec2/route:Route": Sample(
        lambda w: {
            "routeTableId": w.table().id,
            "destinationCidrBlock": "0.0.0.0/0",
            "gatewayId": w.gateway().id,
        },
        import_id=lambda inputs, id: f"{inputs['routeTableId']}_{inputs['destinationCidrBlock']}",
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": Sample(
        lambda w: {"routeTableId": w.table().id, "subnetId": w.subnet.id},
        import_id=lambda inputs, id: f"{inputs['subnetId']}/{inputs['routeTableId']}",
    ),
    "aws:ec2/securityGroup:SecurityGroup": Sample(
        lambda w: {"vpcId": w.vpc.id, "description": "nodes", "name": unique("g")}, {"tags": {"a": "b"}}
    ),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": Sample(
        lambda w: {"vpcId": w.vpc.id}, {"tags": {"a": "b"}}, survives=True
    ),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": Sample(
        lambda w: {
            "securityGroupId": (group := w.group()).id,
            "ipProtocol": "udp",
            "fromPort": 4789,
            "toPort": 4789,
            "referencedSecurityGroupId": group.id,
            "description": "overlay",
        },
        {"toPort": 4790, "description": "wider"},
    ),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": Sample(
        lambda w: {"securityGroupId": w.group().id, "ipProtocol": "-1", "cidrIpv4": "0.0.0.0/0"},
        {"description": "anywhere"},
    ),
    "aws:ec2/vpcSecurityGroupRulesExclusive:VpcSecurityGroupRulesExclusive": Sample(
        lambda w: {"securityGroupId": w.group().id, "ingressRuleIds": [], "egressRuleIds": []},
        survives=True,
    ),
    "aws:ec2/networkInterface:NetworkInterface": Sample(
        lambda w: {"subnetId": w.subnet.id, "privateIps": ["10.20.0.10"], "securityGroups": [w.group().id]},
        {"description": "the master's"},
    ),
    "aws:ec2/eip:Eip": Sample(
        lambda w: {"domain": "vpc", "networkInterface": w.interface().id}, {"tags": {"a": "b"}}
    ),
    "aws:ec2/instance:Instance": Sample(_instance, {"instanceType": "t3.xlarge", "tags": {"Name": "x"}}),
    "aws:ec2transitgateway/instanceState:InstanceState": Sample(
        lambda w: {"instanceId": w.instance().id, "state": "stopped"}, {"state": "running"}, survives=True
    ),
    "aws:iam/role:Role": Sample(
        lambda w: {"assumeRolePolicy": TRUST, "name": unique("role")}, {"description": "of a node"}
    ),
    "aws:iam/rolePolicy:RolePolicy": Sample(
        lambda w: {
            "role": w.role().id,
            "name": "p",
            "policy": document(statement(Action=["ssm:GetParameter"])),
        },
        {"policy": document(statement(Action=["ssm:PutParameter"]))},
    ),
    "aws:iam/instanceProfile:InstanceProfile": Sample(
        lambda w: {"name": unique("profile"), "role": w.role().id}, {"tags": {"a": "b"}}
    ),
    "aws:kms/key:Key": Sample(
        lambda w: {"enableKeyRotation": True, "deletionWindowInDays": 7, "policy": ROOT_ONLY},
        {"description": "cluster", "enableKeyRotation": False},
        import_shows=frozenset({"deletionWindowInDays"}),
    ),
    "aws:kms/alias:Alias": Sample(lambda w: {"name": f"alias/{unique('k')}/x", "targetKeyId": w.key().id}),
    "aws:ssm/parameter:Parameter": Sample(
        lambda w: {
            "name": f"/{unique('c')}/join",
            "type": "SecureString",
            "keyId": w.key().outputs["arn"],
            "value": "pending",
        },
        {"value": "ready", "description": "join record"},
    ),
}


@pytest.fixture(scope="module")
def cloud() -> Cloud:
    return Cloud()


def test_every_row_has_a_sample():
    assert SAMPLES.keys() == ROWS.keys()


@pytest.mark.parametrize("typ", sorted(SAMPLES))
def test_life_of_a_row(cloud: Cloud, typ: str):
    sample = SAMPLES[typ]
    thing = cloud.make(typ, sample.inputs(World(cloud)))
    assert outputs_fit_schema(thing) == []
    assert thing.outputs["id"] == thing.id
    again = cloud.refresh(thing)
    assert again is not None
    assert (again.inputs, again.outputs) == (thing.inputs, thing.outputs), "a refresh finds no drift"

    imported = cloud.backend.read(typ, sample.import_id(thing.inputs, thing.id), {}, {})
    assert imported is not None
    assert imported.id == thing.id
    shown = cloud.backend.diff(typ, thing.id, imported.inputs, imported.outputs, thing.inputs)
    assert shown.changes.keys() == sample.import_shows

    if sample.change:
        assert cloud.changes(thing, {**_declared(thing.inputs), **sample.change})
        assert not cloud.replaces(thing, **sample.change)
        thing = cloud.change(thing, **sample.change)
        assert all(thing.outputs[name] == value for name, value in sample.change.items() if name != "tags")
        assert cloud.drift(thing) == set()

    cloud.delete(thing)
    assert (cloud.refresh(thing) is not None) is sample.survives
    cloud.delete(thing)  # gone already: no error


@pytest.mark.parametrize("typ", sorted(t for t, s in SAMPLES.items() if "tags" in s.change))
def test_tags_are_put_on_changed_and_taken_off(cloud: Cloud, typ: str):
    thing = cloud.make(typ, {**SAMPLES[typ].inputs(World(cloud)), "tags": {"one": "1", "two": "2"}})
    assert thing.outputs["tagsAll"] == {"one": "1", "two": "2", **DEFAULT_TAGS}
    assert thing.outputs["tags"] == {"one": "1", "two": "2"}
    thing = cloud.change(thing, tags={"two": "3"})
    now = cloud.refresh(thing)
    assert now is not None
    assert now.outputs["tagsAll"] == {"two": "3", **DEFAULT_TAGS}


def test_preview_foretells_declared_values_and_leaves_the_rest_unknown(cloud: Cloud):
    typ = "aws:ec2/vpc:Vpc"
    checked, _ = cloud.backend.check("urn:a::b::t::n", typ, {}, {"cidrBlock": "10.0.0.0/16"}, b"")
    before = client("ec2").describe_vpcs()["Vpcs"]
    outputs = cloud.backend.create(typ, checked, preview=True).outputs
    assert outputs["cidrBlock"] == "10.0.0.0/16"
    assert outputs["enableDnsSupport"] is True
    assert repr(outputs["arn"]) == "UNKNOWN"
    assert client("ec2").describe_vpcs()["Vpcs"] == before


def test_drift_made_behind_the_back_is_seen(cloud: Cloud):
    world = World(cloud)
    ec2 = client("ec2")
    instance = world.instance(tags={"Name": "w"})
    ec2.create_tags(Resources=[instance.id], Tags=[{"Key": "foo", "Value": "bar"}])
    assert cloud.drift(instance) == {"tags.foo", "tagsAll.foo"}
    ec2.stop_instances(InstanceIds=[instance.id])
    ec2.modify_instance_attribute(InstanceId=instance.id, InstanceType={"Value": "t3.small"})
    assert cloud.drift(instance) == {"tags.foo", "tagsAll.foo", "instanceType"}
    ec2.terminate_instances(InstanceIds=[instance.id])
    assert cloud.refresh(instance) is None


def test_a_rule_revoked_behind_the_back_is_gone(cloud: Cloud):
    group = World(cloud).group()
    rule = cloud.make(
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        {"securityGroupId": group.id, "ipProtocol": "-1", "cidrIpv4": "0.0.0.0/0"},
    )
    client("ec2").revoke_security_group_egress(GroupId=group.id, SecurityGroupRuleIds=[rule.id])
    assert cloud.refresh(rule) is None


def test_a_security_group_starts_without_the_rule_that_aws_adds(cloud: Cloud):
    assert World(cloud).group().outputs["egress"] == []


def test_a_rule_added_behind_the_back_shows_in_the_computed_outputs_only(cloud: Cloud):
    """As with the real provider: rules are other resources, so the group's declared inputs are intact."""
    group = World(cloud).group()
    permission = {
        "IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
    }  # fmt: skip
    client("ec2").authorize_security_group_ingress(GroupId=group.id, IpPermissions=[permission])
    now = cloud.refresh(group)
    assert now is not None
    assert [rule["fromPort"] for rule in now.outputs["ingress"]] == [22]
    assert cloud.drift(group) == set()


def test_a_rule_that_is_not_listed_is_drift_of_the_whole_and_goes_with_the_next_change(cloud: Cloud):
    group = World(cloud).group()
    (ours,) = (
        cloud.make(
            "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
            {"securityGroupId": group.id, "ipProtocol": "udp", "fromPort": 4789, "toPort": 4789,
             "referencedSecurityGroupId": group.id},
        ),
    )  # fmt: skip
    token = "aws:ec2/vpcSecurityGroupRulesExclusive:VpcSecurityGroupRulesExclusive"
    declared = {"securityGroupId": group.id, "ingressRuleIds": [ours.id], "egressRuleIds": []}
    whole = cloud.make(token, declared)
    assert cloud.drift(whole) == set()
    # A rule that the same preview would create has no id yet.
    assert cloud.changes(whole, declared | {"ingressRuleIds": [ours.id, UNKNOWN]}) == {"ingressRuleIds[1]"}
    ec2 = client("ec2")
    anyone = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
    ec2.authorize_security_group_ingress(GroupId=group.id, IpPermissions=[anyone])
    ec2.authorize_security_group_egress(GroupId=group.id, IpPermissions=[anyone])
    assert {path.partition("[")[0] for path in cloud.drift(whole)} == {"ingressRuleIds", "egressRuleIds"}
    cloud.change(cloud.refresh(whole), **declared)
    (left,) = ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group.id]}])[
        "SecurityGroupRules"
    ]
    assert left["SecurityGroupRuleId"] == ours.id
    with pytest.raises(ProviderError, match="has no rule sgr-0"):
        cloud.make(token, declared | {"ingressRuleIds": ["sgr-0"]})


def test_a_changed_description_writes_the_value_of_the_state_back(cloud: Cloud):
    """The trap of the real provider that the design warns of."""
    parameter = World(cloud).parameter()
    ssm = client("ssm")
    ssm.put_parameter(Name=parameter.id, Value="live", Type="String", Overwrite=True)
    cloud.change(parameter, tags={"a": "b"})
    assert ssm.get_parameter(Name=parameter.id)["Parameter"]["Value"] == "live", "tags touch nothing"
    cloud.change(parameter, description="new")
    assert ssm.get_parameter(Name=parameter.id)["Parameter"]["Value"] == "pending"


def test_type_and_user_data_change_by_stopping_and_starting(cloud: Cloud):
    instance = World(cloud).instance(userDataBase64=base64.b64encode(b"one").decode())
    new = base64.b64encode(b"two").decode()
    changed = cloud.change(instance, instanceType="t3.xlarge", userDataBase64=new)
    assert changed.outputs["instanceState"] == "running"
    assert changed.outputs["userDataBase64"] == new
    assert changed.outputs["privateIp"] == "10.20.0.11"


@pytest.mark.parametrize(
    ("change", "replaced"),
    [
        ({"ami": OTHER_IMAGE}, True),
        ({"subnetId": "subnet-0123456789abcdef0"}, True),
        ({"privateIp": "10.20.0.99"}, True),
        ({"primaryNetworkInterface": {"networkInterfaceId": "eni-0123456789abcdef0"}}, True),
        ({"rootBlockDevice": {"encrypted": False, "volumeSize": 40, "volumeType": "gp3"}}, True),
        ({"userDataBase64": "eA=="}, False),
        ({"rootBlockDevice": {"encrypted": True, "volumeSize": 50, "volumeType": "gp3"}}, False),
        ({"metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 2}}, False),
        ({"iamInstanceProfile": "other"}, False),
        ({"instanceType": "t3.xlarge"}, False),
    ],
)
def test_what_makes_a_new_instance(cloud: Cloud, change: dict[str, Any], replaced: bool):
    assert cloud.replaces(World(cloud).instance(), **change) is replaced


def test_instance_updates_in_place(cloud: Cloud):
    world = World(cloud)
    profiles = [
        cloud.make("aws:iam/instanceProfile:InstanceProfile", {"name": unique("p"), "role": world.role().id})
        for _ in range(2)
    ]
    instance = world.instance(iamInstanceProfile=profiles[0].id)
    disk = {"encrypted": True, "volumeSize": 50, "volumeType": "gp3", "tags": {"disk": "root"}}
    changes: dict[str, Any] = {
        "iamInstanceProfile": profiles[1].id,
        "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 2},
        "rootBlockDevice": disk,
        "vpcSecurityGroupIds": [world.group().id],
    }
    for name, value in changes.items():
        instance = cloud.change(instance, **{name: value})
        assert cloud.drift(instance) == set(), name
    assert instance.outputs["iamInstanceProfile"] == profiles[1].id
    assert instance.outputs["rootBlockDevice"]["volumeSize"] == 50
    assert instance.outputs["rootBlockDevice"]["tagsAll"] == {"disk": "root", **DEFAULT_TAGS}


def test_a_terminated_instance_frees_its_address_and_its_interface(cloud: Cloud):
    """The emulator keeps both; AWS does not."""
    world = World(cloud)
    primary = {"networkInterfaceId": world.interface().id}
    launch = {k: v for k, v in world.launch().items() if k not in ("subnetId", "privateIp")}
    master = cloud.make("aws:ec2/instance:Instance", {**launch, "primaryNetworkInterface": primary})
    worker = world.instance()
    client("ec2").terminate_instances(InstanceIds=[master.id, worker.id])
    assert world.instance().outputs["privateIp"] == "10.20.0.11"
    again = cloud.make("aws:ec2/instance:Instance", {**launch, "primaryNetworkInterface": primary})
    assert again.outputs["privateIp"] == "10.20.0.10"


def test_automatic_names_are_kept_and_chosen_ones_delete_first(cloud: Cloud):
    backend, typ, urn = cloud.backend, "aws:iam/role:Role", "urn:pulumi:a::b::aws:iam/role:Role::node"
    first, _ = backend.check(urn, typ, {}, {"assumeRolePolicy": TRUST}, b"one")
    kept, _ = backend.check(urn, typ, first, {"assumeRolePolicy": TRUST}, b"two")
    other, _ = backend.check(urn, typ, {}, {"assumeRolePolicy": TRUST}, b"two")
    assert first["name"].startswith("node-")
    assert kept == first
    assert other["name"] != first["name"]
    assert not backend.diff(typ, "x", first, first, {**first, "path": "/a/"}).delete_before_replace
    chosen = {"assumeRolePolicy": TRUST, "name": "mine"}
    assert backend.diff(typ, "x", chosen, chosen, {**chosen, "path": "/a/"}).delete_before_replace


def test_an_object_made_by_halves_is_reported_with_its_id(cloud: Cloud):
    profile = {"name": unique("half"), "role": "no-such-role"}
    with pytest.raises(PartialCreate) as caught:
        cloud.make("aws:iam/instanceProfile:InstanceProfile", profile)
    assert caught.value.id == profile["name"]
    assert caught.value.outputs["arn"].endswith(f"instance-profile/{profile['name']}")
    assert "NoSuchEntity" in caught.value.reasons[0]


def test_a_removed_property_shows(cloud: Cloud):
    world = World(cloud)
    rule = cloud.make(
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        {
            "securityGroupId": world.group().id,
            "ipProtocol": "-1",
            "cidrIpv4": "0.0.0.0/0",
            "description": "x",
        },
    )
    left = {k: v for k, v in _declared(rule.inputs).items() if k != "description"}
    assert cloud.changes(rule, left) == {"description"}


def test_functions_answer(cloud: Cloud):
    parameter = World(cloud).parameter()
    path = parameter.id.rpartition("/")[0]
    invoke = cloud.backend.invoke
    found = invoke("aws:ssm/getParametersByPath:getParametersByPath", {"path": path})
    assert (found["names"], found["values"], found["types"]) == ([parameter.id], ["pending"], ["String"])
    one = invoke("aws:ssm/getParameter:getParameter", {"name": parameter.id})
    assert (one["value"], one["version"]) == ("pending", 1)


def _declared(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if name not in ("tagsAll", "__defaults")}

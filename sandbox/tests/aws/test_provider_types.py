"""Each resource type that the program has, from create to delete by the provider, against the emulator."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2

import tests.foundation
import tests.program
from sandbox.build.gomodules import TOOLS_DIR
from sandbox.tests.aws import aws_provider as aws
from sandbox.tests.aws.aws_provider import (
    ACCOUNT,
    DEFAULT_TAGS,
    ROOT_ONLY,
    TRUST,
    UNKNOWN,
    Cloud,
    ProviderError,
    World,
    client,
    document,
    only_tls,
    settings,
    statement,
    unique,
    unknown_to_the_sdk,
)
from sandbox.tests.aws.emulator_server import described
from tests.configuration import HOURS, configuration

CIDR = "0.0.0.0/0"
ANYONE = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": CIDR}]}
SCRIPT = base64.b64encode(b"\x1f\x8b script").decode()
CLOSED = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")


@dataclass(frozen=True)
class Sample:
    """How to make one, what of it can change in place, and where it differs from the rest."""

    inputs: Callable[[World], dict[str, Any]]
    change: dict[str, Any] = field(default_factory=dict)
    shows: dict[str, Any] = field(default_factory=dict)  # outputs that no input gave: what AWS has by itself
    import_id: Callable[[dict[str, Any], str], str] = lambda inputs, id: id
    import_shows: frozenset[str] = frozenset()  # settings that AWS does not store
    survives: bool = False  # deleting it leaves what it manages


def _overlay(world: World) -> dict[str, Any]:
    group = world.group().id
    ports = {"ipProtocol": "udp", "fromPort": 4789, "toPort": 4789}
    return {"securityGroupId": group, "referencedSecurityGroupId": group, "description": "overlay", **ports}


def _route(world: World) -> dict[str, Any]:
    return {"routeTableId": world.table().id, "destinationCidrBlock": CIDR, "gatewayId": world.gateway().id}


def _encryption(key: str) -> list[dict[str, Any]]:
    default = {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": key}
    return [{"applyServerSideEncryptionByDefault": default, "bucketKeyEnabled": False}]


def _only_tls(world: World) -> dict[str, Any]:
    name = world.bucket()
    return {"bucket": name, "policy": only_tls(name)}


def _policy(action: str) -> str:
    return document(statement(Action=[action]))


def _parameter(world: World) -> dict[str, Any]:
    key = world.key().outputs["arn"]
    return {"name": f"/{unique('c')}/join", "type": "SecureString", "keyId": key, "value": "pending"}


TAGGED = {"tags": {"a": "b"}}
SAMPLES: dict[str, Sample] = {
    aws.VPC: Sample(lambda w: {"cidrBlock": "10.9.0.0/16"}, {"enableDnsHostnames": True}),
    aws.SUBNET: Sample(
        lambda w: {"vpcId": w.vpc.id, "cidrBlock": "10.20.8.0/22"},
        {"mapPublicIpOnLaunch": True},
        {
            "enableDns64": False,
            "mapCustomerOwnedIpOnLaunch": False,
            "privateDnsHostnameTypeOnLaunch": "ip-name",
        },
    ),
    aws.RESERVATION: Sample(
        lambda w: {"subnetId": w.subnet.id, "cidrBlock": "10.20.0.0/23", "reservationType": "explicit"},
        import_id=lambda inputs, id: f"{inputs['subnetId']}:{id}",
    ),
    aws.GATEWAY: Sample(lambda w: {"vpcId": w.vpc.id}, TAGGED),
    aws.TABLE: Sample(lambda w: {"vpcId": w.vpc.id}, TAGGED),
    aws.ROUTE: Sample(
        _route,
        shows={"origin": "CreateRoute", "state": "active"},
        import_id=lambda inputs, id: f"{inputs['routeTableId']}_{CIDR}",
    ),
    aws.ASSOCIATION: Sample(
        lambda w: {"routeTableId": w.table().id, "subnetId": w.subnet.id},
        import_id=lambda inputs, id: f"{inputs['subnetId']}/{inputs['routeTableId']}",
    ),
    aws.GROUP: Sample(lambda w: {"vpcId": w.vpc.id, "description": "nodes", "name": unique("g")}, TAGGED),
    aws.DEFAULT_GROUP: Sample(lambda w: {"vpcId": w.vpc.id}, TAGGED, survives=True),
    aws.INGRESS: Sample(_overlay, {"toPort": 4790, "description": "wider"}),
    aws.EGRESS: Sample(
        lambda w: {"securityGroupId": w.group().id, "ipProtocol": "-1", "cidrIpv4": CIDR},
        {"description": "anywhere"},
    ),
    aws.EXCLUSIVE: Sample(
        lambda w: {"securityGroupId": w.group().id, "ingressRuleIds": [], "egressRuleIds": []}, survives=True
    ),
    aws.INTERFACE: Sample(
        lambda w: {"subnetId": w.subnet.id, "privateIps": ["10.20.0.10"], "securityGroups": [w.group().id]},
        {"description": "the master's"},
        {"privateIp": "10.20.0.10", "interfaceType": "interface", "sourceDestCheck": True},
    ),
    aws.ADDRESS: Sample(
        lambda w: {"domain": "vpc", "networkInterface": w.interface().id},
        TAGGED,
        {"privateIp": "10.20.0.10", "publicIpv4Pool": "amazon", "networkBorderGroup": "us-east-1"},
    ),
    aws.INSTANCE: Sample(
        lambda w: w.launch(userDataBase64=SCRIPT, disableApiTermination=True, tags={"Name": "w"}),
        {"instanceType": "t3.xlarge", "disableApiTermination": False, "tags": {"Name": "x"}},
        {
            "associatePublicIpAddress": False,
            "capacityReservationSpecification": {"capacityReservationPreference": "open"},
            "cpuOptions": {"coreCount": 1, "threadsPerCore": 2},
            "creditSpecification": {"cpuCredits": "unlimited"},
            "disableApiStop": False,
            "ebsOptimized": False,
            "enclaveOptions": {"enabled": False},
            "hibernation": False,
            "instanceInitiatedShutdownBehavior": "stop",
            "maintenanceOptions": {"autoRecovery": "default"},
            "metadataOptions": {"httpEndpoint": "enabled", "instanceMetadataTags": "disabled"},
            "monitoring": False,
            "primaryNetworkInterface": {"deleteOnTermination": True},
            "privateDns": "ip-10-20-0-11.ec2.internal",
            "privateDnsNameOptions": {"hostnameType": "ip-name", "enableResourceNameDnsARecord": False},
            "rootBlockDevice": {"deviceName": "/dev/sda1", "iops": 3000, "throughput": 125},
            "sourceDestCheck": True,
            "tenancy": "default",
        },
        import_shows=frozenset(
            {
                *("userData", "userDataBase64", "userDataReplaceOnChange"),
                'rootBlockDevice.tags["kubepark:cluster"]',
            }
        ),
    ),
    aws.STATE: Sample(
        lambda w: {"instanceId": w.instance().id, "state": "stopped"}, {"state": "running"}, survives=True
    ),
    aws.ROLE: Sample(
        lambda w: {"assumeRolePolicy": TRUST, "name": unique("role")},
        {"description": "of a node"},
        {"path": "/", "maxSessionDuration": 3600},
    ),
    aws.ROLE_POLICY: Sample(
        lambda w: {"role": w.role().id, "name": "p", "policy": _policy("ssm:GetParameter")},
        {"policy": _policy("ssm:PutParameter")},
    ),
    aws.PROFILE: Sample(lambda w: {"name": unique("profile"), "role": w.role().id}, TAGGED),
    aws.KEY: Sample(
        lambda w: {"enableKeyRotation": True, "deletionWindowInDays": 7, "policy": ROOT_ONLY},
        {"description": "cluster", "enableKeyRotation": False},
        {"keyUsage": "ENCRYPT_DECRYPT", "multiRegion": False, "rotationPeriodInDays": 365},
        import_shows=frozenset({"bypassPolicyLockoutSafetyCheck", "deletionWindowInDays"}),
    ),
    aws.ALIAS: Sample(lambda w: {"name": f"alias/{unique('k')}/x", "targetKeyId": w.key().id}),
    aws.SCHEDULE_GROUP: Sample(lambda w: {"name": unique("group")}, TAGGED),
    aws.SCHEDULE: Sample(
        lambda w: w.schedule(), {"scheduleExpression": "cron(30 19 ? * SUN *)", "state": "DISABLED"}
    ),
    aws.PARAMETER: Sample(
        _parameter,
        {"value": "ready", "description": "join record"},
        {"version": 1, "tier": "Standard", "dataType": "text"},
    ),
    aws.BUCKET: Sample(lambda w: {"bucket": unique("state")}, TAGGED),
    aws.BUCKET_VERSIONING: Sample(
        lambda w: {"bucket": w.bucket(), "versioningConfiguration": {"status": "Enabled"}},
        {"versioningConfiguration": {"status": "Suspended"}},
        survives=True,  # suspended, which a bucket stays
    ),
    aws.BUCKET_ENCRYPTION: Sample(
        lambda w: {"bucket": w.bucket(), "rules": _encryption(w.key().outputs["arn"])},
        {"rules": _encryption("arn:aws:kms:us-east-1:123456789012:key/other")},
    ),
    aws.BUCKET_ACCESS: Sample(
        lambda w: {"bucket": w.bucket(), **dict.fromkeys(CLOSED, True)}, {"restrictPublicBuckets": False}
    ),
    aws.BUCKET_POLICY: Sample(_only_tls),
    aws.IDENTITY_PROVIDER: Sample(
        lambda w: {"url": f"https://{unique('token')}.example.com", "clientIdLists": ["sts.amazonaws.com"]},
        TAGGED,
    ),
}


def test_the_program_has_the_types_that_are_bridged_and_no_other() -> None:
    program = tests.program.run(config=configuration(workers__power="running", gpu__schedule=HOURS))
    resources = program.resources | tests.foundation.run().resources
    assert {item.type for item in resources.values() if item.type.startswith("aws:")} == SAMPLES.keys()
    source = (TOOLS_DIR / "pulumi-aws/cmd/pulumi-resource-aws/main.go").read_text(encoding="utf-8")
    assert set(re.findall(r'"(aws:[^"]+:[A-Z]\w+)"', source)) == SAMPLES.keys()


@pytest.mark.parametrize("typ", sorted(SAMPLES))
def test_life_of_a_resource(cloud: Cloud, typ: str):
    sample = SAMPLES[typ]
    resource = cloud.make(typ, sample.inputs(World(cloud)))
    assert unknown_to_the_sdk(resource) == set()
    assert cloud.drift(resource) == set()
    again = cloud.refreshed(resource)
    assert cloud.changes(again, resource.declared) == set(), "a refresh finds no drift"

    assert resource.outputs.get("ownerId", ACCOUNT) == ACCOUNT
    arn = resource.outputs.get("arn", "")
    assert not arn or (arn.startswith("arn:aws:") and arn.endswith(resource.id))
    for name, value in sample.shows.items():
        assert _same(resource.outputs[name], value), f"{name}: {resource.outputs[name]}"

    as_named = replace(resource, id=sample.import_id(resource.inputs, resource.id), inputs={}, outputs={})
    imported = cloud.refreshed(as_named)
    assert imported.id == resource.id
    assert cloud.changes(imported, resource.declared) == sample.import_shows

    if sample.change:
        assert cloud.changes(resource, {**resource.declared, **sample.change})
        assert not cloud.replaces(resource, **sample.change)
        resource = cloud.change(resource, **sample.change)
        assert all(_same(resource.outputs[name], value) for name, value in sample.change.items())
        assert cloud.drift(resource) == set()

    cloud.delete(resource)
    assert (cloud.read(resource) is not None) is sample.survives
    cloud.delete(resource)  # gone already: no error


def _same(found: Any, wanted: Any) -> bool:
    """A document has been written anew, and lists have what is left out as well."""
    if isinstance(wanted, str):
        return bool(found == wanted or json.loads(found) == json.loads(wanted))
    if isinstance(wanted, dict):
        return all(_same(found[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return all(_same(*pair) for pair in zip(found, wanted, strict=True))
    return bool(found == wanted)


@pytest.mark.parametrize("typ", sorted(t for t, s in SAMPLES.items() if "tags" in s.change))
def test_tags_are_put_on_changed_and_taken_off(cloud: Cloud, typ: str):
    resource = cloud.make(typ, {**SAMPLES[typ].inputs(World(cloud)), "tags": {"one": "1", "two": "2"}})
    assert resource.outputs["tagsAll"] == {"one": "1", "two": "2", **DEFAULT_TAGS}
    assert resource.outputs["tags"] == {"one": "1", "two": "2"}
    resource = cloud.change(resource, tags={"two": "3"})
    now = cloud.refreshed(resource)
    assert now.outputs["tagsAll"] == {"two": "3", **DEFAULT_TAGS}


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
    assert cloud.read(instance) is None


def test_a_rule_that_is_not_listed_is_drift_of_the_whole_and_goes_with_the_next_change(cloud: Cloud):
    group, ec2 = World(cloud).group(), client("ec2")
    overlay = {"ipProtocol": "udp", "fromPort": 4789, "toPort": 4789, "referencedSecurityGroupId": group.id}
    ours = cloud.make(aws.INGRESS, {"securityGroupId": group.id, **overlay})
    declared = {"securityGroupId": group.id, "ingressRuleIds": [ours.id], "egressRuleIds": []}
    whole = cloud.make(aws.EXCLUSIVE, declared)
    assert cloud.drift(whole) == set()
    # A rule that the same preview would create has no id yet.
    assert cloud.changes(whole, declared | {"ingressRuleIds": [ours.id, UNKNOWN]}) == {"ingressRuleIds"}
    ec2.authorize_security_group_ingress(GroupId=group.id, IpPermissions=[ANYONE])
    ec2.authorize_security_group_egress(GroupId=group.id, IpPermissions=[ANYONE])
    assert {path.partition("[")[0] for path in cloud.drift(whole)} == {"ingressRuleIds", "egressRuleIds"}
    cloud.change(cloud.refreshed(whole), **declared)
    here = [{"Name": "group-id", "Values": [group.id]}]
    left = ec2.describe_security_group_rules(Filters=here)["SecurityGroupRules"]
    assert [rule["SecurityGroupRuleId"] for rule in left] == [ours.id]


def test_an_instance_updates_in_place(cloud: Cloud):
    """Its type and its user data by a stop and a start."""
    world = World(cloud)
    profiles = [cloud.make(aws.PROFILE, {"name": unique("p"), "role": world.role().id}) for _ in range(2)]
    instance = world.instance(iamInstanceProfile=profiles[0].id, userDataBase64=SCRIPT)
    disk = {"encrypted": True, "volumeSize": 50, "volumeType": "gp3", "tags": {"disk": "root"}}
    changes: dict[str, Any] = {
        "iamInstanceProfile": profiles[1].id,
        "metadataOptions": {"httpTokens": "required", "httpPutResponseHopLimit": 2},
        "rootBlockDevice": disk,
        "vpcSecurityGroupIds": [world.group().id],
        "instanceType": "t3.xlarge",
        "userDataBase64": base64.b64encode(b"two").decode(),
    }
    for name, value in changes.items():
        assert not cloud.replaces(instance, **{name: value})
        instance = cloud.change(instance, **{name: value})
        assert cloud.drift(instance) == set(), name
        assert _same(instance.outputs[name], value), name
    assert (instance.outputs["instanceState"], instance.outputs["privateIp"]) == ("running", "10.20.0.11")
    assert instance.outputs["rootBlockDevice"]["tagsAll"] == {"disk": "root", **DEFAULT_TAGS}


def test_an_interface_and_an_address_that_are_kept_for_an_instance(cloud: Cloud):
    world = World(cloud)
    world.gateway()
    inputs = world.launch_on_interface()
    instance, address = cloud.make(aws.INSTANCE, inputs), world.address()
    address = cloud.change(address, networkInterface=inputs["primaryNetworkInterface"]["networkInterfaceId"])
    assert address.outputs["instance"] == instance.id
    now = cloud.refreshed(instance)
    assert now.outputs["publicIp"] == address.outputs["publicIp"]
    assert now.outputs["primaryNetworkInterface"]["deleteOnTermination"] is False


def test_a_public_address_that_ec2_gives_is_gone_while_the_instance_is_stopped(cloud: Cloud):
    world = World(cloud)
    world.subnet = cloud.change(world.subnet, mapPublicIpOnLaunch=True)
    instance = world.instance()
    assert (instance.outputs["associatePublicIpAddress"], bool(instance.outputs["publicIp"])) == (True, True)
    client("ec2").stop_instances(InstanceIds=[instance.id])
    assert "Association" not in described(client("ec2"), instance.id)["NetworkInterfaces"][0]


def test_a_value_that_is_written_only_is_in_no_output_and_tags_leave_it_alone(cloud: Cloud):
    """As the program makes parameters whose values nodes write."""
    inputs = {
        "name": f"/{unique('c')}/join",
        "type": "SecureString",
        "valueWo": "pending",
        "valueWoVersion": 1,
    }
    parameter, ssm = cloud.make(aws.PARAMETER, inputs), client("ssm")
    assert "pending" not in json.dumps(parameter.outputs)
    assert ssm.get_parameter(Name=parameter.id, WithDecryption=True)["Parameter"]["Value"] == "pending"
    ssm.put_parameter(Name=parameter.id, Value="live", Type="SecureString", Overwrite=True)
    now = cloud.refreshed(parameter)
    assert "live" not in json.dumps([now.inputs, now.outputs])
    assert cloud.changes(now, inputs) == set()
    cloud.change(now, **inputs, tags={"a": "b"})
    assert ssm.get_parameter(Name=parameter.id, WithDecryption=True)["Parameter"]["Value"] == "live"


def test_functions_answer(cloud: Cloud):
    parameter = World(cloud).parameter()
    path = parameter.id.rpartition("/")[0]
    found = cloud.invoke("aws:ssm/getParametersByPath:getParametersByPath", path=path)
    assert (found["names"], found["values"], found["types"]) == ([parameter.id], ["pending"], ["String"])
    one = cloud.invoke("aws:ssm/getParameter:getParameter", name=parameter.id)
    assert (one["value"], one["version"]) == ("pending", 1)


def test_settings_with_an_endpoint_are_checked_at_once(cloud: Cloud):
    begin = time.monotonic()
    cloud.ask("CheckConfig", provider_pb2.CheckRequest(urn="x", news=aws.struct(settings())))
    assert time.monotonic() - begin < 1


def test_a_group_without_a_name_gets_one_and_keeps_it(cloud: Cloud) -> None:
    made = cloud.make(aws.GROUP, {"vpcId": World(cloud).vpc.id, "description": "nodes"})
    assert re.fullmatch(r"r-\d+-[0-9a-f]{7}", made.outputs["name"]), "of the resource in the program"
    assert cloud.changes(made, {"vpcId": made.inputs["vpcId"], "description": "nodes"}) == set()


def test_what_is_not_known_is_refused(cloud: Cloud) -> None:
    (reason,) = cloud.check(aws.VPC, {"cidrBlock": "10.0.0.0/16", "cidrBlok": "10.0.0.0/16"})
    assert "Invalid or unknown key" in reason
    with pytest.raises(ProviderError, match="aws:sqs/queue:Queue"):
        cloud.check("aws:sqs/queue:Queue", {})
    with pytest.raises(ProviderError, match="aws:ec2/getVpc:getVpc"):
        cloud.invoke("aws:ec2/getVpc:getVpc")

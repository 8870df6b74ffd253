"""Each resource type that the program has, from create to delete by the provider, against the emulator."""

from __future__ import annotations

import base64
import json
import re
import time
from dataclasses import replace
from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2
from pulumi.runtime.rpc import UNKNOWN

import tests.foundation
import tests.program
from sandbox.build.gomodules import TOOLS_DIR
from sandbox.tests.aws import aws_provider as aws
from sandbox.tests.aws.aws_provider import (
    ACCOUNT,
    DEFAULT_TAGS,
    Cloud,
    ProviderError,
    World,
    client,
    settings,
    unique,
    unknown_to_the_sdk,
)
from sandbox.tests.aws.emulator_server import described
from sandbox.tests.aws.samples import SAMPLES, SCRIPT
from tests.configuration import HOURS, configuration

ANYONE = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


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
    with pytest.raises(ProviderError, match="Invalid or unknown key"):
        cloud.make(aws.VPC, {"cidrBlock": "10.0.0.0/16", "cidrBlok": "10.0.0.0/16"})
    with pytest.raises(ProviderError, match="aws:sqs/queue:Queue"):
        cloud.make("aws:sqs/queue:Queue", {})
    with pytest.raises(ProviderError, match="aws:ec2/getVpc:getVpc"):
        cloud.invoke("aws:ec2/getVpc:getVpc")

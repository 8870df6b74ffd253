"""The role of the program's schedules in the emulator's account: what it may do when their time has come."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from components.schedule import role_policy, trust_policy
from config.naming import Naming
from sandbox.aws.account import Account
from sandbox.aws.cloud import Cloud as Seen
from sandbox.tests.aws import aws_provider as types
from sandbox.tests.aws.aws_provider import ACCOUNT, REGION, Cloud, Resource, World, client, server, unique
from sandbox.tests.program.scheduler import NotDone, Scheduler
from tests.userdata_sample import SETTINGS

AWS = replace(SETTINGS.aws, region=REGION, account_id=ACCOUNT)


class Lab:
    """A cluster of two GPU nodes and a worker, of which gpu01 has a schedule; `instances` by name."""

    def __init__(self) -> None:
        self.cloud = Cloud()
        self.naming = Naming(unique("lab"))
        self.world = World(self.cloud)
        key = self.world.key()
        self.cloud.make(types.ALIAS, {"name": self.naming.key_alias, "targetKeyId": key.id})
        disk = {"encrypted": True, "kmsKeyId": key.outputs["arn"], "volumeSize": 40, "volumeType": "gp3"}
        self.instances = {
            name: self.world.instance(
                privateIp=f"10.20.0.{20 + number}",
                rootBlockDevice=disk,
                tags={"kubepark:cluster": cluster, "kubepark:node": name, "kubepark:role": role},
            ).id
            for number, (name, cluster, role) in enumerate(
                [
                    ("gpu01", self.naming.cluster, "gpu"),
                    ("gpu02", self.naming.cluster, "gpu"),
                    ("worker01", self.naming.cluster, "worker"),
                    ("theirs", "other", "gpu"),
                ]
            )
        }
        trust = json.dumps(trust_policy(AWS, self.naming))
        role = {"name": self.naming.role_name("schedule"), "assumeRolePolicy": trust}
        self.role = self.cloud.make(types.ROLE, role)
        self.policy = self.cloud.make(
            types.ROLE_POLICY,
            {
                "role": self.role.id,
                "name": "schedule",
                "policy": json.dumps(role_policy(["gpu01"], AWS, self.naming)),
            },
        )
        self.cloud.make(types.SCHEDULE_GROUP, {"name": self.naming.schedule_group})

    def schedule(self, action: str, *nodes: str, group: str = "") -> Resource:
        ids = [self.instances[node] for node in nodes]
        target = {
            "arn": f"arn:aws:scheduler:::aws-sdk:ec2:{action}Instances",
            "roleArn": self.role.outputs["arn"],
            "input": json.dumps({"InstanceIds": ids}),
        }
        made = World.schedule(self.world, name=unique("s"), target=target)
        return self.cloud.make(types.SCHEDULE, {**made, "groupName": group or self.naming.schedule_group})

    def invoke(self, action: str, *nodes: str, group: str = "") -> None:
        made = self.schedule(action, *nodes, group=group)
        Scheduler(Account(Seen(server().url, REGION))).invoke(*made.id.split("/"))

    def state(self, node: str) -> str:
        found = client("ec2").describe_instances(InstanceIds=[self.instances[node]])
        return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab()


def test_the_node_is_stopped_and_started(lab: Lab) -> None:
    lab.invoke("stop", "gpu01")
    assert lab.state("gpu01") == "stopped"
    lab.invoke("start", "gpu01")
    assert lab.state("gpu01") == "running"


@pytest.mark.parametrize("other", ["gpu02", "worker01", "theirs"])
@pytest.mark.parametrize("action", ["stop", "start"])
def test_no_other_instance_is(lab: Lab, action: str, other: str) -> None:
    """A GPU node without a schedule, a worker, a GPU node of another cluster: also beside the right one."""
    for nodes in ([other], ["gpu01", other]):
        with pytest.raises(NotDone, match=rf"may not ec2:S\w+Instances on \S+{lab.instances[other]}"):
            lab.invoke(action, *nodes)
    assert {lab.state(node) for node in lab.instances} == {"running"}


def test_schedules_of_another_group_do_not_get_the_role(lab: Lab) -> None:
    group = lab.cloud.make(types.SCHEDULE_GROUP, {"name": unique("others")}).id
    with pytest.raises(NotDone, match=f"does not trust scheduler.amazonaws.com for the group {group}"):
        lab.invoke("stop", "gpu01", group=group)


def test_without_the_key_a_node_is_started_and_stops_again(lab: Lab) -> None:
    """Why the policy has its second statement."""
    instances, key = role_policy(["gpu01"], AWS, lab.naming)["Statement"]

    def allow(*statements: Any) -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        client("iam").put_role_policy(RoleName=lab.role.id, PolicyName="schedule", PolicyDocument=document)

    lab.invoke("stop", "gpu01")
    allow(instances)
    try:
        with pytest.raises(NotDone, match="may not kms:CreateGrant on"):
            lab.invoke("start", "gpu01")
        assert lab.state("gpu01") == "stopped"
    finally:
        allow(instances, key)
    lab.invoke("start", "gpu01")
    assert lab.state("gpu01") == "running"

"""The schedules that the program makes of the hours of GPU nodes, and what their role may do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.configuration import HOURS, configuration
from tests.engine import UNKNOWN, Recording, Resource
from tests.program import whole

GROUP, SCHEDULE = "aws:scheduler/scheduleGroup:ScheduleGroup", "aws:scheduler/schedule:Schedule"
ROLE, ROLE_POLICY = "aws:iam/role:Role", "aws:iam/rolePolicy:RolePolicy"
INSTANCE = "aws:ec2/instance:Instance"
TWO = {"gpu01": {}, "gpu02": {}}


def ran(**options: Any) -> Recording:
    return whole(**{"config": configuration(gpu__schedule=HOURS, gpu__nodes=TWO), **options})


def document(recording: Recording, typ: str, field: str) -> Any:
    return json.loads(recording.one(typ, "gpu-schedule").inputs[field])


def schedules(recording: Recording) -> dict[str, Resource]:
    return {item.name: item for item in recording.of_type(SCHEDULE)}


def test_without_hours_there_are_no_schedules_and_no_role() -> None:
    recording = ran(config=configuration())
    assert {item.type for item in recording.resources.values()}.isdisjoint({GROUP, SCHEDULE})
    assert [item.name for item in recording.of_type(ROLE) if "schedule" in item.name] == []


def test_hours_change_nothing_else() -> None:
    without, with_ = ran(config=configuration(gpu__nodes=TWO)), ran()
    assert without.urns < with_.urns
    for urn in without.urns:
        assert without.resources[urn].inputs == with_.resources[urn].inputs, urn


def test_each_gpu_node_is_started_and_stopped_by_the_clocks_of_the_zone() -> None:
    recording = ran()
    found = schedules(recording)
    assert sorted(found) == [
        f"gpu-schedule-{node}-{verb}" for node in ("gpu01", "gpu02") for verb in ("start", "stop")
    ]
    for node in TWO:
        for verb, hour in (("start", 8), ("stop", 19)):
            inputs = found[f"gpu-schedule-{node}-{verb}"].inputs
            assert inputs["name"] == f"{node}-{verb}"
            assert inputs["groupName"] == "lab"
            assert inputs["scheduleExpression"] == f"cron(0 {hour} ? * MON,TUE,WED,THU,FRI *)"
            assert inputs["scheduleExpressionTimezone"] == "Asia/Seoul"
            assert inputs["flexibleTimeWindow"] == {"mode": "OFF"}
            target = inputs["target"]
            assert target["arn"] == f"arn:aws:scheduler:::aws-sdk:ec2:{verb}Instances"
            assert target["retryPolicy"] == {"maximumEventAgeInSeconds": 3600}
            instance = recording.one(INSTANCE, node)
            assert json.loads(target["input"]) == {"InstanceIds": [instance.id]}


def test_a_hold_is_no_drift_and_a_change_makes_a_schedule_anew() -> None:
    for item in schedules(ran()).values():
        assert item.ignore_changes == ("startDate",)
        assert item.replace_on_changes == ("scheduleExpression", "scheduleExpressionTimezone", "target")
        assert item.delete_before_replace
        assert "startDate" not in item.inputs


def test_the_role_is_for_our_group_of_schedules_alone() -> None:
    (statement,) = document(ran(), ROLE, "assumeRolePolicy")["Statement"]
    assert statement == {
        "Effect": "Allow",
        "Principal": {"Service": "scheduler.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {
            "StringEquals": {
                "aws:SourceAccount": "123456789012",
                "aws:SourceArn": "arn:aws:scheduler:us-east-1:123456789012:schedule-group/lab",
            }
        },
    }
    assert ran().one(GROUP).inputs["name"] == "lab"


def test_schedules_wait_for_the_role_and_what_it_may_do() -> None:
    recording = ran()
    policy = recording.one(ROLE_POLICY, "gpu-schedule")
    for item in schedules(recording).values():
        assert {policy.urn, recording.one(ROLE, "gpu-schedule").urn} <= set(item.depends_on)
    assert policy.inputs["role"] == recording.one(ROLE, "gpu-schedule").inputs["name"] == "lab-schedule"


@pytest.mark.parametrize("preview", [False, True])
def test_the_first_preview_shows_the_documents_whole(preview: bool) -> None:
    """So that the policy pack evaluates them before anything is made; instances are known by their tags."""
    recording = ran(preview=preview)
    instances, keys = document(recording, ROLE_POLICY, "policy")["Statement"]
    assert instances["Action"] == ["ec2:StartInstances", "ec2:StopInstances"]
    assert instances["Resource"] == "arn:aws:ec2:us-east-1:123456789012:instance/*"
    assert instances["Condition"] == {
        "StringEquals": {
            "aws:ResourceTag/kubepark:cluster": "lab",
            "aws:ResourceTag/kubepark:node": ["gpu01", "gpu02"],
            "aws:ResourceTag/kubepark:role": "gpu",
        }
    }
    assert keys["Action"] == "kms:CreateGrant"
    assert keys["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}
    assert keys["Condition"]["ForAnyValue:StringEquals"] == {"kms:ResourceAliases": "alias/kubepark/lab"}
    if preview:
        target = recording.one(SCHEDULE, "gpu-schedule-gpu01-stop").inputs["target"]
        assert target["input"] is UNKNOWN


def test_preview_and_update_register_the_same() -> None:
    assert ran().urns == ran(preview=True).urns


def test_in_another_partition_every_arn_is_of_it() -> None:
    config = configuration(
        gpu__schedule=HOURS,
        aws__region="us-gov-west-1",
        network__availabilityZone="us-gov-west-1a",
        network__secondAvailabilityZone="us-gov-west-1b",
    )
    recording = ran(config=config)
    texts = [document(recording, ROLE, "assumeRolePolicy"), document(recording, ROLE_POLICY, "policy")]
    texts += [item.inputs["target"]["arn"] for item in schedules(recording).values()]
    found = json.dumps(texts)
    assert "arn:aws-us-gov:scheduler:::aws-sdk:ec2:stopInstances" in found
    assert "arn:aws:" not in found

"""EventBridge Scheduler in the emulator and through the provider: what AWS refuses, and start dates."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from sandbox.tests.aws.aws_provider import (
    SCHEDULE,
    TRUST,
    Cloud,
    ProviderError,
    Resource,
    World,
    client,
    unique,
)
from sandbox.tests.aws.emulator_server import refusal

INVALID = "ValidationException"
STOP = {
    "Arn": "arn:aws:scheduler:::aws-sdk:ec2:stopInstances",
    "Input": json.dumps({"InstanceIds": ["i-0123456789abcdef0"]}),
}


@pytest.fixture(scope="module")
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture(scope="module")
def made(cloud: Cloud) -> Resource:
    return cloud.make(SCHEDULE, World(cloud).schedule())


def change(made: Resource, **others: Any) -> None:
    """The schedule with other arguments, as somebody else puts it: all of it, or AWS takes defaults."""
    group, _, name = made.id.partition("/")
    scheduler = client("scheduler")
    found = scheduler.get_schedule(GroupName=group, Name=name)
    kept = ("ScheduleExpression", "ScheduleExpressionTimezone", "FlexibleTimeWindow", "Target", "State")
    whole = {key: found[key] for key in kept} | {"GroupName": group, "Name": name} | others
    scheduler.update_schedule(**whole)


@pytest.mark.parametrize(
    ("others", "code", "message"),
    [
        ({"ScheduleExpression": "cron(0 19 * * MON *)"}, INVALID, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "cron(0 24 ? * MON *)"}, INVALID, "Invalid Schedule Expression"),
        ({"ScheduleExpression": "cron(0 19 ? * Mo *)"}, INVALID, "Invalid Schedule Expression"),
        ({"ScheduleExpressionTimezone": "Mars/Olympus"}, INVALID, "Timezone you provide"),
        ({"StartDate": datetime(2026, 1, 1, tzinfo=UTC)}, INVALID, "earlier than 5 minutes ago"),
        (
            {"FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5}},
            "NotImplemented",
            "window",
        ),
        ({"GroupName": "none"}, "ResourceNotFoundException", "Schedule group none does not exist"),
        ({"Name": "none"}, "ResourceNotFoundException", "Schedule none does not exist"),
    ],
)
def test_a_schedule_that_aws_would_refuse_is_refused(
    made: Resource, others: dict[str, Any], code: str, message: str
) -> None:
    found = refusal(change, made=made, **others)
    assert (found[0], message in found[1]) == (code, True), found


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            {"RoleArn": "arn:aws:iam::123456789012:role/none"},
            "must allow AWS EventBridge Scheduler to assume",
        ),
        ({"RoleArn": "of-ec2"}, "must allow AWS EventBridge Scheduler to assume"),
        ({"Input": "{"}, "Invalid RequestJson"),
        ({"Arn": "arn:aws:lambda:us-east-1:123456789012:function:f"}, "not emulated: the target"),
        ({"RetryPolicy": {"MaximumEventAgeInSeconds": 86_401}}, "must be between 60 and 86400"),
    ],
)
def test_a_target_that_aws_would_refuse_is_refused(
    cloud: Cloud, made: Resource, target: dict[str, Any], message: str
) -> None:
    theirs = {**STOP, "RoleArn": made.inputs["target"]["roleArn"], **target}
    if theirs["RoleArn"] == "of-ec2":
        role = client("iam").create_role(RoleName=unique("role"), AssumeRolePolicyDocument=TRUST)["Role"]
        theirs["RoleArn"] = role["Arn"]
    with pytest.raises(ClientError, match=message):
        change(made, Target=theirs)


def test_names_are_taken_once_and_a_group_takes_its_schedules_along(cloud: Cloud) -> None:
    inputs = World(cloud).schedule()
    made = cloud.make(SCHEDULE, inputs)
    with pytest.raises(ProviderError, match="ConflictException"):
        cloud.make(SCHEDULE, inputs)
    scheduler = client("scheduler")
    with pytest.raises(ClientError, match="ConflictException"):
        scheduler.create_schedule_group(Name=inputs["groupName"])
    scheduler.delete_schedule_group(Name=inputs["groupName"])
    assert cloud.read(made) is None
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        scheduler.delete_schedule_group(Name=inputs["groupName"])


def test_a_name_that_is_a_path_is_refused() -> None:
    with pytest.raises(ClientError, match="must satisfy pattern"):
        client("scheduler").create_schedule_group(Name="a/b")


def test_a_start_date_of_somebody_else_is_drift_and_is_sent_again_once_it_is_known(cloud: Cloud) -> None:
    """What makes it the program's to ignore it, and to make a changed schedule anew instead of updating it."""
    made, later = cloud.make(SCHEDULE, World(cloud).schedule()), datetime.now(UTC) + timedelta(hours=3)
    change(made, StartDate=later)
    assert cloud.changes(made, {**made.inputs}) == set(), "the state does not know of it yet"
    assert cloud.drift(made) == {"startDate"}
    held = cloud.read(made)
    assert held is not None
    assert held.outputs["startDate"] == later.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert "startDate" not in held.inputs

    def update(old: Resource) -> dict[str, Any]:
        return cloud.change(old, ("startDate",), scheduleExpression="cron(1 19 ? * MON *)").outputs

    assert update(held)["startDate"] == held.outputs["startDate"]
    past = {**held.outputs, "startDate": "2026-01-01T00:00:00Z"}
    with pytest.raises(ProviderError, match="earlier than 5 minutes ago"):
        update(replace(held, outputs=past))
    assert not update(made)["startDate"], "and an update that does not know of it takes it away"

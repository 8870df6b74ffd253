"""EventBridge Scheduler in the emulator: what AWS refuses."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sandbox.tests.aws.aws_provider import ACCOUNT, SCHEDULE, TRUST, Cloud, ProviderError, World, client
from sandbox.tests.aws.emulator_server import error_code, refusal

INVALID, EXPRESSION = "ValidationException", "Invalid Schedule Expression"
FLEXIBLE = {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5}
FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"
TOO_OLD = {"MaximumEventAgeInSeconds": 86_401}
ROLE = "must allow AWS EventBridge Scheduler to assume"


@pytest.fixture(scope="module")
def schedule(cloud: Cloud) -> dict[str, Any]:
    """One as the program makes it, as AWS shows it."""
    client("iam").create_role(RoleName="of-ec2", AssumeRolePolicyDocument=TRUST)
    group, _, name = cloud.make(SCHEDULE, World(cloud).schedule()).id.partition("/")
    found = client("scheduler").get_schedule(GroupName=group, Name=name)
    kept = ("GroupName", "Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")
    return {key: found[key] for key in kept}


@pytest.mark.parametrize(
    ("others", "code", "message"),
    [
        ({"ScheduleExpression": "cron(0 19 * * MON *)"}, INVALID, EXPRESSION),
        ({"ScheduleExpression": "cron(0 24 ? * MON *)"}, INVALID, EXPRESSION),
        ({"ScheduleExpression": "cron(0 19 ? * Mo *)"}, INVALID, EXPRESSION),
        ({"ScheduleExpressionTimezone": "Mars/Olympus"}, INVALID, "Timezone you provide"),
        ({"StartDate": datetime(2026, 1, 1, tzinfo=UTC)}, INVALID, "earlier than 5 minutes ago"),
        ({"FlexibleTimeWindow": FLEXIBLE}, "NotImplemented", "not emulated: the window"),
        ({"GroupName": "none"}, "ResourceNotFoundException", "Schedule group none does not exist"),
        ({"Name": "none"}, "ResourceNotFoundException", "Schedule none does not exist"),
        ({"Target": {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/none"}}, INVALID, ROLE),
        ({"Target": {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/of-ec2"}}, INVALID, ROLE),
        ({"Target": {"Input": "{"}}, INVALID, "Invalid RequestJson"),
        ({"Target": {"Arn": FUNCTION}}, "NotImplemented", "not emulated: the target"),
        ({"Target": {"RetryPolicy": TOO_OLD}}, INVALID, "must be between 60 and 86400"),
    ],
)
def test_a_schedule_that_aws_would_refuse_is_refused(
    schedule: dict[str, Any], others: dict[str, Any], code: str, message: str
) -> None:
    wanted = {**schedule, **others, "Target": {**schedule["Target"], **others.get("Target", {})}}
    found = refusal(client("scheduler").update_schedule, **wanted)
    assert (found[0], message in found[1]) == (code, True), found


def test_names_are_taken_once_and_a_group_takes_its_schedules_along(cloud: Cloud) -> None:
    inputs = World(cloud).schedule()
    made = cloud.make(SCHEDULE, inputs)
    with pytest.raises(ProviderError, match="ConflictException"):
        cloud.make(SCHEDULE, inputs)
    scheduler = client("scheduler")
    assert error_code(scheduler.create_schedule_group, Name=inputs["groupName"]) == "ConflictException"
    scheduler.delete_schedule_group(Name=inputs["groupName"])
    assert cloud.read(made) is None
    gone = error_code(scheduler.delete_schedule_group, Name=inputs["groupName"])
    assert gone == "ResourceNotFoundException"
    code, message = refusal(scheduler.create_schedule_group, Name="a/b")
    assert (code, "must satisfy pattern" in message) == (INVALID, True)

"""EventBridge Scheduler: groups of schedules, and schedules with a universal target.

Source: hashicorp/terraform-provider-aws, internal/service/scheduler/schedule.go and schedule_group.go.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from sandbox.aws.provider.api import Api, Tags, given, if_there, tag_list, tag_map
from sandbox.aws.provider.resource_type import Change, ResourceType, paths
from sandbox.aws.provider.values import UNKNOWN, CheckFailure, Properties

_NAME = re.compile(r"[0-9A-Za-z_.-]{1,64}")
_RANGES = {"maximumEventAgeInSeconds": (60, 86_400), "maximumRetryAttempts": (0, 185)}
_RETRY = {"maximumEventAgeInSeconds": 86_400, "maximumRetryAttempts": 185}


def _name_failures(inputs: Properties, *names: str) -> list[CheckFailure]:
    wrong = (
        name for name in names if isinstance(inputs.get(name), str) and not _NAME.fullmatch(inputs[name])
    )
    return [(name, f"expected 1 to 64 of letters, digits and _.-, got {inputs[name]!r}") for name in wrong]


class ScheduleGroup(ResourceType):
    token = "aws:scheduler/scheduleGroup:ScheduleGroup"
    handles = paths("name")
    force_new = paths("name")
    computed = paths("name")
    name_prefix = ""

    def check(self, inputs: Properties) -> list[CheckFailure]:
        return _name_failures(inputs, "name")

    def create(self, api: Api, inputs: Properties) -> str:
        api.scheduler.create_schedule_group(Name=inputs["name"], Tags=tag_list(inputs.get("tagsAll") or {}))
        return str(inputs["name"])

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        group = if_there(api.scheduler.get_schedule_group, Name=id)
        if group is None:
            return None
        tags = api.scheduler.list_tags_for_resource(ResourceArn=group["Arn"])["Tags"]
        return {
            "arn": group["Arn"],
            "name": group["Name"],
            "state": group["State"],
            "creationDate": _rfc3339(group["CreationDate"]),
            "lastModificationDate": _rfc3339(group["LastModificationDate"]),
            "tagsAll": tag_map(tags),
        }

    def retag(self, api: Api, id: str, removed: list[str], tags: Tags) -> None:
        arn = api.arn("scheduler", f"schedule-group/{id}")
        if removed:
            api.scheduler.untag_resource(ResourceArn=arn, TagKeys=removed)
        if tags:
            api.scheduler.tag_resource(ResourceArn=arn, Tags=tag_list(tags))

    def delete(self, api: Api, id: str, state: Properties) -> None:
        api.scheduler.delete_schedule_group(Name=id)


class Schedule(ResourceType):
    """Its id is GROUP/NAME. A start date that somebody else gave it is a difference, and an update sends what
    the state has of it."""

    token = "aws:scheduler/schedule:Schedule"
    handles = paths(
        "name groupName description scheduleExpression scheduleExpressionTimezone startDate state "
        "flexibleTimeWindow.mode target.arn target.roleArn target.input "
        "target.retryPolicy.maximumEventAgeInSeconds target.retryPolicy.maximumRetryAttempts"
    )
    force_new = paths("name groupName")
    defaults = MappingProxyType(
        {
            "scheduleExpressionTimezone": "UTC",
            "state": "ENABLED",
            "target.retryPolicy": _RETRY,
            **{f"target.retryPolicy.{name}": value for name, value in _RETRY.items()},
        }
    )
    computed = paths("name groupName actionAfterCompletion")
    optional = paths("startDate")
    name_prefix = ""

    def check(self, inputs: Properties) -> list[CheckFailure]:
        found = _name_failures(inputs, "name", "groupName")
        window = inputs["flexibleTimeWindow"]
        if isinstance(window, dict) and window.get("mode") not in ("OFF", UNKNOWN):
            found.append(("flexibleTimeWindow.mode", "the stand-in provider knows OFF only"))
        target = inputs["target"] if isinstance(inputs["target"], dict) else {}
        for name, value in (target.get("retryPolicy") or {}).items():
            low, high = _RANGES[name]
            if isinstance(value, int) and not low <= value <= high:
                why = f"expected {name} to be in the range ({low} - {high}), got {value}"
                found.append((f"target.retryPolicy.{name}", why))
        return found

    def create(self, api: Api, inputs: Properties) -> str:
        api.scheduler.create_schedule(**_request(inputs, inputs.get("startDate")))
        return f"{inputs.get('groupName', 'default')}/{inputs['name']}"

    def update(self, api: Api, id: str, change: Change) -> None:
        start = (change.new if change.of("startDate") else change.old).get("startDate")
        api.scheduler.update_schedule(**_request(change.new, start))

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        group, _, name = id.partition("/")
        found = if_there(api.scheduler.get_schedule, GroupName=group, Name=name)
        if found is None:
            return None
        target, retry = found["Target"], found["Target"]["RetryPolicy"]
        start = found.get("StartDate")
        return {
            "arn": found["Arn"],
            "name": found["Name"],
            "groupName": found["GroupName"],
            "description": found.get("Description"),
            "scheduleExpression": found["ScheduleExpression"],
            "scheduleExpressionTimezone": found["ScheduleExpressionTimezone"],
            "startDate": _rfc3339(start) if start else None,
            "state": found["State"],
            "flexibleTimeWindow": {"mode": found["FlexibleTimeWindow"]["Mode"]},
            "target": {
                "arn": target["Arn"],
                "roleArn": target["RoleArn"],
                "input": target.get("Input"),
                "retryPolicy": {
                    "maximumEventAgeInSeconds": retry.get("MaximumEventAgeInSeconds", 86_400),
                    "maximumRetryAttempts": retry.get("MaximumRetryAttempts", 185),
                },
            },
        }

    def delete(self, api: Api, id: str, state: Properties) -> None:
        group, _, name = id.partition("/")
        api.scheduler.delete_schedule(GroupName=group, Name=name)


def _request(inputs: Properties, start: str | None) -> dict[str, Any]:
    """A schedule as the API takes it: whole, whatever of it changes."""
    target = inputs["target"]
    retry = {**_RETRY, **(target.get("retryPolicy") or {})}
    return {
        "Name": inputs["name"],
        **given(GroupName=inputs.get("groupName"), Description=inputs.get("description")),
        "ScheduleExpression": inputs["scheduleExpression"],
        "ScheduleExpressionTimezone": inputs["scheduleExpressionTimezone"],
        "State": inputs["state"],
        "FlexibleTimeWindow": {"Mode": inputs["flexibleTimeWindow"]["mode"]},
        **given(StartDate=datetime.fromisoformat(start) if start else None),
        "Target": {
            "Arn": target["arn"],
            "RoleArn": target["roleArn"],
            **given(Input=target.get("input")),
            "RetryPolicy": {
                "MaximumEventAgeInSeconds": retry["maximumEventAgeInSeconds"],
                "MaximumRetryAttempts": retry["maximumRetryAttempts"],
            },
        },
    }


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

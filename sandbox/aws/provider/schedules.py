"""EventBridge Scheduler: groups of schedules, and schedules with a universal target.

Source: hashicorp/terraform-provider-aws, internal/service/scheduler/schedule.go and schedule_group.go.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from sandbox.aws.provider.api import Api, Tags, if_there, tag_list, tag_map
from sandbox.aws.provider.resource_type import Change, ResourceType, capitals, paths, properties
from sandbox.aws.provider.values import UNKNOWN, CheckFailure, Properties

_NAME = re.compile(r"[0-9A-Za-z_.-]{1,64}")
_RETRY = {"maximumEventAgeInSeconds": 86_400, "maximumRetryAttempts": 185}


def _name_failures(inputs: Properties, *names: str) -> list[CheckFailure]:
    given = {name: inputs[name] for name in names if isinstance(inputs.get(name), str)}
    why = "expected 1 to 64 of letters, digits and _.-, got"
    return [(name, f"{why} {text!r}") for name, text in given.items() if not _NAME.fullmatch(text)]


class ScheduleGroup(ResourceType):
    token = "aws:scheduler/scheduleGroup:ScheduleGroup"
    handles = force_new = computed = paths("name")
    fields = paths("arn name state")
    name_prefix = ""

    def check(self, inputs: Properties) -> list[CheckFailure]:
        return _name_failures(inputs, "name")

    def create(self, api: Api, inputs: Properties) -> str:
        api.scheduler.create_schedule_group(Name=inputs["name"], Tags=tag_list(inputs.get("tagsAll") or {}))
        return str(inputs["name"])

    def find(self, api: Api, id: str) -> Any:
        return if_there(api.scheduler.get_schedule_group, Name=id)

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        tags = api.scheduler.list_tags_for_resource(ResourceArn=found["Arn"])["Tags"]
        return {
            "creationDate": _rfc3339(found["CreationDate"]),
            "lastModificationDate": _rfc3339(found["LastModificationDate"]),
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
    ranges = MappingProxyType(
        {
            "target.retryPolicy.maximumEventAgeInSeconds": (60, 86_400),
            "target.retryPolicy.maximumRetryAttempts": (0, 185),
        }
    )
    fields = paths("arn name groupName description scheduleExpression scheduleExpressionTimezone state")
    name_prefix = ""

    def check(self, inputs: Properties) -> list[CheckFailure]:
        found = _name_failures(inputs, "name", "groupName")
        window = inputs["flexibleTimeWindow"]
        if isinstance(window, dict) and window.get("mode") not in ("OFF", UNKNOWN):
            found.append(("flexibleTimeWindow.mode", "the stand-in provider knows OFF only"))
        return found + super().check(inputs)

    def create(self, api: Api, inputs: Properties) -> str:
        api.scheduler.create_schedule(**_request(inputs, inputs.get("startDate")))
        return f"{inputs.get('groupName', 'default')}/{inputs['name']}"

    def update(self, api: Api, id: str, change: Change) -> None:
        start = (change.new if change.of("startDate") else change.old).get("startDate")
        api.scheduler.update_schedule(**_request(change.new, start))

    def find(self, api: Api, id: str) -> Any:
        return if_there(api.scheduler.get_schedule, **_key(id))

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        target, start = properties(found["Target"]), found.get("StartDate")
        return {
            "startDate": _rfc3339(start) if start else None,
            "flexibleTimeWindow": {"mode": found["FlexibleTimeWindow"]["Mode"]},
            "target": {**target, "retryPolicy": {**_RETRY, **target["retryPolicy"]}},
        }

    def delete(self, api: Api, id: str, state: Properties) -> None:
        api.scheduler.delete_schedule(**_key(id))


def _key(id: str) -> dict[str, str]:
    group, _, name = id.partition("/")
    return {"GroupName": group, "Name": name}


def _request(inputs: Properties, start: str | None) -> dict[str, Any]:
    """A schedule as the API takes it: whole, whatever of it changes."""
    target = inputs["target"]
    whole = {
        **{name: inputs.get(name) for name in (Schedule.fields - {"arn"}) | {"flexibleTimeWindow"}},
        "startDate": datetime.fromisoformat(start) if start else None,
        "target": {**target, "retryPolicy": {**_RETRY, **(target.get("retryPolicy") or {})}},
    }
    return dict(capitals(whole))


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

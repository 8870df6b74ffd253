"""What EventBridge Scheduler refuses and moto accepts.

Sources: its API reference (CreateSchedule, CreateScheduleGroup, RetryPolicy, Target), and its user guide
("Schedule types in EventBridge Scheduler", "Using universal targets in EventBridge Scheduler"). The words
about a role are those by which hashicorp/terraform-provider-aws (internal/service/scheduler/schedule.go)
knows that error; those about a start date are moto's.
"""

from __future__ import annotations

import json
import re
import zoneinfo
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from moto.core.utils import utcnow
from moto.iam.exceptions import NotFoundException

from sandbox.aws.awswire import Refusal
from sandbox.aws.stores import Stores
from sandbox.aws.strict_ec2 import Arguments, Check

_NAME = re.compile(r"[0-9a-zA-Z_.-]{1,64}")
_DAY = "(SUN|MON|TUE|WED|THU|FRI|SAT|[1-7])"
# Of the forms that there are, those that this project makes: a time on days of the week, and once.
_CRON = re.compile(rf"cron\([0-5]?[0-9] (1?[0-9]|2[0-3]) \? \* {_DAY}(,{_DAY})* \*\)")
_ONCE = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
_UNIVERSAL = re.compile(r"arn:aws:scheduler:::aws-sdk:[a-z0-9]+:[a-z][A-Za-z]+")
_OLDEST_START = timedelta(minutes=5)
_RETRY = {"MaximumEventAgeInSeconds": (60, 86_400), "MaximumRetryAttempts": (0, 185)}
_INVALID = "ValidationException"


def _group_call(aws: Stores, call: Arguments) -> None:
    _require_name(call["Name"])
    if call["Name"] in aws.scheduler.schedule_groups:
        raise Refusal("ConflictException", f"Schedule group {call['Name']} already exists.", 409)


def _group_deletion(aws: Stores, call: Arguments) -> None:
    if call["Name"] == "default":
        raise Refusal(_INVALID, "Cannot delete the default schedule group.")
    _require_group(aws, call["Name"])


def _creation(aws: Stores, call: Arguments) -> None:
    _require_name(call["Name"])
    _require_group(aws, call.get("GroupName") or "default")
    _require_schedule(aws, call)


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Refusal(_INVALID, f"Value '{name}' at 'name' must satisfy pattern {_NAME.pattern}")


def _require_group(aws: Stores, name: str) -> None:
    if name not in aws.scheduler.schedule_groups:
        raise Refusal("ResourceNotFoundException", f"Schedule group {name} does not exist.", 404)


def _require_schedule(aws: Stores, call: Arguments) -> None:
    expression = call["ScheduleExpression"]
    if not _CRON.fullmatch(expression) and not _ONCE.fullmatch(expression):
        raise Refusal(_INVALID, f"Invalid Schedule Expression {expression}.")
    if call.get("ScheduleExpressionTimezone", "UTC") not in zoneinfo.available_timezones():
        raise Refusal(_INVALID, "The ScheduleExpressionTimezone you provide is invalid.")
    if call["FlexibleTimeWindow"] != {"Mode": "OFF"}:
        raise Refusal("NotImplemented", f"not emulated: the window {call['FlexibleTimeWindow']}", 501)
    start = call.get("StartDate")
    if start and _CRON.fullmatch(expression) and start < utcnow() - _OLDEST_START:
        raise Refusal(_INVALID, "The StartDate you specify cannot be earlier than 5 minutes ago.")
    _require_target(aws, call["Target"])


def _require_target(aws: Stores, target: Mapping[str, Any]) -> None:
    if not _UNIVERSAL.fullmatch(target["Arn"]):
        raise Refusal("NotImplemented", f"not emulated: the target {target['Arn']}", 501)
    try:
        json.loads(target.get("Input", ""))
    except ValueError:
        raise Refusal(_INVALID, "Invalid RequestJson provided. Reason: it is not JSON.") from None
    for name, value in target.get("RetryPolicy", {}).items():
        low, high = _RETRY[name]
        if not low <= value <= high:
            raise Refusal(_INVALID, f"Value '{value}' at '{name}' must be between {low} and {high}")
    try:
        role = aws.iam.get_role_by_arn(target["RoleArn"])
        trusts = "scheduler.amazonaws.com" in json.dumps(role.assume_role_policy_document)
    except NotFoundException:
        trusts = False
    if not trusts:
        message = "The execution role you provide must allow AWS EventBridge Scheduler to assume the role."
        raise Refusal(_INVALID, message)


def _update(aws: Stores, call: Arguments) -> None:
    group = call.get("GroupName") or "default"
    _require_group(aws, group)
    if call["Name"] in aws.scheduler.schedule_groups[group].schedules:  # else moto says so
        _require_schedule(aws, call)


CHECKS: Mapping[str, Check] = {
    "scheduler:CreateSchedule": _creation,
    "scheduler:CreateScheduleGroup": _group_call,
    "scheduler:DeleteScheduleGroup": _group_deletion,
    "scheduler:UpdateSchedule": _update,
}

"""Schedules of GPU nodes in AWS: stops that are held off for a time, and what people are told of hours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from cli.errors import CommandError
from config import schedule as hours
from config.model import Schedule
from config.naming import Naming

_ONCE = "until"  # names the schedule that stops a node after it was kept on
# What an update takes of what AWS tells of a schedule; what it is not given becomes a default.
# Source: the EventBridge Scheduler API reference, UpdateSchedule.
_TAKEN = ("GroupName", "Name", "Description", "ScheduleExpression", "ScheduleExpressionTimezone", "EndDate",
          "State", "FlexibleTimeWindow", "Target", "ActionAfterCompletion", "KmsKeyArn")  # fmt: skip


@dataclass(frozen=True)
class Hold:
    """What becomes of a node's stops. `held`: the first that does not come; `start`: from when on they come
    again; `once`: when it is stopped instead. None: nothing of that kind."""

    held: datetime | None = None
    start: datetime | None = None
    once: datetime | None = None


def plan(schedule: Schedule, now: datetime, end: datetime) -> Hold:
    """Until `end` there is no stop; then it is as the hours say."""
    stop = hours.next_stop(schedule, now)
    held = stop if stop < end else None
    as_it_is = stop == end or hours.inside(schedule, end)
    return Hold(held, end if held else None, None if as_it_is else end)


@dataclass(frozen=True)
class Schedules:
    """Those of a cluster, by the client of EventBridge Scheduler."""

    scheduler: Any
    naming: Naming

    def stop(self, node: str) -> Mapping[str, Any] | None:
        """The stop of a node as AWS tells of it; None: no update has made it."""
        group, name = self.naming.schedule_group, self.naming.schedule(node, "stop")
        try:
            found: Mapping[str, Any] = self.scheduler.get_schedule(GroupName=group, Name=name)
        except self.scheduler.exceptions.ResourceNotFoundException:
            return None
        return found

    def hold(self, node: str, stop: Mapping[str, Any], wanted: Hold) -> None:
        """Make it so, whatever was held off before."""
        if wanted.start or stop.get("StartDate"):
            kept = {name: stop[name] for name in _TAKEN if stop.get(name) is not None}
            self.scheduler.update_schedule(**kept, **({"StartDate": wanted.start} if wanted.start else {}))
        if wanted.once:
            self._stop_once(node, stop, wanted.once)
        else:
            self._forget_once(node)

    def release(self, nodes: Iterable[str]) -> None:
        """Nothing of these nodes is held off any more."""
        for node in nodes:
            if stop := self.stop(node):
                self.hold(node, stop, Hold())

    def _stop_once(self, node: str, stop: Mapping[str, Any], at: datetime) -> None:
        """It does what the node's stop does, through the same role, and deletes itself."""
        once = {
            "GroupName": stop["GroupName"],
            "Name": self.naming.schedule(node, _ONCE),
            "ScheduleExpression": f"at({at:%Y-%m-%dT%H:%M:%S})",
            "ScheduleExpressionTimezone": "UTC",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": stop["Target"],
            "ActionAfterCompletion": "DELETE",
        }
        try:
            self.scheduler.create_schedule(**once)
        except self.scheduler.exceptions.ConflictException:
            self.scheduler.update_schedule(**once)

    def _forget_once(self, node: str) -> None:
        name = self.naming.schedule(node, _ONCE)
        try:
            self.scheduler.delete_schedule(GroupName=self.naming.schedule_group, Name=name)
        except self.scheduler.exceptions.ResourceNotFoundException:
            return


def stops_of(schedules: Schedules, nodes: Iterable[str], stack: str) -> dict[str, Mapping[str, Any]]:
    """The stop of each node. Raises: CommandError if one has none."""
    found = {node: schedules.stop(node) for node in nodes}
    if missing := [node for node, stop in found.items() if stop is None]:
        raise CommandError(
            f"AWS has no schedule of {', '.join(missing)} yet; fix: bin/kubepark up --stack {stack}"
        )
    return {node: stop for node, stop in found.items() if stop is not None}


def shown(at: datetime, schedule: Schedule | None) -> str:
    """A moment by the clocks that people mean, with their zone: of the schedule, or of this machine."""
    local = at.astimezone(ZoneInfo(schedule.timezone) if schedule else None)
    return f"{local:%a %Y-%m-%d %H:%M} {schedule.timezone if schedule else local.tzname()}"

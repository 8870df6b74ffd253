"""When GPU nodes run: from the settings to cron expressions, and from the settings to moments.

AWS evaluates the expressions by the clocks of the time zone. A time that its clocks leave out in spring is
skipped, one that they show twice in autumn counts once. Source: the EventBridge Scheduler user guide,
"Schedule types in EventBridge Scheduler".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from config.model import Day, Schedule

_WEEK = tuple(Day)
_DAY = timedelta(days=1)
# How long AWS goes on trying a call that fails, as a start without capacity does. The least that it takes.
# Source: the EventBridge Scheduler API reference, RetryPolicy.
_LEAST_RETRY, _LONGEST_RETRY = timedelta(minutes=1), timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Event:
    """A call that AWS makes at certain times: `action` is that of EC2's API, as universal targets spell it.

    `retry_seconds`: for how long a call that fails is repeated; not past the other event.
    """

    verb: str  # start, stop
    action: str
    cron: str
    retry_seconds: int


def plan(schedule: Schedule) -> tuple[Event, Event]:
    """Start and stop as AWS is told of them."""
    open_ = _length(schedule)
    retry = int(max(_LEAST_RETRY, min(_LONGEST_RETRY, open_, _DAY - open_)).total_seconds())
    starts, stops = cron(schedule.start, schedule.days), cron(schedule.stop, stop_days(schedule))
    return (
        Event(verb="start", action="startInstances", cron=starts, retry_seconds=retry),
        Event(verb="stop", action="stopInstances", cron=stops, retry_seconds=retry),
    )


def cron(at: time, days: tuple[Day, ...]) -> str:
    """Fields: minutes, hours, day of the month, month, day of the week, year; one of the days is `?`."""
    return f"cron({at.minute} {at.hour} ? * {','.join(day.upper() for day in days)} *)"


def stop_days(schedule: Schedule) -> tuple[Day, ...]:
    """The days on which the hours end."""
    if not overnight(schedule):
        return schedule.days
    following = {_WEEK[(_WEEK.index(day) + 1) % len(_WEEK)] for day in schedule.days}
    return tuple(day for day in _WEEK if day in following)


def overnight(schedule: Schedule) -> bool:
    return schedule.stop <= schedule.start


def hours_a_week(schedule: Schedule) -> Decimal:
    """Hours that the nodes run in a week without a change of clocks."""
    return Decimal(int(_length(schedule).total_seconds())) * len(schedule.days) / 3600


def inside(schedule: Schedule, at: datetime) -> bool:
    """Whether the nodes are to run at a moment: what was called last was a start."""
    return max(each for each in _moments(schedule, at) if each[0] <= at)[1]


def next_start(schedule: Schedule, after: datetime) -> datetime:
    """The first start after a moment, in UTC."""
    return min(moment for moment, starts in _moments(schedule, after) if starts and moment > after)


def next_stop(schedule: Schedule, after: datetime) -> datetime:
    """The first stop after a moment, in UTC."""
    return min(moment for moment, starts in _moments(schedule, after) if not starts and moment > after)


def shown(schedule: Schedule) -> str:
    """As people read it: `08:00-19:00 Mon,Tue Europe/Berlin`."""
    hours = f"{schedule.start:%H:%M}-{schedule.stop:%H:%M}"
    return f"{hours} {','.join(schedule.days)} {schedule.timezone}"


def readable(schedule: Schedule) -> bool:
    """Whether this machine knows the clocks of the zone, by which moments are told: some have no database."""
    try:
        ZoneInfo(schedule.timezone)
    except ZoneInfoNotFoundError:
        return False
    return True


def _length(schedule: Schedule) -> timedelta:
    start, stop = (timedelta(hours=at.hour, minutes=at.minute) for at in (schedule.start, schedule.stop))
    return stop - start + (_DAY if overnight(schedule) else timedelta())


def _moments(schedule: Schedule, around: datetime) -> Iterator[tuple[datetime, bool]]:
    """Calls (when, whether it is a start) of two weeks before and after: AWS may skip one of a week."""
    zone = ZoneInfo(schedule.timezone)
    today = around.astimezone(zone).date()
    for at, days, starts in (
        (schedule.start, schedule.days, True),
        (schedule.stop, stop_days(schedule), False),
    ):
        for day in (today + timedelta(days=number) for number in range(-15, 16)):
            moment = datetime.combine(day, at, zone).astimezone(UTC)
            if _WEEK[day.weekday()] in days and moment.astimezone(zone).time() == at:
                yield moment, starts

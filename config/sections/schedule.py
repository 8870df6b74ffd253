"""`gpu.schedule`: the hours in which GPU nodes run."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from collections.abc import Iterable
from datetime import time
from functools import cache
from typing import Any

from config.model import Day, NodeSettings, Power, Schedule
from config.validation import Section, shown

_TIME, _TIME_FORM = re.compile("([01][0-9]|2[0-3]):[0-5][0-9]"), "HH:MM from 00:00 to 23:59"
_WORKDAYS = f"{Day.MON}-{Day.FRI}"
_DAYS_FORM = f"{', '.join(Day)}: days and ranges, like {_WORKDAYS} or {Day.MON},{Day.SAT}"
_UTC, _ZONE_FORM = "UTC", "a name of the IANA time zone database, like Europe/Berlin"
_ZONE = re.compile("[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_LONGEST_NAME = 64  # characters; source: the EventBridge Scheduler API reference, CreateSchedule, Name


def schedule(pool: Section, power: Power, nodes: Iterable[NodeSettings]) -> Schedule | None:
    """The hours of a pool, None: it has none. Who pins its power decides against them."""
    if not pool.has("schedule"):
        pool.take("schedule")
        return None
    section = pool.section("schedule")
    start = section.value("start", _time, accepted=_TIME_FORM, example="08:00")
    stop = section.value("stop", _time, accepted=_TIME_FORM, example="19:00")
    if start == stop and section.raw.get("start") == section.raw.get("stop"):
        later = f"{(start.hour + 1) % 24:02}:{start.minute:02}"
        section.refuse("stop", f"{stop:%H:%M} is when the hours start", "another time", later)
    near = difflib.get_close_matches(str(section.raw.get("timezone")), _zones(), n=1)
    timezone = section.value("timezone", _timezone, accepted=_ZONE_FORM, example=(*near, _UTC)[0])
    days = section.value("days", _days, accepted=_DAYS_FORM, example=_WORKDAYS, default=_days(_WORKDAYS))
    section.finish()
    if power is not Power.AUTO:
        pool.refuse("power", f"{power} stands beside a schedule", Power.AUTO, Power.AUTO)
    most = _LONGEST_NAME - len("-start")
    for name in (node.name for node in nodes if len(node.name) > most):
        wrong = f"{name} has {len(name)} characters, too many for the names of its schedules"
        pool.problems.add(f"{pool.key('nodes')}.{name}", wrong, f"at most {most}", None)
    return Schedule(start=start, stop=stop, timezone=timezone, days=days)


def _time(raw: Any) -> time:
    if not isinstance(raw, str) or not _TIME.fullmatch(raw):
        raise ValueError(f"{shown(raw)} is not a time of the day")
    return time.fromisoformat(raw)


@cache
def _zones() -> frozenset[str]:
    """The names that this machine knows: none where it has no time zone database."""
    return frozenset(zoneinfo.available_timezones() - {"localtime"})


def _timezone(raw: Any) -> str:
    if not isinstance(raw, str) or not _ZONE.fullmatch(raw) or (_zones() and raw not in _zones()):
        raise ValueError(f"{shown(raw)} is no time zone")
    return raw


def _days(raw: Any) -> tuple[Day, ...]:
    """A text with commas, or a list. A range may go over the end of the week."""
    parts = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(parts, list) or not parts:
        raise ValueError(f"{shown(raw)} is not a list of days")
    week, found = list(Day), set()
    for part in parts:
        ends = str(part).strip().split("-")
        if len(ends) > 2 or not set(ends) <= set(week):
            raise ValueError(f"{shown(part)} is not a day")
        begin, end = week.index(Day(ends[0])), week.index(Day(ends[-1]))
        found |= {week[place % 7] for place in range(begin, end + (1 if begin <= end else 8))}
    return tuple(day for day in week if day in found)

"""Hours of GPU nodes: what the settings take, what AWS is told, and what the hours mean at a moment."""

from __future__ import annotations

import re
import zoneinfo
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from config import schedule, settings
from config.model import Day, Schedule
from config.problems import SettingsError
from config.sections import schedule as section
from tests.configuration import configuration

BERLIN, SEOUL = "Europe/Berlin", "Asia/Seoul"
WORKDAYS = "MON,TUE,WED,THU,FRI"
WEEK = "MON,TUE,WED,THU,FRI,SAT,SUN"


def parsed(start: str, stop: str, timezone: str = BERLIN, **others: Any) -> Schedule:
    hours = {"start": start, "stop": stop, "timezone": timezone, **others}
    found = settings.parse("dev", configuration(gpu__schedule=hours)).gpu.schedule
    assert found is not None
    return found


def refused(hours: Any, **changes: Any) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        settings.parse("dev", configuration(gpu__schedule=hours, **changes))
    return [str(problem) for problem in raised.value.problems]


def utc(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


# -- settings ----------------------------------------------------------------------------------------


def test_without_hours_there_are_none() -> None:
    assert settings.parse("dev", configuration()).gpu.schedule is None


@pytest.mark.parametrize(
    ("days", "found"),
    [
        ("Mon-Fri", WORKDAYS),
        (["Mon", "Wed"], "MON,WED"),
        ("Wed, Mon", "MON,WED"),
        ("Sat", "SAT"),
        ("Fri-Mon", "MON,FRI,SAT,SUN"),
        (["Mon-Wed", "Tue-Thu", "Sun"], "MON,TUE,WED,THU,SUN"),
        ("Sun-Sat", WEEK),
        (None, WORKDAYS),
    ],
)
def test_days_are_a_text_or_a_list_of_days_and_ranges(days: Any, found: str) -> None:
    start, stop = schedule.plan(parsed("08:05", "19:30", **({"days": days} if days else {})))
    assert start.cron == f"cron(5 8 ? * {found} *)"
    assert stop.cron == f"cron(30 19 ? * {found} *)"


def test_everything_that_is_wrong_is_said_at_once() -> None:
    wrong = {"start": 480, "stop": "24:00", "timezone": "Europe/Berlinn", "days": "Mon,Foo", "day": "Mon"}
    found = refused(wrong, gpu__power="stopped")
    assert [each.partition("; accepted")[0] for each in found] == [
        "kubepark:gpu.schedule.start: 480 is not a time of the day",
        'kubepark:gpu.schedule.stop: "24:00" is not a time of the day',
        'kubepark:gpu.schedule.timezone: "Europe/Berlinn" is no time zone',
        'kubepark:gpu.schedule.days: "Foo" is not a day',
        "kubepark:gpu.schedule.day: is not a known key (did you mean days?)",
        "kubepark:gpu.power: stopped stands beside a schedule",
    ]
    assert found[2].endswith("--path kubepark:gpu.schedule.timezone Europe/Berlin")


@pytest.mark.parametrize("power", ["running", "stopped", "absent"])
def test_who_pins_the_power_decides_against_hours(power: str) -> None:
    (problem,) = refused({"start": "08:00", "stop": "19:00", "timezone": "UTC"}, gpu__power=power)
    assert problem == (
        f"kubepark:gpu.power: {power} stands beside a schedule; accepted: auto; "
        "fix: pulumi config set --stack dev --path kubepark:gpu.power auto"
    )


def test_hours_that_are_none_or_a_whole_day_are_refused() -> None:
    (problem,) = refused({"start": "23:10", "stop": "23:10", "timezone": "UTC"})
    assert problem.startswith("kubepark:gpu.schedule.stop: 23:10 is when the hours start; accepted: another")
    assert problem.endswith("kubepark:gpu.schedule.stop 00:10")


@pytest.mark.parametrize("days", [[], "", "mon", "Mon-", "Mon-Tue-Wed", "Mon,,Tue", [1], {"a": 1}, 5])
def test_what_is_no_list_of_days_is_refused(days: Any) -> None:
    (problem,) = refused({"start": "08:00", "stop": "19:00", "timezone": "UTC", "days": days})
    assert re.match(
        r"kubepark:gpu\.schedule\.days: .* is not a (list of days|day); accepted: Mon, Tue", problem
    )


@pytest.mark.parametrize("zone", ["localtime", "../etc/passwd", "Mars/Olympus", "+01:00", "", 1, "Europe"])
def test_what_is_no_time_zone_is_refused(zone: Any) -> None:
    (problem,) = refused({"start": "08:00", "stop": "19:00", "timezone": zone})
    assert "is no time zone; accepted: a name of the IANA time zone database" in problem


def test_without_a_database_the_form_of_a_zone_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoneinfo, "available_timezones", set)
    section._zones.cache_clear()
    try:
        assert parsed("08:00", "19:00", "Mars/Olympus").timezone == "Mars/Olympus"
        assert "is no time zone" in refused({"start": "08:00", "stop": "19:00", "timezone": "a b"})[0]
    finally:
        section._zones.cache_clear()


def test_a_node_whose_schedules_would_have_too_long_names_is_refused() -> None:
    name = f"{'g' * 57}01"
    hours = {"start": "08:00", "stop": "19:00", "timezone": "UTC"}
    (problem,) = refused(hours, clusterName="a", gpu__nodes={name: {}})
    assert "has 59 characters, too many for the names of its schedules; accepted: at most 58" in problem


# -- what AWS is told --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "stop", "days", "starts", "stops", "hours"),
    [
        ("08:00", "19:00", "Mon-Fri", f"0 8 ? * {WORKDAYS}", f"0 19 ? * {WORKDAYS}", 55),
        ("09:00", "17:00", "Mon-Fri", f"0 9 ? * {WORKDAYS}", f"0 17 ? * {WORKDAYS}", 40),
        ("20:00", "06:00", "Mon-Fri", f"0 20 ? * {WORKDAYS}", "0 6 ? * TUE,WED,THU,FRI,SAT", 50),
        ("22:30", "00:00", "Sun", "30 22 ? * SUN", "0 0 ? * MON", Decimal("1.5")),
        ("00:00", "23:59", "Mon-Sun", f"0 0 ? * {WEEK}", f"59 23 ? * {WEEK}", 7 * Decimal(1439) / 60),
    ],
)
def test_hours_become_two_cron_expressions(
    start: str, stop: str, days: str, starts: str, stops: str, hours: Decimal
) -> None:
    found = parsed(start, stop, days=days)
    assert [(each.verb, each.action, each.cron) for each in schedule.plan(found)] == [
        ("start", "startInstances", f"cron({starts} *)"),
        ("stop", "stopInstances", f"cron({stops} *)"),
    ]
    assert schedule.hours_a_week(found) == hours


@pytest.mark.parametrize(
    ("start", "stop", "seconds"),
    [
        ("08:00", "19:00", 3600),
        ("08:00", "08:20", 1200),  # a start that comes later would run until the next stop
        ("08:20", "08:00", 1200),  # and a stop would end the next hours
        ("08:00", "08:01", 60),
    ],
)
def test_a_call_is_not_repeated_past_the_other_one(start: str, stop: str, seconds: int) -> None:
    assert {each.retry_seconds for each in schedule.plan(parsed(start, stop))} == {seconds}


# -- moments -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "after", "start", "stop"),
    [
        (BERLIN, "2026-03-26 20:00", "2026-03-27 07:00", "2026-03-27 18:00"),  # the last day of winter time
        (BERLIN, "2026-03-28 12:00", "2026-03-30 06:00", "2026-03-30 17:00"),  # the clocks were put forward
        (BERLIN, "2026-10-23 12:00", "2026-10-26 07:00", "2026-10-23 17:00"),  # and back
        (
            SEOUL,
            "2026-03-28 12:00",
            "2026-03-29 23:00",
            "2026-03-30 10:00",
        ),  # Monday's eight is Sunday's in UTC
        ("UTC", "2026-03-28 12:00", "2026-03-30 08:00", "2026-03-30 19:00"),
        ("America/St_Johns", "2026-11-02 10:00", "2026-11-02 11:30", "2026-11-02 22:30"),
    ],
)
def test_next_start_and_stop_are_by_the_clocks_of_the_zone(
    zone: str, after: str, start: str, stop: str
) -> None:
    found = parsed("08:00", "19:00", zone)
    assert schedule.next_start(found, utc(after)) == utc(start)
    assert schedule.next_stop(found, utc(after)) == utc(stop)


def test_a_time_that_the_clocks_leave_out_is_skipped_as_by_aws() -> None:
    """On 2026-03-29 Berlin goes from 02:00 to 03:00: nothing is stopped at 02:30 that night."""
    found = parsed("20:00", "02:30", days="Mon-Sun")
    assert schedule.next_stop(found, utc("2026-03-28 02:00")) == utc("2026-03-30 00:30")
    assert schedule.inside(found, utc("2026-03-29 12:00"))
    assert not schedule.inside(found, utc("2026-03-30 12:00"))


def test_a_time_that_the_clocks_show_twice_counts_once() -> None:
    """On 2026-10-25 Berlin has 02:30 at 00:30 UTC and at 01:30 UTC."""
    found = parsed("20:00", "02:30", days="Mon-Sun")
    assert schedule.next_stop(found, utc("2026-10-24 12:00")) == utc("2026-10-25 00:30")
    assert schedule.next_stop(found, utc("2026-10-25 00:30")) == utc("2026-10-26 01:30")


@pytest.mark.parametrize(
    ("start", "stop", "at", "runs"),
    [
        ("08:00", "19:00", "2026-11-30 06:59", False),  # a Monday; Berlin is an hour ahead
        ("08:00", "19:00", "2026-11-30 07:00", True),
        ("08:00", "19:00", "2026-11-30 17:59", True),
        ("08:00", "19:00", "2026-11-30 18:00", False),
        ("08:00", "19:00", "2026-11-29 12:00", False),  # a Sunday
        ("20:00", "06:00", "2026-11-30 12:00", False),
        ("20:00", "06:00", "2026-11-30 20:00", True),
        ("20:00", "06:00", "2026-12-05 04:59", True),  # Friday's hours, on Saturday
        ("20:00", "06:00", "2026-12-05 05:00", False),
    ],
)
def test_a_moment_is_inside_the_hours_or_not(start: str, stop: str, at: str, runs: bool) -> None:
    assert schedule.inside(parsed(start, stop), utc(at)) is runs


def test_hours_are_shown_as_they_were_set() -> None:
    hours = Schedule(start=time(8), stop=time(19, 5), timezone=SEOUL, days=(Day.MON, Day.SUN))
    assert schedule.shown(hours) == "08:00-19:05 Mon,Sun Asia/Seoul"

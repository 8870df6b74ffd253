"""`kubepark keep-on`: until when, what becomes of the stops, and what is said and recorded."""

from __future__ import annotations

import json
import time
import zoneinfo
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from moto import mock_aws

from cli import keep_on, park, power, stackfile
from cli.errors import CommandError
from cli.keep_on import moment
from cli.park import Request
from cli.schedules import Hold, plan
from config.model import Day, Schedule
from tests.unit import test_park_command
from tests.unit.test_park_command import Lab, error, run

lab = test_park_command.lab
WORKDAYS = tuple(Day)[:5]
BERLIN, SEOUL = "Europe/Berlin", "Asia/Seoul"
FILE = test_park_command.FILE + (
    '  kubepark:gpu: {schedule: {start: "08:00", stop: "19:00", timezone: Asia/Seoul, days: Mon-Fri}}\n'
)


def hours(zone: str = BERLIN, start: str = "08:00", stop: str = "19:00") -> Schedule:
    clocks = {
        name: datetime.strptime(text, "%H:%M").time() for name, text in (("start", start), ("stop", stop))
    }
    return Schedule(**clocks, timezone=zone, days=WORKDAYS)


def utc(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


NOW = utc("2026-11-27 15:00")  # a Friday: 16:00 in Berlin, midnight in Seoul


# -- until when --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("until", "zone", "now", "end"),
    [
        ("23:00", BERLIN, "2026-11-27 15:00", "2026-11-27 22:00"),
        ("9:30", BERLIN, "2026-11-27 15:00", "2026-11-28 08:30"),  # over today: tomorrow's
        ("16:00", BERLIN, "2026-11-27 15:00", "2026-11-28 15:00"),  # now is over
        ("02:00", SEOUL, "2026-11-27 15:00", "2026-11-27 17:00"),  # Saturday has begun there
        ("23:00", SEOUL, "2026-11-27 15:00", "2026-11-28 14:00"),
        ("2026-11-30T07:00", BERLIN, "2026-11-27 15:00", "2026-11-30 06:00"),
        ("2026-11-30T07:00Z", SEOUL, "2026-11-27 15:00", "2026-11-30 07:00"),
        ("2026-11-30 07:00+02:00", SEOUL, "2026-11-27 15:00", "2026-11-30 05:00"),
        ("02:30", BERLIN, "2026-10-24 15:00", "2026-10-25 01:30"),  # shown twice: the later one
        ("02:30", BERLIN, "2026-03-28 15:00", "2026-03-29 01:30"),  # left out: 03:30 by the new time
    ],
)
def test_a_time_is_by_the_clocks_of_the_schedule(until: str, zone: str, now: str, end: str) -> None:
    assert moment(until, "", utc(now), hours(zone)) == utc(end)


def test_without_a_schedule_a_time_is_by_the_clocks_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", SEOUL)
    time.tzset()
    try:
        assert moment("02:00", "", NOW, None) == utc("2026-11-27 17:00")
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("length", "end"),
    [("3h", "2026-11-27 18:00"), ("90m", "2026-11-27 16:30"), ("1d2h3m", "2026-11-28 17:03")],
)
def test_a_length_of_time_counts_from_now(length: str, end: str) -> None:
    assert moment("", length, NOW, None) == utc(end)


@pytest.mark.parametrize(
    ("until", "length", "wrong"),
    [
        ("", "", "how long is said by one option; accepted: --until 23:00,"),
        ("23:00", "3h", "how long is said by one option"),
        ("24:00", "", "--until 24:00 is no time"),
        ("noon", "", "--until noon is no time"),
        ("9999-12-31T23:59-12:00", "", "is no time"),
        ("2026-11-27T15:00", "", "is past: it is Fri 2026-11-27 16:00 Europe/Berlin"),
        ("", "0m", "--for 0m is no length of time; accepted: 3h, 90m, 1h30m, 2d"),
        ("", "-3h", "is no length of time"),
        ("", "3 hours", "is no length of time"),
    ],
)
def test_what_is_no_time_is_refused(until: str, length: str, wrong: str) -> None:
    with pytest.raises(CommandError, match=wrong):
        moment(until, length, NOW, hours())


# -- what becomes of the stops -----------------------------------------------------------------------

STOP = "2026-11-27 18:00"  # of that Friday, in Berlin


@pytest.mark.parametrize(
    ("now", "end", "held", "once"),
    [
        ("2026-11-27 15:00", "2026-11-27 22:00", STOP, "2026-11-27 22:00"),
        ("2026-11-27 15:00", "2026-11-27 17:00", None, None),  # the stop comes later
        ("2026-11-27 15:00", STOP, None, None),  # the stop comes then
        ("2026-11-27 15:00", "2026-11-30 10:00", STOP, None),  # in Monday's hours, whose stop comes
        ("2026-11-27 15:00", "2026-11-30 20:00", STOP, "2026-11-30 20:00"),
        ("2026-11-28 15:00", "2026-11-28 18:00", None, "2026-11-28 18:00"),  # started outside the hours
        ("2026-11-28 15:00", "2026-11-30 10:00", None, None),
    ],
)
def test_no_stop_comes_until_then_and_afterwards_the_hours_count(
    now: str, end: str, held: str | None, once: str | None
) -> None:
    found = plan(hours(), utc(now), utc(end))
    assert found == Hold(utc(held) if held else None, utc(end) if held else None, utc(once) if once else None)


# -- the command -------------------------------------------------------------------------------------


class Aws:
    """A schedule of gpu01 in moto, and everything else as the lab has it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.scheduler = boto3.client("scheduler", region_name="us-east-1")
        self.scheduler.create_schedule_group(Name="kubepark-dev")
        target = {"Arn": "arn:aws:scheduler:::aws-sdk:ec2:stopInstances", "RoleArn": "arn:aws:iam::1:role/r"}
        self.stop = {
            "Name": "gpu01-stop",
            "GroupName": "kubepark-dev",
            "ScheduleExpression": "cron(0 19 ? * MON,TUE,WED,THU,FRI *)",
            "ScheduleExpressionTimezone": "Asia/Seoul",
            "State": "ENABLED",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "Target": {**target, "Input": "{}", "RetryPolicy": {"MaximumEventAgeInSeconds": 3600}},
        }
        self.scheduler.create_schedule(**self.stop)

    def client(self, service: str, stack: str, variables: Any) -> Any:
        return self.scheduler if service == "scheduler" else self.lab

    def schedule(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.scheduler.get_schedule(GroupName="kubepark-dev", Name=name)
        return found

    @property
    def names(self) -> list[str]:
        return sorted(each["Name"] for each in self.scheduler.list_schedules()["Schedules"])


@pytest.fixture
def aws(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    stackfile.stack_file("dev").write_text(FILE, encoding="utf-8")
    with mock_aws():
        made = Aws(lab)
        monkeypatch.setattr(park, "client", made.client)
        yield made


def keep(until: str, now: str, **options: Any) -> int:
    return keep_on.keep_on(Request(stack="dev", target="gpu", **options), until, "", utc(now))


def test_the_stop_is_held_off_and_another_one_comes_once(aws: Aws, lab: Lab, capsys) -> None:
    assert keep("2099-01-05T23:00", "2099-01-05 05:00") == 0
    assert lab.keep_on == {"gpu01": utc("2099-01-05 14:00")}
    stop = aws.schedule("gpu01-stop")
    assert stop["StartDate"] == utc("2099-01-05 14:00")
    assert {key: stop[key] for key in aws.stop} == aws.stop, "everything else of it is as it was"
    once = aws.schedule("gpu01-until")
    assert (once["ScheduleExpression"], once["ScheduleExpressionTimezone"]) == (
        "at(2099-01-05T14:00:00)",
        "UTC",
    )
    assert (once["Target"], once["ActionAfterCompletion"]) == (stop["Target"], "DELETE")
    assert capsys.readouterr().out.splitlines() == [
        "kept on until Mon 2099-01-05 23:00 Asia/Seoul (2099-01-05T14:00:00Z): gpu01",
        "held off: the stop of Mon 2099-01-05 19:00 Asia/Seoul",
        "then it is stopped, outside its hours (08:00-19:00 Mon,Tue,Wed,Thu,Fri Asia/Seoul)",
        "to stop it before: bin/kubepark park gpu --stack dev",
        "that costs 0.5310 USD an hour from Mon 2099-01-05 19:00 Asia/Seoul on",
    ]


def test_the_last_word_counts(aws: Aws, lab: Lab) -> None:
    keep("2099-01-05T23:00", "2099-01-05 05:00")
    keep("2099-01-05T21:00", "2099-01-05 05:00")
    assert aws.schedule("gpu01-stop")["StartDate"] == utc("2099-01-05 12:00")
    assert aws.schedule("gpu01-until")["ScheduleExpression"] == "at(2099-01-05T12:00:00)"
    keep("2099-01-05T18:00", "2099-01-05 05:00")
    assert "StartDate" not in aws.schedule("gpu01-stop")
    assert aws.names == ["gpu01-stop"]
    assert lab.keep_on == {"gpu01": utc("2099-01-05 09:00")}


def test_a_park_ends_it(aws: Aws, lab: Lab, capsys) -> None:
    keep("2099-01-05T23:00", "2099-01-05 05:00")
    lab.keep_on["gpu02"] = utc("2099-01-05 14:00")
    capsys.readouterr()
    assert run("park", "gpu", "--yes") == 0
    assert (lab.parked, lab.keep_on) == ({"gpu01"}, {"gpu02": utc("2099-01-05 14:00")})
    assert "StartDate" not in aws.schedule("gpu01-stop")
    assert aws.names == ["gpu01-stop"]
    said = capsys.readouterr().out
    assert "its schedule starts it again on " in said
    assert "; not to: pulumi config rm --stack dev --path kubepark:gpu.schedule, then " in said


def test_an_update_that_made_the_schedule_anew_holds_it_off_again(
    aws: Aws, lab: Lab, monkeypatch, capsys
) -> None:
    keep("2099-01-05T23:00", "2099-01-05 05:00")
    for name in ("gpu01-stop", "gpu01-until"):
        aws.scheduler.delete_schedule(GroupName="kubepark-dev", Name=name)
    target = {**aws.stop["Target"], "Input": "of another instance"}
    aws.scheduler.create_schedule(**aws.stop | {"Target": target})
    capsys.readouterr()
    known = power.Known((), frozenset(), lab.keep_on | {"gpu09": utc("2099-01-05 14:00")})
    monkeypatch.setattr(keep_on, "client", aws.client)
    keep_on.renew("dev", {}, known, utc("2099-01-05 06:00"))
    assert aws.schedule("gpu01-stop")["StartDate"] == utc("2099-01-05 14:00")
    assert aws.schedule("gpu01-until")["Target"]["Input"] == "of another instance"
    assert capsys.readouterr().out == "power: gpu01 is kept on until Mon 2099-01-05 23:00 Asia/Seoul\n"
    keep_on.renew("dev", {}, known, utc("2099-01-05 06:00"))
    assert capsys.readouterr().out == "", "nothing was undone"
    aws.scheduler.delete_schedule(GroupName="kubepark-dev", Name="gpu01-until")
    keep_on.renew("dev", {}, known, utc("2099-01-05 15:00"))
    assert aws.names == ["gpu01-stop"], "what is over is over"


def test_json_says_it_in_utc(aws: Aws, capsys) -> None:
    assert keep("2099-01-05T23:00", "2099-01-05 05:00", as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == {
        "stack": "dev",
        "target": "gpu",
        "keptOn": ["gpu01"],
        "until": "2099-01-05T14:00:00Z",
        "heldOff": "2099-01-05T10:00:00Z",
        "stops": "2099-01-05T14:00:00Z",
    }


def test_a_stack_whose_schedule_no_update_has_made_is_told_to_update(aws: Aws, lab: Lab) -> None:
    aws.scheduler.delete_schedule(GroupName="kubepark-dev", Name="gpu01-stop")
    with pytest.raises(CommandError, match="no schedule of gpu01 yet; fix: bin/kubepark up --stack dev"):
        keep("2099-01-05T23:00", "2099-01-05 05:00")
    assert lab.keep_on == {}


def test_a_machine_without_a_time_zone_database_is_told_what_it_lacks(aws: Aws, lab: Lab, capsys) -> None:
    zoneinfo.reset_tzpath(to=[])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        assert run("keep-on", "--for", "3h") == 1
        assert error(capsys) == (
            "this machine does not know the clocks of Asia/Seoul; fix: .venv/bin/pip install tzdata"
        )
        assert power.schedule_of("dev") is None
        assert run("park", "gpu", "--yes") == 0
        assert "its schedule" not in capsys.readouterr().out
    finally:
        zoneinfo.reset_tzpath()
    assert power.schedule_of("dev") is not None


def test_without_a_schedule_the_record_is_for_the_idle_guard(lab: Lab, capsys) -> None:
    assert run("keep-on", "--for", "3h") == 0
    (until,) = lab.keep_on.values()
    assert 10_790 < (until - datetime.now(UTC)).total_seconds() <= 10_800
    assert (
        "the stack has no gpu.schedule: only an idle guard would have stopped it" in capsys.readouterr().out
    )


def test_only_gpu_nodes_that_run_are_kept_on(lab: Lab, capsys) -> None:
    assert run("keep-on", "worker01", "--for", "3h") == 1
    assert error(capsys) == "nothing stops worker01 by itself; accepted: gpu, or the name of a GPU node"
    lab.stop_instances(["i-gpu01"])
    assert run("keep-on", "--for", "3h") == 1
    assert error(capsys) == "gpu01 is stopped; fix: bin/kubepark unpark gpu --stack dev"
    assert lab.keep_on == {}


def test_what_is_over_is_forgotten_and_others_stay(lab: Lab) -> None:
    lab.keep_on = {"gpu02": utc("2099-01-01 00:00"), "gpu03": utc("2020-01-01 00:00")}
    assert run("keep-on", "gpu01", "--for", "3h") == 0
    assert sorted(lab.keep_on) == ["gpu01", "gpu02"]


def test_unpark_keeps_what_is_recorded(lab: Lab) -> None:
    lab.keep_on = {"gpu02": utc("2099-01-01 00:00")}
    run("park", "gpu", "--yes")
    assert run("unpark", "gpu", "--skip-verify") == 0
    assert (lab.parked, sorted(lab.keep_on)) == (frozenset(), ["gpu02"])

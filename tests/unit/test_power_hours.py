"""What `up` says of nodes that a schedule starts and stops: nobody stopped them, and no record has it."""

from __future__ import annotations

from datetime import UTC, datetime, time
from pathlib import Path

import pytest

from cli import power, stackfile
from cli.power import Known
from config.model import Day, NodeRole, Schedule
from tests.unit.park_objects import machines

AUTO = dict.fromkeys(NodeRole, "auto")
HOURS = Schedule(start=time(8), stop=time(19), timezone="Asia/Seoul", days=(Day.MON, Day.TUE))
MONDAY, SUNDAY = datetime(2026, 11, 30, 5, tzinfo=UTC), datetime(2026, 11, 29, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "parked", "state", "said"),
    [
        (
            SUNDAY,
            set(),
            "stopped",
            "stopped, outside the hours of its schedule (08:00-19:00 Mon,Tue Asia/Seoul; next start: Mon "
            "2026-11-30 08:00 Asia/Seoul); to start it: bin/kubepark unpark gpu --stack dev",
        ),
        (
            MONDAY,
            set(),
            "stopped",
            "stopped, inside the hours of its schedule (08:00-19:00 Mon,Tue Asia/Seoul); to start it: bin/kubepark "
            "unpark gpu --stack dev; if that is right: bin/kubepark park gpu --stack dev",
        ),
        (
            MONDAY,
            {"gpu01"},
            "running",
            "running, inside the hours of its schedule (08:00-19:00 Mon,Tue Asia/Seoul), and the record says parked; "
            "to stop it: bin/kubepark park gpu --stack dev; if that is right: bin/kubepark unpark gpu --stack dev",
        ),
        (MONDAY, set(), "running", ""),
        (SUNDAY, {"gpu01"}, "stopped", ""),
    ],
)
def test_of_a_gpu_node_with_hours_it_is_said_how_it_is_to_be_now(
    now: datetime, parked: set[str], state: str, said: str
) -> None:
    known = Known(machines(gpu01=state), frozenset(parked))
    assert list(power.differences("dev", known, AUTO, HOURS, now)) == (
        [f"power: gpu01: {said}"] if said else []
    )


def test_hours_are_of_gpu_nodes_alone() -> None:
    known = Known(machines(worker01="stopped"), frozenset())
    (line,) = power.differences("dev", known, AUTO, HOURS, MONDAY)
    assert line.startswith("power: worker01: stopped, and the record says running; ")


def test_hours_that_the_program_refuses_are_none_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stackfile, "ROOT", tmp_path)
    hours = '{start: "08:00", stop: "19:00", timezone: Asia/Seoul, days: [Mon, Tue]}'
    for text, found in ((hours, HOURS), ("{}", None), ("x", None), ("null", None)):
        file = tmp_path / "Pulumi.dev.yaml"
        file.write_text(f"config: {{kubepark:gpu: {{schedule: {text}}}}}\n", encoding="utf-8")
        assert power.schedule_of("dev") == found

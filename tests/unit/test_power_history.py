"""Hours from the versions of the power record, computed by hand; what is not known is not counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cli.power_history import DAYS, History, Version, hours

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=400)


def version(hours_ago: float, *parked: str, by: str = "ana", readable: bool = True) -> Version:
    return Version(at=NOW - timedelta(hours=hours_ago), by=by, parked=frozenset(parked) if readable else None)


def history(*versions: Version, whole: bool = True) -> History:
    return History(versions, whole)


def test_a_node_runs_from_an_unpark_to_the_next_park() -> None:
    ran = hours(
        history(version(2000), version(50, "gpu01"), version(30), version(27, "gpu01"), version(2)),
        "gpu01",
        LONG_AGO,
        NOW,
    )
    assert ran is not None
    assert ran.since == NOW - timedelta(days=DAYS)
    # Before: 27 whole days of 24 h, and 22 h of the one that began 72 h ago; then 3 h, and 2 h.
    assert ran.daily == (*[24.0] * 27, 22.0, 3.0, 2.0)
    assert ran.total == pytest.approx(27 * 24 + 22 + 3 + 2)


def test_other_nodes_in_the_record_change_nothing() -> None:
    ran = hours(history(version(800), version(10, "gpu02", "worker01")), "gpu01", LONG_AGO, NOW)
    assert ran is not None
    assert ran.total == DAYS * 24


def test_what_was_before_the_oldest_version_is_not_known_and_not_counted() -> None:
    ran = hours(history(version(36, "gpu01"), version(12), whole=False), "gpu01", LONG_AGO, NOW)
    assert ran is not None
    assert ran.since == NOW - timedelta(hours=36)
    assert ran.daily == (*[None] * 28, 0.0, 12.0)


def test_a_node_counts_from_when_it_was_made() -> None:
    ran = hours(history(version(900)), "gpu01", NOW - timedelta(hours=30), NOW)
    assert ran is not None
    assert ran.daily == (*[None] * 28, 6.0, 24.0)
    assert ran.since == NOW - timedelta(hours=30)


@pytest.mark.parametrize(
    ("found", "made"),
    [
        (history(), LONG_AGO),
        (history(version(5, readable=False)), LONG_AGO),
        (history(version(5)), NOW),
    ],
    ids=["no record", "no readable one", "made just now"],
)
def test_of_nothing_there_are_no_hours(found: History, made: datetime) -> None:
    assert hours(found, "gpu01", made, NOW) is None


def test_after_a_version_that_cannot_be_read_knowledge_begins_anew() -> None:
    found = history(version(100), version(50, readable=False), version(6))
    ran = hours(found, "gpu01", LONG_AGO, NOW)
    assert found.since == NOW - timedelta(hours=6)
    assert ran is not None
    assert ran.total == 6


def test_parked_since_the_version_that_brought_it_and_not_since_a_later_one() -> None:
    found = history(
        version(100, "gpu01", by="bo"),
        version(90),
        version(80, "gpu01", by="ana"),
        version(70, "gpu01", "worker01", by="chris"),
    )
    assert found.parked("gpu01") == found.versions[2]
    assert found.parked("worker01") == found.versions[3]
    assert found.parked("gpu02") is None
    assert history(version(9, "gpu01"), version(1)).parked("gpu01") is None

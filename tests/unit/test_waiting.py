"""Waiting for nodes, with time that only moves when the loop sleeps."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from components import waiting
from components.waiting import Expected

MASTER = Expected("master1", "i-1", 1)
GPU = Expected("gpu01", "i-2", 3)
TODAY = datetime(2026, 11, 23, 10, tzinfo=UTC)


def record(node: Expected, phase: str, attempt: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "instanceId": node.instance_id,
        "generation": node.generation,
        "phase": phase,
        "step": "containerd",
        "attempt": attempt,
        "since": "2026-11-23T09:59:50Z",
        "rc": 0,
        "at": "2026-11-23T10:00:00Z",
        **more,
    }


class Cloud:
    """A script of what each round of reading answers; the last answer stays."""

    def __init__(self, *rounds: dict[str, Any]) -> None:
        self.rounds = list(rounds)
        self.now = 0.0
        self.reads = 0
        self.logged: list[tuple[str, str]] = []

    async def read(self) -> dict[str, Any]:
        self.reads += 1
        return self.rounds[min(self.reads, len(self.rounds)) - 1]

    async def sleep(self, seconds: float) -> None:
        assert seconds <= waiting.POLL_SECONDS
        self.now += seconds

    def wait(self, node: Expected, seconds: float = 60.0) -> str | None:
        return asyncio.run(
            waiting.wait(
                node,
                self.read,
                sleep=self.sleep,
                clock=lambda: self.now,
                today=lambda: TODAY,
                seconds=seconds,
                log=lambda *line: self.logged.append(line),
            )
        )


def test_waits_until_the_node_is_ready() -> None:
    cloud = Cloud({}, {"gpu01": record(GPU, "joined")}, {"master1": record(MASTER, "running")})
    cloud.rounds.append({"master1": record(MASTER, "api-ready")})
    assert cloud.wait(MASTER) is None
    assert cloud.reads == 4


def test_a_record_of_another_instance_or_generation_is_not_believed() -> None:
    old = record(MASTER, "api-ready", instanceId="i-0")
    older = record(MASTER, "api-ready", generation=0)
    for stale in (old, older):
        error = Cloud({"master1": stale}).wait(MASTER, seconds=10)
        assert error == f"not ready after {10 / 60:g} min; {waiting.SILENCE}"


def attempts(node: Expected, *numbers: int, **more: Any) -> list[dict[str, Any]]:
    """The records of failed attempts, each of them read twice, as the loop does it."""
    found = [{node.name: record(node, "failed", number, **more)} for number in numbers]
    return [each for each in found for _ in range(2)]


def test_a_failed_attempt_is_a_warning_at_once_in_the_nodes_words() -> None:
    failed = attempts(MASTER, 1, 2, rc=100, message="E: Unable to fetch some archives")
    cloud = Cloud({}, *failed, {"master1": record(MASTER, "api-ready", 3)})
    assert cloud.wait(MASTER) is None
    text = "step containerd failed (exit 100, attempt {}): E: Unable to fetch some archives; it tries again"
    assert cloud.logged[:2] == [("warning", text.format(1)), ("warning", text.format(2))]


def test_the_third_failed_attempt_of_one_step_ends_the_wait() -> None:
    cloud = Cloud({}, *attempts(MASTER, 1, 2, 3, rc=100, message="E: Unable to locate package"))
    text = "step containerd failed (exit 100, attempt 3): E: Unable to locate package"
    assert cloud.wait(MASTER) == text
    assert [level for level, _ in cloud.logged] == ["warning", "warning", "error"]
    assert cloud.now <= 20, "the message must come within ten seconds of the record"


def test_failures_of_other_steps_count_by_themselves() -> None:
    """A node that gets on is not given up on."""
    failed = [
        *attempts(MASTER, 1, 2, step="packages"),
        *attempts(MASTER, 3, 4),
        *attempts(MASTER, 5, 6, step="join"),
    ]
    cloud = Cloud({}, *failed, {"master1": record(MASTER, "api-ready", 7)})
    assert cloud.wait(MASTER) is None
    assert [level for level, _ in cloud.logged] == ["warning"] * 6 + ["info"]


@pytest.mark.parametrize("rc", [77, 78])
def test_a_step_that_cannot_heal_ends_the_wait_at_once(rc: int) -> None:
    cloud = Cloud({}, *attempts(MASTER, 1, rc=rc, message="not authorized"))
    assert cloud.wait(MASTER) == f"step containerd failed (exit {rc}, attempt 1): not authorized"
    assert [level for level, _ in cloud.logged] == ["error"]


@pytest.mark.parametrize("rc", [1, 77])
def test_a_failure_from_before_is_a_warning_until_the_node_tried_again(rc: int) -> None:
    failed = attempts(MASTER, 4, rc=rc, message="no route")
    cloud = Cloud(*failed, {"master1": record(MASTER, "api-ready", attempt=5)})
    assert cloud.wait(MASTER) is None
    assert [level for level, _ in cloud.logged] == ["warning", "info"]


def test_a_failure_from_before_does_not_count() -> None:
    cloud = Cloud(*attempts(MASTER, 4, 5, 6, 7))
    assert "attempt 7" in str(cloud.wait(MASTER))
    assert [level for level, _ in cloud.logged] == ["warning"] * 3 + ["error"]


def test_a_retry_under_way_at_the_start_may_fail_for_the_old_reason() -> None:
    under_way = record(MASTER, "running", attempt=4)
    failed = record(MASTER, "failed", attempt=4, message="no route")
    cloud = Cloud({"master1": under_way}, {"master1": failed}, {"master1": failed})
    cloud.rounds.append({"master1": record(MASTER, "api-ready", attempt=5)})
    assert cloud.wait(MASTER) is None
    assert [level for level, _ in cloud.logged] == ["info", "warning", "info"], "each once"


@pytest.mark.parametrize("since", ["2026-11-23T09:59:31Z", "2026-11-23T10:00:20Z", None])
def test_a_first_attempt_that_has_just_begun_is_of_a_new_machine(since: str | None) -> None:
    """Also by a clock that goes before ours, and of a node that does not say."""
    cloud = Cloud(
        {"master1": record(MASTER, "running", since=since)},
        {"master1": record(MASTER, "failed", since=since, rc=78)},
    )
    assert cloud.wait(MASTER)


def test_a_first_attempt_that_was_under_way_before_may_fail_for_the_old_reason() -> None:
    since = "2026-11-23T09:59:29Z"
    under_way, failed = (record(MASTER, phase, since=since) for phase in ("running", "failed"))
    cloud = Cloud(
        {"master1": under_way}, {"master1": failed}, {"master1": record(MASTER, "api-ready", attempt=2)}
    )
    assert cloud.wait(MASTER) is None
    assert [level for level, _ in cloud.logged] == ["info", "warning", "info"]


def test_attempts_count_anew_after_a_reboot() -> None:
    """The baseline is an attempt of one boot, and the same number of another is another attempt."""
    before = attempts(MASTER, 1, bootId="a")
    after = attempts(MASTER, 1, 2, 3, bootId="b", message="again")
    error = Cloud(*before, *after).wait(MASTER)
    assert error == "step containerd failed (exit 0, attempt 3): again"


def test_a_failure_from_before_that_never_moves_is_fatal_at_the_deadline() -> None:
    cloud = Cloud({"master1": record(MASTER, "failed", rc=7, message="no route")})
    error = cloud.wait(MASTER, seconds=120)
    assert error == "not ready after 2 min; step containerd failed (exit 7, attempt 1): no route"
    assert cloud.now == 120


def test_the_deadline_names_what_was_last_heard() -> None:
    cloud = Cloud({"gpu01": record(GPU, "running", step="nvidia-driver")})
    error = cloud.wait(GPU, seconds=60)
    assert error == ("not ready after 1 min; last heard at 2026-11-23T10:00:00Z: step nvidia-driver")


def test_the_deadline_says_what_the_node_waits_for() -> None:
    cloud = Cloud(
        {"gpu01": record(GPU, "running", step="join", message="waiting: join record is not there yet")}
    )
    error = cloud.wait(GPU, seconds=60)
    assert error.endswith(": step join: waiting: join record is not there yet")


def test_records_are_untrusted_text() -> None:
    for text in ("", "pending", "[]", "7", '{"phase":"pending"}', "{"):
        assert waiting.parse_record(text) is None
    long = waiting.describe({"step": "x", "rc": 1, "attempt": 1, "message": "m" * 9000})
    assert len(long) < 3100

"""The whole program where nodes do not come up: what is registered all the same, and what the update says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from components import cluster, waiting
from components.cluster import NEXT, NOT_CREATED
from tests.engine import CallFailed, Recording
from tests.program import RECORDS, run, statuses, whole


class Hurry:
    """Makes the waits of one run instant: the clock jumps by what is slept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("components.cluster.monotonic", lambda: self.now)
        monkeypatch.setattr("components.cluster.sleep", self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def failing(**records: dict[str, Any]) -> Recording:
    return run(records=records)


@pytest.mark.parametrize("nodes", [1, 5, 10, 11, 201, 1000])
def test_however_many_nodes_there_are_the_calls_for_their_records_stay_few(nodes: int) -> None:
    calls = -(-nodes // 10)  # that Parameter Store needs for them
    assert calls / cluster._gather_seconds(nodes) <= 10
    assert cluster._gather_seconds(nodes) == (0.2 if nodes <= 20 else pytest.approx(calls / 10))


def test_a_dead_gpu_node_fails_the_update_after_everything_else_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Hurry(monkeypatch)
    failed = failing(gpu01={"phase": "failed", "step": "nvidia-driver", "rc": 100, "message": "E: no module"})
    assert failed.urns == whole().urns, "Dex, people and the rest are registered all the same"
    assert str(failed.error) == (
        "1 of 4 nodes did not come up:\n"
        "  - gpu01: not ready after 30 min; step nvidia-driver failed (exit 100, attempt 1): E: no module\n"
        f"{NEXT}"
    )
    assert any("E: no module" in text for text in failed.messages("warning")), "said while it still waits"
    assert "not ready after 30 min" in failed.messages("error")


def test_a_dead_master_fails_the_update_with_its_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    Hurry(monkeypatch)
    failed = failing(
        master1={"phase": "failed", "step": "kubeadm-init", "rc": 1, "message": "port 6443 in use"}
    )
    assert str(failed.error) == (
        "the control plane did not come up: master1: not ready after 30 min; step kubeadm-init failed "
        f"(exit 1, attempt 1): port 6443 in use\n{NEXT}"
    )


def test_a_gpu_node_that_is_not_created_is_named_and_no_output_is_unknown() -> None:
    recording = run(uncreated=["gpu01"])
    assert recording.error is None, "the engine itself fails the update, after its deletions"
    assert recording.urns == whole().urns
    assert recording.messages("error") == [NOT_CREATED]
    (gpu,) = (node for node in recording.outputs["nodes"] if node["name"] == "gpu01")
    assert gpu["instance_id"] is None
    assert recording.outputs["outdated_nodes"] == []


def test_a_master_that_is_not_created_fails_the_update_without_waiting() -> None:
    error = run(uncreated=["master1"]).error
    assert str(error) == "the control plane was not created: see the error of master1"


def test_a_call_for_the_records_that_fails_is_a_round_without_news(monkeypatch: pytest.MonkeyPatch) -> None:
    Hurry(monkeypatch)
    asked = []

    def now_and_then(args: dict[str, Any], recording: Recording) -> dict[str, Any]:
        asked.append(args)
        if len(asked) % 2:
            raise CallFailed("ThrottlingException: Rate exceeded")
        return statuses(recording, {})

    recording = run(invokes={RECORDS: now_and_then})
    assert recording.error is None
    assert len(asked) >= 2
    assert recording.urns == whole().urns


def test_a_silent_node_is_named_with_what_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    Hurry(monkeypatch)
    failed = failing(worker02={"instanceId": "i-of-an-earlier-one"})
    assert str(failed.error) == (
        f"1 of 4 nodes did not come up:\n  - worker02: not ready after 30 min; {waiting.SILENCE}\n{NEXT}"
    )


def test_a_preview_never_waits_for_a_node_that_is_not_ready() -> None:
    recording = run(preview=True, records={"master1": {"phase": "failed"}})
    assert recording.error is None
    assert recording.urns == whole().urns

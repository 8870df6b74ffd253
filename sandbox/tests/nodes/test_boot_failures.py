"""Nodes that cannot go on, each with a worker of its own in one world without a master."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.tests.nodes.boot_world import World, until, world

pytestmark = pytest.mark.sandbox
NODE = "worker01"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("failures")) as made:
        made.start_boot()
        yield made


@pytest.fixture
def lab(shared: World) -> Iterator[World]:
    """The world, without the worker that a test leaves behind."""
    yield shared
    shared.fault()
    if NODE in shared.instances:
        disk = shared.state_dir / "nodes" / shared.instances[NODE]
        shared.terminate(NODE)
        until("worker gone", lambda: not disk.exists())
    shared.reset_status(NODE)


def reached_step(lab: World, step: str, seconds: float = 15.0) -> dict[str, Any]:
    def probe() -> dict[str, Any] | None:
        record = lab.status(NODE)
        current = record.get("instanceId") == lab.instances[NODE] and record["step"] == step
        return record if current and record["phase"] == "running" else None

    return until(f"{NODE} at {step}; log: {lab.log[-1500:]}", probe, seconds)


def stays_pending(lab: World, seconds: float = 3.0) -> None:
    """Nothing was heard of the worker so far, and nothing is for a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert lab.status(NODE) == {"schema": 1, "phase": "pending"}
        time.sleep(0.2)


def test_a_node_is_heard_of_as_soon_as_it_runs(lab: World) -> None:
    lab.launch(NODE)
    until("first record", lambda: lab.status(NODE).get("instanceId") == lab.instances[NODE], 5)


def test_injected_failure_is_retried_as_often_as_told(lab: World) -> None:
    lab.fault(
        worker01={"step": "containerd", "mode": "fail", "message": "no space left on device", "times": 2}
    )
    lab.launch(NODE)
    record = lab.reached(NODE, "failed", attempt=2)
    assert (record["step"], record["message"]) == ("containerd", "no space left on device")
    assert reached_step(lab, "join")["attempt"] == 3


def test_hanging_step_is_where_the_node_is_until_it_is_healed(lab: World) -> None:
    lab.fault(worker01={"step": "packages", "mode": "hang"})
    lab.launch(NODE)
    reached_step(lab, "packages")
    time.sleep(2)
    assert lab.status(NODE)["step"] == "packages"
    lab.fault()
    assert reached_step(lab, "join")["attempt"] == 1


def test_silent_node_stays_silent_until_healed(lab: World) -> None:
    lab.fault(worker01={"step": "clock", "mode": "silent"})
    lab.launch(NODE)
    stays_pending(lab)
    lab.fault()
    reached_step(lab, "join")


def test_garbage_as_user_data_boots_nothing(lab: World) -> None:
    lab.launch(NODE, user_data=b"#!/bin/sh\necho hello\n")
    until("said", lambda: "cannot boot: user data is not #cloud-config" in lab.log, 10)
    stays_pending(lab, 1)


def test_terminated_node_writes_no_more(lab: World) -> None:
    lab.launch(NODE)
    reached_step(lab, "join")
    name = lab.naming.status_parameter(NODE)
    lab.terminate(NODE)
    lab.ssm.delete_parameter(Name=name)
    time.sleep(2)
    assert not lab.ssm.describe_parameters(Filters=[{"Key": "Name", "Values": [name]}])["Parameters"]

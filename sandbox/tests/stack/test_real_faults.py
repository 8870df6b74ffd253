"""Faults and power cuts on real nodes, through whole updates: `make test-long`, which `make soak` calls.

Six faults of different kinds, one of them the master's and the others all in one `up`; then a stack
whose machines lose power at ten random moments of their boot.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from secrets import randbelow

import psutil
import pytest
from botocore.exceptions import BotoCoreError

from components.cluster import NEXT
from components.waiting import SILENCE
from sandbox.tests.nodes.boot_world import until
from sandbox.tests.stack.machines import OBSTACLE, Machines
from sandbox.tests.stack.nodes import ADDRESSES, nodes
from sandbox.tests.stack.project import QUICK, Project
from sandbox.tests.stack.refusals import program_error
from sandbox.tests.tools import kill

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.real,
    pytest.mark.skipif(bool(OBSTACLE), reason=f"real nodes cannot run here: {OBSTACLE}"),
    pytest.mark.skipif(not os.environ.get("KUBEPARK_SOAK"), reason="takes minutes: `make test-long`"),
]

UP_SECONDS = 600
FULL = "write /var/lib/kubepark: no space left on device"


def ids(project: Project, *but: str) -> dict[str, str]:
    return {name: project.instance(name)["InstanceId"] for name in ADDRESSES if name not in but}


def refused(project: Project) -> list[str]:
    """The error of an `up` that fails, by line."""
    done = project.run("up", *QUICK, timeout=UP_SECONDS)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout
    return program_error(done.stdout)


NODE_FAULTS = {
    "worker01": {"step": "packages", "mode": "fail", "message": FULL},
    "worker02": {"step": "containerd", "mode": "hang", "message": "no answer"},
    "worker03": {"step": "join", "mode": "fail", "message": "certificate signed by unknown authority"},
    "worker04": {"step": "clock", "mode": "silent"},
    "gpu01": {"step": "gpu-driver", "mode": "fail", "message": "no NVIDIA card found"},
}


def test_every_node_that_fails_is_named_with_its_own_cause_and_a_plain_up_heals_all(
    empty: Project, record_property: Callable[[str, object], None]
) -> None:
    """The master first. The others have their faults from their first second, and are told of once it is there.

    One worker has none: Dex's pods need a place, or the update would wait for them.
    """
    project, machines = empty, Machines(empty)
    project.set("kubepark:workers.nodes", {f"worker{number:02d}": {} for number in (1, 2, 3, 4, 5)})
    project.fault(master1={"step": "init", "mode": "fail", "message": FULL}, **NODE_FAULTS)
    failure = rf"master1: step init failed \(exit 1, attempt \d+\): {FULL}"
    head, way = refused(project)
    assert re.fullmatch(f"error: the control plane did not come up: {failure}", head)
    assert way == NEXT
    record_property("faults: `up` with real nodes, the master's init fails", 1)

    master = project.instance("master1")["InstanceId"]
    project.fault(**NODE_FAULTS)
    # Six machines that boot on two slow cores do not try three times each in two minutes.
    project.set("kubepark:controlPlane.waitMinutes", 3)
    first, *causes, way = refused(project)
    assert (first, way) == ("error: 5 of 6 nodes did not come up:", NEXT)
    rows = dict(line.removeprefix("- ").split(": ", 1) for line in causes)
    for name in ("worker01", "worker03", "gpu01"):
        fault = NODE_FAULTS[name]
        assert rows[name].startswith(f"step {fault['step']} failed (exit 1, attempt ")
        assert rows[name].endswith(fault["message"])
    # Its step's own deadline is later than that of `up`, so its last message is what is known.
    assert rows["worker02"].startswith("not ready after 3 min; last heard at ")
    assert rows["worker02"].endswith(": step containerd")
    assert rows["worker04"] == f"not ready after 3 min; {SILENCE}"
    assert project.instance("master1")["InstanceId"] == master, "a plain `up` goes on with the master it has"
    assert set(nodes(project)) == {"master1", "worker05"}
    for fault in NODE_FAULTS.values():
        record_property(f"faults: `up` with real nodes, {fault['step']}: {fault['mode']}", 1)

    # The causes fixed, a plain `up` succeeds and replaces nothing.
    before = ids(project)
    project.fault()
    project.set("kubepark:controlPlane.waitMinutes", 8)
    said = project.ok("up", "--skip-preview", timeout=UP_SECONDS)
    assert project.verified in said
    assert ids(project) == before
    assert set(nodes(project)) == {*ADDRESSES, "worker04", "worker05"}
    for name in nodes(project):
        until(f"{name} is Ready", lambda name=name: machines.is_ready(name), 60)


def cut_twice(machines: Machines, node: str, moments: tuple[float, float]) -> list[str]:
    """Kill all processes of a machine, two times; gives the steps in which that was."""
    steps: list[str] = []
    for seconds in moments:
        deadline = time.monotonic() + 180
        while True:
            try:
                init = machines.init(node)
                break
            except (psutil.NoSuchProcess, AssertionError, OSError, BotoCoreError):  # not made, or not on yet
                assert time.monotonic() < deadline, f"{node} was not switched on"
                time.sleep(0.2)
        time.sleep(seconds)
        record = machines.record(node)
        kill(init, 20)  # process 1 of a PID namespace: the kernel ends all others with it
        steps.append(str(record.get("step") or record["phase"]))
    return steps


def test_power_cuts_at_ten_random_moments_of_the_boot_end_in_nodes_that_joined_once(
    empty: Project, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get("KUBEPARK_SEED") or randbelow(10**9))
    print(f"seed {seed}: KUBEPARK_SEED={seed} takes the same moments again")
    source = random.Random(seed)
    moments = {name: (source.uniform(0.5, 20), source.uniform(0.5, 20)) for name in ADDRESSES}
    project, machines = empty, Machines(empty)
    project.set("kubepark:controlPlane.waitMinutes", 8)
    driver = project.start("up", *QUICK)
    with ThreadPoolExecutor(len(ADDRESSES)) as pool:
        cuts = {name: pool.submit(cut_twice, machines, name, moments[name]) for name in ADDRESSES}
    said, _ = driver.communicate(timeout=UP_SECONDS)
    assert driver.returncode == 0, said
    for name in ADDRESSES:
        until(f"{name} is Ready", lambda name=name: machines.is_ready(name), 90)
        node, record = nodes(project)[name], machines.record(name)
        assert node["spec"]["providerID"].endswith(project.instance(name)["InstanceId"])
        assert record["step"] == "done"
    assert set(nodes(project)) == set(ADDRESSES)
    project.ok("preview", "--expect-no-changes")
    for cut in cuts.values():
        for step in cut.result():
            record_property(f"faults: real node, power cut during {step}", 1)

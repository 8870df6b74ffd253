"""Every step of every role made to fail for ever, and to hang: the record names it, in its own words.

Each step is run by the node's own runner with nothing else in the plan, on one disk for a role. Hangs
take seconds each, so `make test` takes one step of each kind and `make test-long` all of them. That a step
which fails once is retried to success is in test_userdata_boot.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sandbox.tests.program.node_root import LIB, booting
from sandbox.tests.program.test_userdata_boot import steps
from tests.userdata_sample import ROLES, ROLES_OF_FAULTS

PLAN = "/etc/kubepark/steps"
DEADLINE = 1  # seconds, in place of the plan's minutes
ALL = {(role, step) for role in ROLES for step in steps(role)}
FEW = {("master", "init"), ("worker", "packages"), ("worker", "join"), ("gpu", "gpu-driver")}
HANGS = sorted(ALL if os.environ.get("KUBEPARK_SOAK") else FEW)


@contextmanager
def alone(node, step, body) -> Iterator[None]:
    """Inside the block only this step is left of the plan, and this is what it does."""
    script = f"{LIB}/steps/{step}"
    before = {path: node.path(path).read_text() for path in (PLAN, script)}
    (line,) = [row for row in before[PLAN].splitlines() if row.startswith(f"{step} ")]
    name, _, *rest = line.split()
    node.put(PLAN, "# plan\n" + " ".join([name, str(DEADLINE), *rest]) + "\n")
    node.edit(script, "\n", f"\n{body}\n", count=1)
    yield
    for path, text in before.items():
        node.put(path, text)


@pytest.mark.parametrize("role", ROLES_OF_FAULTS)
def test_each_step_that_fails_for_ever_is_reported_at_each_attempt(role, tmp_path, record_property):
    record_property(f"faults: {role}'s script, a step fails for ever", len(steps(role)))
    with booting(role, tmp_path) as node:
        attempt = 0
        for step in steps(role):
            with alone(node, step, f"echo no space left for {step}; exit 7"):
                for _ in range(2):
                    attempt += 1
                    assert node.run()[0] == 1
                    record = node.records()[-1]
                    assert [record[key] for key in ("phase", "step", "rc", "attempt", "message")] == [
                        "failed",
                        step,
                        7,
                        attempt,
                        f"no space left for {step}",
                    ]


@pytest.mark.parametrize(("role", "step"), HANGS)
def test_a_step_that_hangs_is_reported_soon_after_its_deadline(role, step, tmp_path, record_property):
    record_property(f"faults: {role}'s script, a step hangs", 1)
    with booting(role, tmp_path) as node, alone(node, step, "echo no answer; /bin/sleep 300"):
        began = time.monotonic()
        assert node.run()[0] == 1
        assert time.monotonic() - began < DEADLINE + 15
        record = node.records()[-1]
        assert (record["phase"], record["step"]) == ("failed", step)
        assert record["message"] == f"no answer\nstopped after its deadline of {DEADLINE} s"

"""The driver when it is interrupted, killed, or finds what a killed run left."""

from __future__ import annotations

import json
import os
import signal
import time

import psutil
import pytest

from sandbox.driver.leftovers import MARK
from tests.sandbox.driver_project import Project, epoch_server, kill, map_of

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def emulator():
    with epoch_server() as server:
        yield server


@pytest.fixture
def project(tmp_path, emulator):
    made = Project(tmp_path, emulator.server_port)
    yield made
    for process in processes_of(made):  # only if a test failed half-way
        process.kill()


def processes_of(project):
    """Every live process of an operation on this project: the CLI and its plugins."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if MARK in environment and environment.get("TINY_CLOUD") == str(project.cloud):
                found.append(process)
        except psutil.Error:
            continue
    return found


def pending(project):
    operations = project.deployment().get("pending_operations") or []
    return [(item["type"], item["resource"]["urn"].rpartition("::")[2]) for item in operations]


def cli_of(project):
    """Pid of the CLI: it is what no other process of the operation started."""
    found = {process.pid: process.ppid() for process in processes_of(project)}
    leaders = [pid for pid, parent in found.items() if parent not in found]
    assert len(leaders) == 1
    return leaders[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_interrupt_lets_the_steps_in_flight_end(project, number):
    project.things(quick={"value": "1"}, slow={"hang": 3})
    process = project.start("up")
    project.wait_for(*project.exists())
    while len(project.exists()) < 2:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "up was interrupted: stopped after the steps in flight" in out
    assert "Traceback" not in out + err
    assert project.locks() == []
    assert processes_of(project) == []
    assert pending(project) == []
    assert project.names() == ["group", "quick", "slow"]
    assert "no changes" in project.run("up")


def test_the_second_interrupt_kills_and_the_next_run_puts_it_right(project):
    project.things(slow=map_of("slow", hang=30))
    process = project.start("up")
    project.wait_for("ns_slow")
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "killed" in out
    assert processes_of(project) == []
    assert pending(project) == [("creating", "slow")]
    project.things(slow=map_of("slow"))
    said = project.run("up")
    assert (
        "kubernetes:core:ConfigMap slow: its creation was interrupted but it exists (ns/slow); adopted"
        in said
    )
    assert "Attempting to deploy" not in said
    assert project.exists() == ["ns_slow"]
    assert project.names() == ["group", "slow"]
    assert project.locks() == []


def test_killing_the_driver_alone_loses_nothing(project):
    """The CLI writes to a file, so it outlives us and records what it has done."""
    project.things(slow={"hang": 3})
    process = project.start("up")
    while not project.exists():
        time.sleep(0.05)
    kill(process)
    said = project.run("up")
    assert "left by a run that was killed" in said
    assert len(project.exists()) == 1
    assert project.names() == ["group", "slow"]
    assert processes_of(project) == []


def test_killing_driver_and_cli_during_a_creation_makes_no_second_one(project):
    project.things(other={"value": "1"}, slow=map_of("slow", hang=30))
    process = project.start("up")
    project.wait_for("ns_slow")
    time.sleep(0.5)
    kill(process, cli_of(project))
    assert len(project.locks()) == 1
    project.things(other={"value": "1"}, slow=map_of("slow"))
    said = project.run("up")
    assert "removed the lock of pid" in said
    assert "adopted" in said
    assert len(project.exists()) == 2
    assert project.names() == ["group", "other", "slow"]
    assert processes_of(project) == []
    assert "no changes" in project.run("up")


@pytest.mark.parametrize(
    ("named", "left"),
    [("slow", ["ns_slow"]), ("new", ["ns_new", "ns_slow"])],
    ids=["deleted-before", "after"],
)
def test_killing_during_a_replacement_makes_no_second_one(project, named, left):
    """With the same metadata the old thing is deleted first, else it is still there after the kill."""
    project.things(slow=map_of("slow", name="a"), other={"value": "1"})
    project.run("up")
    project.things(slow=map_of(named, name="b", hang=30), other={"value": "1"})
    process = project.start("up")
    project.wait_for(f"ns_{named}", until=lambda text: '"b"' in text)
    time.sleep(0.5)
    kill(process, cli_of(project))
    assert pending(project) == [("creating", "slow")]
    assert [name for name in project.exists() if name.startswith("ns_")] == left
    project.things(slow=map_of(named, name="b"), other={"value": "1"})
    assert f"slow: its creation was interrupted but it exists (ns/{named}); adopted" in project.run("up")
    assert [name for name in project.exists() if name.startswith("ns_")] == [f"ns_{named}"]
    assert project.names() == ["group", "other", "slow"]
    assert pending(project) == []
    assert "no changes" in project.run("up")


def test_what_did_not_come_to_exist_is_created(project):
    project.things(slow=map_of("slow", hang=30))
    process = project.start("up")
    project.wait_for("ns_slow")
    time.sleep(0.5)
    kill(process, cli_of(project))
    (project.cloud / "ns_slow.json").unlink()
    project.things(slow=map_of("slow"))
    said = project.run("up")
    assert "slow: its creation was interrupted before it existed; it will be created" in said
    assert project.exists() == ["ns_slow"]


def test_an_interrupted_deletion_is_settled_by_looking_again(project):
    project.things(a={"value": "1"})
    project.run("up")
    path = project.state / "backend" / ".pulumi" / "stacks" / "tiny" / "sandbox.json"
    document = json.loads(path.read_text())
    latest = document["checkpoint"]["latest"]
    thing = next(r for r in latest["resources"] if r["type"] == "tiny:index:Thing")
    latest["pending_operations"] = [{"resource": thing, "type": "deleting"}]
    path.write_text(json.dumps(document))
    (project.cloud / f"{thing['id']}.json").unlink()
    said = project.run("up")
    assert "tiny:index:Thing a: an earlier run was killed while deleting it; read again" in said
    assert pending(project) == []
    assert len(project.exists()) == 1


def test_a_type_that_cannot_be_looked_up_is_said(project):
    project.things(slow={"hang": 30})
    process = project.start("up")
    while not project.exists():
        time.sleep(0.05)
    time.sleep(0.5)
    kill(process, cli_of(project))
    project.things(slow={"value": "1"})
    assert "slow: its creation was interrupted and this type cannot be looked up: check" in project.run("up")


def test_a_second_operation_at_the_same_time_is_refused_and_cancel_ends_the_first(project):
    project.things(slow={"hang": 8})
    process = project.start("up")
    while not project.exists():
        time.sleep(0.05)
    said = project.run("preview", code=1)
    assert said.startswith(f"error: another operation runs on this stack (pid {process.pid})")
    said = project.run("cancel")
    assert "ended the operation of pid" in said
    process.communicate(timeout=20)
    assert process.returncode == 1
    assert project.locks() == []
    assert processes_of(project) == []


def test_the_lock_of_a_live_process_stays(project):
    project.run("preview")
    folder = project.state / "backend" / ".pulumi" / "locks" / "organization" / "tiny" / "sandbox"
    holder = {
        "pid": os.getpid(),
        "username": "me",
        "hostname": os.uname().nodename,
        "timestamp": "2026-11-23T10:00:00Z",
    }
    (folder / "lock.json").write_text(json.dumps(holder))
    said = project.run("preview", code=1)
    assert f"the stack is locked by pid {os.getpid()} on" in said
    assert len(project.locks()) == 1
    (folder / "lock.json").write_text(json.dumps({**holder, "hostname": "elsewhere"}))
    assert "on elsewhere" in project.run("preview", code=1)
    (folder / "lock.json").write_text(json.dumps({**holder, "pid": 2**22 + 1}))
    assert "removed the lock of pid 4194305, which is dead" in project.run("preview")

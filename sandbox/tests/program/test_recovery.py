"""What is left when an update is killed, on the real engine: the next one makes no second of anything."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from cli.pulumi import Pulumi
from cli.recovery import resolve_pending
from sandbox.tests.program.engine_project import ROOT, STACK, EngineProject

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

PROGRAM = """
import json
from pathlib import Path
import pulumi

class Thing(pulumi.CustomResource):
    def __init__(self, typ, name, props, opts):
        super().__init__(typ, name, props, opts)

class Group(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("kubepark:index:Group", name)

group = Group("group")
for name, props in json.loads(Path("things.json").read_text()).items():
    Thing(props.pop("type"), name, props, pulumi.ResourceOptions(parent=group))
"""


class Project(EngineProject):
    """Things in a folder: see tiny_provider."""

    def __init__(self, folder: Path) -> None:
        self.cloud = folder / "cloud"
        self.cloud.mkdir()
        provider = "sandbox.tests.program.tiny_provider"
        plugins = {"tiny": provider, "kubernetes": provider}
        super().__init__(folder, PROGRAM, plugins, TINY_CLOUD=str(self.cloud))

    def things(self, **things: dict[str, Any]) -> None:
        """What the program declares: name to properties (`type` is the resource type)."""
        (self.root / "things.json").write_text(json.dumps(things))

    def exists(self) -> list[str]:
        """What is in the cloud, by file name."""
        return sorted(path.stem for path in self.cloud.iterdir())

    def wait_for(self, name: str = "", until: Callable[[str], bool] = bool) -> None:
        """Until something in the cloud, or what is called `name`, has the text that it should."""
        deadline = time.monotonic() + 30
        while not any(until(path.read_text()) for path in self.cloud.glob(f"{name or '*'}.json")):
            assert time.monotonic() < deadline, f"{name} never appeared: {self.exists()}"
            time.sleep(0.05)

    def pending(self) -> list[tuple[str, str]]:
        operations = self.deployment().get("pending_operations") or []
        return [(item["type"], item["resource"]["urn"].rpartition("::")[2]) for item in operations]

    def settle(self) -> str:
        """As `kubepark up` does before an update, after the lock of a dead process is gone."""
        for lock in self.locks():
            lock.unlink()
        return "\n".join(resolve_pending(Pulumi(STACK, self.variables, cwd=self.root)))

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("TINY_CLOUD") == str(self.cloud) and process.pid != os.getpid():
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def project(tmp_path: Path):
    made = Project(tmp_path)
    yield made
    for process in made.processes():  # only if a test failed half-way
        process.kill()


def config_map(name: str, /, **properties: object) -> dict[str, Any]:
    """A thing that is named by its metadata: exactly one can exist."""
    metadata = {"namespace": "ns", "name": name}
    return {"type": "kubernetes:core/v1:ConfigMap", "metadata": metadata, **properties}


def kill(process: subprocess.Popen[str]) -> None:
    """kill -9 of the CLI in the middle of a creation; its plugins end by themselves."""
    time.sleep(0.5)  # the engine has noted what it is doing
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)


def test_an_interrupt_lets_the_steps_in_flight_end(project: Project) -> None:
    project.things(quick=config_map("quick"), slow=config_map("slow", hang=3))
    process = project.start("up", "--yes", "--skip-preview")
    project.wait_for("ns_slow")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode != 0
    assert "Traceback" not in output
    assert project.locks() == project.pending() == []
    assert project.names() == ["group", "quick", "slow"]
    assert project.processes() == []


def test_killed_during_a_creation_it_is_adopted_and_plugins_end(project: Project) -> None:
    project.things(other=config_map("other"), slow=config_map("slow", hang=30))
    pack = ("--policy-pack", str(ROOT / "policies"))  # its process has to end as well
    process = project.start("up", "--yes", "--skip-preview", *pack)
    project.wait_for("ns_slow")
    kill(process)
    assert project.pending() == [("creating", "slow")]
    deadline = time.monotonic() + 10
    while project.processes():
        assert time.monotonic() < deadline, "plugins outlive their engine"
        time.sleep(0.1)
    project.things(other=config_map("other"), slow=config_map("slow"))
    adopted = "kubernetes:core:ConfigMap slow: its creation was interrupted but it exists (ns/slow); adopted"
    assert adopted in project.settle()
    project.up()
    assert project.exists() == ["ns_other", "ns_slow"]
    assert project.names() == ["group", "other", "slow"]
    project.ok("preview", "--expect-no-changes")


@pytest.mark.parametrize(
    ("named", "left"),
    [("slow", ["ns_slow"]), ("new", ["ns_new", "ns_slow"])],
    ids=["deleted-before", "after"],
)
def test_killed_during_a_replacement_there_is_no_second_one(
    project: Project, named: str, left: list[str]
) -> None:
    """With the same metadata the old thing is deleted first, else it is still there after the kill."""
    project.things(slow=config_map("slow", name="a"), other=config_map("other"))
    project.up()
    project.things(slow=config_map(named, name="b", hang=30), other=config_map("other"))
    process = project.start("up", "--yes", "--skip-preview")
    project.wait_for(f"ns_{named}", until=lambda text: '"b"' in text)
    kill(process)
    assert project.pending() == [("creating", "slow")]
    assert [name for name in project.exists() if name != "ns_other"] == left
    project.things(slow=config_map(named, name="b"), other=config_map("other"))
    assert f"slow: its creation was interrupted but it exists (ns/{named}); adopted" in project.settle()
    project.up()
    assert [name for name in project.exists() if name != "ns_other"] == [f"ns_{named}"]
    assert project.pending() == []
    project.ok("preview", "--expect-no-changes")


def test_what_did_not_come_to_exist_is_created(project: Project) -> None:
    project.things(slow=config_map("slow", hang=30))
    process = project.start("up", "--yes", "--skip-preview")
    project.wait_for("ns_slow")
    kill(process)
    (project.cloud / "ns_slow.json").unlink()
    project.things(slow=config_map("slow"))
    assert "slow: its creation was interrupted before it existed; it will be created" in project.settle()
    project.up()
    assert project.exists() == ["ns_slow"]


def test_a_type_that_cannot_be_looked_up_is_named(project: Project) -> None:
    project.things(slow={"type": "tiny:index:Thing", "hang": 30})
    process = project.start("up", "--yes", "--skip-preview")
    project.wait_for()
    kill(process)
    assert "slow: its creation was interrupted and this type cannot be looked up: check" in project.settle()


def test_an_interrupted_deletion_is_settled_by_looking_again(project: Project) -> None:
    project.things(a=config_map("a"))
    project.up()
    document = json.loads(project.checkpoint_file.read_text())  # an import drops pending operations
    latest = document["checkpoint"]["latest"]
    (thing,) = [item for item in latest["resources"] if item["type"].startswith("kubernetes:")]
    latest["pending_operations"] = [{"resource": thing, "type": "deleting"}]
    project.checkpoint_file.write_text(json.dumps(document))
    (project.cloud / "ns_a.json").unlink()
    said = project.settle()
    assert "kubernetes:core:ConfigMap a: an earlier run was killed while deleting it; read again" in said
    assert project.pending() == []
    assert project.names() == ["group"]


def test_nothing_pending_is_nothing_to_do(project: Project) -> None:
    project.things(a=config_map("a"))
    project.up()
    assert project.settle() == ""

"""What happens to a deployed GPU node past the command: the master's guard."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from cli.verify_gpu import build_job
from sandbox.tests.nodes.boot_world import until
from sandbox.tests.stack.injection import refuse
from sandbox.tests.stack.project import Project
from sandbox.tests.stack.test_stack_life import ADDRESSES, nodes

NO_CAPACITY = {
    "operation": "ec2:StartInstances",
    "code": "InsufficientInstanceCapacity",
    "message": "none left",
    "arguments": {},
}


def apply(project: Project, *objects: dict[str, Any]) -> None:
    for each in objects:
        file = project.root / f"{each['metadata']['name']}.json"
        file.write_text(json.dumps(each), encoding="utf-8")
        project.kubectl("apply", "-f", str(file))


def states(project: Project) -> dict[str, str]:
    return {name: project.instance(name)["State"]["Name"] for name in ADDRESSES}


def record(project: Project) -> dict[str, Any]:
    found = project.aws("ssm").get_parameter(Name="/kubepark-sandbox/power")["Parameter"]["Value"]
    document: dict[str, Any] = json.loads(found)
    return document


def decisions(project: Project) -> list[tuple[str, str]]:
    """Reason and note of each Event that our programs made of the GPU node, the oldest first."""
    found = project.get("events", "--field-selector=involvedObject.kind=Node,involvedObject.name=gpu01")
    ours = [each for each in found["items"] if each["source"].get("component") == "kubepark"]
    ours.sort(key=lambda each: str(each["lastTimestamp"]))
    return [(each["reason"], each["message"]) for each in ours]


def woken_and_stopped(project: Project, look: Callable[[float], None]) -> None:
    job = build_job("train", "nvidia-t4", timeout=600)
    del job["spec"]["ttlSecondsAfterFinished"]
    project.ok("park", "gpu")
    look(0)
    assert states(project)["gpu01"] == "stopped", "nobody asks for it"
    apply(project, job)
    until("the scheduler has no place", lambda: "nodes are available" in str(why_pending(project)), 60)
    refuse(project, NO_CAPACITY | {"status": 500, "times": 1})
    look(0)
    assert states(project)["gpu01"] == "stopped"
    look(0)
    assert (states(project)["gpu01"], record(project)["stopped"]) == ("running", [])
    look(0)  # it boots
    until("the Job is done", lambda: project.get("job", "train")["status"].get("succeeded") == 1, 120)
    name = pods_of(project)[0]["metadata"]["name"]
    told = [
        ("GpuStartRefused", "InsufficientInstanceCapacity: none left; tried again each minute"),
        ("GpuWanted", f"started: default/{name} waits for a GPU"),
    ]
    assert sorted(decisions(project)) == told
    assert "unschedulable" not in nodes(project)["gpu01"]["spec"]

    look(0)
    look(29)
    assert states(project)["gpu01"] == "running"
    look(32)
    assert (states(project)["gpu01"], record(project)["stopped"]) == ("stopped", ["gpu01"])
    (last,) = set(decisions(project)) - set(told)
    assert last[0] == "GpuIdle"
    assert last[1].startswith("stopped: no pod has asked for a GPU since 20")
    look(33)
    assert states(project)["gpu01"] == "stopped", "the pod that is done starts nothing"
    project.kubectl("delete", "job", "train")


def pods_of(project: Project) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = project.get("pods", "-l", "job-name=train")["items"]
    return found


def why_pending(project: Project) -> list[str]:
    """What the scheduler says of the Job's pod."""
    return [
        each.get("message", "") for pod in pods_of(project) for each in pod["status"].get("conditions", [])
    ]

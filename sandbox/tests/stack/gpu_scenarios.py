"""What happens to a deployed GPU node past the command: the master's guard, an interruption of a Spot Instance."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cli.verify_gpu import build_job
from config.naming import CORDONED
from sandbox.tests.nodes.boot_world import until
from sandbox.tests.stack.injection import interrupted, refuse
from sandbox.tests.stack.nodes import ADDRESSES, nodes
from sandbox.tests.stack.project import Project

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


def make_spot_role(project: Project) -> None:
    """EC2's own role, which an account has once somebody asked for a Spot Instance in the console."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "spot.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    project.aws("iam").create_role(
        Path="/aws-service-role/spot.amazonaws.com/",
        RoleName="AWSServiceRoleForEC2Spot",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )


def drained_stopped_and_back(project: Project, deal: Callable[[], str], instance: str) -> None:
    aws = f"http://127.0.0.1:{project.aws_port}"
    until(
        "the budget counts its pod",
        lambda: (
            project.get("poddisruptionbudget", "keep-train", "-n", "ana")["status"].get("currentHealthy") == 1
        ),
        60,
    )
    assert deal() == "", "nothing is announced"
    time = (datetime.now(UTC) + timedelta(minutes=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    interrupted(aws, {instance: time})
    assert json.loads(deal()) == {"action": "stop", "time": time}
    budget = "The disruption budget keep-train needs 1 healthy pods and has 1 currently"
    assert [each for each in decisions(project) if each[0].startswith("Spot")] == [
        ("SpotInterruption", f"AWS will stop this instance at {time}"),
        ("SpotDrainBlocked", f"ana/train: {budget}"),
    ]
    node = nodes(project)["gpu01"]
    assert (node["spec"]["unschedulable"], CORDONED in node["metadata"]["annotations"]) == (True, True)
    until("the other pod is gone", lambda: pods_on(project, "gpu01") == ["train"], 30)

    interrupted(aws, {instance: "2026-01-01T00:00:00Z"})
    until("EC2 has stopped it", lambda: states(project)["gpu01"] == "stopped", 30)
    left = project.run("unpark", "gpu", "--patience", "0")
    assert left.returncode == 1
    assert (
        "gpu01 stays parked, because AWS has no capacity: g4dn.xlarge: IncorrectSpotRequestState"
        in left.stdout
    )
    interrupted(aws)
    project.ok("unpark", "gpu", "--skip-verify")  # EC2 starts it, and this waits for it; the pod has its GPU
    node = nodes(project)["gpu01"]
    assert "unschedulable" not in node["spec"]


def pods_on(project: Project, name: str) -> list[str]:
    """Pods of people on a node."""
    found = project.get("pods", "-n", "ana", f"--field-selector=spec.nodeName={name}")["items"]
    return sorted(each["metadata"]["name"] for each in found)

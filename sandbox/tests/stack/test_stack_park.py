"""Park and unpark on one deployment: pods that do not want to go, updates meanwhile, and everybody back."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from config.naming import CORDONED
from sandbox.tests.nodes.boot_world import until
from sandbox.tests.program.operator_calls import judge, operators
from sandbox.tests.stack import gpu_scenarios
from sandbox.tests.stack.gpu_scenarios import NO_CAPACITY, apply, record, states
from sandbox.tests.stack.injection import refuse
from sandbox.tests.stack.node_programs import guard, taken_back
from sandbox.tests.stack.nodes import ADDRESSES, nodes, ready_nodes
from sandbox.tests.stack.project import QUICK, Project

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

BUDGET = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "keep-train", "namespace": "ana"},
    "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "train"}}},
}
TRAIN: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "train", "namespace": "ana", "labels": {"app": "train"}},
    "spec": {
        "nodeName": "gpu01",
        "automountServiceAccountToken": False,
        "tolerations": [{"operator": "Exists"}],
        "containers": [
            {"name": "train", "image": "team/train:1", "resources": {"limits": {"nvidia.com/gpu": 1}}}
        ],
    },
}
FREE = TRAIN | {"metadata": {"name": "free", "namespace": "ana"}}
FREE["spec"] = TRAIN["spec"] | {"containers": [{"name": "free", "image": "team/train:1"}]}
TRIES = 5  # of boto3, for an error of AWS's own


@pytest.fixture(scope="module")
def checkout(checkout: Project) -> Project:
    """A stack whose GPU node has hours: it is an hour since they began, and an hour until their end."""
    checkout.set("kubepark:gpu.schedule", _hours(end=1))
    return checkout


def _hours(end: int) -> dict[str, str]:
    now = datetime.now(UTC)
    start, stop = (f"{now + timedelta(hours=hours):%H:%M}" for hours in (-1, end))
    return {"start": start, "stop": stop, "timezone": "UTC", "days": "Mon-Sun"}


def held(project: Project) -> bool:
    """Whether the stop of gpu01 is held off."""
    group = {"GroupName": "kubepark-sandbox"}
    stop = project.aws("scheduler").get_schedule(**group, Name="gpu01-stop")
    once = project.aws("scheduler").get_schedule(**group, Name="gpu01-until")
    assert stop["Target"] == once["Target"]
    return bool(stop.get("StartDate"))


@pytest.fixture(autouse=True)
def _nothing_refused(checkout: Project) -> Iterator[None]:
    yield
    refuse(checkout)


def identity(project: Project, name: str) -> tuple[str, str]:
    """What does not change by a park: the instance and its address."""
    instance = project.instance(name)
    return instance["InstanceId"], instance["PrivateIpAddress"]


def seconds(project: Project, *words: str) -> float:
    began = time.monotonic()
    project.ok(*words)
    print(*words, f"{time.monotonic() - began:.1f} s")
    return time.monotonic() - began


@contextmanager
def silent(port: int) -> Iterator[None]:
    """Packets to the port are dropped, as to a machine that is off: the queue of its listener is full."""
    with socket.create_server(("127.0.0.1", port), backlog=0), ExitStack() as queue:
        for _ in range(3):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield


def test_a_budget_blocks_until_the_deadline_and_force_ends_it_and_no_update_undoes_the_park(
    project: Project,
) -> None:
    apply(project, BUDGET, TRAIN)
    until(
        "the budget counts its pod",
        lambda: (
            project.get("poddisruptionbudget", "keep-train", "-n", "ana")["status"].get("currentHealthy") == 1
        ),
        60,
    )
    before, uid = identity(project, "gpu01"), nodes(project)["gpu01"]["metadata"]["uid"]

    blocked = project.run("park", "gpu", "--timeout", "6")
    assert blocked.returncode == 1
    listed = "pods are evicted:\n  ana/train on gpu01 (1 GPU, nothing makes it anew)\n"
    assert listed in blocked.stdout, "who holds a GPU comes first"
    assert "after 6 s these pods are still there, and nothing was stopped:" in blocked.stdout
    assert (
        "ana/train on gpu01 (1 GPU, nothing makes it anew): The disruption budget keep-train needs 1"
        in blocked.stdout
    )
    assert nodes(project)["gpu01"]["spec"]["unschedulable"] is True
    assert states(project)["gpu01"] == "running"

    interrupted = project.start("park", "gpu", "--timeout", "600")
    until(
        "it waits for the budget",
        lambda: "disruption budget" in (interrupted.stdout or iter(())).readline(),
        60,
    )
    of_gpu = {each["name"]: each for each in project.json_of("status", "--json")["nodes"]}["gpu01"]
    assert (of_gpu["state"], of_gpu["kubernetes"]) == ("running", "Ready, cordoned"), "also meanwhile"
    interrupted.send_signal(signal.SIGINT)
    said, _ = interrupted.communicate(timeout=60)
    assert interrupted.returncode == 130
    assert "interrupted; to go on: bin/kubepark park gpu --stack sandbox" in said

    forced = project.ok("park", "gpu", "--timeout", "2", "--force")
    for words in (
        "ana/train: deleted, because of --force",
        "gpu01 is stopped",
        "saved: 0.5310 USD an hour, 387.63 a month",
        "what still costs: 8.00 USD a month",
        "back by: bin/kubepark unpark gpu --stack sandbox",
    ):
        assert words in forced
    assert states(project) == dict.fromkeys(ADDRESSES, "running") | {"gpu01": "stopped"}
    assert record(project) == {"schema": 1, "stopped": ["gpu01"]}
    shown = project.ok("status")
    assert re.search(
        r"^gpu01 +GPU +stopped +parked since 20\d\d-\d\d-\d\d \d\d:\d\d UTC +", shown, re.MULTILINE
    )
    assert "control plane: answers; the API server's certificate is good until 20" in shown
    assert "Not the whole 30 days: of a node, from when its present instance was made." in shown
    assert "\x1b" not in shown
    project.ok("status", "--chart", str(project.root / "status.svg"))
    assert "GPU: 8.00 now, 395.63 running, 8.00 parked" in (project.root / "status.svg").read_text()

    said = project.ok("up", "--skip-preview")
    assert "the GPU Job was not run: gpu01 is parked" in said
    assert "power:" not in said, "the account is as recorded"
    assert states(project)["gpu01"] == "stopped"

    back = project.ok("unpark", "gpu")
    assert project.verified in back
    assert identity(project, "gpu01") == before
    node = nodes(project)["gpu01"]
    assert (node["metadata"]["uid"], node["spec"].get("unschedulable")) == (uid, None)
    assert CORDONED not in node["metadata"]["annotations"]
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "1"
    assert record(project) == {"schema": 1, "stopped": []}
    assert "held off: the stop of " in project.ok("keep-on", "--for", "3h")
    assert (list(record(project)["keepOn"]), held(project)) == (["gpu01"], True)
    project.ok("preview", "--expect-no-changes")
    assert project.drift() == {}
    project.ok("refresh", "--yes")
    project.ok("preview", "--expect-no-changes")
    requests = (project.state / "logs" / "requests.jsonl").read_text(encoding="utf-8").splitlines()
    assert {"ec2:StartInstances", "ec2:StopInstances"} <= {
        f"{each['service']}:{each['action']}" for each in operators(requests)
    }
    assert judge(project.json_of("permissions"), requests).denied == [], "the printed policy was enough"


def test_with_the_control_plane_off_nothing_waits_and_what_is_in_the_cluster_does(project: Project) -> None:
    before = {name: identity(project, name) for name in ADDRESSES}
    # The limits are a quiet machine's, where an unchanged preview takes three and a half seconds.
    load = max(1.0, seconds(project, "preview", "--expect-no-changes") / 3.5)
    join = project.aws("ssm").get_parameter(Name="/kubepark-sandbox/join")["Parameter"]["Version"]
    document = project.json_of("park", "all", "--yes", "--json")
    assert document["parked"] == ["gpu01", "worker01", "worker02", "worker03", "master1"]
    assert document["usd"] == {"savedHourly": 1.2516, "savedMonthly": 913.67, "stillMonthly": 38.85}
    assert states(project) == dict.fromkeys(ADDRESSES, "stopped")
    found = project.json_of("status", "--json")
    assert (found["controlPlane"]["state"], found["usdMonthly"]["all"]["now"]) == ("parked", 40.85)
    assert all(each["recordedParked"] and each["parkedAt"] for each in found["nodes"])

    for words in (("preview", "--expect-no-changes"), ("up", "--skip-preview")):
        assert seconds(project, *words) < 10 * load
        with silent(project.api_port):
            assert seconds(project, *words) < 45 * load
    assert states(project) == dict.fromkeys(ADDRESSES, "stopped")

    project.ok("people", "suspend", "bo", "--yes", "--no-preview")
    project.set("kubepark:tags", {"team": "ml"})
    refused = project.run("up", *QUICK)
    assert refused.returncode == 1
    assert "error: the control plane is parked, and nothing was changed: in the cluster" in refused.stdout
    assert "\n  - update secret-auth-" in refused.stdout
    assert (
        "fix: bin/kubepark unpark all --stack sandbox, then bin/kubepark up --stack sandbox" in refused.stdout
    )
    assert {"Key": "team", "Value": "ml"} not in project.instance("worker01")["Tags"]

    back = project.ok("unpark", "all")
    assert project.verified in back
    assert "the API server's certificate is good until 20" in back
    assert "warning" not in back
    assert {name: identity(project, name) for name in ADDRESSES} == before
    assert ready_nodes(project) == set(ADDRESSES)
    assert not [name for name, node in nodes(project).items() if node["spec"].get("unschedulable")]
    assert project.aws("ssm").get_parameter(Name="/kubepark-sandbox/join")["Parameter"]["Version"] > join
    project.ok("up", *QUICK)
    project.ok("preview", "--expect-no-changes")


def test_who_was_started_past_the_command_is_uncordoned_and_the_difference_is_said(project: Project) -> None:
    project.ok("park", "worker03")
    ec2, worker = project.aws("ec2"), project.instance("worker03")["InstanceId"]
    assert "worker03: already parked" not in project.ok("preview", "--expect-no-changes")
    ec2.start_instances(InstanceIds=[worker])  # as a schedule does, or a person in the console
    until("the master uncordons it", lambda: "unschedulable" not in nodes(project)["worker03"]["spec"], 60)
    project.ok("keep-on", "--for", "3h")
    project.ok("refresh", "--yes")
    project.set("kubepark:gpu.schedule", _hours(end=2))
    said = project.ok("up", *QUICK)
    assert "power: gpu01 is kept on until " in said, "its schedule was made anew"
    assert held(project)
    assert (
        "power: worker03: running, and the record says parked; to stop it: bin/kubepark park worker03" in said
    )
    project.ok("unpark", "worker03")
    assert "power:" not in project.ok("up", *QUICK)


def test_without_capacity_a_start_takes_the_next_type_or_leaves_the_node_parked(project: Project) -> None:
    with project.changed("kubepark:gpu.instanceTypes", ["g4dn.xlarge", "g4dn.2xlarge"]):
        project.ok("park", "gpu")
        refuse(project, NO_CAPACITY | {"status": 500})
        left = project.run("unpark", "gpu", "--patience", "0")
        assert left.returncode == 1
        assert (
            "error: gpu01 stays parked, because AWS has no capacity: g4dn.xlarge: Insufficient" in left.stdout
        )
        assert "; g4dn.2xlarge: InsufficientInstanceCapacity: none left" in left.stdout
        assert (states(project)["gpu01"], record(project)["stopped"]) == ("stopped", ["gpu01"])
        assert project.instance("gpu01")["InstanceType"] == "g4dn.xlarge"

        refuse(project, NO_CAPACITY | {"status": 500, "times": TRIES})
        said = project.ok("unpark", "gpu", "--patience", "0")
        assert "gpu01 becomes g4dn.2xlarge (it was g4dn.xlarge)" in said
        assert project.verified in said
        assert project.instance("gpu01")["InstanceType"] == "g4dn.2xlarge"
        label = "node.kubernetes.io/instance-type"
        assert nodes(project)["gpu01"]["metadata"]["labels"][label] == "g4dn.2xlarge"
        project.ok("preview", "--expect-no-changes")
        project.ok("refresh", "--yes")
        project.ok("preview", "--expect-no-changes")
        project.ok("park", "gpu")
        project.ok("unpark", "gpu", "--skip-verify")
        assert project.instance("gpu01")["InstanceType"] == "g4dn.xlarge", (
            "the first choice, when there is one"
        )


def test_a_job_starts_the_parked_gpu_and_when_nobody_uses_it_the_node_stops(
    project: Project, tmp_path: Path
) -> None:
    with project.changed("kubepark:gpu.idleMinutes", 30):
        project.set("kubepark:gpu.wakeOnDemand", True)
        assert project.applied() == {"create": ["parameters-gpu-power"], "update": ["iam-master1"]}
        assert project.outputs()["outdated_nodes"] == ["master1"], (
            "who was made without it gets it when made anew"
        )
        before = identity(project, "gpu01")
        with guard(project, tmp_path / "master") as look:
            gpu_scenarios.woken_and_stopped(project, look)
        assert identity(project, "gpu01") == before
        assert "power:" not in project.ok("up", *QUICK), "the account is as recorded"
        assert states(project)["gpu01"] == "stopped"
    project.ok("unpark", "gpu", "--skip-verify")


def test_a_spot_instance_that_aws_takes_back_is_drained_and_comes_back_as_the_same_node(
    project: Project, tmp_path: Path
) -> None:
    others = {name: identity(project, name) for name in ADDRESSES if name != "gpu01"}
    gpu_scenarios.make_spot_role(project)
    with project.changed("kubepark:gpu.market", "spot"):
        project.ok("up", *QUICK, timeout=400)
        assert project.instance("gpu01")["InstanceLifecycle"] == "spot"
        assert others == {name: identity(project, name) for name in others}
        project.ok("preview", "--expect-no-changes")
        before = identity(project, "gpu01")
        assert before[1] == ADDRESSES["gpu01"]
        apply(project, BUDGET, TRAIN, FREE)
        with taken_back(project, "gpu01", tmp_path / "gpu01") as deal:
            gpu_scenarios.drained_stopped_and_back(project, deal, before[0])
        assert identity(project, "gpu01") == before
        project.kubectl("delete", "-n", "ana", "pdb/keep-train", "pod/train", "--grace-period=0", "--force")
        project.ok("park", "gpu")
        assert project.verified in project.ok("unpark", "gpu"), "its owner may stop and start it"
        assert identity(project, "gpu01") == before
    project.ok("up", *QUICK, timeout=400)
    assert "InstanceLifecycle" not in project.instance("gpu01")
    assert project.aws("ec2").describe_spot_instance_requests()["SpotInstanceRequests"] == []

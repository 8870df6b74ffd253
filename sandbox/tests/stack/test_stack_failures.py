"""Nodes that do not come up: what a person is told, and that fixing the cause is all there is to do."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from components.cluster import NEXT
from sandbox.tests.stack.nodes import await_ready
from sandbox.tests.stack.project import QUICK, Project
from sandbox.tests.stack.refusals import program_error

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

CLUSTER = "kubepark-sandbox"
PROMPT = 10.0  # seconds within which a failure is told, from its record on
FULL_DISK = "write /var/lib/containerd: no space left on device"


@dataclass(frozen=True)
class Line:
    """A line of output and when it came (seconds since the epoch)."""

    at: float
    text: str


@dataclass(frozen=True)
class Told:
    """What one command said."""

    code: int
    lines: list[Line]

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)

    @property
    def error(self) -> list[str]:
        return program_error(self.text)

    def find(self, pattern: str) -> tuple[Line, re.Match[str]]:
        """The first line in which `pattern` is found."""
        for line in self.lines:
            if match := re.search(pattern, line.text):
                return line, match
        raise AssertionError(f"nothing like {pattern!r} was said:\n{self.text}")


def tell(
    project: Project, *words: str, on_line: Callable[[str], None] = lambda _: None, seconds: float = 300
) -> Told:
    """Run a command to its end and note when each line of it came."""
    process = project.start(*words)
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    lines: list[Line] = []
    assert process.stdout is not None
    for text in process.stdout:
        lines.append(Line(time.time(), text.rstrip("\n")))
        on_line(text)
    timer.cancel()
    told = Told(process.wait(), lines)
    project.ended(words, told.code)
    return told


def up(project: Project, *flags: str) -> Told:
    """An `up` that succeeds."""
    told = tell(project, "up", *flags)
    assert told.code == 0, told.text
    return told


def records(project: Project, node: str) -> list[dict[str, Any]]:
    """All status records of a node that Parameter Store still has, oldest first."""
    pages = project.aws("ssm").get_paginator("get_parameter_history")
    found = pages.paginate(Name=f"/{CLUSTER}/status/{node}", WithDecryption=True)
    return [json.loads(row["Value"]) for page in found for row in page["Parameters"]]


def delay(project: Project, node: str, told: Line, attempt: str) -> float:
    """Seconds from the record of a failed attempt to the line that told of it."""
    (record,) = (
        each
        for each in records(project, node)
        if each.get("phase") == "failed" and each["attempt"] == int(attempt)
    )
    return told.at - datetime.fromisoformat(record["at"]).timestamp()


def parameters(project: Project) -> dict[str, tuple[str, int]]:
    """Value and version of each parameter that nodes write."""
    pages = project.aws("ssm").get_paginator("get_parameters_by_path")
    found = pages.paginate(Path=f"/{CLUSTER}", Recursive=True, WithDecryption=True)
    rows = [row for page in found for row in page["Parameters"]]
    return {row["Name"]: (row["Value"], row["Version"]) for row in rows if "/hosts/" not in row["Name"]}


def instances(project: Project, *nodes: str) -> dict[str, str]:
    return {node: str(project.instance(node)["InstanceId"]) for node in nodes}


def counts(told: Told) -> dict[str, int]:
    """What the CLI counts at the end: {"created": 1, "unchanged": 104}."""
    shown = told.text.rpartition("Resources:\n")[2].partition("\n\n")[0]
    return {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", shown)}


def test_a_master_that_fails_ends_the_update_in_its_own_words(empty: Project) -> None:
    empty.fault(master1={"step": "init", "mode": "fail", "message": "port 10250 is in use"})
    told = tell(empty, "up", *QUICK)
    assert told.code == 1, told.text
    assert "Traceback" not in told.text
    failure = r"master1: step init failed \(exit 1, attempt \d+\): port 10250 is in use"
    head, way = told.error
    assert re.fullmatch(f"error: the control plane did not come up: {failure}", head)
    assert way == NEXT


def test_a_gpu_node_that_fails_is_told_at_once_and_holds_nothing_up_and_fixed_it_joins(
    empty: Project,
) -> None:
    project, nodes = empty, ("master1", "worker01", "worker02", "worker03", "gpu01")
    project.fault(gpu01={"step": "containerd", "mode": "fail", "message": FULL_DISK})
    failure = re.escape(f"step containerd failed (exit 1, attempt ATTEMPT): {FULL_DISK}")
    failure = failure.replace("ATTEMPT", r"(\d+)")
    late: list[float] = []

    def measure(text: str) -> None:
        """While the record is still in the parameter's history."""
        match = re.search(failure, text)
        if match and not late:
            late.append(delay(project, "gpu01", Line(time.time(), text), match[1]))

    told = tell(project, "up", "--skip-preview", on_line=measure)
    assert told.code == 1, told.text
    assert 0 <= late[0] <= PROMPT
    first, _ = told.find(failure)
    master, _ = told.find("Instance master1 .*api-ready")
    assert first.at < master.at, "the GPU node failed before the master was there"

    assert "Traceback" not in told.text
    assert "unhandled" not in told.text
    head, failed, way = told.error
    assert head == "error: 1 of 4 nodes did not come up:"
    assert re.fullmatch(rf"- gpu01: {failure}", failed)
    assert way == NEXT
    # All that was in flight has ended, and all that does not need the GPU node is there.
    assert "deployment-auth-dex created" in told.text.partition(head)[0]
    dex = project.get("deployment", "dex", "--namespace", "auth")
    assert dex["status"]["readyReplicas"] == dex["spec"]["replicas"] == 2
    people = {"ana", "bo", "chris"}
    assert {item["metadata"]["name"] for item in project.get("profiles.kubeflow.org")["items"]} == people
    assert people <= {item["metadata"]["name"] for item in project.get("namespaces")["items"]}
    await_ready(project, {*nodes[:-1]})

    # The cause fixed, a plain `up` succeeds and replaces nothing.
    before = instances(project, *nodes)
    project.fault()
    told = up(project)
    assert instances(project, *nodes) == before
    assert counts(told) == {"unchanged": len(project.resources()) - 1}
    told.find("Instance gpu01 .*joined")
    assert project.verified in told.text
    await_ready(project, {*nodes})


def test_the_record_of_a_terminated_instance_is_not_believed(project: Project) -> None:
    old = instances(project, "worker03")["worker03"]
    uid = project.get("node", "worker03")["metadata"]["uid"]
    others = instances(project, "master1", "gpu01", "worker01")
    project.aws("ec2").terminate_instances(InstanceIds=[old])
    project.ok("refresh", "--yes")
    believed = records(project, "worker03")[-1]
    assert (believed["phase"], believed["instanceId"]) == ("joined", old), "the record outlives its node"

    told = up(project, *QUICK)
    new = instances(project, "worker03")["worker03"]
    assert new != old
    created, _ = told.find("Instance worker03 created")
    joined, _ = told.find("Instance worker03 .*joined")
    assert joined.at > created.at
    assert records(project, "worker03")[-1]["instanceId"] == new
    node = project.get("node", "worker03")
    assert node["metadata"]["uid"] != uid
    assert node["spec"]["providerID"].endswith(f"/{new}")
    assert instances(project, "master1", "gpu01", "worker01") == others


def test_a_changed_parameter_keeps_the_value_that_its_node_wrote(project: Project) -> None:
    source = project.root / "components" / "parameters.py"
    text = source.read_text(encoding="utf-8")
    given = "description=description,"  # of what nodes write; the rows of /etc/hosts have a text of their own
    assert text.count(given) == 1
    text = text.replace(given, 'description=f"{description}, changed", tags={"changed": "yes"},')
    before = parameters(project)
    assert json.loads(before[f"/{CLUSTER}/join"][0])["token"]
    assert "client-certificate-data" in before[f"/{CLUSTER}/kubeconfig"][0]
    with project.edited(source, text):
        told = up(project, *QUICK)
    assert "Parameter parameters-join updated" in told.text, "the tag is new"
    assert parameters(project) == before, "nobody but the nodes has written"
    ssm = project.aws("ssm")
    tags = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=f"/{CLUSTER}/join")["TagList"]
    assert {"Key": "changed", "Value": "yes"} in tags

"""A new master: alone it is refused, and with all that belongs to it, it ends in a whole cluster."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sandbox.tests.stack.nodes import ADDRESSES, await_ready, nodes
from sandbox.tests.stack.project import QUICK, Project
from sandbox.tests.stack.refusals import problems, program_error, refused

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

PEOPLE = {"ana", "bo", "chris"}
SECONDS = 400


def instances(project: Project) -> dict[str, str]:
    return {node: str(project.instance(node)["InstanceId"]) for node in ADDRESSES}


def paste(project: Project, text: str) -> int:
    """Set what the message says, command by command, as the CLI would; how many there were."""
    commands = re.findall(r"pulumi config set --stack sandbox --path (\S+) (\d+)", text)
    for path, number in commands:
        project.set(path, int(number))
    return len(commands)


def uids(project: Project) -> dict[str, str]:
    return {item["metadata"]["name"]: item["metadata"]["uid"] for item in project.get("namespaces")["items"]}


def check_whole(project: Project, before: dict[str, Any]) -> None:
    """Every machine and every object is another one, and nothing of the old cluster is left."""
    now = instances(project)
    assert not set(now.values()) & set(before["instances"].values())
    await_ready(project, set(ADDRESSES), 90)
    for name, node in nodes(project).items():
        assert node["spec"]["providerID"].endswith(now[name])
    namespaces = uids(project)
    assert PEOPLE | {"auth"} <= set(namespaces)
    assert not set(namespaces.values()) & set(before["namespaces"].values())
    assert {item["metadata"]["name"] for item in project.get("profiles.kubeflow.org")["items"]} == PEOPLE
    dex = project.get("deployment", "dex", "-n", "auth")
    assert dex["status"]["readyReplicas"] == dex["spec"]["replicas"]
    assert not [item["urn"] for item in project.resources() if item.get("delete")]
    assert project.outputs()["created_with"]["identity"] == "2"
    project.ok("preview", "--expect-no-changes")


def test_a_new_generation_of_the_master_alone_is_refused_with_the_way(project: Project) -> None:
    """Else nodes would keep the old cluster's CA, and the state its objects: green, and dead."""
    before = instances(project)
    lines = problems(project, controlPlane__generation=2)
    keys = [line.partition(": ")[0].removeprefix("kubepark:") for line in lines]
    assert keys == [
        "controlPlane.identity",
        *(f"workers.nodes.worker0{number}.generation" for number in (1, 2, 3)),
        "gpu.nodes.gpu01.generation",
    ]
    assert instances(project) == before


def test_with_identity_and_every_nodes_generation_it_ends_in_a_whole_cluster(project: Project) -> None:
    before = {"instances": instances(project), "namespaces": uids(project)}
    with project.changed():
        project.set("kubepark:controlPlane.generation", 2)
        assert paste(project, "\n".join(refused(project))) == 5
        project.ok("up", *QUICK, timeout=SECONDS)
        check_whole(project, before)
    project.emptied()


def test_a_master_that_was_lost_is_not_taken_for_the_old_one_and_the_way_leads_to_a_whole_cluster(
    project: Project,
) -> None:
    """Its numbers are those of before. Only its instance is another one."""
    before = {"instances": instances(project), "namespaces": uids(project)}
    project.aws("ec2").terminate_instances(InstanceIds=[before["instances"]["master1"]])
    # Of it alone: the API is away with it, so whatever is inside cannot be refreshed.
    (urn,) = [item["urn"] for item in project.resources() if item["urn"].endswith("Instance::master1")]
    project.ok("refresh", "--yes", "--target", urn)
    done = project.run("up", *QUICK, timeout=SECONDS)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout
    told = program_error(done.stdout)
    assert told[0].startswith(f"error: the master was {before['instances']['master1']} and is i-")
    with project.changed():
        assert paste(project, "\n".join(told)) == 6
        project.ok("up", *QUICK, timeout=SECONDS)
        check_whole(project, before)
    project.emptied()

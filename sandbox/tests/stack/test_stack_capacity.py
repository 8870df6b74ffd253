"""A node that AWS does not create: the rest of the update goes on, and the next one finishes."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest

from components.cluster import NOT_CREATED
from sandbox.tests.stack.injection import refuse
from sandbox.tests.stack.nodes import await_ready
from sandbox.tests.stack.project import QUICK, Project
from sandbox.tests.stack.refusals import program_error

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

ATTEMPTS = 2  # of the provider, for an error of AWS's own: the program's nine take half a minute
NO_CAPACITY = (
    "We currently do not have sufficient g4dn.xlarge capacity in the Availability Zone you requested."
)
OVER_QUOTA = "You have requested more vCPU capacity than your current vCPU limit of 0 allows."
NODES = {"master1", "worker01", "worker02", "worker03", "gpu01"}


def launch(instance_type: str, code: str, message: str, **more: Any) -> dict[str, Any]:
    """The error of an instance's creation."""
    call = {"operation": "ec2:RunInstances", "arguments": {"InstanceType": instance_type}}
    return call | {"code": code, "message": message} | more


@pytest.fixture(autouse=True, scope="module")
def _few_attempts(checkout: Project) -> None:
    program = checkout.root / "__main__.py"
    text, found = re.subn(
        r"^_ATTEMPTS = \d+$", f"_ATTEMPTS = {ATTEMPTS}", program.read_text(), flags=re.MULTILINE
    )
    assert found == 1
    program.write_text(text)


@pytest.fixture(autouse=True)
def _nothing_refused(checkout: Project) -> Iterator[None]:
    yield
    refuse(checkout)


def fails(project: Project, *words: str) -> str:
    """An `up` that ends in an error, and what it said."""
    done = project.run("up", *QUICK, *words, timeout=400)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout
    return done.stdout


def errors(output: str, resource: str) -> list[str]:
    """What the CLI says at the end about one resource."""
    shown = output.rpartition("Diagnostics:\n")[2]
    block = re.search(rf"^  \S+ \({resource}\):\n((?:    .*\n|\n)*)", shown, re.MULTILINE)
    return [line.strip() for line in block[1].splitlines() if line.strip()] if block else []


def bindings(project: Project, namespace: str) -> list[str]:
    return [item["metadata"]["name"] for item in project.get("rolebindings", "-n", namespace)["items"]]


def test_what_aws_does_not_create_stops_what_needs_it_and_nothing_else_and_the_next_update_finishes(
    empty: Project,
) -> None:
    empty.json_of("preview", "--json")  # starts the local cloud
    without_a_master(empty)
    without_a_gpu_node(empty)
    before = {node: empty.instance(node)["InstanceId"] for node in NODES - {"gpu01"}}
    assert empty.verified in empty.ok("up", "--skip-preview", timeout=400)
    assert before == {node: empty.instance(node)["InstanceId"] for node in before}


def without_a_master(project: Project) -> None:
    # Nor the GPU node, which else would be there already: machines are created side by side.
    refuse(project, *(launch(each, "VcpuLimitExceeded", OVER_QUOTA) for each in ("m7i.large", "g4dn.xlarge")))
    began = time.monotonic()
    said = fails(project)
    assert time.monotonic() - began < 60, "nobody waits for workers of a cluster that will not be"
    assert any(OVER_QUOTA in line for line in errors(said, "master1"))
    head, *_ = program_error(said)
    assert head == "error: the control plane was not created: see the error of master1"
    assert not [item for item in project.resources() if item["type"].startswith("kubernetes:")]


def without_a_gpu_node(project: Project) -> None:
    once = {"status": 500, "times": ATTEMPTS}
    refuse(project, launch("g4dn.xlarge", "InsufficientInstanceCapacity", NO_CAPACITY, **once))
    said = errors(fails(project), "gpu01")
    assert any(f"InsufficientInstanceCapacity: {NO_CAPACITY}" in line for line in said), said
    assert f"error: {NOT_CREATED}" in said
    await_ready(project, NODES - {"gpu01"})
    dex = project.get("deployment", "dex", "--namespace", "auth")
    assert dex["status"]["readyReplicas"] == dex["spec"]["replicas"] == 2
    people = {item["metadata"]["name"] for item in project.get("profiles.kubeflow.org")["items"]}
    assert people == {"ana", "bo", "chris"}
    missing = [item["urn"].rpartition("::")[2] for item in project.resources()]
    assert not {"gpu01", "runtimeclass-nvidia", "daemonset-kube-system-nvidia-device-plugin"} & {*missing}
    outputs = project.outputs()
    assert outputs["nodes"][-1] | {"private_ip": ""} == {
        "name": "gpu01",
        "role": "gpu",
        "private_ip": "",
        "instance_id": None,
    }
    assert outputs["outdated_nodes"] == []
    assert outputs["created_with"]["cluster"] == "kubepark-sandbox", "the next update is compared with it"


def test_a_gpu_node_over_the_quota_for_ever_holds_no_change_of_people_up(project: Project) -> None:
    """Neither what is new nor what goes: whoever is suspended loses access all the same."""
    project.ok("people", "share", "ana", "--with", "bo", "--role", "edit", "--yes", "--no-preview")
    project.ok("up", *QUICK)
    pair = "user-bo-example-org-clusterrole-edit"
    assert pair in bindings(project, "ana")
    refuse(project, launch("g4dn.xlarge", "VcpuLimitExceeded", OVER_QUOTA))
    project.set("kubepark:gpu.nodes", {"gpu01": {}, "gpu02": {}})
    project.ok("people", "suspend", "bo", "--yes", "--no-preview")
    for _ in range(2):
        said = errors(fails(project), "gpu02")
        assert any(f"VcpuLimitExceeded: {OVER_QUOTA}" in line for line in said), said
        assert f"error: {NOT_CREATED}" in said
        assert pair not in bindings(project, "ana")
        await_ready(project, NODES)
    # The way out without a GPU: take the node out of the list.
    project.set("kubepark:gpu.nodes", {"gpu01": {}})
    project.ok("up", "--skip-preview")


def test_without_capacity_a_new_gpu_node_is_made_as_its_next_type_or_left_out(project: Project) -> None:
    types = ("g4dn.xlarge", "g4dn.2xlarge")
    project.set("kubepark:gpu.instanceTypes", list(types))
    project.set("kubepark:gpu.nodes", {"gpu01": {}, "gpu02": {}})
    none_left = ("InsufficientInstanceCapacity", NO_CAPACITY)
    refuse(project, *(launch(each, *none_left, status=500) for each in types))
    said = fails(project)
    words = f"InsufficientInstanceCapacity: {NO_CAPACITY.removesuffix('.')}"
    refused = "; ".join(f"{each}: {words}" for each in types)
    assert "gpu02: AWS has no capacity for g4dn.xlarge now; it is made as g4dn.2xlarge" in said
    lacking = f"error: gpu02 was not made, because AWS has no capacity: {refused}. Everything else goes on."
    assert lacking in said, said
    await_ready(project, NODES)

    refuse(project, launch("g4dn.xlarge", *none_left, status=500))
    project.ok("up", *QUICK)
    assert [project.instance(node)["InstanceType"] for node in ("gpu01", "gpu02")] == [*types]
    label = "node.kubernetes.io/instance-type"
    assert project.get("node", "gpu02")["metadata"]["labels"][label] == "g4dn.2xlarge"
    refuse(project)
    project.ok("preview", "--expect-no-changes")
    project.ok("refresh", "--yes")
    project.ok("preview", "--expect-no-changes")
    project.set("kubepark:gpu.nodes", {"gpu01": {}, "gpu02": {"generation": 2}})
    project.ok("up", *QUICK)
    assert project.instance("gpu02")["InstanceType"] == "g4dn.xlarge", "a new node is the first choice again"


def test_a_node_that_aws_does_not_delete_ends_the_update_and_the_next_one_replaces_it(
    project: Project,
) -> None:
    """Somebody protected it in the console. The engine, told to go on after errors, would wait for ever."""
    ec2, before = project.aws("ec2"), project.instance("worker03")["InstanceId"]
    ec2.modify_instance_attribute(InstanceId=before, DisableApiTermination={"Value": True})
    for node in ("worker01", "worker02", "worker03"):
        project.set(f"kubepark:workers.nodes.{node}.generation", 2 if node == "worker03" else 1)
    began = time.monotonic()
    said = fails(project)
    assert time.monotonic() - began < 60
    assert "OperationNotPermitted" in said
    assert "error: the update was ended, because worker03 could not be deleted" in said
    assert project.instance("worker03")["InstanceId"] == before
    ec2.modify_instance_attribute(InstanceId=before, DisableApiTermination={"Value": False})
    project.ok("up", *QUICK, timeout=400)
    assert project.instance("worker03")["InstanceId"] != before
    await_ready(project, NODES)


def test_gpu_nodes_go_to_another_zone_and_to_a_third_and_nobody_else_moves(project: Project) -> None:
    others = {node: project.instance(node)["InstanceId"] for node in NODES - {"gpu01"}}
    rules = project.aws("ec2").describe_security_group_rules()["SecurityGroupRules"]

    project.set("kubepark:gpu.availabilityZone", "us-east-1b")
    steps = project.steps()
    assert steps.pop("update") == ["parameters-hosts-00"]
    assert {name for names in steps.values() for name in names} == {"gpu01"}
    assert project.verified in project.ok("up", "--skip-preview")
    assert placed(project) == ("us-east-1b", "10.20.5.1")
    await_ready(project, NODES)

    # The second zone may change, because no volume is in it; its subnet is made anew.
    project.set("kubepark:gpu.availabilityZone", "us-east-1c")
    project.set("kubepark:network.secondAvailabilityZone", "us-east-1c")
    assert {name for names in project.steps().values() for name in names} == {"gpu01", "network-balancers"}
    project.ok("up", *QUICK)
    assert placed(project) == ("us-east-1c", "10.20.5.1")
    await_ready(project, NODES)

    assert {node: project.instance(node)["InstanceId"] for node in others} == others
    assert project.aws("ec2").describe_security_group_rules()["SecurityGroupRules"] == rules
    project.ok("preview", "--expect-no-changes")


def placed(project: Project) -> tuple[str, str]:
    """Zone and address of the GPU node; EC2 and Kubernetes must agree."""
    instance, node = project.instance("gpu01"), project.get("node", "gpu01")
    zone, address = instance["Placement"]["AvailabilityZone"], instance["PrivateIpAddress"]
    assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == zone
    addresses = {each["type"]: each["address"] for each in node["status"]["addresses"]}
    assert addresses["InternalIP"] == address
    return zone, address

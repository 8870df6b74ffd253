"""What a master that guards GPU nodes may do in EC2: the script's own signed calls, the program's own policy."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.exceptions import ClientError

from components.iam import node_policy
from config import power
from sandbox.config import ACCOUNT_ID, REGION
from sandbox.tests.nodes.boot_world import IMAGE, World, world
from sandbox.tests.program.client_node import ClientNode
from tests.userdata_sample import GUARDED
from userdata.node import guard_gpus
from userdata.node.guard_gpus import Guard

OURS = {"kubepark:cluster": "demo", "kubepark:role": "gpu"}
OTHERS = {
    "a worker of ours": OURS | {"kubepark:role": "worker"},
    "another cluster's": OURS | {"kubepark:cluster": "demo2"},
    "nobody's": {},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("guard")) as made:
        made.settings = replace(made.settings, gpu=GUARDED.gpu)
        policy = node_policy(made.plan("master1"), made.settings.aws, made.naming, guards=True)
        made.iam.put_role_policy(RoleName="master1", PolicyName="node", PolicyDocument=json.dumps(policy))
        for name, value in (
            (made.naming.power_parameter, power.dump(["worker01"])),
            (made.naming.gpu_power_parameter, power.guard(made.settings.gpu)),
        ):
            made.ssm.put_parameter(Name=name, Value=value, Type="String")
        yield made


@pytest.fixture(scope="module")
def master(lab: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientNode]:
    with ClientNode(lab, "master1", tmp_path_factory.mktemp("node")) as node:
        yield node


@pytest.fixture
def guard(master: ClientNode, monkeypatch: pytest.MonkeyPatch) -> Guard:
    """The script on the master, with the rights that its metadata service gives it."""
    master.log_file.unlink(missing_ok=True)
    monkeypatch.setattr(guard_gpus, "LIB", master.folder)
    monkeypatch.setattr(guard_gpus, "NODE_FILE", master.folder / "node.json")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", master.metadata_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", master.gate_url)
    return Guard(time.time())


def machine(lab: World, tags: dict[str, str]) -> str:
    """An instance with these tags; its id."""
    answer = lab.ec2.run_instances(ImageId=IMAGE, InstanceType="g4dn.xlarge", MinCount=1, MaxCount=1)
    found = str(answer["Instances"][0]["InstanceId"])
    if tags:
        lab.ec2.create_tags(Resources=[found], Tags=[{"Key": k, "Value": v} for k, v in tags.items()])
    return found


def encrypted(lab: World, key: str) -> str:
    """One of our GPU nodes, stopped, with its root disk under a key."""
    disk = {"DeviceName": "/dev/sda1", "Ebs": {"Encrypted": True, "KmsKeyId": key, "VolumeSize": 20}}
    answer = lab.ec2.run_instances(
        ImageId=IMAGE, InstanceType="g4dn.xlarge", MinCount=1, MaxCount=1, BlockDeviceMappings=[disk]
    )
    found = str(answer["Instances"][0]["InstanceId"])
    lab.ec2.create_tags(Resources=[found], Tags=[{"Key": k, "Value": v} for k, v in OURS.items()])
    lab.ec2.stop_instances(InstanceIds=[found])
    return found


def node(instance: str) -> Any:
    return {"spec": {"providerID": f"aws:///{REGION}a/{instance}"}}


def state(lab: World, instance: str) -> str:
    (group,) = lab.ec2.describe_instances(InstanceIds=[instance])["Reservations"]
    return str(group["Instances"][0]["State"]["Name"])


def test_it_stops_and_starts_this_clusters_gpu_nodes(guard: Guard, lab: World, master: ClientNode) -> None:
    gpu = machine(lab, OURS)
    assert guard.ec2("StopInstances", node(gpu))[0] == ""
    assert state(lab, gpu) == "stopped"
    code, said = guard.ec2("StartInstances", node(gpu))
    assert (code, state(lab, gpu)) == ("", "running")
    assert guard_gpus.started(said)
    again = guard.ec2("StartInstances", node(gpu))
    assert again[0] == ""
    assert not guard_gpus.started(again[1]), "it ran already"
    assert {(each["action"], each["statement"]) for each in master.decisions} == {
        ("ssm:GetParameter", "ReadPower"),
        ("ec2:StopInstances", "GpuNodes"),
        ("ec2:StartInstances", "GpuNodes"),
    }


def test_a_start_needs_the_key_of_the_root_disk_and_may_use_the_clusters(guard: Guard, lab: World) -> None:
    ours = encrypted(lab, lab.key_arn)
    assert guard.ec2("StartInstances", node(ours))[0] == ""
    other = encrypted(lab, lab.kms.create_key()["KeyMetadata"]["Arn"])
    code, said = guard.ec2("StartInstances", node(other))
    assert code == "AccessDeniedException"
    assert "is not authorized to perform: kms:CreateGrant on resource: arn:aws:kms:" in said
    assert state(lab, other) == "stopped"


@pytest.mark.parametrize("whose", OTHERS)
def test_no_other_instance(whose: str, guard: Guard, lab: World, master: ClientNode) -> None:
    other = machine(lab, OTHERS[whose])
    code, said = guard.ec2("StopInstances", node(other))
    arn = f"arn:aws:ec2:{REGION}:{ACCOUNT_ID}:instance/{other}"
    session = f"arn:aws:sts::{ACCOUNT_ID}:assumed-role/master1/{master.instance}"
    assert code == "UnauthorizedOperation"
    assert said == (
        "UnauthorizedOperation: You are not authorized to perform this operation. "
        f"User: {session} is not authorized to perform: ec2:StopInstances on resource: {arn} because no "
        "identity-based policy allows the ec2:StopInstances action"
    )
    assert state(lab, other) == "running"


def test_one_instance_of_ours_opens_no_other_in_the_same_call(lab: World, master: ClientNode) -> None:
    ours, other = machine(lab, OURS), machine(lab, {})
    ec2 = master.client("ec2")
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        ec2.stop_instances(InstanceIds=[ours, other])
    for further in ({"Force": True}, {"DryRun": True}):
        with pytest.raises(ClientError, match="does not know which permissions"):
            ec2.stop_instances(InstanceIds=[ours], **further)
    with pytest.raises(ClientError, match="does not know which permissions"):
        ec2.terminate_instances(InstanceIds=[ours])
    call = [("Action", "StopInstances"), ("Version", "2016-11-15")]
    body = urlencode([*call, ("InstanceId.1", other), ("InstanceId.1", ours)]).encode()
    status, said = master.send("ec2", {"Content-Type": "application/x-www-form-urlencoded"}, body)
    assert status == 400
    assert "a request that is not of the query protocol" in said
    assert [state(lab, each) for each in (ours, other)] == ["running", "running"]


def test_a_worker_may_not_even_if_it_has_the_script(lab: World, tmp_path: Path) -> None:
    gpu = machine(lab, OURS)
    with ClientNode(lab, "worker01", tmp_path) as worker:
        with pytest.raises(ClientError, match="UnauthorizedOperation"):
            worker.client("ec2").stop_instances(InstanceIds=[gpu])
        line = worker.complaint("get-parameter", lab.naming.power_parameter)
    assert "AccessDeniedException" in line


def test_it_keeps_the_record_and_no_other_parameter(guard: Guard, lab: World, master: ClientNode) -> None:
    record = guard.read("power")
    guard.write({**record, "stopped": ["gpu01", "worker01"], "keepOn": {"gpu01": "2026-11-28T23:00:00Z"}})
    written = json.loads(lab.parameter(lab.naming.power_parameter))
    assert power.load(lab.parameter(lab.naming.power_parameter)) == {"gpu01", "worker01"}
    assert written["keepOn"] == {"gpu01": "2026-11-28T23:00:00Z"}
    line = master.complaint("put-parameter", lab.naming.gpu_power_parameter, given="{}")
    assert "AccessDeniedException" in line


def test_what_the_policy_of_an_unasked_master_says(lab: World, master: ClientNode) -> None:
    lab.grant("master1")
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        master.client("ec2").stop_instances(InstanceIds=[machine(lab, OURS)])

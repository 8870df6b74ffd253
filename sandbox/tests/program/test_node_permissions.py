"""What a node may do in AWS: its own client against metadata service, gate and the real emulator.

The roles' policies are the program's own. Every refusal is in the words of AWS.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from sandbox.tests.aws.emulator_server import refusal
from sandbox.tests.aws.gate_node import ARN, policy, statement
from sandbox.tests.nodes.boot_world import World, world
from sandbox.tests.program.client_node import ClientNode


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("gate")) as made:
        made.ssm.put_parameter(
            Name="/other/join", Value="a secret of others", Type="SecureString", KeyId=made.key_arn
        )
        yield made


@pytest.fixture(scope="module")
def nodes(lab: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ClientNode, ClientNode]]:
    with (
        ClientNode(lab, "worker01", tmp_path_factory.mktemp("worker01")) as worker,
        ClientNode(lab, "master1", tmp_path_factory.mktemp("master1")) as master,
    ):
        yield worker, master


@pytest.fixture
def worker(nodes: tuple[ClientNode, ClientNode]) -> ClientNode:
    nodes[0].log_file.unlink(missing_ok=True)
    return nodes[0]


@pytest.fixture
def master(nodes: tuple[ClientNode, ClientNode]) -> ClientNode:
    nodes[1].log_file.unlink(missing_ok=True)
    return nodes[1]


def said(line: str) -> tuple[str, str]:
    """Code and text of AWS's error in a line of kp-aws."""
    error = json.loads(line.split(": ", 2)[2])
    return error["__type"], error["message"]


def test_a_worker_does_everything_that_its_scripts_do(worker: ClientNode, lab: World) -> None:
    assert f"INSTANCE_ID={worker.instance}\n" in worker.says("identity")
    assert worker.says("get-parameter", lab.naming.join_parameter) == "pending\n"
    (hosts,) = json.loads(worker.says("get-parameters-by-path", lab.naming.hosts_path))
    assert "master1" in hosts["Value"]
    record = json.dumps({"schema": 1, "phase": "running"})
    worker.says("put-parameter", lab.naming.status_parameter("worker01"), given=record)
    assert lab.status("worker01") == {"schema": 1, "phase": "running"}
    assert {each["allowed"] for each in worker.decisions} == {True}


def test_a_master_does_everything_that_its_scripts_do(master: ClientNode, lab: World) -> None:
    naming = lab.naming
    for name in (naming.join_parameter, naming.kubeconfig_parameter, naming.encryption_key_parameter):
        before = lab.parameter(name)
        master.says("put-parameter", name, "--secure", given=f"of {name}")
        assert lab.parameter(name) == f"of {name}"
        lab.ssm.put_parameter(Name=name, Value=before, Type="SecureString", KeyId=lab.key_arn, Overwrite=True)
    master.says("put-parameter", lab.naming.status_parameter("master1"), given="{}")
    assert json.loads(master.says("get-parameters-by-path", lab.naming.hosts_path))
    records = json.loads(master.says("get-parameters-by-path", lab.naming.status_path))
    assert lab.naming.status_parameter("worker01") in [each["Name"] for each in records]
    assert {each["allowed"] for each in master.decisions} == {True}


@pytest.mark.parametrize(
    ("node", "words", "action", "name"),
    [
        ("worker", "get-parameter /demo/kubeconfig", "ssm:GetParameter", "/demo/kubeconfig"),
        ("worker", "get-parameter /other/join", "ssm:GetParameter", "/other/join"),
        ("worker", "get-parameter /demo/status/worker01", "ssm:GetParameter", "/demo/status/worker01"),
        ("worker", "get-parameter /no/such/thing", "ssm:GetParameter", "/no/such/thing"),
        ("worker", "get-parameters-by-path /demo", "ssm:GetParametersByPath", "/demo"),
        ("worker", "get-parameters-by-path /demo/status", "ssm:GetParametersByPath", "/demo/status"),
        ("worker", "put-parameter /demo/status/master1", "ssm:PutParameter", "/demo/status/master1"),
        ("worker", "put-parameter /demo/join --secure", "ssm:PutParameter", "/demo/join"),
        ("master", "get-parameter /demo/join", "ssm:GetParameter", "/demo/join"),
        ("master", "put-parameter /demo/status/worker01", "ssm:PutParameter", "/demo/status/worker01"),
        ("master", "put-parameter /other/join --secure", "ssm:PutParameter", "/other/join"),
    ],
)
def test_what_is_not_a_nodes_business_is_refused(
    node: str, words: str, action: str, name: str, request: pytest.FixtureRequest
) -> None:
    sender: ClientNode = request.getfixturevalue(node)
    line = sender.complaint(*words.split(), given="forged")
    assert said(line) == sender.denied(action, f"{ARN}{name}")
    (decision,) = sender.decisions
    assert (decision["allowed"], decision["action"], decision["resource"]) == (False, action, f"{ARN}{name}")
    assert decision["role"] == sender.name


def test_a_worker_cannot_make_secrets_under_the_clusters_key(worker: ClientNode, lab: World) -> None:
    name = lab.naming.status_parameter("worker01")
    line = worker.complaint("put-parameter", name, "--secure", given="mine")
    assert said(line) == worker.denied("kms:Encrypt", lab.key_arn)
    assert lab.ssm.get_parameter(Name=name)["Parameter"]["Type"] == "String"


def test_the_key_is_good_for_the_parameters_that_the_policy_names(worker: ClientNode, lab: World) -> None:
    """A worker may decrypt the join record alone, even if it might read another secret's ciphertext."""
    with policy(lab, statement("ssm:GetParameter", f"{ARN}/demo/kubeconfig")):
        line = worker.complaint("get-parameter", "/demo/kubeconfig")
    assert said(line) == worker.denied("kms:Decrypt", lab.key_arn)


def test_the_key_is_the_one_that_has_our_alias(worker: ClientNode, master: ClientNode, lab: World) -> None:
    """Other keys of the account are closed, the data key with its longer alias too, and ours without its alias."""
    other = lab.kms.create_key()["KeyMetadata"]
    ours, theirs = lab.naming.key_alias, f"{lab.naming.key_alias}-data"
    lab.kms.create_alias(AliasName=theirs, TargetKeyId=other["KeyId"])
    put = master.client().put_parameter
    secret = {"Name": lab.naming.join_parameter, "Value": "x", "Type": "SecureString", "Overwrite": True}
    for key in (other["Arn"], theirs):
        assert refusal(put, **secret, KeyId=key) == master.denied("kms:Encrypt", other["Arn"])
    lab.kms.delete_alias(AliasName=ours)
    try:
        line = worker.complaint("get-parameter", lab.naming.join_parameter)
        assert said(line) == worker.denied("kms:Decrypt", lab.key_arn)
    finally:
        lab.kms.create_alias(AliasName=ours, TargetKeyId=lab.key_arn)
    assert worker.says("get-parameter", lab.naming.join_parameter) == "pending\n"


def test_without_a_route_its_client_says_that_nobody_answers(worker: ClientNode, lab: World) -> None:
    try:
        lab.remove_route()
        line = worker.complaint("get-parameter", "/demo/join")
        assert line == f"kp-aws: {worker.gate_url}/: Remote end closed connection without response (8 tries)"
        assert "INSTANCE_ID=" in worker.says("identity")  # needs no route
    finally:
        lab.add_route()
    assert worker.says("get-parameter", "/demo/join")

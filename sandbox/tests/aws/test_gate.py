"""How the gate decides about a node's calls, in front of the real emulator. Every refusal is in the words of AWS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, ConnectionClosedError

from sandbox.aws.credentials import RoleKeys
from sandbox.aws.metadata import MetadataService
from sandbox.config import REGION
from sandbox.ports import free_port
from sandbox.tests.aws.emulator_server import refusal
from sandbox.tests.aws.gate_node import ARN, Node, denied, gate_node, policy, said, statement
from sandbox.tests.nodes.boot_world import World, world


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("gate")) as made:
        yield made


@pytest.fixture(scope="module")
def nodes(lab: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Node]]:
    folder = tmp_path_factory.mktemp("nodes")
    with (
        gate_node(lab, "worker01", folder / "worker01") as worker,
        gate_node(lab, "master1", folder / "master1") as master,
    ):
        yield worker, master


@pytest.fixture
def worker(nodes: tuple[Node, Node]) -> Node:
    nodes[0].log_file.unlink(missing_ok=True)
    return nodes[0]


@pytest.fixture
def master(nodes: tuple[Node, Node]) -> Node:
    nodes[1].log_file.unlink(missing_ok=True)
    return nodes[1]


def document(statement: dict[str, Any]) -> str:
    """A policy of one statement."""
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@contextmanager
def key_policy(lab: World, *extra: dict[str, Any], kept: bool = True) -> Iterator[None]:
    """The key's own policy with more statements, or with these alone."""
    before = json.loads(lab.kms.get_key_policy(KeyId=lab.key_arn, PolicyName="default")["Policy"])

    def put(*statements: dict[str, Any]) -> None:
        text = json.dumps({**before, "Statement": statements})
        lab.kms.put_key_policy(
            KeyId=lab.key_arn, PolicyName="default", Policy=text, BypassPolicyLockoutSafetyCheck=True
        )

    put(*(before["Statement"] if kept else ()), *extra)
    try:
        yield
    finally:
        put(*before["Statement"])


def test_all_secrets_below_a_path_must_be_readable(worker: Node, lab: World) -> None:
    with policy(lab, statement("ssm:GetParametersByPath")):
        line = worker.complaint("get-parameters-by-path", "/demo")
        assert json.loads(worker.says("get-parameters-by-path", "/demo/status"))
    assert said(line)["message"] == denied(worker, "kms:Decrypt", lab.key_arn)


def test_a_policy_that_is_taken_away_counts_at_once(worker: Node, lab: World) -> None:
    with policy(lab, without="ReadJoin"):
        line = worker.complaint("get-parameter", "/demo/join")
    assert said(line)["message"] == denied(worker, "ssm:GetParameter", f"{ARN}/demo/join")
    assert worker.says("get-parameter", "/demo/join")


def test_an_explicit_deny_is_told_as_such(worker: Node, lab: World) -> None:
    with policy(lab, statement("ssm:Get*", f"{ARN}/demo/*", "Deny")):
        line = worker.complaint("get-parameter", "/demo/join")
    why = "with an explicit deny in an identity-based policy"
    assert said(line)["message"] == denied(worker, "ssm:GetParameter", f"{ARN}/demo/join", why)
    (decision,) = worker.decisions
    assert (decision["statement"], decision["pattern"]) == ("Extra", f"{ARN}/demo/*")


def test_a_permissions_boundary_limits_the_role(worker: Node, lab: World) -> None:
    only = document(statement("ssm:PutParameter"))
    boundary = lab.iam.create_policy(PolicyName="limit", PolicyDocument=only)["Policy"]["Arn"]
    lab.iam.put_role_permissions_boundary(RoleName="worker01", PermissionsBoundary=boundary)
    try:
        line = worker.complaint("get-parameter", "/demo/join")
        worker.says("put-parameter", "/demo/status/worker01", given="{}")
    finally:
        lab.iam.delete_role_permissions_boundary(RoleName="worker01")
    why = "because no permissions boundary allows the ssm:GetParameter action"
    assert said(line)["message"] == denied(worker, "ssm:GetParameter", f"{ARN}/demo/join", why)


ROLE = "arn:aws:iam::123456789012:role/"


@pytest.mark.parametrize(
    ("principal", "effect", "why"),
    [
        ("arn:aws:iam::999999999999:role/somebody", "Allow", "because no resource-based policy allows the"),
        (f"{ROLE}worker01", "Deny", "with an explicit deny in a resource-based"),
    ],
)
def test_the_keys_own_policy_counts(principal: str, effect: str, why: str, worker: Node, lab: World) -> None:
    own = statement("kms:Decrypt", effect=effect, Principal={"AWS": principal})
    with key_policy(lab, own, kept=effect == "Deny"):
        line = worker.complaint("get-parameter", "/demo/join")
    assert f"kms:Decrypt on resource: {lab.key_arn} {why}" in said(line)["message"]
    assert worker.says("get-parameter", "/demo/join")


def test_a_keys_policy_may_allow_by_itself(worker: Node, lab: World) -> None:
    own = statement("kms:Decrypt", Principal={"AWS": f"{ROLE}worker01"})
    with policy(lab, without="Key"):
        assert "kms:Decrypt" in worker.complaint("get-parameter", "/demo/join")
        with key_policy(lab, own):
            assert worker.says("get-parameter", "/demo/join")
    assert worker.decisions[-1]["statement"] == "Extra"


def test_keys_that_the_gate_did_not_issue_are_unknown(worker: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as those from before the process was started anew."""
    other = worker.serve(MetadataService(worker.account.cloud, RoleKeys(), worker.instance))
    monkeypatch.setattr(worker, "metadata_url", other)
    line = worker.complaint("get-parameter", "/demo/join")
    assert said(line) == {
        "__type": "UnrecognizedClientException",
        "message": "The security token included in the request is invalid.",
    }
    assert worker.decisions[0]["error"] == "UnrecognizedClientException"


def test_what_the_gate_cannot_decide_is_denied_and_named(worker: Node, lab: World) -> None:
    ssm = worker.client()
    with policy(lab, statement("*")):
        for method, arguments, words in (
            (ssm.delete_parameter, {"Name": "/demo/join"}, "ssm:DeleteParameter"),
            (ssm.get_parameters, {"Names": ["/demo/join"]}, "ssm:GetParameters"),
            (worker.client("sts").get_caller_identity, {}, "sts:GetCallerIdentity"),
            (worker.client("ec2").describe_instances, {}, "ec2:DescribeInstances"),
            # The emulator would answer with the value itself.
            (ssm.get_parameter, {"Name": "/demo/join"}, "the ciphertext of /demo/join"),
            (ssm.get_parameters_by_path, {"Path": "/demo"}, "the ciphertext of /demo/"),
            (ssm.get_parameter, {"Name": f"{ARN}/demo/join"}, "a call with Name"),
        ):
            code, message = refusal(method, **arguments)
            assert code == "AccessDeniedException"
            assert "the sandbox does not know which permissions this needs" in message
            assert words in message
    assert lab.parameter("/demo/join") == "pending"


@pytest.mark.parametrize(
    ("path", "form"),
    [("/", "application/x-www-form-urlencoded"), ("/?Name=/demo/kubeconfig", "application/x-amz-json-1.1")],
)
def test_a_request_that_can_be_read_in_two_ways_is_denied(path: str, form: str, worker: Node) -> None:
    """moto believes the query before the body, so what is authorized would not be what is done."""
    body = b'{"Name": "/demo/join", "WithDecryption": true, "x": "&Name=/demo/kubeconfig&y="}'
    code, message = send(worker, path, body, {"Content-Type": form})
    assert code == "AccessDeniedException"
    assert message.endswith("a request that is not of the JSON 1.1 protocol")


def send(node: Node, path: str, body: bytes, headers: dict[str, str]) -> tuple[str, str]:
    """A request that is signed as it should be and has a form that no client gives it."""
    secret = node.keys.issue(node.instance)
    named = {"X-Amz-Target": "AmazonSSM.GetParameter", **headers}
    request = AWSRequest("POST", f"{node.gate_url}{path}", data=body, headers=named)
    credentials = Credentials(secret.access_key_id, secret.secret_access_key, secret.token)
    SigV4Auth(credentials, "ssm", REGION).add_auth(request)
    status, text = node.get(request.url, "POST", dict(request.headers.items()), body)
    assert status == 400
    error = json.loads(text)
    return error["__type"], error["message"]


def test_a_key_that_does_not_exist_is_told_as_parameter_store_does(master: Node) -> None:
    secret = {"Name": "/demo/join", "Value": "x", "Type": "SecureString", "Overwrite": True}
    code, message = refusal(master.client().put_parameter, **secret, KeyId="alias/nobodys")
    assert code == "InvalidKeyId"
    assert "alias/nobodys is not found" in message


def test_an_update_without_a_type_is_still_one_of_a_secret(worker: Node, lab: World) -> None:
    """What a value is encrypted under is decided by what the parameter is, not by what is said."""
    put = worker.client().put_parameter
    with policy(lab, statement("ssm:PutParameter")):
        found = refusal(put, Name="/demo/join", Value="x", KeyId=lab.key_arn, Overwrite=True)
    assert found == ("AccessDeniedException", denied(worker, "kms:Encrypt", lab.key_arn))


def test_without_a_route_nothing_is_heard(worker: Node, lab: World) -> None:
    try:
        lab.remove_route()
        line = worker.complaint("get-parameter", "/demo/join")
        assert line == f"kp-aws: {worker.gate_url}/: Remote end closed connection without response (8 tries)"
        with pytest.raises(ConnectionClosedError):
            worker.client(secret="wrong").get_parameter(Name="/demo/join")
        assert "INSTANCE_ID=" in worker.says("identity")  # needs no route
    finally:
        lab.add_route()
    assert worker.says("get-parameter", "/demo/join")
    assert {each["error"] for each in worker.decisions if not each["allowed"]} == {"NoAnswer"}


def test_a_machine_that_is_off_is_not_answered(lab: World, tmp_path: Path) -> None:
    with gate_node(lab, "gpu01", tmp_path / "gpu01") as node:
        assert node.says("get-parameter", "/demo/join")
        ssm = node.client()
        lab.ec2.stop_instances(InstanceIds=[node.instance])
        with pytest.raises(ConnectionClosedError):
            ssm.get_parameter(Name="/demo/join", WithDecryption=True)
        with pytest.raises(ConnectionError):
            node.get(f"{node.metadata_url}/latest/")
        lab.ec2.start_instances(InstanceIds=[node.instance])
        assert node.says("get-parameter", "/demo/join")
        lab.terminate("gpu01")
        with pytest.raises(ConnectionClosedError):
            ssm.get_parameter(Name="/demo/join", WithDecryption=True)


def test_an_emulator_that_is_away_is_no_refusal(worker: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.account.cloud, "endpoint", f"http://127.0.0.1:{free_port()}/")
    with pytest.raises(ClientError, match="503"):
        worker.client().get_parameter(Name="/demo/join", WithDecryption=True)
    assert worker.get(f"{worker.metadata_url}/latest/")[0] == 503


def test_the_log_holds_no_value_and_tells_which_statement_allowed_a_call(
    worker: Node, master: Node, lab: World
) -> None:
    master.says("put-parameter", "/demo/kubeconfig", "--secure", given="planted secret")
    master.says("get-parameters-by-path", lab.naming.hosts_path)
    worker.says("get-parameter", "/demo/join")
    worker.complaint("put-parameter", "/demo/join", "--secure", given="planted forgery")
    text = "".join([*master.lines, *worker.lines])
    assert "planted" not in text
    assert "pending" not in text
    allowed = [each for each in master.decisions + worker.decisions if each["allowed"]]
    assert [(each["action"], each["statement"]) for each in allowed] == [
        ("ssm:PutParameter", "Write"),
        ("kms:Encrypt", "Key"),
        ("ssm:GetParametersByPath", "ReadHosts"),
        ("ssm:GetParameter", "ReadJoin"),
        ("kms:Decrypt", "Key"),
    ]

"""How the gate decides about a node's calls, in front of the real emulator: in the words of AWS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from sandbox.aws.credentials import RoleKeys
from sandbox.ports import free_port
from sandbox.tests.aws.emulator_server import refusal
from sandbox.tests.aws.gate_node import ARN, Node, policy, statement
from sandbox.tests.nodes.boot_world import World

JOIN = {"Name": "/demo/join", "WithDecryption": True}


@pytest.fixture
def worker(node: Node) -> Node:
    node.log_file.unlink(missing_ok=True)
    return node


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
    read = worker.client().get_parameters_by_path
    with policy(lab, statement("ssm:GetParametersByPath")):
        found = refusal(read, Path="/demo", WithDecryption=True)
        assert read(Path="/demo/status", WithDecryption=True)["Parameters"]
    assert found == worker.denied("kms:Decrypt", lab.key_arn)


def test_a_policy_that_is_taken_away_counts_at_once(worker: Node, lab: World) -> None:
    read = worker.client().get_parameter
    with policy(lab, without="ReadJoin"):
        assert refusal(read, **JOIN) == worker.denied("ssm:GetParameter", f"{ARN}/demo/join")
    assert read(**JOIN)


def test_an_explicit_deny_is_told_as_such(worker: Node, lab: World) -> None:
    with policy(lab, statement("ssm:Get*", f"{ARN}/demo/*", "Deny")):
        found = refusal(worker.client().get_parameter, **JOIN)
    why = "with an explicit deny in an identity-based policy"
    assert found == worker.denied("ssm:GetParameter", f"{ARN}/demo/join", why)
    (decision,) = worker.decisions
    assert (decision["statement"], decision["pattern"]) == ("Extra", f"{ARN}/demo/*")


def test_a_permissions_boundary_limits_the_role(worker: Node, lab: World) -> None:
    only = json.dumps({"Version": "2012-10-17", "Statement": [statement("ssm:PutParameter")]})
    boundary = lab.iam.create_policy(PolicyName="limit", PolicyDocument=only)["Policy"]["Arn"]
    lab.iam.put_role_permissions_boundary(RoleName="worker01", PermissionsBoundary=boundary)
    try:
        found = refusal(worker.client().get_parameter, **JOIN)
        worker.client().put_parameter(Name="/demo/status/worker01", Value="{}", Overwrite=True)
    finally:
        lab.iam.delete_role_permissions_boundary(RoleName="worker01")
    why = "because no permissions boundary allows the ssm:GetParameter action"
    assert found == worker.denied("ssm:GetParameter", f"{ARN}/demo/join", why)


ROLE, SOMEBODY = "arn:aws:iam::123456789012:role/worker01", "arn:aws:iam::999999999999:role/somebody"


@pytest.mark.parametrize(
    ("principal", "effect", "why"),
    [
        (SOMEBODY, "Allow", "because no resource-based policy allows the kms:Decrypt action"),
        (ROLE, "Deny", "with an explicit deny in a resource-based policy"),
    ],
)
def test_the_keys_own_policy_counts(principal: str, effect: str, why: str, worker: Node, lab: World) -> None:
    own = statement("kms:Decrypt", effect=effect, Principal={"AWS": principal})
    with key_policy(lab, own, kept=effect == "Deny"):
        found = refusal(worker.client().get_parameter, **JOIN)
    assert found == worker.denied("kms:Decrypt", lab.key_arn, why)
    assert worker.client().get_parameter(**JOIN)


def test_a_keys_policy_may_allow_by_itself(worker: Node, lab: World) -> None:
    own, read = statement("kms:Decrypt", Principal={"AWS": ROLE}), worker.client().get_parameter
    with policy(lab, without="Key"):
        assert refusal(read, **JOIN) == worker.denied("kms:Decrypt", lab.key_arn)
        with key_policy(lab, own):
            assert read(**JOIN)
    assert worker.decisions[-1]["statement"] == "Extra"


def test_keys_that_the_gate_did_not_issue_are_unknown(worker: Node) -> None:
    """Such as those from before the process was started anew."""
    secret = RoleKeys().issue(worker.instance)
    assert refusal(worker.client(secret=secret).get_parameter, **JOIN) == (
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    )
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
    headers = {"X-Amz-Target": "AmazonSSM.GetParameter", "Content-Type": form}
    status, text = worker.send("ssm", headers, body, path)
    assert (status, json.loads(text)["__type"]) == (400, "AccessDeniedException")
    assert json.loads(text)["message"].endswith("a request that is not of the JSON 1.1 protocol")


def test_an_update_without_a_type_is_still_one_of_a_secret(worker: Node, lab: World) -> None:
    """What a value is encrypted under is decided by what the parameter is, not by what is said."""
    put, change = worker.client().put_parameter, {"Name": "/demo/join", "Value": "x", "Overwrite": True}
    with policy(lab, statement("ssm:PutParameter")):
        assert refusal(put, **change, KeyId=lab.key_arn) == worker.denied("kms:Encrypt", lab.key_arn)
        code, message = refusal(put, **change, KeyId="alias/nobodys")
    assert (code, "alias/nobodys is not found" in message) == ("InvalidKeyId", True)


def test_without_a_route_nothing_is_heard(worker: Node, lab: World) -> None:
    wrong = replace(worker.keys.issue(worker.instance), secret_access_key="wrong")
    try:
        lab.remove_route()
        for secret in (None, wrong):
            with pytest.raises(ConnectionClosedError):
                worker.client(secret=secret).get_parameter(**JOIN)
        assert worker.get(f"{worker.metadata_url}/latest/")[0] == 200, "it needs no route"
    finally:
        lab.add_route()
    assert worker.client().get_parameter(**JOIN)
    assert {each["error"] for each in worker.decisions if not each["allowed"]} == {"NoAnswer"}


def test_a_machine_that_is_off_is_not_answered(lab: World, tmp_path: Path) -> None:
    with Node(lab, "gpu01", tmp_path) as node:
        read = node.client().get_parameter
        assert read(**JOIN)
        lab.ec2.stop_instances(InstanceIds=[node.instance])
        with pytest.raises(ConnectionClosedError):
            read(**JOIN)
        with pytest.raises(ConnectionError):
            node.get(f"{node.metadata_url}/latest/")
        lab.ec2.start_instances(InstanceIds=[node.instance])
        assert read(**JOIN)
        lab.terminate("gpu01")
        with pytest.raises(ConnectionClosedError):
            read(**JOIN)


def test_an_emulator_that_is_away_is_no_refusal(worker: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.account.cloud, "endpoint", f"http://127.0.0.1:{free_port()}/")
    with pytest.raises(ClientError, match="503"):
        worker.client().get_parameter(**JOIN)
    assert worker.get(f"{worker.metadata_url}/latest/")[0] == 503


def test_the_log_holds_no_value_and_tells_which_statement_allowed_a_call(worker: Node, lab: World) -> None:
    ssm, secret = worker.client(), {"Type": "SecureString", "KeyId": lab.key_arn, "Overwrite": True}
    ssm.get_parameter(**JOIN)
    assert refusal(ssm.put_parameter, Name="/demo/join", Value="planted forgery", **secret)
    with policy(lab, statement("ssm:PutParameter", Sid="Put"), statement("kms:Encrypt", Sid="Encrypt")):
        ssm.put_parameter(Name="/demo/kubeconfig", Value="planted secret", **secret)
    text = worker.log_file.read_text(encoding="utf-8")
    assert "planted" not in text
    assert "pending" not in text
    assert [(each["action"], each["statement"]) for each in worker.decisions if each["allowed"]] == [
        ("ssm:GetParameter", "ReadJoin"),
        ("kms:Decrypt", "Key"),
        ("ssm:PutParameter", "Put"),
        ("kms:Encrypt", "Encrypt"),
    ]

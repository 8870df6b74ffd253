"""kp-aws, run as a program against a metadata service and a Parameter Store on loopback."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from sandbox.tests.program.node_world import REGION, World, create_parameters, node_world
from tests.userdata_sample import files
from userdata.node import kp_aws

INSTANCE = "i-0aaaabbbbccccdddd"


@pytest.fixture(scope="module")
def world():
    with node_world(INSTANCE, "10.20.0.11") as made:
        node = json.loads(files("worker")["/etc/kubepark/node.json"])
        create_parameters(made, node, [["10.20.0.10", ["master1", "api.sample.internal"]]])
        yield made


@pytest.fixture
def kp_aws_program(tmp_path):
    """kp-aws as it is in user data, with its node.json under `tmp_path` and without long pauses."""
    found = files("worker")
    (tmp_path / "node.json").write_text(found["/etc/kubepark/node.json"])
    program = tmp_path / "kp-aws"
    text = found["/usr/local/lib/kubepark/kp-aws"]
    assert "LONGEST_PAUSE = 20" in text
    text = text.replace("/etc/kubepark/node.json", str(tmp_path / "node.json"))
    program.write_text(text.replace("LONGEST_PAUSE = 20", "LONGEST_PAUSE = 0.11"))
    return program


def run(program: Path, world: World, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [sys.executable, program, *arguments],
        input=given,
        env={**clean, **world.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_identity(kp_aws_program, world):
    said = run(kp_aws_program, world, "identity")
    assert said.returncode == 0, said.stderr
    assert dict(line.split("=", 1) for line in said.stdout.splitlines()) == {
        "INSTANCE_ID": INSTANCE,
        "INSTANCE_TYPE": "m6i.large",
        "PRIVATE_IP": "10.20.0.11",
        "PUBLIC_IP": "10.20.0.11",  # it has none: the private one stands in
        "AVAILABILITY_ZONE": "eu-central-1a",
        "REGION": REGION,
        "PROVIDER_ID": f"aws:///eu-central-1a/{INSTANCE}",
    }


def test_identity_needs_an_instance_id(kp_aws_program, world, monkeypatch):
    monkeypatch.delitem(world.values, "instance-id")
    said = run(kp_aws_program, world, "identity")
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == "kp-aws: the metadata service has no INSTANCE_ID\n"


def test_put_and_get_a_secret_under_the_clusters_key(kp_aws_program, world):
    value = secrets.token_urlsafe(40) + "\nüñí {}"
    put = run(kp_aws_program, world, "put-parameter", "/sample/join", "--secure", given=value)
    assert (put.returncode, put.stderr, put.stdout) == (0, "", "")
    assert world.parameter("/sample/join") == value
    (described,) = world.ssm.describe_parameters(
        ParameterFilters=[{"Key": "Name", "Values": ["/sample/join"]}]
    )["Parameters"]
    assert (described["Type"], described["KeyId"]) == ("SecureString", "alias/kubepark/sample")
    got = run(kp_aws_program, world, "get-parameter", "/sample/join")
    assert got.stdout == value + "\n"


def test_a_status_record_is_no_secret(kp_aws_program, world):
    name = "/sample/status/worker01"
    assert run(kp_aws_program, world, "put-parameter", name, given='{"schema": 1}').returncode == 0
    assert world.ssm.get_parameter(Name=name)["Parameter"]["Type"] == "String"


def test_all_pages_of_a_path_in_order(kp_aws_program, world):
    expected = []
    for number in range(23):  # a page holds ten
        name = f"/pages/{number:02d}"
        world.ssm.put_parameter(Name=name, Value=str(number), Type="String")
        expected.append({"Name": name, "Value": str(number)})
    before = len(world.calls)
    said = run(kp_aws_program, world, "get-parameters-by-path", "/pages")
    assert json.loads(said.stdout) == expected
    assert world.calls[before:] == ["GetParametersByPath"] * 3


def test_no_call_had_a_wrong_signature(kp_aws_program, world):
    assert run(kp_aws_program, world, "get-parameter", "/sample/hosts/00").returncode == 0
    assert world.calls
    assert world.unsigned == []


def test_the_front_notices_a_wrong_signature(kp_aws_program, world):
    text = kp_aws_program.read_text()
    assert 'service: str = "ssm"' in text
    kp_aws_program.write_text(text.replace('service: str = "ssm"', 'service: str = "sqs"'))
    said = run(kp_aws_program, world, "get-parameter", "/sample/hosts/00")
    assert said.returncode == 1
    assert "InvalidSignatureException" in said.stderr
    assert world.unsigned.pop() == "GetParameter"


def test_throttling_and_server_faults_are_tried_again(kp_aws_program, world):
    world.faults += [
        (400, '{"__type":"ThrottlingException","message":"Rate exceeded"}'),
        (503, "busy"),
        (400, '{"__type":"com.amazonaws.ssm#TooManyUpdates"}'),
    ]
    before = len(world.calls)
    said = run(kp_aws_program, world, "get-parameter", "/sample/hosts/00")
    assert said.returncode == 0, said.stderr
    assert len(world.calls) - before == 4
    assert world.faults == []


def test_throttling_without_end_is_given_up(kp_aws_program, world):
    world.faults += [(400, '{"__type":"ThrottlingException","message":"Rate exceeded"}')] * 20
    before = len(world.calls)
    said = run(kp_aws_program, world, "get-parameter", "/sample/hosts/00")
    world.faults.clear()
    assert said.returncode == 1
    assert "ThrottlingException" in said.stderr
    assert "(8 tries)" in said.stderr
    assert len(world.calls) - before == 8


def test_a_refusal_is_told_at_once_in_one_line(kp_aws_program, world):
    world.faults += [(400, '{"__type":"AccessDeniedException","Message":"not authorized: ssm:GetParameter"}')]
    before = len(world.calls)
    said = run(kp_aws_program, world, "get-parameter", "/sample/kubeconfig")
    assert said.returncode == 1
    assert said.stderr.startswith("kp-aws: GetParameter: ")
    assert "AccessDeniedException" in said.stderr
    assert "not authorized: ssm:GetParameter" in said.stderr
    assert len(said.stderr.splitlines()) == 1
    assert len(world.calls) - before == 1


def test_an_error_that_quotes_the_value_does_not_print_it(kp_aws_program, world):
    value = secrets.token_hex(20)
    world.faults += [(400, f'{{"__type":"ValidationException","message":"Value {value} is bad"}}')]
    said = run(kp_aws_program, world, "put-parameter", "/sample/join", "--secure", given=value)
    assert said.returncode == 1
    assert "Value [value] is bad" in said.stderr
    assert value not in said.stderr


def test_without_a_role_it_says_so(kp_aws_program, world, monkeypatch):
    monkeypatch.delitem(world.values, "iam/security-credentials/")
    said = run(kp_aws_program, world, "get-parameter", "/sample/join")
    assert said.stderr == "kp-aws: the metadata service has no role credentials\n"


def test_the_endpoint_of_node_json_serves_where_the_environment_names_none(kp_aws_program, world, tmp_path):
    node = json.loads((tmp_path / "node.json").read_text())
    (tmp_path / "node.json").write_text(json.dumps({**node, "awsEndpoint": world.aws_url}))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    said = subprocess.run(
        [sys.executable, kp_aws_program, "get-parameter", "/sample/hosts/00"],
        env={**clean, "AWS_EC2_METADATA_SERVICE_ENDPOINT": world.metadata_url},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "master1" in said.stdout


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_signature_equals_botocores_for_the_real_endpoint(region):
    url = f"https://ssm.{region}.amazonaws.com/"
    body = json.dumps({"Name": "/sample/join", "WithDecryption": True}).encode()
    headers = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "AmazonSSM.GetParameter"}
    key, secret, token = "AKIA" + "X" * 16, secrets.token_urlsafe(30), secrets.token_urlsafe(300)
    credentials = {"AccessKeyId": key, "SecretAccessKey": secret, "Token": token}
    ours = kp_aws.sign(url, headers, body, region, credentials, "20261123T101500Z")

    signer = SigV4Auth(Credentials(key, secret, token), "ssm", region)
    request = AWSRequest("POST", url, data=body, headers={**headers, "X-Amz-Security-Token": token})
    request.headers["X-Amz-Date"] = request.context["timestamp"] = "20261123T101500Z"
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert ours["authorization"].endswith(f"Signature={signature}")
    assert ours["x-amz-security-token"] == token

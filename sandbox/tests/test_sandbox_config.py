"""The sandbox's own reading of a stack file: where it is, and what it refuses."""

from __future__ import annotations

import pytest

from sandbox.config import load
from sandbox.errors import SandboxError

GOOD = """
config:
  kubepark:aws: {region: eu-west-1, accountId: "123456789012", endpoint: "http://127.0.0.1:4599"}
  kubepark:controlPlane: {apiEndpoint: "https://localhost:7443"}
"""


def write(folder, text, stack="sandbox"):
    (folder / f"Pulumi.{stack}.yaml").write_text(text)
    return folder


def test_addresses_and_folders(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBEPARK_SANDBOX_DIR", raising=False)
    config = load(write(tmp_path, GOOD))
    assert (config.aws.url, config.aws.port) == ("http://127.0.0.1:4599", 4599)
    assert (config.api.url, config.api.host) == ("https://localhost:7443", "localhost")
    assert config.region == "eu-west-1"
    assert config.state_dir == tmp_path / ".sandbox"
    assert config.requests_log == tmp_path / ".sandbox" / "logs" / "requests.jsonl"
    monkeypatch.setenv("KUBEPARK_SANDBOX_DIR", str(tmp_path / "elsewhere"))
    assert load(tmp_path).state_dir == tmp_path / "elsewhere"


def test_another_stack_and_another_file(tmp_path):
    write(tmp_path, GOOD, "copy")
    assert load(tmp_path, "copy").stack_file.name == "Pulumi.copy.yaml"
    assert load(tmp_path, "any", tmp_path / "Pulumi.copy.yaml").stack == "any"


@pytest.mark.parametrize(
    ("endpoint", "wrong"),
    [
        ("", "is missing"),
        ("17", "17 is not a URL"),
        ("[a]", "['a'] is not a URL"),
        ("http://10.0.0.1:4566", '"http://10.0.0.1:4566" is not a loopback address'),
        ("http://example.org:80", '"http://example.org:80" is not a loopback address'),
        ("http://127.0.0.1", '"http://127.0.0.1" is not of the form http://HOST:PORT'),
        ("https://127.0.0.1:1", '"https://127.0.0.1:1" is not of the form http://HOST:PORT'),
        ("http://127.0.0.1:1/x", '"http://127.0.0.1:1/x" is not of the form http://HOST:PORT'),
        ("http://127.0.0.1:99999", '"http://127.0.0.1:99999" is not a URL (Port out of range 0-65535)'),
    ],
)
def test_an_endpoint_that_is_not_on_this_machine(tmp_path, endpoint, wrong):
    with pytest.raises(SandboxError) as caught:
        load(write(tmp_path, GOOD.replace('"http://127.0.0.1:4599"', endpoint)))
    assert str(caught.value) == (
        "Pulumi.sandbox.yaml does not describe a sandbox: 1 problem\n"
        f"  kubepark:aws.endpoint: {wrong}; accepted: http://127.0.0.1:PORT on this machine; fix: "
        "pulumi config set --stack sandbox --path kubepark:aws.endpoint http://127.0.0.1:4566"
    )


def test_a_key_that_is_there_twice_is_told_without_its_value(tmp_path):
    with pytest.raises(SandboxError, match=r'is not valid YAML: line 1, column 22: found duplicate key "a"$'):
        load(write(tmp_path, "config: {a: planted, a: b}"))


def test_no_file(tmp_path):
    with pytest.raises(SandboxError, match=r"Pulumi\.sandbox\.yaml does not exist"):
        load(tmp_path)

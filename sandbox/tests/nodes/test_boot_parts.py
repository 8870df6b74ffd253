"""The boot's parts that need no process: user data, records, faults."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sandbox.nodes.cloudinit import UserDataError, WrittenFile, parse
from sandbox.nodes.faults import Fault, Faults
from sandbox.record import RECORD_BYTES, encode, mask, rfc3339
from tests.userdata_sample import files

NODE = json.loads(files("worker")["/etc/kubepark/node.json"])
JOIN = {"path": "/etc/kubepark/kubeadm-join.yaml.tmpl", "content": "kind: JoinConfiguration\n"}
STEPS = {"path": "/etc/kubepark/steps", "content": "# name deadline when\nclock 60 boot\njoin 90 once /x\n"}
ORIGIN = {"attempt": 2, "since": rfc3339(datetime(2026, 1, 1, tzinfo=UTC))}


def cloud_config(*written: dict[str, Any], packed: bool = True) -> bytes:
    text = "#cloud-config\n" + yaml.safe_dump({"write_files": list(written)})
    return gzip.compress(text.encode()) if packed else text.encode()


def node_file(**change: Any) -> dict[str, Any]:
    return {"path": "/etc/kubepark/node.json", "content": json.dumps({**NODE, **change})}


def test_files_and_plan_are_what_write_files_says() -> None:
    extra = {"path": "/x", "content": "text", "permissions": "0600"}
    found = parse(cloud_config(node_file(generation=3), JOIN, STEPS, extra))
    assert found.files["/x"] == WrittenFile(b"text", 0o600)
    assert found.files[JOIN["path"]].mode == 0o644
    assert (found.name, found.generation, found.is_master) == ("worker01", 3, False)
    assert (found.template, found.steps) == (JOIN["content"], ("clock", "join"))
    assert parse(cloud_config(node_file(), JOIN, STEPS, packed=False)).name == "worker01"


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "is not #cloud-config"),
        (b"\x1f\x8bbroken", "cannot be unpacked"),
        (b"#cloud-config\n: [", "is not YAML"),
        (b"#cloud-config\n- a\n", "is not a map"),
        (cloud_config(JOIN), "does not write /etc/kubepark/node.json"),
        (cloud_config(node_file(), JOIN), "does not write /etc/kubepark/steps"),
        (cloud_config(node_file()), "does not write /etc/kubepark/kubeadm-join.yaml.tmpl"),
        (cloud_config(node_file(role="master"), JOIN), "does not write /etc/kubepark/kubeadm-init.yaml.tmpl"),
        (cloud_config({**node_file(), "content": "{}"}, JOIN), "lacks cluster, node, role"),
        (cloud_config(node_file(parameters={}), JOIN), "parameters.status"),
        (cloud_config(node_file(), {**JOIN, "encoding": "b64"}), "tmpl: the sandbox does not know encoding"),
    ],
)
def test_unbootable_user_data_says_why(raw: bytes, words: str) -> None:
    with pytest.raises(UserDataError, match=words.replace("[", r"\[")):
        parse(raw)


@given(st.text(max_size=9000))
def test_records_fit_and_parse(message: str) -> None:
    text = encode(ORIGIN, "failed", "join", 1, message)
    assert len(text.encode()) <= RECORD_BYTES
    assert "{{" not in text
    assert (json.loads(text)["attempt"], json.loads(text)["since"]) == (2, "2026-01-01T00:00:00Z")


def test_long_messages_keep_their_end() -> None:
    record = json.loads(encode(ORIGIN, "failed", "join", 1, "start " + "x " * 4000 + "the error"))
    assert record["message"].endswith("the error")
    assert not record["message"].startswith("start")


def test_secrets_are_masked() -> None:
    key = base64.b64encode(bytes(range(32))).decode()
    pem = "-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----"
    masked = mask(f"token abcdef.0123456789abcdef id AKIA{'A' * 16} key {key} {pem} end")
    assert masked == "token [masked] id [masked] key [masked] [masked] end"
    assert mask("sha256:" + "0a" * 32) == "sha256:" + "0a" * 32


def test_faults_are_counted_and_reread(tmp_path: Any) -> None:
    faults = Faults(tmp_path / "faults.json")
    assert faults.take("n", "join") is None
    entry = {"step": "join", "mode": "fail", "times": 2}
    faults.path.write_text(json.dumps({"n": entry}))
    assert [bool(faults.take("n", "join")) for _ in range(3)] == [True, True, False]
    assert faults.present("n", "join") is not None
    assert faults.take("n", "init") is faults.take("m", "join") is None
    faults.path.write_text(json.dumps({"n": {**entry, "message": "other"}}))
    assert faults.take("n", "join") == Fault("join", "fail", "other", 2)
    faults.path.write_text("{")
    assert faults.take("n", "join") is None

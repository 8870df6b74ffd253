"""The log of decisions, and the two tables that are made of it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.aws.decisions import record
from sandbox.aws.statements import statements
from sandbox.tests.program.permission_table import Unused, Used, unused, used

JOIN = "arn:aws:ssm:us-east-1:1:parameter/lab/join"
POLICY = {
    "Statement": [
        {"Sid": "ReadJoin", "Effect": "Allow", "Action": "ssm:GetParameter", "Resource": JOIN},
        {"Sid": "Write", "Effect": "Allow", "Action": ["ssm:Put*", "ssm:Delete*"], "Resource": "*"},
        {"Effect": "Allow", "Action": "kms:decrypt", "Resource": "*"},
        {"Sid": "Never", "Effect": "Deny", "Action": "ssm:DeleteParameter", "Resource": "*"},
    ]
}


def decide(log: Path, role: str, action: str, statement: str) -> None:
    """A denied call is one without a statement."""
    found = {"resource": JOIN, "statement": statement, "pattern": JOIN if statement else ""}
    record(log, instance="i-1", role=role, action=action, allowed=bool(statement), **found)


@pytest.fixture
def log(tmp_path: Path) -> list[str]:
    path = tmp_path / "logs" / "calls.jsonl"
    decide(path, "worker01", "ssm:GetParameter", "ReadJoin")
    decide(path, "worker01", "ssm:GetParameter", "ReadJoin")
    decide(path, "worker01", "kms:Decrypt", "node#3")
    decide(path, "master1", "ssm:PutParameter", "Write")
    decide(path, "worker01", "ssm:PutParameter", "")
    record(path, instance="-", role="-", action="ssm:GetParameter", error="UnrecognizedClientException")
    assert path.stat().st_mode & 0o777 == 0o600
    return path.read_text(encoding="utf-8").splitlines()


def test_a_line_says_what_is_known(log: list[str]) -> None:
    first, last = json.loads(log[0]), json.loads(log[-1])
    assert first.pop("time").endswith("+00:00")
    asked = {"instance": "i-1", "role": "worker01", "action": "ssm:GetParameter", "resource": JOIN}
    assert first == {**asked, "allowed": True, "statement": "ReadJoin", "pattern": JOIN}
    assert (last["allowed"], last["error"]) == (False, "UnrecognizedClientException")
    assert "resource" not in last


def test_permissions_are_used_or_not_and_named_as_the_policy_writes_them(log: list[str]) -> None:
    assert used(log) == [
        Used("master1", "Write", "ssm:PutParameter", JOIN, 1),
        Used("worker01", "ReadJoin", "ssm:GetParameter", JOIN, 2),
        Used("worker01", "node#3", "kms:Decrypt", JOIN, 1),
    ]
    assert unused({"worker01": statements("node", POLICY)}, log) == [
        Unused("worker01", "Write", "ssm:Delete*"),
        Unused("worker01", "Write", "ssm:Put*"),
    ]


def test_many_writers_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"

    def write(number: int) -> None:
        for _ in range(50):
            decide(path, f"node{number}", "ssm:GetParameter", "ReadJoin")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert [row.times for row in used(path.read_text(encoding="utf-8").splitlines())] == [50] * 8

"""`kubepark status` on an account and a cluster of plain data: figures by hand, and what is not known."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cli import api_server, cluster, environments, kube_nodes, main, stackfile, status
from cli.errors import CommandError
from config.model import NodeRole
from tests.unit.park_objects import TYPES, node

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
FILE = """\
config:
  kubepark:aws: {region: us-east-1, accountId: "123456789012"}
  kubepark:workers: {nodes: {worker01: {}}}
"""


class NotThere(Exception):
    """ParameterNotFound."""


class Account:
    """EC2 and Parameter Store with an instance of each name, and the versions of the record."""

    exceptions = type("exceptions", (), {"ParameterNotFound": NotThere})

    def __init__(self) -> None:
        roles = {"master1": NodeRole.MASTER, "worker01": NodeRole.WORKER, "gpu01": NodeRole.GPU}
        self.instances = {name: self._instance(name, role) for name, role in roles.items()}
        self.versions: list[dict[str, Any]] = []

    def record(self, hours_ago: float, value: str, by: str = "arn:aws:iam::1:user/ana") -> None:
        at = NOW - timedelta(hours=hours_ago)
        number = len(self.versions) + 1
        self.versions.append(
            {"Version": number, "Value": value, "LastModifiedDate": at, "LastModifiedUser": by}
        )

    def parks(self, hours_ago: float, *names: str, **more: Any) -> None:
        self.record(hours_ago, json.dumps({"schema": 1, "stopped": list(names), **more}))

    @staticmethod
    def _instance(name: str, role: NodeRole) -> dict[str, Any]:
        tags = {"kubepark:node": name, "kubepark:role": str(role)}
        made = NOW - timedelta(days=100)
        return {
            "InstanceId": f"i-{name}",
            "InstanceType": TYPES[role],
            "State": {"Name": "running"},
            "LaunchTime": made,
            "BlockDeviceMappings": [{"Ebs": {"AttachTime": made}}],
            "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
        }

    def get_paginator(self, operation: str) -> Account:
        self._operation = operation
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        if self._operation == "describe_instances":
            return [{"Reservations": [{"Instances": list(self.instances.values())}]}]
        if not self.versions:
            raise NotThere
        return [{"Parameters": [each]} for each in reversed(self.versions)]  # in any order

    def get_parameter(self, Name: str) -> dict[str, Any]:
        if not self.versions:
            raise NotThere
        return {"Parameter": self.versions[-1]}


class Person(environments.Account):
    @contextlib.contextmanager
    def operation(self, verb: str) -> Iterator[Mapping[str, str]]:
        assert verb == "status"
        yield {}


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Account:
    made = Account()
    nodes = {name: node(name) for name in made.instances}
    nodes["gpu01"]["status"]["conditions"][0]["status"] = "Unknown"
    nodes["gpu01"]["spec"]["unschedulable"] = True
    monkeypatch.setattr(stackfile, "ROOT", tmp_path)
    (tmp_path / "Pulumi.dev.yaml").write_text(FILE, encoding="utf-8")
    monkeypatch.setattr(environments, "of", lambda stack: Person())
    monkeypatch.setattr(status, "client", lambda service, stack, variables, seconds: made)
    monkeypatch.setattr(status, "datetime", type("Now", (datetime,), {"now": lambda zone: NOW}))
    monkeypatch.setattr(cluster, "kubeconfig_of", lambda stack: {})
    monkeypatch.setattr(cluster, "connected", lambda kubeconfig: contextlib.nullcontext())
    monkeypatch.setattr(
        kube_nodes, "KubeNodes", lambda api: type("Nodes", (), {"nodes": lambda self: nodes})()
    )
    monkeypatch.setattr(api_server, "listens", lambda kubeconfig: True)
    monkeypatch.setattr(api_server, "certificate", lambda kubeconfig, now: f"good until {now.year + 1}")
    return made


@pytest.fixture
def parked(account: Account) -> Account:
    """A GPU node that ran for all but the last 36 hours."""
    account.parks(2400)
    account.parks(36, "gpu01", keepOn={"worker01": "2026-11-28T23:00:00Z", "master1": "2026-11-27T23:00:00Z"})
    account.instances["gpu01"]["State"]["Name"] = "stopped"
    return account


def document(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    assert main.main(["status", "--stack", "dev", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def text(capsys: pytest.CaptureFixture[str]) -> list[str]:
    assert main.main(["status", "--stack", "dev"]) == 0
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_a_spot_instance_is_called_one_and_its_price_a_bound(account: Account, capsys) -> None:
    assert "spot" not in "\n".join(text(capsys)).lower()
    account.instances["gpu01"]["InstanceLifecycle"] = "spot"
    said = text(capsys)
    assert [line for line in said if line.startswith("gpu01") and "g4dn.xlarge, spot " in line]
    assert "Spot: at most the on-demand price, which is counted. AWS sets the price of the day." in said
    assert [each["spot"] for each in document(capsys)["nodes"]] == [False, False, True]


def test_everything_there_is_to_know_as_data(parked: Account, capsys) -> None:
    found = document(capsys)
    assert found["controlPlane"] == {"state": "answers", "notes": ["good until 2027"]}
    by_name = {each["name"]: each for each in found["nodes"]}
    assert list(by_name) == ["master1", "worker01", "gpu01"]
    assert by_name["gpu01"] == {
        "name": "gpu01",
        "pool": "gpu",
        "instanceId": "i-gpu01",
        "type": "g4dn.xlarge",
        "spot": False,
        "state": "stopped",
        "recordedParked": True,
        "parkedAt": "2026-11-27T00:00:00Z",
        "parkedBy": "ana",
        "keptOnUntil": None,
        "kubernetes": "unknown, cordoned",
        "usdHourly": {"now": 0.011, "running": 0.542, "parked": 0.011},
    }
    assert (by_name["worker01"]["keptOnUntil"], by_name["master1"]["keptOnUntil"]) == (
        "2026-11-28T23:00:00Z",
        None,
    )
    # As in docs/cost.md: a GPU node of 395.63 USD a month, 8.00 parked; a worker of 158.82.
    assert found["usdMonthly"]["gpu"] == {"running": 395.63, "parked": 8.0, "now": 8.0}
    assert found["usdMonthly"]["all"] == {"running": 636.88, "parked": 24.85, "now": 249.25}
    # 30 days less 36 hours, of an instance at 0.526 and an address at 0.005 USD an hour.
    assert found["gpuNodeHours"]["nodes"] == {
        "gpu01": {"since": "2026-10-29T12:00:00Z", "hours": 684.0, "usd": 363.2}
    }
    assert found["gpuNodeHours"]["daily"] == [*[24.0] * 28, 12.0, 0.0]
    assert found["differences"] == []


def test_the_same_for_people_plainly_in_a_pipe(parked: Account, capsys) -> None:
    lines = text(capsys)
    assert lines[:2] == ["dev, us-east-1, 2026-11-28 12:00 UTC", "control plane: answers; good until 2027"]
    (gpu,) = [line for line in lines if line.startswith("gpu01 ")]
    since = "parked since 2026-11-27 00:00 UTC by ana"
    shown = ["gpu01", "GPU", "stopped", since, "unknown, cordoned", "g4dn.xlarge", "0.0110"]
    assert re.split(r" {2,}", gpu) == shown
    assert "running   runs, kept on until 2026-11-28 23:00 UTC   " in "\n".join(lines)
    bars = {line.split()[0]: line.split()[-1] for line in lines if line.endswith(("█", "▓", "░"))}
    assert bars["GPU"] == "█" + "░" * 29
    assert bars["workers"] == "█" + "▓" * 11
    assert "GPU nodes ran 684.0 h in the last 30 days, from the power record: 363.20 USD" in lines
    (marks,) = [line.split()[0] for line in lines if "24 hours each" in line]
    assert marks == "█" * 28 + "▅▁"
    assert "\x1b" not in "\n".join(lines)
    assert not [line for line in lines if "Not the whole" in line]


def test_a_record_that_does_not_reach_back_says_so(account: Account, capsys) -> None:
    account.parks(48)
    said = "\n".join(text(capsys))
    assert "GPU nodes ran 48.0 h in the last 30 days, from the power record: 25.49 USD" in said
    assert "  " + "·" * 28 + "██  24 hours each" in said
    assert "Not the whole 30 days: the record began 2026-11-26 12:00 UTC." in said
    account.versions[0]["Version"] = 7
    assert "the record keeps a hundred versions, and they begin 2026-11-26 12:00 UTC." in "\n".join(
        text(capsys)
    )


def test_since_when_is_not_claimed_beyond_what_is_kept(account: Account, capsys) -> None:
    account.parks(48, "gpu01")
    account.versions[0]["Version"] = 7
    account.instances["gpu01"]["State"]["Name"] = "stopped"
    assert "parked since before 2026-11-26 12:00 UTC " in "\n".join(text(capsys))


def test_a_node_by_its_present_type_and_one_that_is_not_made(parked: Account, capsys) -> None:
    parked.instances["gpu01"]["InstanceType"] = "g4dn.2xlarge"
    del parked.instances["worker01"]
    found = document(capsys)
    by_name = {each["name"]: each for each in found["nodes"]}
    assert (by_name["gpu01"]["type"], by_name["gpu01"]["usdHourly"]["running"]) == ("g4dn.2xlarge", 0.768)
    assert (by_name["worker01"]["state"], by_name["worker01"]["usdHourly"]["now"]) == ("not made", 0.0)


def test_a_node_without_a_place_in_the_stack_file_has_no_price_and_no_zero(parked: Account, capsys) -> None:
    parked.instances["worker09"] = parked._instance("worker09", NodeRole.WORKER)
    found = document(capsys)
    assert found["nodes"][2]["usdHourly"] == {"now": None, "running": None, "parked": None}
    assert found["usdMonthly"]["workers"]["now"] is None


def test_a_parked_control_plane_is_not_asked(parked: Account, monkeypatch, capsys) -> None:
    parked.instances["master1"]["State"]["Name"] = "stopped"
    monkeypatch.setattr(cluster, "kubeconfig_of", lambda stack: pytest.fail("the cluster was asked"))
    found = document(capsys)
    assert found["controlPlane"] == {"state": "parked", "notes": []}
    assert {each["kubernetes"] for each in found["nodes"]} == {"unknown"}
    assert found["differences"] == [
        "power: master1: stopped, and the record says running; to start it: bin/kubepark unpark all --stack dev; "
        "if that is right: bin/kubepark park all --stack dev"
    ]


def test_a_control_plane_that_is_silent_or_cannot_be_asked_is_said_to_be(
    account, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(api_server, "listens", lambda kubeconfig: False)
    assert document(capsys)["controlPlane"] == {"state": "does not answer", "notes": []}

    def refuse(stack: str) -> Any:
        raise CommandError("the kubeconfig of stack dev\n cannot be read")

    monkeypatch.setattr(cluster, "kubeconfig_of", refuse)
    assert document(capsys)["controlPlane"] == {
        "state": "not asked",
        "notes": ["the kubeconfig of stack dev cannot be read"],
    }


def test_without_a_record_there_are_no_hours(account: Account, capsys) -> None:
    assert document(capsys)["gpuNodeHours"]["nodes"] == {}
    said = "\n".join(text(capsys))
    assert "no record" in said
    assert "GPU nodes ran" not in said


def test_what_aws_refuses_is_one_clean_error(account: Account, monkeypatch, capsys) -> None:
    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "DescribeInstances")

    monkeypatch.setattr(account, "paginate", refuse)
    assert main.main(["status", "--stack", "dev"]) == 1
    assert capsys.readouterr().err.startswith("error: An error occurred (AccessDenied)")


@pytest.mark.parametrize(
    "value",
    [
        "[]",
        "{",
        "{}",
        '{"schema": 1, "stopped": [], "keepOn": ["gpu01"]}',
        '{"schema": 1, "stopped": [], "keepOn": {"gpu01": "tonight"}}',
    ],
)
def test_a_record_that_is_none_is_one_clean_error(value: str, account: Account, capsys) -> None:
    account.record(1, value)
    assert main.main(["status", "--stack", "dev"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the power record (/kubepark-dev/power) ")
    assert "; fix: aws ssm put-parameter --overwrite --name /kubepark-dev/power --value " in said

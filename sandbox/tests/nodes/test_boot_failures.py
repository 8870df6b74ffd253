"""Nodes that cannot: each is refused by the real thing and says so in its record, then heals.

One world for the module. The first tests have no master, the last ones do; every test has a worker of
its own.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

import userdata
from sandbox.record import rfc3339
from sandbox.tests.nodes.boot_world import World, until, world

pytestmark = pytest.mark.sandbox
NODE = "worker01"
JOIN_TIMEOUT = 2.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("failures")) as made:
        made.start_boot(JOIN_TIMEOUT)
        yield made


@pytest.fixture
def lab(shared: World) -> Iterator[World]:
    """The world, without the worker that a test leaves behind."""
    yield shared
    shared.fault()
    if NODE in shared.instances:
        disk = shared.state_dir / "nodes" / shared.instances[NODE]
        shared.terminate(NODE)
        until("worker gone", lambda: not disk.exists())
    shared.reset_status(NODE)


@pytest.fixture
def mastered(lab: World) -> Iterator[World]:
    """The world with a master, and its join record put back afterwards."""
    if "master1" not in lab.instances:
        lab.launch("master1")
        lab.reached("master1", "api-ready", 90)
    kept = lab.parameter(lab.naming.join_parameter)
    yield lab
    write_join(lab, json.loads(kept))


def write_join(lab: World, record: dict[str, Any]) -> None:
    lab.ssm.put_parameter(
        Name=lab.naming.join_parameter, Value=json.dumps(record), Type="SecureString", Overwrite=True
    )


def reached_step(lab: World, step: str, seconds: float = 15.0) -> dict[str, Any]:
    def probe() -> dict[str, Any] | None:
        record = lab.status(NODE)
        current = record.get("instanceId") == lab.instances[NODE] and record["step"] == step
        return record if current and record["phase"] == "running" else None

    return until(f"{NODE} at {step}; log: {lab.log[-1500:]}", probe, seconds)


def stays_pending(lab: World, seconds: float = 3.0) -> None:
    """Nothing was heard of the worker so far, and nothing is for a while."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert lab.status(NODE) == {"schema": 1, "phase": "pending"}
        time.sleep(0.2)


def with_deadlines(lab: World, seconds: int) -> bytes:
    """The worker's user data with another deadline for each of its steps."""
    document = yaml.safe_load(gzip.decompress(userdata.render(lab.plan(NODE), lab.settings)))
    (steps,) = (each for each in document["write_files"] if each["path"] == "/etc/kubepark/steps")
    rows = [row.split() for row in steps["content"].splitlines()]
    steps["content"] = "\n".join(" ".join([row[0], str(seconds), *row[2:]]) for row in rows)
    return gzip.compress(("#cloud-config\n" + yaml.safe_dump(document)).encode())


def test_a_node_is_heard_of_as_soon_as_it_runs(lab: World) -> None:
    lab.launch(NODE)
    until("first record", lambda: lab.status(NODE).get("instanceId") == lab.instances[NODE], 5)


def test_without_the_policy_nothing_is_heard(lab: World) -> None:
    lab.revoke(NODE)
    lab.launch(NODE)
    stays_pending(lab)
    lab.grant(NODE)
    assert reached_step(lab, "join", 30)["attempt"] >= 1


def test_without_a_route_nothing_is_heard(lab: World) -> None:
    lab.remove_route()
    lab.launch(NODE)
    stays_pending(lab)
    lab.add_route()
    reached_step(lab, "join", 30)


def test_mirror_out_of_reach_is_said_in_curls_words(lab: World) -> None:
    group = lab.groups["node"]
    anything = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    https = [{"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    lab.ec2.authorize_security_group_egress(GroupId=group, IpPermissions=https)
    lab.ec2.revoke_security_group_egress(GroupId=group, IpPermissions=anything)
    lab.launch(NODE)
    record = lab.reached(NODE, "failed")
    assert (record["step"], record["rc"]) == ("packages", 1)
    assert "curl: (28) Failed to connect to archive.ubuntu.com port 80" in record["message"]
    lab.ec2.authorize_security_group_egress(GroupId=group, IpPermissions=anything)
    lab.ec2.revoke_security_group_egress(GroupId=group, IpPermissions=https)
    assert reached_step(lab, "join", 30)["attempt"] > record["attempt"]


def test_injected_failure_is_retried_as_often_as_told(lab: World) -> None:
    lab.fault(
        worker01={"step": "containerd", "mode": "fail", "message": "no space left on device", "times": 2}
    )
    lab.launch(NODE)
    record = lab.reached(NODE, "failed", attempt=2)
    assert (record["step"], record["message"]) == ("containerd", "no space left on device")
    assert reached_step(lab, "join")["attempt"] == 3


def test_hanging_step_is_stopped_at_its_deadline(lab: World) -> None:
    lab.fault(worker01={"step": "packages", "mode": "hang", "message": "waiting for the lock"})
    lab.launch(NODE, user_data=with_deadlines(lab, 1))
    record = lab.reached(NODE, "failed")
    assert (record["step"], record["rc"]) == ("packages", 124)
    assert record["message"].endswith("step packages was stopped after its deadline of 1 s")
    assert "waiting for the lock" in record["message"]


def test_silent_node_stays_silent_until_healed(lab: World) -> None:
    lab.fault(worker01={"step": "clock", "mode": "silent"})
    lab.launch(NODE)
    stays_pending(lab)
    lab.fault()
    reached_step(lab, "join")


def test_garbage_as_user_data_boots_nothing(lab: World) -> None:
    lab.launch(NODE, user_data=b"#!/bin/sh\necho hello\n")
    until("said", lambda: "cannot boot: user data is not #cloud-config" in lab.log, 10)
    stays_pending(lab, 1)


def test_terminated_node_writes_no_more(lab: World) -> None:
    lab.launch(NODE)
    reached_step(lab, "join")
    name = lab.naming.status_parameter(NODE)
    lab.terminate(NODE)
    lab.ssm.delete_parameter(Name=name)
    time.sleep(2)
    assert not lab.ssm.describe_parameters(Filters=[{"Key": "Name", "Values": [name]}])["Parameters"]


def test_missing_rule_fails_the_join_and_its_return_heals_it(mastered: World) -> None:
    mastered.forbid_api()
    instance = mastered.launch(NODE)
    record = mastered.reached(NODE, "failed")
    assert record["step"] == "join"
    assert "dial tcp 10.20.0.10:6443: i/o timeout" in record["message"]
    mastered.allow_api()
    healed = mastered.reached(NODE, "joined")
    assert healed["instanceId"] == instance
    assert healed["attempt"] > record["attempt"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"caCertHashes": ["sha256:" + "0" * 64]}, "not in the pinned set"),
        ({"generation": 0}, "join record is of master generation 0, older than 1"),
        ({"expiresAt": rfc3339(datetime.now(UTC) + timedelta(minutes=5))}, "join record expires too soon"),
        ({"token": "abcdef.0123456789abcdef"}, "could not find a JWS signature"),
        (
            {"endpoint": "other.demo.internal:6443"},
            "lookup other.demo.internal on 127.0.0.53:53: no such host",
        ),
        ({"endpoint": "worker01:6443"}, "dial tcp 10.20.0.11:6443"),
    ],
    ids=["hash", "generation", "expiry", "token", "name", "address"],
)
def test_wrong_join_record_is_refused_then_healed(
    mastered: World, change: dict[str, Any], words: str
) -> None:
    good = json.loads(mastered.parameter(mastered.naming.join_parameter))
    write_join(mastered, {**good, **change})
    mastered.launch(NODE)
    record = mastered.reached(NODE, "failed")
    assert record["step"] == "join"
    assert words in record["message"]
    left = mastered.node(NODE)  # of the worker before, perhaps
    assert left is None or not left["spec"]["providerID"].endswith(mastered.instances[NODE])
    write_join(mastered, good)
    assert mastered.reached(NODE, "joined")["attempt"] > record["attempt"]


def test_token_with_a_wrong_secret_does_not_prove_the_cluster(mastered: World) -> None:
    good = json.loads(mastered.parameter(mastered.naming.join_parameter))
    token_id = good["token"].partition(".")[0]
    write_join(mastered, {**good, "token": f"{token_id}.0123456789abcdef"})
    mastered.launch(NODE)
    record = mastered.reached(NODE, "failed")
    assert "failed to verify JWS signature" in record["message"]
    assert good["token"].partition(".")[2] not in json.dumps(record)


def test_revoked_token_is_not_accepted(mastered: World) -> None:
    good = json.loads(mastered.parameter(mastered.naming.join_parameter))
    token_id = good["token"].partition(".")[0]
    mastered.api().delete(f"/api/v1/namespaces/kube-system/secrets/bootstrap-token-{token_id}")
    mastered.launch(NODE)
    record = mastered.reached(NODE, "failed", 60)
    assert record["step"] == "join"
    assert "JWS signature" in record["message"] or "Unauthorized" in record["message"]

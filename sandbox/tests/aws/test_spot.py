"""Spot Instances in the emulator and through the provider: requests, interruptions, what nobody may do."""

from __future__ import annotations

import json
import socket
import urllib.error
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sandbox.aws import cloud
from sandbox.aws.credentials import RoleKeys
from sandbox.aws.metadata import MetadataService
from sandbox.aws.serve import serve
from sandbox.tests.aws.aws_provider import Cloud, World, client, server
from sandbox.tests.aws.emulator_server import IMAGE, described, error_code
from sandbox.tests.aws.gate_node import metadata
from sandbox.tests.stack.injection import interrupted

PERSISTENT = {"spotInstanceType": "persistent", "instanceInterruptionBehavior": "stop"}
SPOT = {"marketType": "spot", "spotOptions": PERSISTENT}
ONLY_PERSISTENT = {"SpotInstanceType": "persistent"}  # and no behavior, which AWS takes as termination
STAMP = "%Y-%m-%dT%H:%M:%SZ"


@pytest.fixture(scope="module")
def lab(cloud: Cloud) -> World:
    return World(cloud)


@pytest.fixture(autouse=True)
def _nothing_announced() -> Iterator[None]:
    yield
    interrupted(server().url)


def at(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime(STAMP)


def requests() -> dict[str, str]:
    """State of each request, by id."""
    found = client("ec2").describe_spot_instance_requests()["SpotInstanceRequests"]
    return {each["SpotInstanceRequestId"]: each["State"] for each in found}


def test_a_spot_instance_has_a_request_that_goes_with_it(lab: World) -> None:
    without = lab.launch(privateIp="10.20.0.21")
    made = lab.instance(privateIp="10.20.0.21", instanceMarketOptions=SPOT)
    options, request = made.outputs["instanceMarketOptions"], made.outputs["spotInstanceRequestId"]
    assert PERSISTENT.items() <= options["spotOptions"].items()
    found = described(client("ec2"), made.id)
    assert (found["InstanceLifecycle"], found["SpotInstanceRequestId"]) == ("spot", request)
    assert requests()[request] == "active"
    assert lab.cloud.changes(made, {**without, "instanceMarketOptions": SPOT}) == set()
    assert lab.cloud.changes(made, without) == set(), "as the official provider: the trigger must do it"
    lab.cloud.delete(made)
    assert request not in requests(), "it would bring another instance"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"MarketType": "spot"}, "UnsupportedOperation"),
        ({"MarketType": "capacity-block"}, "UnsupportedOperation"),
        ({"MarketType": "spot", "SpotOptions": ONLY_PERSISTENT}, "InvalidParameterCombination"),
    ],
)
def test_other_kinds_are_refused(options: dict[str, Any], code: str) -> None:
    launch = {"ImageId": IMAGE, "InstanceType": "t3.large", "MinCount": 1, "MaxCount": 1}
    assert error_code(client("ec2").run_instances, **launch, InstanceMarketOptions=options) == code


def test_who_terminates_it_without_its_request_gets_another_one(lab: World) -> None:
    made = lab.instance(privateIp="10.20.0.23", instanceMarketOptions=SPOT)
    request = made.outputs["spotInstanceRequestId"]
    client("ec2").terminate_instances(InstanceIds=[made.id])
    assert requests()[request] == "open"
    client("ec2").cancel_spot_instance_requests(SpotInstanceRequestIds=[request])


def test_an_interruption_is_announced_and_stops_the_instance_and_only_ec2_starts_it(lab: World) -> None:
    made = lab.instance(privateIp="10.20.0.24", instanceMarketOptions=SPOT)
    plain = lab.instance(privateIp="10.20.0.25")
    ec2, address = client("ec2"), made.outputs["privateIp"]
    notice = "/latest/meta-data/spot/instance-action"
    assert [read(each.id, notice) for each in (made, plain)] == [(404, None)] * 2
    ec2.stop_instances(InstanceIds=[made.id])  # by its owner: who may start it again, too
    wanted = {"InstanceId": made.id, "InstanceType": {"Value": "t3.xlarge"}}
    assert error_code(ec2.modify_instance_attribute, **wanted) == "UnsupportedOperation"
    ec2.start_instances(InstanceIds=[made.id])

    time = at(90)
    interrupted(server().url, {made.id: time, plain.id: time})
    assert read(made.id, notice) == (200, {"action": "stop", "time": time})
    assert read(plain.id, notice) == (404, None), "it is no Spot Instance"
    assert described(ec2, made.id)["State"]["Name"] == "running"
    before = json.loads(server().call("/kubepark/changes"))["ec2"]
    interrupted(server().url, {made.id: at(-1)})
    found = described(ec2, made.id)
    assert (found["State"]["Name"], found["StateReason"]["Code"]) == (
        "stopped",
        "Server.SpotInstanceShutdown",
    )
    assert json.loads(server().call("/kubepark/changes"))["ec2"] > before, "whoever polls sees it"
    assert error_code(ec2.start_instances, InstanceIds=[made.id]) == "IncorrectSpotRequestState"
    interrupted(server().url)
    found = described(ec2, made.id)
    assert (found["State"]["Name"], found["PrivateIpAddress"]) == ("running", address)
    for each in (made, plain):
        lab.cloud.delete(each)


def read(instance: str, path: str) -> tuple[int, Any]:
    """Of an instance's metadata service: status, and the JSON if there is one."""
    listener = socket.create_server(("127.0.0.1", 0))
    serving = serve(MetadataService(cloud.Cloud(server().url), RoleKeys(), instance), listener)
    try:
        status, text = metadata(f"http://127.0.0.1:{listener.getsockname()[1]}", path)
        return status, json.loads(text) if status == 200 else None
    finally:
        serving.close()


def test_what_is_no_announcement_is_refused() -> None:
    for body in (b"{}x", b'[{"instance": "i-1"}]', b'[{"instance": "i-1", "time": "soon"}]'):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            server().call("/kubepark/interruptions", "PUT", body)

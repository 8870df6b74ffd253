"""The emulator's front: what it records, what it refuses as AWS does, and how it forgets."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
import urllib.error
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from sandbox.config import ACCOUNT_ID, REFUSALS_PATH
from sandbox.tests.aws.aws_provider import client, server
from sandbox.tests.aws.emulator_server import IMAGE, ROOT, Emulator, described, error_code, refused


@pytest.fixture(scope="module")
def ec2():
    return client("ec2")


@pytest.fixture
def subnet(ec2):
    vpc = ec2.create_vpc(CidrBlock="10.20.0.0/16")["Vpc"]["VpcId"]
    made = ec2.create_subnet(VpcId=vpc, CidrBlock="10.20.0.0/22", AvailabilityZone="us-east-1a")
    return made["Subnet"]["SubnetId"]


def launch(ec2, **more):
    wanted = {"ImageId": IMAGE, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1, **more}
    return ec2.run_instances(**wanted)["Instances"][0]["InstanceId"]


def test_the_account_is_the_one_that_the_stack_pins():
    assert client("sts").get_caller_identity()["Account"] == ACCOUNT_ID


def test_requests_are_recorded_whole_and_refused_ones_too(ec2, subnet):
    ssm = server().client("ssm", key="AKIANODE")
    value = "token äöü " + "x" * 3000
    ssm.put_parameter(Name="/c/whole", Value=value, Type="SecureString")
    line = server().recorded("PutParameter")[-1]
    assert (line["service"], line["accessKey"], line["region"]) == ("ssm", "AKIANODE", "us-east-1")
    assert (line["status"], line["params"]["Value"]) == (200, value)
    assert line["time"].endswith("+00:00")
    launch(ec2, SubnetId=subnet, UserData=b"\x1f\x8b some bytes")
    line = server().recorded("RunInstances")[-1]
    assert base64.b64decode(line["params"]["UserData"]) == b"\x1f\x8b some bytes"
    assert line["params"]["SubnetId"] == subnet
    assert server().log.stat().st_mode & 0o077 == 0, "it has secrets"
    assert error_code(ec2.run_instances, ImageId="ami-deadbeef", MinCount=1, MaxCount=1)
    line = server().recorded("RunInstances")[-1]
    assert (line["status"], line["params"]["ImageId"]) == (400, "ami-deadbeef")


def test_an_injected_error_meets_the_calls_that_are_meant_as_often_as_it_says(ec2, subnet):
    row = {"operation": "ec2:RunInstances", "arguments": {"InstanceType": "g4dn.xlarge"}, "times": 1}
    row |= {"code": "InsufficientInstanceCapacity", "message": "none here", "status": 500}
    server().call(REFUSALS_PATH, "PUT", json.dumps([row]).encode())
    launch(ec2, SubnetId=subnet)
    wanted = {"SubnetId": subnet, "InstanceType": "g4dn.xlarge"}
    assert refused(launch, ec2=ec2, **wanted) == ("InsufficientInstanceCapacity", "none here", 500)
    assert server().recorded("RunInstances")[-1]["status"] == 500
    launch(ec2, **wanted)
    server().call(REFUSALS_PATH, "PUT", json.dumps([row | {"times": None}]).encode())
    for _ in range(2):
        assert error_code(launch, ec2=ec2, **wanted) == "InsufficientInstanceCapacity"
    server().call(REFUSALS_PATH, "PUT", b"[]")
    launch(ec2, **wanted)
    for wrong in (b"{}", b'[{"code": "X"}]', b"["):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            server().call(REFUSALS_PATH, "PUT", wrong)


def test_a_volume_says_that_it_goes_with_its_instance(ec2, subnet):
    here = [{"Name": "attachment.instance-id", "Values": [launch(ec2, SubnetId=subnet)]}]
    (volume,) = ec2.describe_volumes(Filters=here)["Volumes"]
    assert volume["Attachments"][0]["DeleteOnTermination"] is True


@pytest.mark.parametrize(
    "option",
    [
        {"CpuOptions": {"CoreCount": 1, "ThreadsPerCore": 1}},
        {"CreditSpecification": {"CpuCredits": "standard"}},
        {"HibernationOptions": {"Configured": True}},
        {"EnclaveOptions": {"Enabled": True}},
        {"MaintenanceOptions": {"AutoRecovery": "disabled"}},
        {"PrivateDnsNameOptions": {"HostnameType": "resource-name"}},
        {"CapacityReservationSpecification": {"CapacityReservationPreference": "none"}},
    ],
    ids=lambda option: next(iter(option)),
)
def test_a_launch_option_that_would_be_forgotten_is_refused(ec2, option):
    with pytest.raises(ClientError, match=r"UnsupportedOperation.*not emulated"):
        launch(ec2, **option)


def test_an_interface_serves_one_instance_and_outlives_it(ec2, subnet):
    wanted = {"SubnetId": subnet, "PrivateIpAddress": "10.20.0.10"}
    interface = ec2.create_network_interface(**wanted)["NetworkInterface"]["NetworkInterfaceId"]
    assert error_code(ec2.create_network_interface, **wanted) == "InvalidIPAddress.InUse"
    attached = {"NetworkInterfaces": [{"DeviceIndex": 0, "NetworkInterfaceId": interface}]}
    first = launch(ec2, **attached)
    in_use = ("InvalidNetworkInterface.InUse", f"Interface: [{interface}] is in use.", 400)
    assert refused(launch, ec2=ec2, **attached) == in_use
    ec2.terminate_instances(InstanceIds=[first])
    (found,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"]
    assert (found["Status"], "Attachment" in found) == ("available", False)
    second = launch(ec2, **attached)
    ec2.terminate_instances(InstanceIds=[first])  # AWS takes it as done, and so must the second's interface
    (found,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"]
    assert found["Attachment"]["InstanceId"] == second
    found = ec2.describe_instances(Filters=[{"Name": "instance-id", "Values": [first]}])["Reservations"]
    assert found[0]["Instances"][0]["State"]["Name"] == "terminated"


def test_a_terminated_instance_gives_its_address_and_own_interface_back(ec2, subnet):
    here = [{"Name": "subnet-id", "Values": [subnet]}]
    first = launch(ec2, SubnetId=subnet, PrivateIpAddress="10.20.0.12")
    assert len(ec2.describe_network_interfaces(Filters=here)["NetworkInterfaces"]) == 1
    for _ in range(2):
        ec2.terminate_instances(InstanceIds=[first])
    assert ec2.describe_network_interfaces(Filters=here)["NetworkInterfaces"] == []
    assert described(ec2, first)
    second = launch(ec2, SubnetId=subnet, PrivateIpAddress="10.20.0.12")
    assert described(ec2, second)["PrivateIpAddress"] == "10.20.0.12"


@pytest.mark.parametrize("at_launch", [True, False])
def test_a_protected_instance_is_not_terminated_until_that_is_lifted(ec2, subnet, at_launch):
    kept = launch(ec2, SubnetId=subnet, **({"DisableApiTermination": True} if at_launch else {}))
    other = launch(ec2, SubnetId=subnet)
    if not at_launch:
        ec2.modify_instance_attribute(InstanceId=kept, DisableApiTermination={"Value": True})
    asked = {"InstanceId": kept, "Attribute": "disableApiTermination"}
    assert ec2.describe_instance_attribute(**asked)["DisableApiTermination"] == {"Value": True}
    assert error_code(ec2.terminate_instances, InstanceIds=[other, kept]) == "OperationNotPermitted"
    assert {described(ec2, each)["State"]["Name"] for each in (kept, other)} == {"running"}, "none of them"
    ec2.modify_instance_attribute(InstanceId=kept, DisableApiTermination={"Value": False})
    assert ec2.describe_instance_attribute(**asked)["DisableApiTermination"] == {"Value": False}
    ec2.terminate_instances(InstanceIds=[other, kept])


def test_pinned_images_exist_and_more_can_come(ec2):
    other = "ami-00112233445566778"
    assert error_code(ec2.describe_images, ImageIds=[other]) == "InvalidAMIID.NotFound"
    server().call("/kubepark/images", "PUT", json.dumps([IMAGE, other]).encode())
    images = ec2.describe_images(ImageIds=[IMAGE, other])["Images"]
    assert {image["ImageId"]: image["Architecture"] for image in images} == dict.fromkeys(
        (IMAGE, other), "x86_64"
    )


def test_many_callers_at_once_get_one_address_each(ec2, subnet):
    """moto alone lets two of them through, or breaks while one iterates and another adds."""

    def race(_):
        try:
            return launch(ec2, SubnetId=subnet, PrivateIpAddress="10.20.0.99")
        except ClientError as error:
            return error.response["Error"]["Code"]

    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(race, range(12)))
    assert results.count("InvalidIPAddress.InUse") == 11


def test_the_epoch_names_this_memory(tmp_path):
    first = Emulator(tmp_path, IMAGE)
    try:
        epoch = first.call("/kubepark/epoch")
        assert len(epoch) == 16
        assert first.call("/kubepark/epoch") == epoch
        first.client("ssm").put_parameter(Name="/x", Value="1", Type="String")
        first.call("/moto-api/reset", "POST", b"")
        assert first.call("/kubepark/epoch") != epoch
        assert error_code(first.client("ssm").get_parameter, Name="/x") == "ParameterNotFound"
        assert first.client("ec2").describe_images(ImageIds=[IMAGE])["Images"]
    finally:
        first.stop()


def test_it_refuses_to_serve_other_machines():
    command = [sys.executable, "-m", "sandbox.aws.emulator", "--host=0.0.0.0", "--port=1", "--log=/dev/null"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "0.0.0.0 is not a loopback address" in done.stderr


def test_a_stopped_instance_may_have_another_type_and_says_when_it_was_started_last(ec2, subnet):
    """And a start of one that runs is none."""
    instance = launch(ec2, SubnetId=subnet)
    wanted = {"InstanceId": instance, "InstanceType": {"Value": "m5.xlarge"}}
    assert error_code(ec2.modify_instance_attribute, **wanted) == "IncorrectInstanceState"
    first = described(ec2, instance)["LaunchTime"]
    time.sleep(1)  # it has whole seconds
    ec2.start_instances(InstanceIds=[instance])
    ec2.stop_instances(InstanceIds=[instance])
    assert described(ec2, instance)["LaunchTime"] == first
    ec2.modify_instance_attribute(**wanted)
    ec2.start_instances(InstanceIds=[instance])
    found = described(ec2, instance)
    assert (found["LaunchTime"] > first, found["InstanceType"]) == (True, "m5.xlarge")

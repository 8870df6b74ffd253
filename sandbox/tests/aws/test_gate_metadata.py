"""The metadata service of one instance, as its own client and cloud-init would ask it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sandbox.aws.metadata import MetadataService
from sandbox.record import rfc3339
from sandbox.tests.aws.emulator_server import described
from sandbox.tests.aws.gate_node import TTL, Node, fetch, metadata, session
from sandbox.tests.nodes.boot_world import IMAGE, World

ID = "/latest/meta-data/instance-id"


@pytest.fixture(scope="module")
def node(lab: World, node: Node) -> Node:
    options(lab, node, HttpTokens="required")  # as the program launches its nodes
    return node


def options(lab: World, node: Node, **changed: Any) -> None:
    lab.ec2.modify_instance_metadata_options(InstanceId=node.instance, **changed)


def read(node: Node, path: str) -> str:
    status, text = metadata(node.metadata_url, path)
    assert status == 200, text
    return text


def test_values_are_what_the_aws_api_says(lab: World, node: Node) -> None:
    instance = described(lab.ec2, node.instance)
    expected = {
        "ami-id": IMAGE,
        "ami-launch-index": "0",
        "hostname": "ip-10-20-0-11.ec2.internal",
        "instance-id": node.instance,
        "instance-type": "m6i.xlarge",
        "local-hostname": "ip-10-20-0-11.ec2.internal",
        "local-ipv4": "10.20.0.11",
        "mac": instance["NetworkInterfaces"][0]["MacAddress"],
        "placement/availability-zone": "us-east-1a",
        "placement/region": "us-east-1",
        "public-ipv4": instance["PublicIpAddress"],
    }
    assert {path: read(node, f"/latest/meta-data/{path}") for path in expected} == expected
    document = {"instanceId": node.instance, "accountId": "123456789012", "imageId": IMAGE}
    document |= {"region": "us-east-1", "privateIp": "10.20.0.11"}
    found = json.loads(read(node, "/latest/dynamic/instance-identity/document"))
    assert document.items() <= found.items()


def test_listings_are_derived_from_what_there_is(node: Node) -> None:
    assert read(node, "/") == "2021-03-23\nlatest"
    assert read(node, "/2021-03-23/meta-data/instance-id") == node.instance
    assert read(node, "/latest/") == "dynamic/\nmeta-data/\nuser-data"
    names = read(node, "/latest/meta-data/").split("\n")
    assert names == sorted(names)
    assert {"iam/", "instance-id", "placement/", "public-ipv4"} <= set(names)
    assert read(node, "/latest/meta-data/placement/") == "availability-zone\nregion"
    assert read(node, "/latest/meta-data/iam/") == "info\nsecurity-credentials/"
    assert read(node, "/latest/meta-data/iam/security-credentials/") == "worker01"
    for path in names:
        assert read(node, f"/latest/meta-data/{path}")


@pytest.mark.parametrize(
    "path",
    [
        "/1999-01-01/meta-data/instance-id",
        "/latest/meta-data/public-keys/",
        "/latest/meta-data/instance-id/",
        "/latest/meta-data/instance-i",
        "/latest/meta-data/iam/security-credentials/master1",
        "/latest/dynamic/instance-identity/signature",
        "/latest/vendor-data",
    ],
)
def test_nothing_is_aws_own_page(path: str, node: Node) -> None:
    status, text = metadata(node.metadata_url, path)
    assert status == 404
    assert text.startswith('<?xml version="1.0" encoding="iso-8859-1"?>')
    assert "<title>404 - Not Found</title>" in text


def test_user_data_are_the_bytes_that_ec2_has(node: Node) -> None:
    wanted = node.account.cloud.user_data(node.instance)
    assert wanted[:2] == b"\x1f\x8b"
    url = f"{node.metadata_url}/latest/user-data"
    assert fetch(url, headers=session(node.metadata_url)) == (200, wanted)


def test_role_credentials_are_the_ones_that_the_gate_knows(node: Node) -> None:
    issued = node.keys.issue(node.instance)
    assert json.loads(read(node, "/latest/meta-data/iam/security-credentials/worker01")) == {
        "Code": "Success",
        "Type": "AWS-HMAC",
        "AccessKeyId": issued.access_key_id,
        "SecretAccessKey": issued.secret_access_key,
        "Token": issued.token,
        "LastUpdated": rfc3339(issued.issued),
        "Expiration": rfc3339(issued.issued + timedelta(hours=6)),
    }
    profile = json.loads(read(node, "/latest/meta-data/iam/info"))
    assert profile["InstanceProfileArn"] == "arn:aws:iam::123456789012:instance-profile/worker01"


def test_a_token_is_for_a_sensible_time_and_not_for_a_proxy(node: Node) -> None:
    url = f"{node.metadata_url}/latest/api/token"
    assert node.get(url, "PUT")[0] == 400
    for seconds in ("0", "21601", "-1", "1.5", "sixty"):
        assert node.get(url, "PUT", dict.fromkeys(TTL, seconds))[0] == 400, seconds
    assert node.get(url, "PUT", {**TTL, "X-Forwarded-For": "10.0.0.1"})[0] == 403
    assert node.get(url, "GET")[0] == 405


def test_every_read_needs_a_token_of_this_machine(lab: World, node: Node, tmp_path: Path) -> None:
    url = node.metadata_url + ID
    status, text = node.get(url)
    assert (status, "401 - Unauthorized" in text) == (401, True)
    assert node.get(url, headers={"X-aws-ec2-metadata-token": "invented"})[0] == 401
    assert node.get(url, "POST", headers=session(node.metadata_url))[0] == 405
    with Node(lab, "gpu01", tmp_path) as other:
        assert other.get(other.metadata_url + ID, headers=session(node.metadata_url))[0] == 401
        lab.terminate("gpu01")


def test_a_token_ends(node: Node) -> None:
    now = [1000.0]
    cloud = node.account.cloud
    own = node.serve(MetadataService(cloud, node.keys, node.instance, clock=lambda: now[0]))
    held = session(own)
    for seconds, status in ((0, 200), (59, 200), (1, 401)):
        now[0] += seconds
        assert node.get(own + ID, headers=held)[0] == status


def test_the_instances_options_are_obeyed_at_once(lab: World, node: Node) -> None:
    url = node.metadata_url + ID
    try:
        options(lab, node, HttpTokens="optional")
        assert node.get(url) == (200, node.instance)
        assert node.get(url, headers={"X-aws-ec2-metadata-token": "invented"})[0] == 401
        options(lab, node, HttpEndpoint="disabled")
        assert node.get(url)[0] == 403
        assert node.get(f"{node.metadata_url}/latest/api/token", "PUT", TTL)[0] == 403
    finally:
        options(lab, node, HttpTokens="required", HttpEndpoint="enabled")
    assert node.get(url)[0] == 401
    assert read(node, ID) == node.instance


def test_what_changes_in_ec2_is_seen_at_once(lab: World, node: Node) -> None:
    """A machine without a public address, without a role, without user data."""
    network = {"VpcId": lab.vpc, "CidrBlock": "10.20.8.0/24", "AvailabilityZone": "us-east-1b"}
    subnet = lab.ec2.create_subnet(**network)["Subnet"]["SubnetId"]  # one that gives no public address
    launch = {"ImageId": IMAGE, "InstanceType": "m6i.large", "MinCount": 1, "MaxCount": 1}
    bare = lab.ec2.run_instances(**launch, SubnetId=subnet)["Instances"][0]["InstanceId"]
    own = node.serve(MetadataService(node.account.cloud, node.keys, bare))
    assert metadata(own, "/latest/") == (200, "dynamic/\nmeta-data/")
    assert metadata(own, "/latest/user-data")[0] == 404
    assert metadata(own, "/latest/meta-data/public-ipv4")[0] == 404
    roles = "/latest/meta-data/iam/security-credentials/"
    assert metadata(own, roles)[0] == 404
    profile = lab.ec2.associate_iam_instance_profile(InstanceId=bare, IamInstanceProfile={"Name": "master1"})
    assert metadata(own, roles) == (200, "master1")
    association = profile["IamInstanceProfileAssociation"]["AssociationId"]
    lab.ec2.disassociate_iam_instance_profile(AssociationId=association)
    lab.ec2.terminate_instances(InstanceIds=[bare])
    with pytest.raises(ConnectionError):
        metadata(own, "/latest/")

"""The rules about instances and their disks."""

from __future__ import annotations

import pytest

from config.instance_types import INSTANCE_TYPES
from policies.compute import (
    IMDSV2_REQUIRED,
    INSTANCE,
    INSTANCE_TYPE_ALLOWED,
    MACHINES,
    SPOT,
    TEMPLATE,
    VOLUME,
    VOLUMES_ENCRYPTED,
    VOLUMES_GP3,
)
from tests.policies.support import UNKNOWN, evaluate

METADATA = {"httpTokens": "required", "httpPutResponseHopLimit": 1, "httpEndpoint": "enabled"}
ENCRYPTED = {"encrypted": True}


@pytest.mark.parametrize("type_", sorted(MACHINES))
@pytest.mark.parametrize("options", [METADATA, {"httpTokens": "required"}, {"httpEndpoint": "disabled"}])
def test_token_metadata_is_compliant(type_, options):
    assert evaluate(IMDSV2_REQUIRED, type_, {"metadataOptions": options}).violations == ()


@pytest.mark.parametrize(
    ("options", "found"),
    [(METADATA | {"httpTokens": "optional"}, "optional"), ({"httpEndpoint": "enabled"}, "not set")],
)
def test_token_free_metadata_is_a_violation(options, found):
    [message] = evaluate(IMDSV2_REQUIRED, INSTANCE, {"metadataOptions": options}).violations
    assert message.startswith(f"metadataOptions.httpTokens is {found};")


def test_missing_metadata_options_are_a_violation():
    assert len(evaluate(IMDSV2_REQUIRED, INSTANCE, {}).violations) == 1


def test_metadata_that_pods_can_reach_is_a_violation():
    options = METADATA | {"httpPutResponseHopLimit": 2}
    [message] = evaluate(IMDSV2_REQUIRED, INSTANCE, {"metadataOptions": options}).violations
    assert message == "metadataOptions.httpPutResponseHopLimit is 2; at most 1."


def test_unknown_tokens_do_not_hide_the_hop_limit():
    options = METADATA | {"httpTokens": UNKNOWN, "httpPutResponseHopLimit": 64}
    result = evaluate(IMDSV2_REQUIRED, INSTANCE, {"metadataOptions": options})
    assert len(result.violations) == 1
    assert result.unknown == "metadataOptions.httpTokens"


@pytest.mark.parametrize(
    ("type_", "props"),
    [
        (INSTANCE, {"rootBlockDevice": ENCRYPTED}),
        (SPOT, {"rootBlockDevice": ENCRYPTED, "ebsBlockDevices": [ENCRYPTED]}),
        (VOLUME, ENCRYPTED),
        (TEMPLATE, {"blockDeviceMappings": [{"ebs": {"encrypted": "true"}}, {"virtualName": "ephemeral0"}]}),
    ],
)
def test_encrypted_disks_are_compliant(type_, props):
    assert evaluate(VOLUMES_ENCRYPTED, type_, props).violations == ()


@pytest.mark.parametrize(
    ("type_", "props", "message"),
    [
        (INSTANCE, {"rootBlockDevice": {"encrypted": False}}, "rootBlockDevice is not encrypted."),
        (INSTANCE, {"rootBlockDevice": {"volumeSize": 8}}, "rootBlockDevice is not encrypted."),
        (INSTANCE, {}, "rootBlockDevice is not encrypted."),
        (
            INSTANCE,
            {"rootBlockDevice": ENCRYPTED, "ebsBlockDevices": [ENCRYPTED, {"deviceName": "/dev/sdf"}]},
            "ebsBlockDevices /dev/sdf is not encrypted.",
        ),
        (VOLUME, {"size": 100}, "The volume is not encrypted."),
        (VOLUME, {"encrypted": False}, "The volume is not encrypted."),
        (
            TEMPLATE,
            {"blockDeviceMappings": [{"deviceName": "/dev/sda1", "ebs": {"encrypted": "false"}}]},
            "blockDeviceMappings /dev/sda1 is not encrypted.",
        ),
        (TEMPLATE, {}, "The template maps no device, so its root disk is as the image has it."),
    ],
)
def test_a_plain_disk_is_a_violation(type_, props, message):
    assert evaluate(VOLUMES_ENCRYPTED, type_, props).violations == (message,)


def test_an_unknown_disk_does_not_hide_a_plain_one():
    props = {"rootBlockDevice": {"encrypted": UNKNOWN}, "ebsBlockDevices": [{"deviceName": "/dev/sdf"}]}
    result = evaluate(VOLUMES_ENCRYPTED, INSTANCE, props)
    assert result.violations == ("ebsBlockDevices /dev/sdf is not encrypted.",)
    assert result.unknown == "rootBlockDevice.encrypted"


GP3 = {"volumeType": "gp3"}


@pytest.mark.parametrize(
    ("type_", "props"),
    [
        (INSTANCE, {"rootBlockDevice": GP3, "ebsBlockDevices": [GP3]}),
        (VOLUME, {"type": "gp3"}),
        (TEMPLATE, {"blockDeviceMappings": [{"ebs": GP3}, {"virtualName": "ephemeral0"}]}),
    ],
)
def test_gp3_disks_are_compliant(type_, props):
    assert evaluate(VOLUMES_GP3, type_, props).violations == ()


@pytest.mark.parametrize(
    ("type_", "props", "message"),
    [
        (INSTANCE, {}, "rootBlockDevice is of type not set. Allowed: gp3."),
        (INSTANCE, {"rootBlockDevice": {"volumeType": "gp2"}}, "rootBlockDevice is of type gp2."),
        (SPOT, {"rootBlockDevice": GP3, "ebsBlockDevices": [{}]}, "ebsBlockDevices None is of type not set."),
        (VOLUME, {"type": "io2"}, "The volume is of type io2."),
        (TEMPLATE, {"blockDeviceMappings": [{"ebs": {}}]}, "blockDeviceMappings None is of type not set."),
        (TEMPLATE, {}, "The template maps no device"),
    ],
)
def test_any_other_disk_is_a_violation(type_, props, message):
    [found] = evaluate(VOLUMES_GP3, type_, props).violations
    assert found.startswith(message)


def test_an_unknown_disk_type_does_not_hide_another_and_configuration_names_more():
    props = {"rootBlockDevice": {"volumeType": UNKNOWN}, "ebsBlockDevices": [{"volumeType": "io2"}]}
    result = evaluate(VOLUMES_GP3, INSTANCE, props)
    assert len(result.violations) == 1
    assert result.unknown == "rootBlockDevice.volumeType"
    assert evaluate(VOLUMES_GP3, INSTANCE, props, config={"types": ["gp3", "io2"]}).violations == ()


@pytest.mark.parametrize("type_", sorted(MACHINES))
def test_a_listed_instance_type_is_compliant(type_):
    assert evaluate(INSTANCE_TYPE_ALLOWED, type_, {"instanceType": "g4dn.xlarge"}).violations == ()


@pytest.mark.parametrize(
    ("props", "shown"), [({"instanceType": "p5.48xlarge"}, "p5.48xlarge"), ({}, "not set")]
)
def test_any_other_instance_type_is_a_violation(props, shown):
    [message] = evaluate(INSTANCE_TYPE_ALLOWED, INSTANCE, props).violations
    assert message.startswith(f"Instance type {shown} is not allowed. Allowed: ")


def test_configuration_replaces_the_list():
    config = {"allowed": ["p5.48xlarge"]}
    big, small = {"instanceType": "p5.48xlarge"}, {"instanceType": "g4dn.xlarge"}
    assert evaluate(INSTANCE_TYPE_ALLOWED, INSTANCE, big, config=config).violations == ()
    assert len(evaluate(INSTANCE_TYPE_ALLOWED, INSTANCE, small, config=config).violations) == 1


def test_an_unknown_instance_type_is_reported_as_such():
    result = evaluate(INSTANCE_TYPE_ALLOWED, INSTANCE, {"instanceType": UNKNOWN})
    assert result.violations == ()
    assert result.unknown == "instanceType"


@pytest.mark.parametrize("name", INSTANCE_TYPES)
def test_every_type_that_the_settings_take_is_allowed(name):
    assert evaluate(INSTANCE_TYPE_ALLOWED, INSTANCE, {"instanceType": name}).violations == ()

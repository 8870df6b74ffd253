"""What an instance must look like, and which ones may be started."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pulumi_policy import PolicyConfigSchema, ResourceValidationArgs, Severity

from config.instance_types import INSTANCE_TYPES
from policies.common import Fail, dig, each, every, is_true, mandatory, strings

INSTANCE = "aws:ec2/instance:Instance"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
SPOT = "aws:ec2/spotInstanceRequest:SpotInstanceRequest"
VOLUME = "aws:ebs/volume:Volume"
MACHINES = frozenset({INSTANCE, TEMPLATE, SPOT})

# A pod is one network hop further from the metadata service than its node, and must not get its role.
MAX_HOP_LIMIT = 1


def _imdsv2(args: ResourceValidationArgs, fail: Fail) -> None:
    options = args.props.get("metadataOptions")
    if dig(options, "httpEndpoint") == "disabled":
        return

    def tokens() -> None:
        found = dig(options, "httpTokens")
        if found != "required":
            fail(f"metadataOptions.httpTokens is {found or 'not set'}; IMDSv1 answers any process.")

    def hops() -> None:
        limit = dig(options, "httpPutResponseHopLimit")
        if limit is not None and int(limit) > MAX_HOP_LIMIT:
            fail(f"metadataOptions.httpPutResponseHopLimit is {int(limit)}; at most {MAX_HOP_LIMIT}.")

    every([tokens, hops])


def _each_disk(args: ResourceValidationArgs, disk: Callable[[str, Any], None], fail: Fail) -> None:
    """The check for every disk that a resource makes: what it is called, and its settings."""
    props = args.props

    def attached(value: Any) -> None:
        disk(f"ebsBlockDevices {dig(value, 'deviceName')}", value)

    def mapping(value: Any) -> None:
        if dig(value, "ebs") is not None:
            disk(f"blockDeviceMappings {dig(value, 'deviceName')}", dig(value, "ebs"))

    def mapped_root() -> None:
        if len(props.get("blockDeviceMappings") or ()) == 0:
            fail("The template maps no device, so its root disk is as the image has it.")

    if args.resource_type == VOLUME:
        disk("The volume", props)
    elif args.resource_type == TEMPLATE:
        every([mapped_root, lambda: each(props.get("blockDeviceMappings"), mapping)])
    else:
        every(
            [
                lambda: disk("rootBlockDevice", props.get("rootBlockDevice")),
                lambda: each(props.get("ebsBlockDevices"), attached),
            ]
        )


def _encrypted(args: ResourceValidationArgs, fail: Fail) -> None:
    def disk(what: str, value: Any) -> None:
        if not is_true(dig(value, "encrypted")):
            fail(f"{what} is not encrypted.")

    _each_disk(args, disk, fail)


def _disk_type(args: ResourceValidationArgs, fail: Fail) -> None:
    allowed = args.get_config().get("types", ["gp3"])
    key = "type" if args.resource_type == VOLUME else "volumeType"

    def disk(what: str, value: Any) -> None:
        found = dig(value, key)
        if found not in allowed:
            fail(f"{what} is of type {found or 'not set'}. Allowed: {', '.join(allowed)}.")

    _each_disk(args, disk, fail)


def _allowed_type(args: ResourceValidationArgs, fail: Fail) -> None:
    allowed = args.get_config().get("allowed", INSTANCE_TYPES)
    found = args.props.get("instanceType")
    if found not in allowed:
        fail(f"Instance type {found or 'not set'} is not allowed. Allowed: {', '.join(allowed)}.")


IMDSV2_REQUIRED = mandatory(
    name="imdsv2-required",
    description="Instances answer metadata requests only with a token (IMDSv2), and to the machine alone.",
    remedy="Set metadata_options with http_tokens='required' and a hop limit of 1.",
    url="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html",
    types=MACHINES,
    check=_imdsv2,
)

VOLUMES_ENCRYPTED = mandatory(
    name="volumes-encrypted",
    description="Every disk is encrypted: root disks, attached disks and volumes.",
    remedy="Set encrypted=True on the root block device, each EBS block device and each volume.",
    url="https://docs.aws.amazon.com/ebs/latest/userguide/ebs-encryption.html",
    types=MACHINES | {VOLUME},
    check=_encrypted,
)

VOLUMES_GP3 = mandatory(
    name="volumes-gp3",
    description="Disks are gp3: of the same size a gp2 disk costs more, and its speed hangs on its size.",
    remedy="Set volume_type='gp3' on root and EBS block devices, type='gp3' on volumes. Another type is a "
    "decision: the pack's configuration (`types`).",
    url="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/EBSVolumeTypes.html",
    severity=Severity.MEDIUM,
    types=MACHINES | {VOLUME},
    check=_disk_type,
    config=PolicyConfigSchema(
        properties={"types": strings("the volume types that disks may be", at_least=1)}
    ),
)

INSTANCE_TYPE_ALLOWED = mandatory(
    name="instance-type-allowed",
    description="Instances are of a type that somebody decided to pay for.",
    remedy="Choose a type of config/instance_types.py, or of the pack's configuration (`allowed`).",
    url="https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-types.html",
    types=MACHINES,
    check=_allowed_type,
    config=PolicyConfigSchema(
        properties={"allowed": strings("all instance types that may be started", at_least=1)}
    ),
)

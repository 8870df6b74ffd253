"""`kubepark init`: the facts of an account and region that a stack file pins.

Nothing is invented: each value is what AWS answers now, and an unanswered question is an error.
A pin that is there already stays; what AWS would say today is printed beside it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from cli import preflight, round_trip, zones
from cli.errors import CommandError
from cli.stackfile import config_of, rewrite, setting, stack_file, text_of
from config.versions import AMI_PARAMETERS

ACCOUNT = "kubepark:aws.accountId"
AMI = "kubepark:platform.ami"


def init(stack: str, *, write: bool) -> int:
    """Print what AWS answers for `stack`; with `write`, put what is missing into its file."""
    path, config = stack_file(stack), config_of(stack)
    region = setting(config, "kubepark:aws.region")
    if not region:
        raise CommandError(
            f"{path.name}: kubepark:aws.region is missing; "
            f"fix: pulumi config set --stack {stack} --path kubepark:aws.region REGION"
        )
    if setting(config, "kubepark:aws.endpoint"):
        raise CommandError(f"stack {stack} is a sandbox: its pins are those of the emulator, and in its file")
    platform = setting(config, "kubepark:platform.os") or next(iter(AMI_PARAMETERS))
    if platform not in AMI_PARAMETERS:
        raise CommandError(
            f"kubepark:platform.os: {platform} is unknown; accepted: {', '.join(AMI_PARAMETERS)}"
        )
    found = look_up(str(region), AMI_PARAMETERS[platform], config)
    missing = {}
    for key, value in found.items():
        pinned = setting(config, key)
        if pinned is None:
            missing[key] = value
        print(f"{key:<44} {value}" + (f"  (pinned: {pinned})" if pinned not in (None, value) else ""))
    if write and missing:
        rewrite(path, with_pins(text_of(path), missing))
        print(f"wrote {', '.join(missing)} to {path.name}")
    elif missing:
        print(f"not in {path.name} yet: {', '.join(missing)}; `--write` puts them there")
    preflight.warn(stack, os.environ, found)
    return 0


def look_up(region: str, ami_parameter: str, config: Mapping[str, Any]) -> dict[str, str]:
    """Account, zones and AMI as AWS answers with the caller's credentials. `CommandError` if it does not."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    session = boto3.Session(region_name=region)
    try:
        account = session.client("sts").get_caller_identity()["Account"]
        found = zones.proposal(session.client("ec2"), config, region)
        ami = session.client("ssm").get_parameter(Name=ami_parameter)["Parameter"]["Value"]
    except (BotoCoreError, ClientError) as error:
        raise CommandError(
            f"AWS does not answer in {region}: {error}. Needed: credentials (`aws sso login`, AWS_PROFILE, "
            f"...) that may call sts:GetCallerIdentity, ec2:DescribeInstanceTypeOfferings, "
            f"ec2:DescribeAvailabilityZones and ssm:GetParameter on {ami_parameter}"
        ) from None
    return {ACCOUNT: account, **found, AMI: ami}


def with_pins(text: str, pins: Mapping[str, str]) -> str:
    """The stack file with `pins` set at their paths; comments, order and everything else as they were."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    document = round_trip.load(text) or {}
    config = round_trip.part(document, "config", {})
    for path, value in pins.items():
        key, field = path.split(".", 1)
        # Quoted: an account id of digits only is a text, not a number.
        round_trip.part(config, key, {})[field] = (
            DoubleQuotedScalarString(value) if value.isdigit() else value
        )
    return round_trip.dump(document, text)

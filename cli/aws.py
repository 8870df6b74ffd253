"""Calls of the AWS API from the operator's side, with the region and credentials that the stack has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.errors import CommandError
from cli.stackfile import config_of, setting

# The shortest wait that KMS accepts, in days: a mistake can be undone until then.
KEY_DELETION_DAYS = 7
# States of an instance that is there. Source: the EC2 API reference, DescribeInstances, instance-state-name.
LIVE = ("pending", "running", "stopping", "stopped")


def client(service: str, stack: str, variables: Mapping[str, str], *, seconds: float | None = None) -> Any:
    """A boto3 client for a stack. `variables`: the environment of its CLI, whose credentials it takes.

    `seconds`: how long one try of a call may take, and there is no other; None: as boto3 has it.
    Raises `CommandError` if the stack names no region, or its credentials cannot be read.
    """
    import boto3  # a third of a second, and seldom needed
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = config_of(stack)
    region = setting(config, "kubepark:aws.region")
    if not region:
        raise CommandError(
            f"kubepark:aws.region is missing; fix: pulumi config set --stack {stack} "
            "--path kubepark:aws.region REGION"
        )
    # Who asked, in CloudTrail. `destroy` asks EC2 more than the ten questions at once that are the default.
    named = Config(user_agent_extra="kubepark-cli", max_pool_connections=20)
    hasty = Config(connect_timeout=seconds, read_timeout=seconds, retries={"total_max_attempts": 1})
    try:
        session = boto3.Session(
            aws_access_key_id=variables.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=variables.get("AWS_SECRET_ACCESS_KEY"),
            aws_session_token=variables.get("AWS_SESSION_TOKEN"),
            profile_name=variables.get("AWS_PROFILE"),
            region_name=region,
        )
        return session.client(
            service,
            endpoint_url=variables.get("AWS_ENDPOINT_URL"),
            config=named if seconds is None else named.merge(hasty),
        )
    except BotoCoreError as error:
        raise CommandError(f"AWS cannot be asked: {error}") from None


def schedule_key_deletion(kms: Any, key: str) -> str:
    """Let a key end; gives a line that says when. One on its way out already is left as it is."""
    state = kms.describe_key(KeyId=key)["KeyMetadata"]
    if state["KeyState"] == "PendingDeletion":
        return f"the data key {key} is on its way out already: {state['DeletionDate']:%Y-%m-%d}"
    answer = kms.schedule_key_deletion(KeyId=key, PendingWindowInDays=KEY_DELETION_DAYS)
    return (
        f"the data key {key} will be deleted on {answer['DeletionDate']:%Y-%m-%d}; "
        f"until then: aws kms cancel-key-deletion --key-id {key}"
    )

"""What EventBridge Scheduler does at the time of a schedule: the call of its universal target, as its role.

There is no clock here: whoever asks says which schedule's time it is. The role has to trust the service for
the schedule's group, and its policies have to allow the call on each instance. Sources: the EventBridge
Scheduler user guide, "Confused deputy prevention" and "Using universal targets in EventBridge Scheduler"; of
the key of an encrypted disk, the EBS guide, "Requirements for Amazon EBS encryption".
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import boto3

from sandbox import config
from sandbox.aws.account import Account
from sandbox.aws.permissions import Role
from sandbox.aws.statements import Call, Context, applies, listed, statements
from sandbox.config import ACCOUNT_ID

_SERVICE = "scheduler.amazonaws.com"
_TARGETS = {"startInstances": "ec2:StartInstances", "stopInstances": "ec2:StopInstances"}


class NotDone(Exception):
    """The call was refused, or came to nothing. The text says why."""


class Scheduler:
    """The schedules of one emulator."""

    def __init__(self, account: Account) -> None:
        self._account, cloud = account, account.cloud
        self._client = boto3.client(
            "scheduler",
            endpoint_url=cloud.endpoint,
            region_name=cloud.region,
            aws_access_key_id=config.ACCESS_KEY_ID,
            aws_secret_access_key=config.SECRET_ACCESS_KEY,
        )

    def invoke(self, group: str, name: str) -> None:
        """Raises: NotDone; a `CloudError` for a schedule that is not there, and what EC2 refuses."""
        target = self._client.get_schedule(GroupName=group, Name=name)["Target"]
        action = _TARGETS[target["Arn"].rpartition(":")[2]]
        ids = json.loads(target["Input"])["InstanceIds"]
        role = self._assume(target["RoleArn"].rpartition("/")[2], group)
        for instance in ids:
            arn = self._arn("ec2", f"instance/{instance}")
            self._authorize(role, Call(action, arn, self._of_instance(instance)))
        ec2 = self._account.cloud.ec2
        if action == "ec2:StopInstances":
            ec2.stop_instances(InstanceIds=ids)
            return
        ec2.start_instances(InstanceIds=ids)
        try:
            for call in (call for instance in ids for call in self._grants(instance)):
                self._authorize(role, call)
        except NotDone:
            ec2.stop_instances(InstanceIds=ids)  # AWS takes the call, and ends the machine: it has no disk
            raise

    def _assume(self, name: str, group: str) -> Role:
        document = self._account.cloud.iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        context = {
            "aws:SourceAccount": ACCOUNT_ID,
            "aws:SourceArn": self._arn("scheduler", f"schedule-group/{group}"),
        }
        call = Call("sts:AssumeRole", "*", context)
        for each in statements("trust", document):
            services = listed(each.body.get("Principal", {}).get("Service"))
            if _SERVICE in services and applies({**each.body, "Resource": "*"}, call):
                return self._account.permissions.named(name)
        raise NotDone(f"{name} does not trust {_SERVICE} for the group {group}")

    def _authorize(self, role: Role, call: Call) -> None:
        decision = self._account.permissions.decide(role, call)
        if not decision.allowed:
            raise NotDone(f"{role.name} may not {call.action} on {call.resource} {decision.why}")

    def _of_instance(self, instance: str) -> Context:
        found = self._account.cloud.instance(instance)
        tags = found.raw.get("Tags", []) if found else []
        return {**self._always, **{f"aws:ResourceTag/{tag['Key']}": tag["Value"] for tag in tags}}

    def _grants(self, instance: str) -> Iterator[Call]:
        """What a start needs of the keys of its disks."""
        cloud = self._account.cloud
        attached = [{"Name": "attachment.instance-id", "Values": [instance]}]
        for volume in cloud.ec2.describe_volumes(Filters=attached)["Volumes"]:
            if key := volume.get("KmsKeyId"):
                arn = cloud.key_arn(key)
                context: Context = {
                    "kms:ResourceAliases": cloud.key_aliases(arn),
                    "kms:ViaService": f"ec2.{cloud.region}.amazonaws.com",
                    "kms:GrantIsForAWSResource": "true",
                }
                yield Call("kms:CreateGrant", arn, {**self._always, **context})

    @property
    def _always(self) -> Context:
        return {"aws:RequestedRegion": self._account.cloud.region, "aws:PrincipalAccount": ACCOUNT_ID}

    def _arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self._account.cloud.region}:{ACCOUNT_ID}:{resource}"

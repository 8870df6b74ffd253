"""Deletes, in the account, what controllers of a cluster left there: again and again until all of it is gone
or the time is up, because one thing holds another for minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cli import leftovers as kinds
from cli.aws import schedule_key_deletion
from cli.leftovers import Found
from cli.volume_policy import VolumePolicy
from config.naming import TAG_CLUSTER

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 15.0  # seconds; pauses double
# More time does not help. Sources: "Error codes for the Amazon EC2 API", common errors of the other APIs.
_FINAL = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "OperationNotPermitted")
_GONE = ("NotFound", "NotFoundException")  # ends of codes, as in InvalidVolume.NotFound
_SNAPSHOT_OF = "kubepark destroy: "  # begins the description of a snapshot that is made here

Say = Callable[[str], None]


class Waits(Exception):
    """Not possible yet, and it may be later. The text says why."""


class Deleter:
    """Carries out one deletion at a time. `client` makes the boto3 client of a service."""

    def __init__(self, client: Callable[[str], Any], cluster: str, volumes: VolumePolicy, say: Say) -> None:
        self._client, self._cluster, self._volumes, self._say = client, cluster, volumes, say
        self._snapshots: dict[str, str] = {}  # volume -> its snapshot that is being made, or is there

    def delete(self, each: Found) -> str:
        """What was done, in words. Raises: ClientError; Waits."""
        if each.kind is kinds.KEY:
            return schedule_key_deletion(self._client("kms"), each.id)
        if each.kind is kinds.GROUP:
            self._revoke(each)
        kept = ""
        if each.kind is kinds.VOLUME and self._volumes is VolumePolicy.SNAPSHOT:
            kept = f", as snapshot {self._snapshot(each)}"
        client = self._client(each.kind.service)
        getattr(client, each.kind.operation)(**{each.kind.parameter: each.id})
        return f"deleted {each}{kept}"

    def _revoke(self, group: Found) -> None:
        """Rules of the cluster's groups that name this one hold it."""
        ec2 = self._client("ec2")
        for rule in group.rules:
            revoke = ec2.revoke_security_group_egress if rule.egress else ec2.revoke_security_group_ingress
            try:
                revoke(GroupId=rule.group, SecurityGroupRuleIds=[rule.id])
            except ec2.exceptions.ClientError as error:
                if not _is_gone(error):
                    raise

    def _snapshot(self, volume: Found) -> str:
        """The finished snapshot of a volume. One that an interrupted run began is waited for; a finished one
        may lack what was written since.
        """
        ec2, id = self._client("ec2"), volume.id
        if id not in self._snapshots:
            begun = ec2.describe_snapshots(
                OwnerIds=["self"],
                Filters=[
                    {"Name": "volume-id", "Values": [id]},
                    {"Name": "description", "Values": [f"{_SNAPSHOT_OF}{id}"]},
                    {"Name": "status", "Values": ["pending"]},
                ],
            )["Snapshots"]
            self._snapshots[id] = begun[0]["SnapshotId"] if begun else self._begin(ec2, id)
        snapshot = self._snapshots[id]
        (made,) = ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"]
        if made["State"] == "error":
            del self._snapshots[id]
            raise Waits(f"its snapshot {snapshot} failed")
        if made["State"] != "completed":
            raise Waits(f"its snapshot {snapshot} is being made ({made.get('Progress') or 'begun'})")
        return snapshot

    def _begin(self, ec2: Any, volume: str) -> str:
        """Tagged as the volume is, so that people know whose data it has, and as ours."""
        (found,) = ec2.describe_volumes(VolumeIds=[volume])["Volumes"]
        tags = [tag for tag in found.get("Tags") or () if not tag["Key"].startswith(("aws:", TAG_CLUSTER))]
        made = ec2.create_snapshot(
            VolumeId=volume,
            Description=f"{_SNAPSHOT_OF}{volume}",
            TagSpecifications=[
                {
                    "ResourceType": "snapshot",
                    "Tags": [*tags, {"Key": TAG_CLUSTER, "Value": self._cluster}],
                }
            ],
        )
        self._say(f"snapshot {made['SnapshotId']} of {volume} is being made")
        return str(made["SnapshotId"])


def sweep(
    found: Sequence[Found],
    delete: Callable[[Found], str],
    say: Say,
    *,
    seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[str], Mapping[str, str]]:
    """Delete all of `found`, in its order, for `seconds` at most.

    Gives what was done, and for the id of what is still there the reason.
    """
    done: list[str] = []
    reasons: dict[str, str] = {}
    pending, pause, end = list(found), _FIRST_PAUSE, clock() + seconds
    while True:
        still = []
        for each in pending:
            reason, ends = _attempt(each, delete, done, say)
            if reason is None:
                reasons.pop(each.id, None)
                continue
            if reasons.get(each.id) != reason:
                say(f"{each}: {reason}" + ("" if ends else "; trying again"))
            reasons[each.id] = reason
            if not ends:
                still.append(each)
        pending = still
        left = end - clock()
        if not pending or left <= 0:
            return done, reasons
        sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)


def _attempt(
    each: Found, delete: Callable[[Found], str], done: list[str], say: Say
) -> tuple[str | None, bool]:
    """Why it is still there (None: it is not), and whether more time cannot help."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        words = delete(each)
    except Waits as reason:
        return str(reason), False
    except BotoCoreError as error:
        return str(error), False
    except ClientError as error:
        if _is_gone(error):
            return None, False
        code, message = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        return f"{code}: {message}", code in _FINAL
    done.append(words)
    say(words)
    return None, False


def _is_gone(error: Any) -> bool:
    return str(error.response["Error"]["Code"]).endswith(_GONE)

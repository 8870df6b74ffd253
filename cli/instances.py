"""A cluster's EC2 instances: found by their tags, stopped, and started with what capacity there is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cli.aws import LIVE
from cli.errors import CommandError
from config.model import NodeRole
from config.naming import TAG_CLUSTER, TAG_NODE, TAG_ROLE

Say = Callable[[str], None]
Clock = Callable[[], float]
Sleep = Callable[[float], None]

_ORDER = {NodeRole.GPU: 0, NodeRole.WORKER: 1, NodeRole.MASTER: 2}
SETTLE_SECONDS = 600.0  # for pods to end (45 s) and a machine to stop, or to start
_POLL_SECONDS = 2.0
# There is none of a type now, and none in this zone ever. Source: the EC2 API reference, "Error codes".
NO_CAPACITY, NOT_OFFERED = "InsufficientInstanceCapacity", "Unsupported"
# A Spot Instance that AWS took back: only EC2 starts it again, when it has capacity. Source: the EC2 user
# guide, "Behavior of Spot Instance interruptions".
_INTERRUPTED = "IncorrectSpotRequestState"
_PAUSES = (5.0, 60.0)  # seconds before the second try, and the longest pause


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One instance of the cluster. `state`: EC2's word; `launched`: when it was started last; `made`: when it
    was made, which is when its disk was attached; None where EC2 does not say.

    Source: the EC2 API reference, Instance, launchTime; EbsInstanceBlockDevice, attachTime.
    """

    name: str  # the node's
    role: NodeRole
    instance_id: str
    type: str
    state: str
    launched: datetime
    made: datetime | None = None
    spot: bool = False

    @property
    def off(self) -> bool:
        """Stopped, or on its way there."""
        return self.state in ("stopping", "stopped")


class NoCapacity(Exception):
    """AWS starts the instance as none of its types. The text names them with AWS's own words."""


def find(ec2: Any, cluster: str) -> tuple[Machine, ...]:
    """Every instance of a cluster: GPU nodes, workers, the master; each by name."""
    pages = ec2.get_paginator("describe_instances").paginate(
        Filters=[
            {"Name": f"tag:{TAG_CLUSTER}", "Values": [cluster]},
            {"Name": "instance-state-name", "Values": list(LIVE)},
        ]
    )
    groups = (group for page in pages for group in page["Reservations"])
    found = filter(None, (_machine(item) for group in groups for item in group["Instances"]))
    return tuple(sorted(found, key=lambda each: (_ORDER[each.role], each.name)))


def _machine(found: dict[str, Any]) -> Machine | None:
    tags = {tag["Key"]: tag["Value"] for tag in found.get("Tags") or ()}
    if TAG_NODE not in tags or tags.get(TAG_ROLE) not in set(NodeRole):
        return None  # somebody else's, with the cluster's tag
    disks = [each["Ebs"] for each in found.get("BlockDeviceMappings") or () if "Ebs" in each]
    return Machine(
        name=tags[TAG_NODE],
        role=NodeRole(tags[TAG_ROLE]),
        instance_id=found["InstanceId"],
        type=found["InstanceType"],
        state=found["State"]["Name"],
        launched=found["LaunchTime"],
        made=min((each["AttachTime"] for each in disks if "AttachTime" in each), default=None),
        spot=found.get("InstanceLifecycle") == "spot",
    )


@dataclass(frozen=True, kw_only=True)
class Ec2:
    """Calls that change instances, with time passed in."""

    client: Any
    say: Say
    clock: Clock = time.monotonic
    sleep: Sleep = time.sleep

    def stop(self, machines: Sequence[Machine]) -> None:
        """Stop them in one call and wait until they are. Raises: CommandError at the deadline."""
        ids = [each.instance_id for each in machines]
        self.client.stop_instances(InstanceIds=ids)
        self.settle(machines, "stopped")

    def settle(self, machines: Iterable[Machine], state: str) -> None:
        """Wait until all are in a state, and say which are. Raises: CommandError at the deadline."""
        waiting = {each.instance_id: each.name for each in machines}
        end = self.clock() + SETTLE_SECONDS
        while waiting:
            answer = self.client.describe_instances(InstanceIds=sorted(waiting))
            for group in answer["Reservations"]:
                for found in group["Instances"]:
                    if found["State"]["Name"] == state:
                        self.say(f"{waiting.pop(found['InstanceId'])} is {state}")
            if waiting and self.clock() > end:
                names = ", ".join(sorted(waiting.values()))
                late = f"not {state} after {SETTLE_SECONDS / 60:.0f} minutes: {names}"
                raise CommandError(f"{late}; run the command again to go on")
            if waiting:
                self.sleep(_POLL_SECONDS)

    def start(self, machine: Machine, types: Sequence[str], seconds: float) -> str:
        """Start a stopped instance as the first of `types` that AWS has capacity for; gives that type.

        Raises: NoCapacity once each was tried for `seconds`; the instance is then stopped, and of the first.
        """
        now, refused = machine.type, []
        for wanted in types:
            now = self._resize(machine, now, wanted)
            why = self._try(machine, wanted, seconds)
            if not why:
                return wanted
            self.say(f"{machine.name}: {why}")
            refused.append(f"{wanted}: {why}")
        self._resize(machine, now, types[0])
        raise NoCapacity("; ".join(refused))

    def _resize(self, machine: Machine, now: str, wanted: str) -> str:
        if now != wanted:
            self.say(f"{machine.name} becomes {wanted} (it was {now})")
            self.client.modify_instance_attribute(
                InstanceId=machine.instance_id, InstanceType={"Value": wanted}
            )
        return wanted

    def _try(self, machine: Machine, wanted: str, seconds: float) -> str:
        """Why the instance cannot be started as this type, or "" once it is."""
        from botocore.exceptions import ClientError

        pause, longest = _PAUSES
        end = self.clock() + seconds
        while True:
            try:
                self.client.start_instances(InstanceIds=[machine.instance_id])
            except ClientError as error:
                answer = error.response["Error"]
                if answer["Code"] not in (NO_CAPACITY, NOT_OFFERED, _INTERRUPTED):
                    raise
                left = end - self.clock()
                if answer["Code"] == NOT_OFFERED or left <= 0:
                    return f"{answer['Code']}: {answer.get('Message', '')}"
                wait = min(pause, left)
                self.say(f"no capacity for {machine.name} ({wanted}) now; the next try is in {wait:.0f} s")
                self.sleep(wait)
                pause = min(pause * 2, longest)
            else:
                return ""

"""Spot Instances: the requests that EC2 keeps for them, and interruptions that a test announces.

    [{"instance": "i-0123456789abcdef0", "time": "2026-11-28T12:02:00Z"}]

From then on the instance's metadata has the notice. At `time` EC2 stops the instance, and nobody but EC2 can
start it again: it does when the row is taken away. Sources: the EC2 user guide, "Spot Instance interruption
notices" and "Behavior of Spot Instance interruptions"; the EC2 API reference, SpotMarketOptions, StateReason.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from moto.core.utils import utcnow
from moto.ec2.models.instances import StateReason
from moto.ec2.models.spot_requests import SpotInstanceRequest

from sandbox.aws.awswire import Refusal
from sandbox.aws.stores import Stores

Arguments = Mapping[str, Any]
_STOP = {"SpotInstanceType": "persistent", "InstanceInterruptionBehavior": "stop"}
_INTERRUPTED = "Server.SpotInstanceShutdown"


def require_options(call: Arguments) -> None:
    """Refuse a launch as another Spot Instance than one that is stopped and started again."""
    asked = call.get("InstanceMarketOptions")
    if not asked:
        return
    options = asked.get("SpotOptions") or {}
    if options.get("SpotInstanceType") == "persistent" and "InstanceInterruptionBehavior" not in options:
        raise Refusal(
            "InvalidParameterCombination",
            "Persistent Spot Instance requests are only supported when the instance interruption behavior is "
            "either hibernate or stop.",
        )
    if asked.get("MarketType") != "spot" or options != _STOP:
        raise Refusal("UnsupportedOperation", f"not emulated: InstanceMarketOptions {asked}")


def note_request(aws: Stores, instance: Any) -> None:
    """The request behind a Spot Instance that was launched, which moto does not make."""
    request: Any = object.__new__(SpotInstanceRequest)  # to make one would launch an instance
    vars(request).update(
        ec2_backend=aws.ec2,
        id=f"sir-{secrets.token_hex(4)}",
        state="active",
        _status_code="fulfilled",
        status_message="Your Spot request is fulfilled.",
        price=None,
        type="persistent",
        valid_from=None,
        valid_until=None,
        launch_group=None,
        instance_interruption_behaviour="stop",
        instance=instance,
    )
    aws.ec2.spot_instance_requests[request.id] = request


def request_of(aws: Stores, instance_id: str) -> Any:
    """The request behind a Spot Instance; None if it was canceled, or the instance is none."""
    found = aws.ec2.spot_instance_requests.values()
    return next((each for each in found if each.instance and each.instance.id == instance_id), None)


def reopen_request(aws: Stores, instance_id: str) -> None:
    """A persistent request whose instance was terminated asks for another one: EC2 would launch it."""
    if request := request_of(aws, instance_id):
        request.state, request._status_code, request.instance = "open", "pending-evaluation", None


def keep_type(aws: Stores, call: Arguments) -> None:
    """The type of a Spot Instance does not change."""
    if "InstanceType" in call and request_of(aws, call["InstanceId"]):
        raise Refusal("UnsupportedOperation", "The instance type of a Spot Instance cannot be modified.")


class Interruptions:
    """What is announced, and what was stopped by it. The caller holds the emulator's lock."""

    def __init__(self) -> None:
        self._announced: dict[str, str] = {}  # instance id -> when it is stopped
        self._stopped: set[str] = set()

    def announce(self, rows: Any) -> None:
        """Raises: TypeError, KeyError, ValueError for what is not a list of rows as above."""
        announced = {row["instance"]: row["time"] for row in rows}
        for time in announced.values():
            _parsed(time)
        self._announced = announced

    @property
    def notices(self) -> dict[str, dict[str, str]]:
        """By instance id, as the metadata service says it."""
        return {id: {"action": "stop", "time": time} for id, time in self._announced.items()}

    def act(self, aws: Stores) -> int:
        """Stop what is due, start what has capacity again: how many instances changed."""
        now, changed = datetime.now(UTC), 0
        for instance_id, time in self._announced.items():
            instance = aws.ec2.get_instance_by_id(instance_id)
            if instance_id in self._stopped or instance is None or _parsed(time) > now:
                continue
            self._stopped.add(instance_id)
            if instance.state == "running":
                instance.stop()
                instance.state_reason = StateReason(f"{_INTERRUPTED}: no capacity", _INTERRUPTED)
                changed += 1
        for instance_id in sorted(self._stopped - self._announced.keys()):
            self._stopped.remove(instance_id)
            instance = aws.ec2.get_instance_by_id(instance_id)
            if instance and instance.state == "stopped" and request_of(aws, instance_id):
                instance.start()
                instance.launch_time = utcnow()
                changed += 1
        return changed

    def refuse(self, operation: str, call: Arguments) -> None:
        """The start of an instance that EC2 has stopped. Raises: Refusal."""
        stopped = self._stopped.intersection(call.get("InstanceIds") or ())
        if operation == "ec2:StartInstances" and stopped:
            raise Refusal(
                "IncorrectSpotRequestState",
                f"You can't start the Spot Instance '{min(stopped)}' because the associated Spot Instance "
                "request is not in an appropriate state to support start.",
            )


def _parsed(time: str) -> datetime:
    return datetime.strptime(time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)

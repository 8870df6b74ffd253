"""The interface between the boot and whatever makes nodes of instances."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from sandbox.boot.cloud import Instance


class NodeKind(Protocol):
    """User data in; status records and a Node object out.

    The boot calls these from one thread; none of them blocks for long. Repeating a call changes
    nothing. Instances are known by id, and a kind remembers them over a restart of the boot.
    """

    def known(self) -> Mapping[str, bool]:
        """Instances that have a disk here -> whether they are switched on."""

    def power_on(self, instance: Instance) -> None:
        """The instance runs: boot it from its user data, or from its disk if it was stopped."""

    def power_off(self, instance_id: str) -> None:
        """The instance was stopped: its processes end, its disk stays."""

    def terminate(self, instance_id: str) -> None:
        """The instance is gone, and its disk with it."""

    def tick(self) -> None:
        """Called about twice a second: go on with whatever is due."""

    def close(self) -> None:
        """Stop every process that this kind started; disks and what it remembers stay."""

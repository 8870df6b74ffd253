"""The loop: what the emulator's instances are, and what the node kind is told about it."""

from __future__ import annotations

import threading

from sandbox.boot.cloud import RUNNING, Cloud, CloudError
from sandbox.boot.log import say
from sandbox.nodes.kind import NodeKind

POLL_SECONDS = 0.5
_GONE = ("shutting-down", "terminated")
_OFF = ("stopping", "stopped")


class Watcher:
    """Follows one emulator until `stop` is set."""

    def __init__(self, cloud: Cloud, kind: NodeKind, stop: threading.Event) -> None:
        self.cloud = cloud
        self.kind = kind
        self.stop = stop

    def run(self) -> None:
        while not self.stop.wait(POLL_SECONDS):
            try:
                self.compare()
            except CloudError as error:  # it starts, restarts or is gone: machines run on meanwhile
                say("boot", f"emulator: {error}")
            self.kind.tick()

    def compare(self) -> None:
        """One look. Instances that the emulator forgot are gone. Raises a `CloudError`."""
        instances = self.cloud.instances()
        known = self.kind.known()
        for instance_id in known:
            if instance_id not in instances or instances[instance_id].state in _GONE:
                self.kind.terminate(instance_id)
        for instance in instances.values():
            powered = known.get(instance.id)
            if instance.state == RUNNING and not powered:
                self.kind.power_on(instance)
            elif instance.state in _OFF and powered:
                self.kind.power_off(instance.id)

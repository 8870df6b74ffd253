"""The loop: what the emulator's instances are, and what the node backend is told about it."""

from __future__ import annotations

import threading
from typing import Any

from sandbox.aws.cloud import RUNNING, Cloud, CloudError
from sandbox.log import log
from sandbox.nodes.backend import NodeBackend, Power

POLL_SECONDS = 0.5
_PER_SECOND = 100  # instances that are looked at, so that the emulator has time for others
_GONE = ("shutting-down", "terminated")
_OFF = ("stopping", "stopped")


def pause(instances: int) -> float:
    """Seconds between two looks at so many."""
    return max(POLL_SECONDS, instances / _PER_SECOND)


class Watcher:
    """Follows one emulator until `stop` is set."""

    def __init__(self, cloud: Cloud, backend: NodeBackend[Any], stop: threading.Event) -> None:
        self.cloud = cloud
        self.backend = backend
        self.stop = stop

    def run(self) -> None:
        while not self.stop.wait(pause(len(self.backend.known()))):
            try:
                self.compare()
            except CloudError as error:  # it starts, restarts or is gone: machines run on meanwhile
                log("boot", f"emulator: {error}")
            self.backend.tick()

    def compare(self) -> None:
        """One look. Instances that the emulator forgot are gone. Raises a `CloudError`."""
        instances = self.cloud.instances()
        known = self.backend.known()
        for instance_id in known:
            if instance_id not in instances or instances[instance_id].state in _GONE:
                self.backend.switch(instance_id, Power.TERMINATED)
        for instance in instances.values():
            powered = known.get(instance.id)
            if instance.state == RUNNING and not powered:
                self.backend.switch(instance.id, Power.ON)
            elif instance.state in _OFF and powered:
                self.backend.switch(instance.id, Power.OFF)

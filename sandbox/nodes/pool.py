"""The nodes of one kind, each brought closer to what the cloud wants of it by a few workers.

The boot's thread says what is wanted of each instance and never waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum
from typing import Generic, Protocol, TypeVar

from sandbox.boot.cloud import Instance


class Wanted(Enum):
    """What the cloud wants of an instance."""

    ON = "on"
    OFF = "off"
    GONE = "gone"


class Node(Protocol):
    """One instance. One worker at a time calls `advance`; the boot's thread sets what is wanted."""

    power: Power
    gone: bool  # terminated, and nothing is left of it

    def advance(self) -> float:
        """Come closer to what is wanted: seconds until the next look."""


class Power:
    """What is wanted of one instance, and when to look at it again."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self._due = 0.0
        self._lock = threading.Lock()

    def switch(self, wanted: Wanted) -> None:
        """From the boot's thread: the cloud switched the instance."""
        with self._lock:
            self.wanted, self._due = wanted, 0.0

    @property
    def on(self) -> bool:
        return self.wanted is Wanted.ON

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._due

    def look(self, node: Node) -> None:
        """One `advance`; whoever switches the instance meanwhile is not kept waiting."""
        before = self.wanted
        pause = node.advance()
        with self._lock:
            self._due = time.monotonic() + pause if self.wanted is before else 0.0


N = TypeVar("N", bound=Node)


class NodePool(Generic[N]):
    """The part of a `NodeKind` that is the same for every kind."""

    def __init__(self, make: Callable[[str], N], known: Iterable[str], workers: int) -> None:
        self._make = make
        self.nodes: dict[str, N] = {instance_id: make(instance_id) for instance_id in known}
        self._workers = ThreadPoolExecutor(workers, thread_name_prefix="node")
        self._futures: dict[str, Future[None]] = {}

    def known(self) -> Mapping[str, bool]:
        return {
            instance_id: node.power.on
            for instance_id, node in self.nodes.items()
            if node.power.wanted is not Wanted.GONE
        }

    def power_on(self, instance: Instance) -> None:
        if instance.id not in self.nodes:
            self.nodes[instance.id] = self._make(instance.id)
        self.nodes[instance.id].power.switch(Wanted.ON)

    def power_off(self, instance_id: str) -> None:
        self.nodes[instance_id].power.switch(Wanted.OFF)

    def terminate(self, instance_id: str) -> None:
        self.nodes[instance_id].power.switch(Wanted.GONE)

    def tick(self) -> None:
        for instance_id, node in list(self.nodes.items()):
            future = self._futures.get(instance_id)
            if future and not future.done():
                continue
            if future:
                future.result()  # a fault of ours ends the boot, with its traceback in the log
            if node.gone:
                del self.nodes[instance_id], self._futures[instance_id]
            elif node.power.due:
                self._futures[instance_id] = self._workers.submit(node.power.look, node)

    def close(self) -> None:
        """No further steps; what is under way ends first."""
        self._workers.shutdown(cancel_futures=True)

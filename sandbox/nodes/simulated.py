"""The simulated kind: no privileges, many nodes.

The boot's thread says what is wanted of each instance; a few workers bring every node closer to it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from sandbox.boot.cloud import Instance
from sandbox.boot.disk import Disk, disks
from sandbox.nodes.node import SimulatedNode, Wanted
from sandbox.nodes.site import Site

WORKERS = 6


class SimulatedNodes:
    """All simulated nodes of one sandbox: the `NodeKind` of machines without privileges."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._folder = site.state_dir / "nodes"
        self._nodes = {disk.instance_id: SimulatedNode(site, disk) for disk in disks(self._folder)}
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="node")
        self._futures: dict[str, Future[None]] = {}

    def known(self) -> Mapping[str, bool]:
        return {
            instance_id: node.wanted is Wanted.ON
            for instance_id, node in self._nodes.items()
            if node.wanted is not Wanted.GONE
        }

    def power_on(self, instance: Instance) -> None:
        node = self._nodes.setdefault(instance.id, SimulatedNode(self.site, Disk(self._folder / instance.id)))
        node.want(Wanted.ON)

    def power_off(self, instance_id: str) -> None:
        self._nodes[instance_id].want(Wanted.OFF)

    def terminate(self, instance_id: str) -> None:
        self._nodes[instance_id].want(Wanted.GONE)

    def tick(self) -> None:
        for instance_id, node in list(self._nodes.items()):
            future = self._futures.get(instance_id)
            if future and not future.done():
                continue
            if future:
                future.result()  # a fault of ours ends the boot, with its traceback in the log
            if node.gone:
                del self._nodes[instance_id], self._futures[instance_id]
            elif time.monotonic() >= node.due:
                self._futures[instance_id] = self._workers.submit(node.advance)
        self.site.keep_running()
        self.site.agent.tick()

    def close(self) -> None:
        self._workers.shutdown(cancel_futures=True)
        self.site.close()

"""The simulated kind: no privileges, many nodes."""

from __future__ import annotations

from sandbox.boot.disk import Disk, disks
from sandbox.nodes.node import SimulatedNode
from sandbox.nodes.pool import NodePool
from sandbox.nodes.site import Site

WORKERS = 6


class SimulatedNodes(NodePool[SimulatedNode]):
    """All simulated nodes of one sandbox: the `NodeKind` of machines without privileges."""

    def __init__(self, site: Site) -> None:
        folder = site.state_dir / "nodes"
        super().__init__(
            lambda instance_id: SimulatedNode(site, Disk(folder / instance_id)),
            [disk.instance_id for disk in disks(folder)],
            WORKERS,
        )
        self.site = site

    def tick(self) -> None:
        super().tick()
        self.site.keep_running()
        self.site.agent.tick()

    def close(self) -> None:
        super().close()
        self.site.close()

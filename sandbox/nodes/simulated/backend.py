"""The simulated backend: no privileges, many nodes, and one control plane that they share."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from sandbox.aws.account import Account
from sandbox.errors import SandboxError
from sandbox.log import log
from sandbox.nodes.backend import NodeBackend
from sandbox.nodes.disk import SimulatedDisk, on_disk
from sandbox.nodes.faults import Faults
from sandbox.nodes.simulated.agent import Agent
from sandbox.nodes.simulated.controlplane import ControlPlane, configuration
from sandbox.nodes.simulated.node import SimulatedNode
from sandbox.nodes.simulated.staticpods import COMPONENTS
from sandbox.processes import Supervisor


class SimulatedBackend(NodeBackend[SimulatedNode]):
    """All simulated nodes of one sandbox.

    `join_timeout` is how long (s) a node looks at an unusable join record before it fails.
    """

    def __init__(
        self,
        state_dir: Path,
        account: Account,
        supervisor: Supervisor,
        faults: Faults,
        *,
        tools: Path,
        join_timeout: float,
    ) -> None:
        super().__init__(state_dir, account, supervisor, faults)
        self.tools = tools
        self.join_timeout = join_timeout
        self.gpus: dict[str, int] = {}  # instance id -> GPUs in the machine, if any
        self.control_plane: ControlPlane | None = None
        self.master: SimulatedNode | None = None
        self.agent = Agent(state_dir / "kwok", tools, supervisor)
        self._next_look = 0.0
        self._lock = threading.RLock()
        self.resume(on_disk(state_dir / "nodes"))

    def make(self, instance_id: str) -> SimulatedNode:
        return SimulatedNode(self, SimulatedDisk(self.state_dir / "nodes" / instance_id))

    def claim(self, node: SimulatedNode, port: int) -> ControlPlane | None:
        """The control plane on this master's disk; None while another master holds the place.

        Two machines cannot have the master's address at one time, so there is one place.
        """
        with self._lock:
            if self.master not in (None, node):
                return None
            if self.control_plane is None:
                self.control_plane = ControlPlane(node.disk.folder, self.tools, self.supervisor, port)
                self.master = node
            return self.control_plane

    def up(self, document: str) -> None:
        """Start the control plane if it does not run, wait for the API, begin to act for the nodes."""
        with self._lock:
            if self.control_plane is None:
                return
            self.control_plane.start()
            networking = configuration(document, "ClusterConfiguration")["networking"]
            self.agent.stop()
            self.agent.start(self.control_plane.etc / "super-admin.conf", networking["podSubnet"], self.gpus)

    def release(self, node: SimulatedNode) -> None:
        """The master stops: so does everything that ran on it."""
        with self._lock:
            if self.master is node and self.control_plane:
                self.agent.stop()
                self.control_plane.stop()
                self.control_plane = self.master = None

    def tick(self) -> None:
        super().tick()
        self._keep_control_plane()
        self.agent.tick()

    def _keep_control_plane(self) -> None:
        """Restart what ended by itself, unless a fault holds it down. Never waits for the lock."""
        if time.monotonic() < self._next_look or not self._lock.acquire(blocking=False):
            return
        try:
            self._next_look = time.monotonic() + 1.0
            plane, master = self.control_plane, self.master
            if plane and master and plane.initialised:
                plane.keep_running({c for c in COMPONENTS if self.faults.present(master.name, c)})
        except SandboxError as error:
            log("control plane", str(error))
        finally:
            self._lock.release()

    def close(self) -> None:
        super().close()
        if self.master:
            self.release(self.master)

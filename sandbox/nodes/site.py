"""What the simulated nodes of one sandbox share: the tools, the faults and the one control plane."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.boot.faults import Faults
from sandbox.boot.log import say
from sandbox.boot.machine import Surroundings
from sandbox.controlplane import ControlPlane, configuration
from sandbox.errors import SandboxError
from sandbox.nodes.agent import Agent
from sandbox.processes import Supervisor
from sandbox.staticpods import COMPONENTS


@dataclass
class Site:
    """One sandbox. `patience` is how long (s) a node looks at an unusable join record before it fails."""

    state_dir: Path
    around: Surroundings
    tools: Path
    supervisor: Supervisor
    faults: Faults
    patience: float
    gpus: dict[str, int] = field(default_factory=dict)  # instance id -> GPUs in the machine, if any
    control_plane: ControlPlane | None = None
    master_id: str | None = None
    _master_name: str = ""
    _next_look: float = 0.0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        folder = self.state_dir / "kwok"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.agent = Agent(folder, self.tools, self.supervisor)

    def claim(self, instance_id: str, name: str, disk: Path, port: int) -> ControlPlane | None:
        """The control plane on this master's disk; None while another master holds the place.

        Two machines cannot have the master's address at one time, so there is one place.
        """
        with self._lock:
            if self.master_id not in (None, instance_id):
                return None
            if self.control_plane is None:
                self.control_plane = ControlPlane(disk, self.tools, self.supervisor, port)
                self.master_id, self._master_name = instance_id, name
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

    def release(self, instance_id: str) -> None:
        """The master stops: so does everything that ran on it."""
        with self._lock:
            if self.master_id == instance_id and self.control_plane:
                self.agent.stop()
                self.control_plane.stop()
                self.control_plane = self.master_id = None

    def keep_running(self) -> None:
        """Restart what ended by itself, unless a fault holds it down. Never waits for the lock."""
        if time.monotonic() < self._next_look or not self._lock.acquire(blocking=False):
            return
        try:
            self._next_look = time.monotonic() + 1.0
            plane = self.control_plane
            if plane and plane.initialised:
                plane.keep_running({c for c in COMPONENTS if self.faults.present(self._master_name, c)})
        except SandboxError as error:
            say("control plane", str(error))
        finally:
            self._lock.release()

    def close(self) -> None:
        """Stop every process; what is on the disks stays."""
        if self.master_id:
            self.release(self.master_id)

"""The simulated backend: no privileges, many nodes, and one control plane that they share.

KWOK emulates heartbeats and pods. What it cannot say is said here, once a second: nodes are Ready when their
network is installed, GPUs are there with their device plugin's pod, and a Node goes with its machine.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from sandbox.aws.account import Account
from sandbox.errors import SandboxError
from sandbox.files import atomic_write
from sandbox.log import log
from sandbox.nodes.api import Api, ApiError, Unavailable
from sandbox.nodes.backend import NodeBackend
from sandbox.nodes.disk import SimulatedDisk, on_disk
from sandbox.nodes.faults import Faults
from sandbox.nodes.kubelet import instance_id, is_ready, network_is_up, set_lost
from sandbox.nodes.simulated import kubelet, operator
from sandbox.nodes.simulated.controlplane import ControlPlane, configuration
from sandbox.nodes.simulated.node import FINAL, SimulatedNode
from sandbox.nodes.simulated.staticpods import COMPONENTS
from sandbox.processes import Supervisor

KWOK = "kwok"
_STAGES = Path(__file__).parent / "kwok"
_LOOK_SECONDS = 1.0


class SimulatedBackend(NodeBackend[SimulatedNode]):
    """All simulated nodes of one sandbox."""

    def __init__(
        self, state_dir: Path, account: Account, supervisor: Supervisor, faults: Faults, *, tools: Path
    ) -> None:
        super().__init__(state_dir, account, supervisor, faults)
        self.tools = tools
        self.control_plane: ControlPlane | None = None
        self.master: SimulatedNode | None = None
        self._api: Api | None = None  # an administrator's, while the control plane is up
        self._next_look = 0.0
        self._lock = threading.RLock()
        self.resume(on_disk(state_dir / "nodes"))

    def make(self, instance_id: str) -> SimulatedNode:
        return SimulatedNode(self, SimulatedDisk(self.state_dir / "nodes" / instance_id))

    # -- the control plane -------------------------------------------------------------------------

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
            if self.control_plane is None or self._api is not None:
                return
            if held := self._held():
                raise Unavailable(f"held down: {', '.join(sorted(held))}")
            self.control_plane.start()
            networking = configuration(document, "ClusterConfiguration")["networking"]
            self._start_kwok(self.control_plane, networking["podSubnet"])
            self._api = self.control_plane.api()

    def _start_kwok(self, plane: ControlPlane, pod_cidr: str) -> None:
        folder = self.state_dir / KWOK
        stages = "---\n".join(path.read_text(encoding="utf-8") for path in sorted(_STAGES.glob("*.yaml")))
        atomic_write(folder / "stages.yaml", stages)
        command: list[str | Path] = [
            *(self.tools / "kwok", "--config", folder / "stages.yaml", "--v", "WARN", "--cidr", pod_cidr),
            *("--kubeconfig", plane.etc / "super-admin.conf"),
            *("--manage-nodes-with-label-selector", kubelet.RUNNING_LABEL),
        ]
        self.supervisor.start(KWOK, command, cwd=folder)

    def api(self, node: SimulatedNode) -> Api | None:
        """For a node that may register: the master, then its workers, not those of a former master."""
        with self._lock:
            master = self.master
            if master is None or node.disk.memory.master not in ("", master.disk.instance_id):
                return None
            return self._api if node is master or master.disk.memory.phase in FINAL else None

    def went_off(self, node: SimulatedNode) -> None:
        """With the master all that ran on it stops. A worker's Node is Unknown without 50 s of silence."""
        with self._lock:
            if self.master is not node:
                self._lost(node)
            elif self.control_plane:
                self._api = None
                self.supervisor.stop(KWOK, grace=3.0)
                self.control_plane.stop()
                self.control_plane = self.master = None

    def _lost(self, node: SimulatedNode) -> None:
        if self._api:
            try:
                set_lost(self._api, node.name, node.disk.instance_id, **{kubelet.RUNNING_LABEL: None})
            except (Unavailable, ApiError) as error:
                node.log(f"node not marked: {error}")

    # -- once a second -----------------------------------------------------------------------------

    def tick(self) -> None:
        super().tick()
        if time.monotonic() < self._next_look or not self._lock.acquire(blocking=False):
            return
        try:
            self._next_look = time.monotonic() + _LOOK_SECONDS
            if self._api and self.control_plane:
                self.control_plane.keep_running(self._held())  # what ended by itself
                self._look(self._api)
        except (SandboxError, Unavailable, ApiError) as error:
            log("control plane", str(error))
        finally:
            self._lock.release()

    def _held(self) -> set[str]:
        """The components that somebody holds down."""
        master = self.master
        return {each for each in COMPONENTS if master and self.faults.present(master.name, each)}

    def _look(self, api: Api) -> None:
        nodes = api.get("/api/v1/nodes")["items"]
        waiting = [node for node in nodes if _runs(node) and not is_ready(node)]
        ready = waiting if waiting and network_is_up(api) else []
        if waiting and not ready:
            operator.make_crds(api)
        for node in nodes:
            name, machine = node["metadata"]["name"], self.nodes.get(instance_id(node))
            if machine is None:  # terminated; on AWS the master's timer sees to it
                this = {"preconditions": {"uid": node["metadata"]["uid"]}}
                api.request("DELETE", f"/api/v1/nodes/{name}", this)
            elif node in ready:
                kubelet.set_ready(api, node)
            elif machine.gpus and _runs(node):
                kubelet.set_gpus(api, node, machine.gpus)

    def close(self) -> None:
        super().close()
        if self.master:
            self.went_off(self.master)


def _runs(node: dict[str, Any]) -> bool:
    return kubelet.RUNNING_LABEL in node["metadata"]["labels"]

"""What the kubelets of all simulated nodes do together, once there is an API server.

KWOK emulates heartbeats and pods, in two processes: one acts for every running node but starts only pods
on the host's network, the other starts pods where the network is up. This module decides when that is
the case, and emulates the pods that bring a device plugin, because of what they change on the node.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sandbox.files import atomic_write
from sandbox.log import log
from sandbox.nodes import kubelet
from sandbox.nodes.api import Api, ApiError, Unavailable
from sandbox.nodes.simulated.plugins import DevicePlugins
from sandbox.processes import Supervisor

STAGES = Path(__file__).parent / "kwok"
KWOK_HOST, KWOK_PODS = "kwok-host", "kwok-pods"
_WAITING = f"{kubelet.RUNNING_LABEL},!{kubelet.NETWORK_LABEL}"


class Agent:
    """Started when a control plane comes up, stopped before it goes."""

    def __init__(self, folder: Path, tools: Path, supervisor: Supervisor) -> None:
        self.folder = folder
        self.tools = tools
        self.supervisor = supervisor
        self._acting: tuple[Api, DevicePlugins] | None = None  # one value: nodes stop it beside a tick
        self._waiting = threading.Event()  # some running node may have no network yet
        self._next_look = 0.0

    def start(self, kubeconfig: Path, pod_cidr: str, gpus: Mapping[str, int]) -> None:
        """Begin to act for the nodes of one control plane. `gpus`: instance id -> GPUs in the machine."""
        self._start_kwok(KWOK_HOST, kubeconfig, pod_cidr, kubelet.RUNNING_LABEL, stages(host_only=True))
        self._start_kwok(KWOK_PODS, kubeconfig, pod_cidr, kubelet.NETWORK_LABEL, stages(host_only=False))
        api = Api.from_kubeconfig(kubeconfig)
        plugins = DevicePlugins(api, gpus)
        plugins.start()
        self._acting = (api, plugins)
        self._waiting.set()

    def stop(self) -> None:
        acting, self._acting = self._acting, None
        if acting:
            acting[1].stop()
        for name in (KWOK_HOST, KWOK_PODS):
            self.supervisor.stop(name, grace=3.0)

    def node_appeared(self) -> None:
        """A node registered or came back: look whether its network is up."""
        self._waiting.set()
        self._next_look = 0.0

    def tick(self) -> None:
        """Once a second: Ready for nodes whose network came up. Silent while the API is away."""
        acting = self._acting
        if acting is None or time.monotonic() < self._next_look:
            return
        api, plugins = acting
        self._next_look = time.monotonic() + 1.0
        try:
            if self._waiting.is_set():
                self._look(api)
            plugins.reconcile()
        except (Unavailable, ApiError) as error:
            log("agent", str(error))

    def _look(self, api: Api) -> None:
        self._waiting.clear()
        nodes = api.get("/api/v1/nodes", labelSelector=_WAITING)["items"]
        if nodes and kubelet.network_is_up(api):
            for node in nodes:
                kubelet.set_ready(api, node["metadata"]["name"])
        elif nodes:
            self._waiting.set()

    def _start_kwok(
        self, name: str, kubeconfig: Path, pod_cidr: str, label: str, stages: list[dict[str, Any]]
    ) -> None:
        path = self.folder / f"{name}.yaml"
        atomic_write(path, yaml.safe_dump_all(stages))
        command: list[str | Path] = [
            *(self.tools / "kwok", "--config", path, "--kubeconfig", kubeconfig, "--v", "WARN"),
            *("--cidr", pod_cidr, "--manage-nodes-with-label-selector", label),
        ]
        self.supervisor.start(name, command, cwd=self.folder)


def stages(*, host_only: bool) -> list[dict[str, Any]]:
    """KWOK's stages for one of the two processes."""
    (start,) = _read("start")
    (heartbeat,) = _read("heartbeat")
    if host_only:
        start["spec"]["selector"]["matchExpressions"].append(
            {"key": ".spec.hostNetwork", "operator": "In", "values": ["true"]}
        )
        return [heartbeat, start, *_read("ready"), *_read("end")]
    # KWOK knows the nodes that it acts for only if it has a stage for nodes: one that never applies.
    heartbeat["spec"]["selector"]["matchExpressions"] = [
        {"key": ".metadata.name", "operator": "In", "values": [""]}
    ]
    return [heartbeat, start]


def _read(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((STAGES / f"{name}.yaml").read_text(encoding="utf-8")))

"""Device plugins on simulated nodes: extended resources appear with the plugin's pod and go with it.

A pod counts if a DaemonSet owns it and it mounts the kubelet's plugin folder. On a machine with GPUs it
runs and the node's resources show them; on one without it fails at start, if it was told to, as the
NVIDIA plugin does with FAIL_ON_INIT_ERROR (its default).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sandbox.nodes import kubelet
from sandbox.nodes.api import STRATEGIC, Api, ApiError, Unavailable
from sandbox.record import rfc3339

PLUGIN_FOLDER = "/var/lib/kubelet/device-plugins"
_RETRY_SECONDS = 1.0
Pod = dict[str, Any]


class DevicePlugins:
    """Watches the cluster's pods for device plugins and emulates them.

    `gpus` (instance id -> count) may change at any time: a machine comes before that which had its node's
    name is all gone.
    """

    def __init__(self, api: Api, gpus: Mapping[str, int]) -> None:
        self.api = api
        self.gpus = gpus
        self._pods: dict[str, Pod] = {}  # uid -> pod, plugins only
        self._shown: dict[str, int] = {}  # node -> count last written
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="device-plugins", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """The thread ends with its stream; it does nothing more from now on."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._follow()
            except (Unavailable, ApiError):  # the server restarts, or the version is too old: list anew
                self._stopped.wait(_RETRY_SECONDS)

    def _follow(self) -> None:
        listed = self.api.get("/api/v1/pods")
        with self._lock:
            self._pods = {pod["metadata"]["uid"]: pod for pod in listed["items"] if is_plugin(pod)}
        self.reconcile()
        for event in self.api.watch("/api/v1/pods", listed["metadata"]["resourceVersion"]):
            if self._stopped.is_set():
                return
            if is_plugin(event["object"]):
                self._note(event["type"], event["object"])
                self.reconcile()

    def _note(self, event: str, pod: Pod) -> None:
        with self._lock:
            if event == "DELETED":
                self._pods.pop(pod["metadata"]["uid"], None)
            else:
                self._pods[pod["metadata"]["uid"]] = pod

    def reconcile(self) -> None:
        """Start plugin pods that can start, and let each GPU node show what its plugin offers."""
        if self._stopped.is_set():
            return
        with self._lock:
            pods = list(self._pods.values())
            for pod in pods:
                self._start(pod)
            offered = {pod["spec"]["nodeName"] for pod in pods if _runs(pod)}
            for node in sorted(offered | self._shown.keys()):
                self._show(node, node in offered)

    def _start(self, pod: Pod) -> None:
        node = pod["spec"].get("nodeName")
        if not node or "deletionTimestamp" in pod["metadata"] or pod["status"].get("containerStatuses"):
            return
        found = self.api.find(f"/api/v1/nodes/{node}")
        label = kubelet.RUNNING_LABEL if pod["spec"].get("hostNetwork") else kubelet.NETWORK_LABEL
        if not found or label not in found["metadata"]["labels"]:
            return
        starts = self.gpus.get(kubelet.instance_id(found)) or not _fails_without_gpu(pod)
        status = _status(pod, found, starts=bool(starts))
        meta = pod["metadata"]
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status"
        pod["status"] = self.api.patch(path, {"status": status}, STRATEGIC)["status"]

    def _show(self, node: str, offered: bool) -> None:
        """Nothing is written for a node that never had a plugin, or that shows the count already."""
        found = self.api.find(f"/api/v1/nodes/{node}") if offered or self._shown.get(node) else None
        if not found:
            self._shown.pop(node, None)
            return
        count = self.gpus.get(kubelet.instance_id(found), 0) if offered else 0
        if int(found["status"]["capacity"].get(kubelet.GPU, 0)) != count:
            kubelet.set_gpus(self.api, node, count)
        self._shown[node] = count


def is_plugin(pod: Pod) -> bool:
    """Whether a DaemonSet owns the pod and it mounts the kubelet's plugin folder."""
    owners = pod["metadata"].get("ownerReferences", [])
    folders = [volume.get("hostPath", {}).get("path", "") for volume in pod["spec"].get("volumes", [])]
    return any(owner["kind"] == "DaemonSet" for owner in owners) and any(
        folder.rstrip("/") == PLUGIN_FOLDER for folder in folders
    )


def _runs(pod: Pod) -> bool:
    """Whether it is Ready, on a node, and stays there."""
    ready = any(
        each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", [])
    )
    return bool(pod["spec"].get("nodeName") and ready and "deletionTimestamp" not in pod["metadata"])


def _fails_without_gpu(pod: Pod) -> bool:
    """The NVIDIA plugin's switch, as a variable; its own default is to fail."""
    values = [
        str(variable.get("value", "")).lower()
        for container in pod["spec"]["containers"]
        for variable in container.get("env", [])
        if variable["name"] == "FAIL_ON_INIT_ERROR"
    ]
    return "false" not in values


def _status(pod: Pod, node: Mapping[str, Any], *, starts: bool) -> dict[str, Any]:
    """Of a pod whose containers run, or end at once and are started again."""
    now = rfc3339(datetime.now(UTC))
    address = next(each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP")
    waiting = {"reason": "CrashLoopBackOff", "message": "the device plugin found no GPU"}
    rows = (("Initialized", "True"), ("ContainersReady", str(starts)), ("Ready", str(starts)))
    return {
        "phase": "Running",
        "startTime": now,
        "hostIP": address,
        "hostIPs": [{"ip": address}],
        "conditions": [{"type": kind, "status": status, "lastTransitionTime": now} for kind, status in rows],
        "containerStatuses": [
            {
                "name": each["name"],
                "image": each["image"],
                "imageID": "",
                "ready": starts,
                "started": starts,
                "restartCount": 0 if starts else 1,
                "state": {"running": {"startedAt": now}} if starts else {"waiting": waiting},
            }
            for each in pod["spec"]["containers"]
        ],
    }

#!/usr/bin/python3
"""guard-gpus: the master stops GPU nodes that nobody uses, and starts them for pods that wait for a GPU.

Run each minute. What it may do is in a parameter that the program writes: minutes without use, whether
pods start nodes, and how many GPUs each node offers. Everything else is read anew: Nodes, pods, the power
record. That a node is idle, since when and in which boot, is noted on its Node, so that a restart of the
master forgets nothing. Each decision is an Event of the Node.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import runpy
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

LIB = Path("/usr/local/lib/kubepark")
NODE_FILE = Path("/etc/kubepark/node.json")
KUBECTL = ["kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"]
CORDONED = "kubepark/cordoned-at-boot"  # as `kubepark park` notes it; reap-nodes uncordons by it
IDLE = "kubepark/gpu-idle"  # boot id, and since when nobody has asked for a GPU in that boot
GPU = "nvidia.com/gpu"
STAMP = "%Y-%m-%dT%H:%M:%SZ"  # as the API server writes times: they compare as texts
EC2_VERSION = "2016-11-15"
FORM = {"content-type": "application/x-www-form-urlencoded"}
ERROR = re.compile("<Code>(.*?)</Code>\\s*<Message>(.*?)</Message>", re.DOTALL)


def kubectl(*arguments: str, given: Any = None) -> Any:
    text = json.dumps(given)
    return json.loads(subprocess.check_output([*KUBECTL, *arguments], input=text, text=True))


def pods() -> list[Any]:
    """Those that ask for a GPU."""
    return [pod for pod in kubectl("get", "--raw", "/api/v1/pods")["items"] if gpus(pod)]


def gpus(pod: Any) -> int:
    """How many GPUs a pod asks for. Init containers run before the others, one after the other."""
    first, then = (
        [int(each.get("resources", {}).get("requests", {}).get(GPU, 0)) for each in pod["spec"].get(kind, [])]
        for kind in ("initContainers", "containers")
    )
    return max([sum(then), *first])


def fits(pod: Any, node: Any, room: int) -> bool:
    """Whether a pod that has no node could be for this one, with so many GPUs. Affinity is not looked at."""
    selector, labels = pod["spec"].get("nodeSelector", {}), node["metadata"]["labels"]
    return not pod["spec"].get("nodeName") and gpus(pod) <= room and selector.items() <= labels.items()


def idle_since(node: Any, asking: list[Any], count: int, now: str) -> str:
    """Since when nobody has asked for one of this node's GPUs in this boot; "" while a pod holds one.

    A pod that waits has asked when it was made: one that can never run here keeps nothing running.
    """
    name, (boot, since) = node["metadata"]["name"], noted(node)
    mine = [pod["status"] for pod in asking if pod["spec"].get("nodeName") == name]
    if any(status.get("phase") not in ("Succeeded", "Failed") for status in mine):
        return ""
    times = [since if boot == boot_of(node) else now]
    times += [made(pod) for pod in asking if fits(pod, node, count)]
    for status in mine:
        for each in status.get("containerStatuses", []):
            times.append(each["state"].get("terminated", {}).get("finishedAt") or "")
    return max(times)


def made(pod: Any) -> str:
    return str(pod["metadata"]["creationTimestamp"])


def unschedulable(pod: Any) -> bool:
    conditions = pod["status"].get("conditions", [])
    return ("PodScheduled", "Unschedulable") in [(each["type"], each.get("reason")) for each in conditions]


def annotation(node: Any, key: str) -> str:
    return str(node["metadata"].get("annotations", {}).get(key, ""))


def noted(node: Any) -> list[str]:
    """Of which boot the idle annotation is, and since when the node was idle in it."""
    return annotation(node, IDLE).split() or ["", ""]


def boot_of(node: Any) -> str:
    return str(node["status"]["nodeInfo"]["bootID"])


def ready(node: Any) -> bool:
    conditions = node["status"].get("conditions", [])
    return ("Ready", "True") in [(each["type"], each["status"]) for each in conditions]


def usable(node: Any) -> bool:
    """Whether the scheduler has had its say about this node: it is in use, with its GPUs."""
    offered = int(node["status"].get("allocatable", {}).get(GPU, 0))
    return ready(node) and not node["spec"].get("unschedulable") and offered > 0


def started(answer: str) -> bool:
    """Whether an answer to StartInstances is about one that did not run."""
    return bool(re.search("<previousState>(?:(?!</previousState>).)*stopped", answer, re.DOTALL))


def patch(node: Any, annotations: dict[str, str | None], **spec: Any) -> None:
    body = {"metadata": {"annotations": annotations}, "spec": spec}
    kubectl("patch", "node", node["metadata"]["name"], "-o", "json", "-p", json.dumps(body))


class Guard:
    """One look at the cluster. `seconds`: now, since the epoch."""

    def __init__(self, seconds: float) -> None:
        self.node = json.loads(NODE_FILE.read_text())
        self.aws = runpy.run_path(str(LIB / "kp-aws"))
        self.settings = self.read("gpuPower")
        self.counts, self.idle = self.settings["nodes"], self.settings["idleMinutes"]
        self.now = time.strftime(STAMP, time.gmtime(seconds))
        self.limit = time.strftime(STAMP, time.gmtime(seconds - 60 * self.idle))

    def look(self) -> None:
        asking = pods()
        nodes = [
            each
            for each in kubectl("get", "--raw", "/api/v1/nodes")["items"]
            if each["metadata"]["name"] in self.counts
        ]
        if self.settings["wake"]:
            self.wake(nodes, asking)
        for node in filter(ready, nodes if self.idle else []):
            since = idle_since(node, asking, self.counts[node["metadata"]["name"]], self.now)
            note = f"{boot_of(node)} {since}" if since else ""
            if note != annotation(node, IDLE):
                patch(node, {IDLE: note or None})
            elif since and since <= self.limit and not self.kept(node, self.read("power")):
                self.stop(node, since)

    def kept(self, node: Any, record: Any) -> bool:
        """Whether a person keeps the node on for now."""
        return bool(record.get("keepOn", {}).get(node["metadata"]["name"], "") > self.now)

    def stop(self, node: Any, since: str) -> None:
        """Cordon, look again, record, stop. What has come meanwhile undoes it."""
        name, cordons = node["metadata"]["name"], not node["spec"].get("unschedulable")
        if cordons:
            patch(node, {CORDONED: boot_of(node)}, unschedulable=True)
        before, stopped = None, False
        try:
            asked, record = idle_since(node, pods(), self.counts[name], self.now), self.read("power")
            if asked == since and not self.kept(node, record):
                before = record
                self.write({**record, "stopped": sorted({*record["stopped"], name})})
                refused, said = self.ec2("StopInstances", node)
                stopped = not refused
                done = f"stopped: no pod has asked for a GPU since {since}"
                self.say(node, *(("GpuStopRefused", said) if refused else ("GpuIdle", done)))
            else:
                self.say(node, "GpuWanted", "not stopped: wanted again")
        finally:
            if before and not stopped:
                self.write(before)
            if cordons and not stopped:
                patch(node, {CORDONED: None}, unschedulable=None)

    def wake(self, nodes: list[Any], asking: list[Any]) -> None:
        """Start nodes with room for the pods that those in use have no room for.

        One that was started keeps its place until the scheduler can use it; to start it again does nothing.
        Not meant: one that a person cordoned, and one that stood idle in its last boot while the pod waited.
        """
        room = {
            node["metadata"]["name"]: self.counts[node["metadata"]["name"]]
            for node in nodes
            if not usable(node) and (annotation(node, CORDONED) or not node["spec"].get("unschedulable"))
        }
        for pod in sorted(filter(unschedulable, asking), key=made):
            for node in nodes:
                name, (boot, since) = node["metadata"]["name"], noted(node)
                waited = boot == boot_of(node) and made(pod) <= since
                if fits(pod, node, room.get(name, 0)) and not waited:
                    if self.start(node, pod):
                        room[name] -= gpus(pod)
                        break
                    del room[name]

    def start(self, node: Any, pod: Any) -> bool:
        """Whether AWS starts the node, or has started it."""
        code, said = self.ec2("StartInstances", node)
        if code == "IncorrectInstanceState":  # it is still stopping
            return False
        if code:
            self.say(node, "GpuStartRefused", f"{said}; tried again each minute")
            return False
        if started(said):
            meta = pod["metadata"]
            self.say(node, "GpuWanted", f"started: {meta['namespace']}/{meta['name']} waits for a GPU")
            record, name = self.read("power"), node["metadata"]["name"]
            self.write({**record, "stopped": [each for each in record["stopped"] if each != name]})
        return True

    def say(self, node: Any, reason: str, note: str) -> None:
        """An Event of the Node; said again, it is the same one with a new time."""
        meta = node["metadata"]
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{meta['name']}.{hashlib.sha256((reason + note).encode()).hexdigest()[:16]}",
                "namespace": "default",
            },
            "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": meta["name"], "uid": meta["uid"]},
            "source": {"component": "kubepark"},
            "type": "Normal",
            "reason": reason,
            "message": note,
            "firstTimestamp": self.now,
            "lastTimestamp": self.now,
        }
        print(f"{meta['name']}: {reason}: {note}", flush=True)
        kubectl("apply", "--server-side", "--force-conflicts", "-o", "json", "-f", "-", given=event)

    def read(self, parameter: str) -> Any:
        return json.loads(self.aws["get_parameter"](self.node, self.node["parameters"][parameter]))

    def write(self, record: Any) -> None:
        """The power record; what else is in it stays."""
        text = json.dumps(record, separators=(",", ":"))
        self.aws["put_parameter"](self.node, self.node["parameters"]["power"], text)

    def ec2(self, action: str, node: Any) -> tuple[str, str]:
        """AWS's error code ("": none), and its answer or message. The next look is the next try."""
        region, instance = self.node["region"], node["spec"]["providerID"].rpartition("/")[2]
        endpoint = os.environ.get("AWS_ENDPOINT_URL") or self.node["awsEndpoint"]
        url = (endpoint or f"https://ec2.{region}.amazonaws.com").rstrip("/") + "/"
        form = {"Action": action, "InstanceId.1": instance, "Version": EC2_VERSION}
        body = urllib.parse.urlencode(form).encode()
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        headers = self.aws["sign"](url, FORM, body, region, self.aws["credentials"](), now, "ec2")
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=20) as answer:
                return "", answer.read().decode()
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            code, said = (ERROR.findall(text) or [(str(error.code), text)])[0]
            return code, f"{code}: {said}"


if __name__ == "__main__":
    Guard(time.time()).look()

#!/usr/bin/python3
"""drain-spot: a Spot Instance that AWS is about to stop lets no further pod come, and evicts those it has.

Asks the metadata service every five seconds, as AWS recommends; the notice comes two minutes ahead, and not
for certain. With the node's own identity: a kubelet may cordon its Node, and evict the pods on it. A
PodDisruptionBudget that does not allow it is asked again until the machine stops, and named. The cordon is
noted as a park's is, so that the master uncordons the node once it is back.
"""

from __future__ import annotations

import base64
import calendar
import json
import runpy
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIB = Path("/usr/local/lib/kubepark")
NODE_FILE = Path("/etc/kubepark/node.json")
KUBECONFIG = Path("/etc/kubernetes/kubelet.conf")
CERTIFICATE = Path("/var/lib/kubelet/pki/kubelet-client-current.pem")  # with its key; the kubelet renews it
CORDONED = "kubepark/cordoned-at-boot"  # as `kubepark park` notes it; reap-nodes uncordons by it
MIRROR = "kubernetes.io/config.mirror"  # annotation of what the kubelet has from a file
PAUSE = 5  # seconds
STAMP = "%Y-%m-%dT%H:%M:%SZ"


class Api:
    """The API server, with the kubelet's certificate."""

    def __init__(self) -> None:
        view = ["kubectl", "--kubeconfig", str(KUBECONFIG), "config", "view", "--raw", "-o", "json"]
        cluster = json.loads(subprocess.check_output(view))["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        context.load_cert_chain(CERTIFICATE)
        self.server = cluster["server"]
        handlers = [urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler({})]
        self.opener = urllib.request.build_opener(*handlers)

    def __call__(
        self, method: str, path: str, body: Any = None, kind: str = "application/json"
    ) -> tuple[int, Any]:
        """Status and answer."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.server + path, data, {"Content-Type": kind}, method=method)
        try:
            with self.opener.open(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


def evictable(pod: Any) -> bool:
    """Whether a drain moves it: not what a DaemonSet or a file brings, or has ended."""
    meta = pod["metadata"]
    owners = [each["kind"] for each in meta.get("ownerReferences", []) if each.get("controller")]
    ended = pod["status"].get("phase") in ("Succeeded", "Failed")
    return not ended and MIRROR not in meta.get("annotations", {}) and "DaemonSet" not in owners


def evict(api: Callable[..., tuple[int, Any]], pod: Any) -> str:
    """Why a pod is not evicted now; "" if it is, or is gone."""
    meta = {key: pod["metadata"][key] for key in ("namespace", "name")}
    uid = {"preconditions": {"uid": pod["metadata"]["uid"]}}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta, "deleteOptions": uid}
    path = "/api/v1/namespaces/{namespace}/pods/{name}/eviction".format(**meta)
    status, answer = api("POST", path, body)
    if status < 300 or status in (404, 409):
        return ""
    causes = [each["message"] for each in answer.get("details", {}).get("causes", []) if each.get("message")]
    return "; ".join(causes) or f"{status} {answer.get('message')}"


class Drain:
    """What becomes of one notice."""

    def __init__(
        self, api: Any, name: str, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self.api, self.name, self.clock, self.sleep = api, name, clock, sleep
        self.told: dict[str, str] = {}  # pod -> what was said of it last

    def run(self, notice: Any) -> None:
        """Cordon, and evict until nothing is left or the machine stops."""
        end = calendar.timegm(time.strptime(notice["time"], STAMP))
        node = self.cordon()
        self.say(node, "SpotInterruption", f"AWS will {notice['action']} this instance at {notice['time']}")
        while self.clock() < end:
            left = self.left()
            if not left:
                self.say(node, "SpotDrained", "nothing is left to evict")
                return
            for pod in left:
                self.tell(node, pod, evict(self.api, pod))
            self.sleep(PAUSE)

    def cordon(self) -> Any:
        """The Node, which lets no further pod come."""
        path = f"/api/v1/nodes/{self.name}"
        _, node = self.api("GET", path)
        if not node["spec"].get("unschedulable"):
            note = {CORDONED: node["status"]["nodeInfo"]["bootID"]}
            body = {"metadata": {"annotations": note}, "spec": {"unschedulable": True}}
            _, node = self.api("PATCH", path, body, "application/merge-patch+json")
        return node

    def left(self) -> list[Any]:
        """Pods that are to go. Of other nodes' pods a kubelet sees none."""
        _, found = self.api("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{self.name}")
        return list(filter(evictable, found["items"]))

    def tell(self, node: Any, pod: Any, why: str) -> None:
        """Once for each thing that there is to say of a pod."""
        key = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        if self.told.get(key) == why:
            return
        self.told[key] = why
        if why:
            self.say(node, "SpotDrainBlocked", f"{key}: {why}")
        else:
            print(f"{key}: evicted", flush=True)

    def say(self, node: Any, reason: str, note: str) -> None:
        """An Event of the Node."""
        now = time.strftime(STAMP, time.gmtime(self.clock()))
        meta = node["metadata"]
        event = {
            "metadata": {"generateName": f"{self.name}.", "namespace": "default"},
            "involvedObject": {"apiVersion": "v1", "kind": "Node", "name": self.name, "uid": meta["uid"]},
            "source": {"component": "kubepark"},
            "type": "Warning",
            "reason": reason,
            "message": note,
            "firstTimestamp": now,
            "lastTimestamp": now,
        }
        print(f"{reason}: {note}", flush=True)
        self.api("POST", "/api/v1/namespaces/default/events", event)


def main() -> None:
    """Ends when a notice that was dealt with is taken back; the unit starts it again."""
    name = json.loads(NODE_FILE.read_text())["node"]
    aws = runpy.run_path(str(LIB / "kp-aws"))

    def notice() -> str:
        return str(aws["metadata"]("spot/instance-action", aws["metadata_token"]()))

    while not (text := notice()):
        time.sleep(PAUSE)
    print(text, flush=True)
    if KUBECONFIG.exists():  # else this machine has not joined, and has no pods
        Drain(Api(), name, time.time, time.sleep).run(json.loads(text))
    while notice() == text:
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()

"""What a node may do to itself when AWS takes it back: the script with a kubelet's certificate, a real API server."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.naming import CORDONED
from sandbox.nodes.api import STRATEGIC, with_server
from sandbox.tests.nodes.boot_world import until
from sandbox.tests.program.apiserver import ApiServer, start_apiserver
from sandbox.tests.tools import tool
from userdata.node import drain_spot

pytestmark = pytest.mark.sandbox

NODE, OTHER = "test", "other"  # the first is whose certificate kubeadm made
BUDGET = {
    "apiVersion": "policy/v1",
    "kind": "PodDisruptionBudget",
    "metadata": {"name": "keep-train", "namespace": "default"},
    "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "train"}}},
}


def pod(name: str, node: str = NODE, **labels: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,  # there is no kubelet that would end it
            "containers": [{"name": "main", "image": "team/train:1"}],
        },
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with start_apiserver(tmp_path_factory.mktemp("spot")) as started:
        for name in (NODE, OTHER):
            started.api.post("/api/v1/nodes", {"metadata": {"name": name}})
            info = {"status": {"nodeInfo": {"bootID": f"boot-of-{name}"}}}
            started.api.patch(f"/api/v1/nodes/{name}/status", info, STRATEGIC)
        path = "/api/v1/namespaces/default/serviceaccounts/default"
        until("there is a service account", lambda: started.api.find(path))
        for each in (pod("train", app="train"), pod("free"), pod("elsewhere", OTHER)):
            started.api.post("/api/v1/namespaces/default/pods", each)
            ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            path = f"/api/v1/namespaces/default/pods/{each['metadata']['name']}/status"
            started.api.patch(path, {"status": ready}, STRATEGIC)
        started.api.post("/apis/policy/v1/namespaces/default/poddisruptionbudgets", BUDGET)
        path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets/keep-train"
        until("it counts its pod", lambda: started.api.get(path)["status"].get("currentHealthy") == 1)
        yield started


@pytest.fixture
def kubelet(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> drain_spot.Api:
    """The node's own client: kubeadm puts the certificate into the file, a kubelet beside it."""
    kubeconfig, pair = tmp_path / "kubelet.conf", tmp_path / "kubelet-client-current.pem"
    made = server.kubeconfig.with_name("kubelet.conf").read_text()
    kubeconfig.write_text(with_server(made, f"https://127.0.0.1:{server.port}"))
    user = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]
    pair.write_bytes(
        b"".join(base64.b64decode(user[f"client-{each}-data"]) for each in ("certificate", "key"))
    )
    monkeypatch.setattr(drain_spot, "KUBECONFIG", kubeconfig)
    monkeypatch.setattr(drain_spot, "CERTIFICATE", pair)
    monkeypatch.setenv("PATH", str(tool("kubectl").parent), prepend=":")
    return drain_spot.Api()


def test_a_node_cordons_itself_and_evicts_its_own_pods_and_a_budget_is_named(
    server: ApiServer, kubelet: drain_spot.Api
) -> None:
    now = [time.time()]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    notice = {"action": "stop", "time": time.strftime(drain_spot.STAMP, time.gmtime(now[0] + 120))}
    drain_spot.Drain(kubelet, NODE, lambda: now[0], sleep).run(notice)
    node = server.api.get(f"/api/v1/nodes/{NODE}")
    assert node["spec"]["unschedulable"] is True
    assert node["metadata"]["annotations"][CORDONED] == "boot-of-test"
    left = {each["metadata"]["name"] for each in server.api.get("/api/v1/namespaces/default/pods")["items"]}
    assert left == {"train", "elsewhere"}
    events = server.api.get("/api/v1/namespaces/default/events")["items"]
    said = [
        (each["reason"], each["message"]) for each in events if each["source"].get("component") == "kubepark"
    ]
    assert sorted(said) == [
        (
            "SpotDrainBlocked",
            "default/train: The disruption budget keep-train needs 1 healthy pods and has 1 currently",
        ),
        ("SpotInterruption", f"AWS will stop this instance at {notice['time']}"),
    ]


def test_a_node_can_do_nothing_of_this_to_others(server: ApiServer, kubelet: drain_spot.Api) -> None:
    (other,) = [
        each
        for each in server.api.get("/api/v1/namespaces/default/pods")["items"]
        if each["metadata"]["name"] == "elsewhere"
    ]
    assert drain_spot.evict(kubelet, other).startswith("403 ")
    for path in ("/api/v1/pods", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{OTHER}"):
        assert kubelet("GET", path)[0] == 403
    body = {"spec": {"unschedulable": True}}
    assert kubelet("PATCH", f"/api/v1/nodes/{OTHER}", body, "application/merge-patch+json")[0] == 403

"""A cluster of simulated nodes from the program's own user data, seen from outside.

One world for the module, since a control plane takes seconds. What a whole stack shows with such nodes is in
sandbox/tests/stack: that they stop, start and are replaced, their GPUs, and where secrets can be read.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.nodes.api import STRATEGIC, Api
from sandbox.nodes.kubelet import INSTALLATION, OPERATOR
from sandbox.nodes.simulated import operator
from sandbox.processes import is_alive
from sandbox.tests.nodes.boot_world import World, world
from sandbox.tests.nodes.commands import until

pytestmark = pytest.mark.sandbox
NODES = ("master1", "worker01")
OTHER = "gpu01"  # what a test launches, and `lab` removes
UNHEARD_OF = {"schema": 1, "phase": "pending"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two nodes that have joined; the worker has waited for the master."""
    with world(tmp_path_factory.mktemp("cluster")) as made:
        made.start_boot()
        made.launch("worker01")
        assert made.reached("worker01", "running")["step"] == "join"
        made.launch("master1")
        made.reached("master1", "api-ready", 90)
        made.reached("worker01", "joined", 60)
        yield made


@pytest.fixture
def api(cluster: World) -> Api:
    return cluster.api()


@pytest.fixture
def lab(cluster: World) -> Iterator[World]:
    """The world, without the other node that a test leaves behind."""
    yield cluster
    cluster.fault()
    disk = cluster.disk(OTHER)
    cluster.terminate(OTHER)
    until("the other node is gone", lambda: not disk.exists())
    cluster.reset_status(OTHER)


def node(api: Api, name: str) -> dict[str, Any]:
    return dict(api.get(f"/api/v1/nodes/{name}"))


def ready(api: Api, *names: str) -> set[str]:
    """Status of the nodes' Ready conditions."""
    found = [each for name in names for each in node(api, name)["status"]["conditions"]]
    return {each["status"] for each in found if each["type"] == "Ready"}


def pods(api: Api, space: str, prefix: str) -> list[dict[str, Any]]:
    items = api.get(f"/api/v1/namespaces/{space}/pods")["items"]
    return [pod for pod in items if pod["metadata"]["name"].startswith(prefix)]


def phases(api: Api, space: str, prefix: str) -> set[str]:
    return {pod["status"]["phase"] for pod in pods(api, space, prefix)}


def processes(cluster: World) -> dict[str, Any]:
    """What the boot process has started and not stopped, by name."""
    return dict(json.loads((cluster.state_dir / "state.json").read_text())["processes"])


def deploy(api: Api, space: str, name: str, **spec: Any) -> None:
    """A Deployment of one pod."""
    labels = {"app": name}
    pod = {"containers": [{"name": "main", "image": "registry.example/main:1"}], **spec}
    template = {"metadata": {"labels": labels}, "spec": pod}
    body = {"selector": {"matchLabels": labels}, "template": template}
    kind = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}}
    api.post(f"/apis/apps/v1/namespaces/{space}/deployments", {**kind, "spec": body})


def install_calico(api: Api) -> None:
    """The Installation alone, as the program creates it."""
    api.post(operator.CRDS, operator.INSTALLATIONS)
    until("the new type is served", lambda: api.find("/apis/operator.tigera.io/v1"))
    kind = {"apiVersion": "operator.tigera.io/v1", "kind": "Installation"}
    api.post(INSTALLATION.removesuffix("/default"), {**kind, "metadata": {"name": "default"}})


def install_operator(api: Api) -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tigera-operator"}}
    api.post("/api/v1/namespaces", space)
    everywhere = {"hostNetwork": True, "tolerations": [{"operator": "Exists"}]}
    deploy(api, "tigera-operator", "tigera-operator", **everywhere)


def test_nodes_are_ready_and_pods_start_once_calico_and_its_operator_are_there(
    cluster: World, api: Api
) -> None:
    master, worker = (node(api, name) for name in NODES)
    assert "node-role.kubernetes.io/control-plane" in master["metadata"]["labels"]
    assert worker["status"]["capacity"]["cpu"] == "4"
    assert worker["status"]["capacity"]["memory"] in ("16384Mi", "16Gi")
    for found in (master, worker):
        (said,) = (each for each in found["status"]["conditions"] if each["type"] == "Ready")
        assert (said["status"], "cni plugin not initialized" in said["message"]) == ("False", True)
    deploy(api, "default", "early", nodeSelector={"kubernetes.io/hostname": "worker01"})
    until("kube-proxy runs", lambda: phases(api, "kube-system", "kube-proxy") == {"Running"})
    time.sleep(2)  # a pod that may start does so within one
    assert phases(api, "default", "early") == phases(api, "kube-system", "coredns") == {"Pending"}

    install_calico(api)
    time.sleep(2.5)
    assert ready(api, *NODES) == {"False"}
    install_operator(api)
    until("all Ready", lambda: ready(api, *NODES) == {"True"})
    until("operator available", lambda: api.get(OPERATOR)["status"].get("availableReplicas") == 1)
    until("early runs", lambda: phases(api, "default", "early") == {"Running"})
    until("CoreDNS runs", lambda: phases(api, "kube-system", "coredns") == {"Running"})
    (pod,) = pods(api, "default", "early")
    assert pod["status"]["hostIP"] == cluster.plan("worker01").private_ip
    assert pod["status"]["podIP"].startswith("192.168.")
    api.delete("/apis/apps/v1/namespaces/default/deployments/early")
    until("early gone", lambda: not pods(api, "default", "early"))

    # The node controller calls a pod not ready when it is late to see that a node is Ready;
    # a kubelet then says it again.
    (pod,) = pods(api, "tigera-operator", "tigera-operator")
    status = f"/api/v1/namespaces/tigera-operator/pods/{pod['metadata']['name']}/status"
    said = {"conditions": [{"type": "Ready", "status": "False"}]}
    patched = api.patch(status, {"status": said}, STRATEGIC)
    assert "False" in [each["status"] for each in patched["status"]["conditions"]]
    until("operator available again", lambda: api.get(OPERATOR)["status"].get("availableReplicas") == 1)


def test_a_worker_that_is_off_is_unknown_at_once_and_comes_back_as_the_same_node(
    cluster: World, api: Api
) -> None:
    if not api.find(INSTALLATION):  # the test runs alone
        install_calico(api)
        install_operator(api)
    before, record = node(api, "worker01"), cluster.status("worker01")
    cluster.ec2.stop_instances(InstanceIds=[cluster.instances["worker01"]])
    until("not Ready", lambda: ready(api, "worker01") == {"Unknown"})
    cluster.ec2.start_instances(InstanceIds=[cluster.instances["worker01"]])
    until("new boot", lambda: cluster.status("worker01")["bootId"] != record["bootId"])
    cluster.reached("worker01", "joined")
    until("Ready again", lambda: ready(api, "worker01") == {"True"})
    after = node(api, "worker01")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["nodeInfo"]["bootID"] == cluster.status("worker01")["bootId"]


def test_a_fault_holds_a_node_where_it_is_for_as_long_and_as_often_as_told(lab: World) -> None:
    lab.fault(gpu01={"step": "clock", "mode": "silent"})
    lab.launch(OTHER)
    time.sleep(3)
    assert lab.status(OTHER) == UNHEARD_OF
    lab.fault(gpu01={"step": "packages", "mode": "hang"})
    assert lab.reached(OTHER, "running", 15)["step"] == "packages"
    time.sleep(2)
    assert lab.status(OTHER)["step"] == "packages"
    full = {"step": "containerd", "mode": "fail", "message": "no space left on device"}
    lab.fault(gpu01={**full, "times": 2})
    record = lab.reached(OTHER, "failed", attempt=2)
    assert (record["step"], record["message"]) == ("containerd", full["message"])
    assert lab.reached(OTHER, "joined", 15)["attempt"] == 3


def test_garbage_as_user_data_boots_nothing(lab: World) -> None:
    lab.launch(OTHER, user_data=b"#!/bin/sh\necho hello\n")
    until("said", lambda: "cannot boot: user data is not #cloud-config" in lab.log, 10)
    time.sleep(1)
    assert lab.status(OTHER) == UNHEARD_OF


def test_a_node_is_heard_of_as_soon_as_it_runs_and_once_terminated_no_more(lab: World) -> None:
    lab.fault(gpu01={"step": "clock", "mode": "fail"})
    lab.launch(OTHER)
    lab.reached(OTHER, "failed", 5)
    lab.reached(OTHER, "failed", attempt=2)
    lab.ec2.terminate_instances(InstanceIds=[lab.instances[OTHER]])
    name = lab.naming.status_parameter(OTHER)
    lab.ssm.delete_parameter(Name=name)
    time.sleep(3)  # its next attempt would be two seconds after the second
    assert not lab.ssm.describe_parameters(Filters=[{"Key": "Name", "Values": [name]}])["Parameters"]


def test_a_boot_that_is_killed_leaves_all_to_the_next_and_one_that_is_told_to_end_stops_all(
    cluster: World, api: Api
) -> None:
    records = {name: cluster.status(name) for name in NODES}
    namespace = api.get("/api/v1/namespaces/kube-system")
    cluster.stop_boot(signal.SIGKILL)
    assert api.get("/readyz") == "ok"
    state = processes(cluster)
    assert {"etcd", "kube-apiserver", "kwok"} <= set(state)
    cluster.start_boot()
    time.sleep(3)
    assert processes(cluster)["etcd"] == state["etcd"]
    assert {name: cluster.status(name) for name in NODES} == records

    state = processes(cluster)
    assert cluster.stop_boot() == 0
    assert [name for name, process in state.items() if is_alive(process["pid"])] == []
    cluster.start_boot()
    until("API back", lambda: cluster.node("master1"))
    assert api.get("/api/v1/namespaces/kube-system")["metadata"]["uid"] == namespace["metadata"]["uid"]
    assert {name: cluster.status(name) for name in NODES} == records


def test_a_crashed_component_comes_back_unless_held_down(cluster: World) -> None:
    cluster.fault(master1={"step": "kube-apiserver", "mode": "fail"})
    os.kill(processes(cluster)["kube-apiserver"]["pid"], signal.SIGKILL)
    time.sleep(4)
    assert cluster.node("master1") is None
    cluster.fault()
    until("API back", lambda: cluster.node("master1"))


def test_a_terminated_master_takes_its_private_disk_and_its_processes_with_it(cluster: World) -> None:
    disk = cluster.disk("master1")
    assert disk.stat().st_mode & 0o777 == 0o700
    for name in ("pki/ca.key", "pki/sa.key", "enc/encryption.yaml", "admin.conf"):
        assert (disk / "root/etc/kubernetes" / name).stat().st_mode & 0o077 == 0
    cluster.terminate("master1")
    until("disk wiped", lambda: not disk.exists())
    assert processes(cluster) == {}

"""A whole cluster of simulated nodes from the program's own user data, seen from outside.

One world for the module, since a control plane takes seconds; each test leaves it as it found it, or
says what it adds. pytest runs them in this order.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.nodes.api import STRATEGIC, Api, ApiError
from sandbox.nodes.kubelet import INSTALLATION
from sandbox.nodes.simulated import operator
from sandbox.processes import is_alive
from sandbox.tests.nodes import boot_objects as objects
from sandbox.tests.nodes.boot_world import World, until, world

pytestmark = pytest.mark.sandbox
NODES = ("master1", "worker01", "gpu01")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Three nodes that have joined."""
    with world(tmp_path_factory.mktemp("cluster")) as made:
        made.start_boot()
        for name in NODES:
            made.launch(name)
        made.reached("master1", "api-ready", 90)
        for name in NODES[1:]:
            made.reached(name, "joined", 60)
        yield made


@pytest.fixture
def api(cluster: World) -> Api:
    return cluster.api()


def there(cluster: World, name: str) -> dict[str, Any]:
    """The Node, which has to be there."""
    node = cluster.node(name)
    assert node is not None
    return node


def ready(node: dict[str, Any] | None) -> str:
    """Status of the Ready condition; "" if there is no such node."""
    conditions = node["status"]["conditions"] if node else []
    return next((each["status"] for each in conditions if each["type"] == "Ready"), "")


def pods(api: Api, space: str, prefix: str) -> list[dict[str, Any]]:
    items = api.get(f"/api/v1/namespaces/{space}/pods")["items"]
    return [pod for pod in items if pod["metadata"]["name"].startswith(prefix)]


def phases(api: Api, space: str, prefix: str) -> set[str]:
    return {pod["status"]["phase"] for pod in pods(api, space, prefix)}


def processes(cluster: World) -> dict[str, Any]:
    """What the boot process has started and not stopped, by name."""
    return dict(json.loads((cluster.state_dir / "state.json").read_text())["processes"])


def gpus(cluster: World) -> str | None:
    status = there(cluster, "gpu01")["status"]
    found = status["allocatable"].get("nvidia.com/gpu")
    assert status["capacity"].get("nvidia.com/gpu") == found
    return found


def install_calico(api: Api) -> None:
    """The Installation alone, as the program creates it."""
    api.post(operator.CRDS, operator.INSTALLATIONS)
    kind = {"apiVersion": "operator.tigera.io/v1", "kind": "Installation"}
    installation = {**kind, "metadata": objects.meta("default")}

    def create() -> bool:
        try:
            return bool(api.post("/apis/operator.tigera.io/v1/installations", installation))
        except ApiError as error:
            if error.code != 404:  # the new type is not served yet
                raise
            return False

    until("Installation accepted", create)


def install_operator(api: Api) -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": objects.meta("tigera-operator")}
    api.post("/api/v1/namespaces", space)
    everywhere = objects.pod_spec(hostNetwork=True, tolerations=[{"operator": "Exists"}])
    deployment = objects.workload("Deployment", "tigera-operator", "tigera-operator", everywhere, 1)
    api.post("/apis/apps/v1/namespaces/tigera-operator/deployments", deployment)


def installed(api: Api) -> None:
    """What the program installs for the network, if it is not there yet."""
    if not api.find(INSTALLATION):
        install_calico(api)
        install_operator(api)


def test_nodes_are_what_their_user_data_says(cluster: World, api: Api) -> None:
    for name in NODES:
        plan, node = cluster.plan(name), there(cluster, name)
        labels = node["metadata"]["labels"]
        topology = {"zone": "us-east-1a", "region": "us-east-1"}
        expected = {f"topology.kubernetes.io/{key}": value for key, value in topology.items()}
        expected |= {**plan.labels, "node.kubernetes.io/instance-type": plan.instance_type}
        assert expected.items() <= labels.items()
        assert node["spec"]["providerID"] == f"aws:///us-east-1a/{cluster.instances[name]}"
        assert {"type": "InternalIP", "address": plan.private_ip} in node["status"]["addresses"]
        planned = {(taint.key, taint.value, taint.effect) for taint in plan.taints}
        found = {(each["key"], each.get("value", ""), each["effect"]) for each in node["spec"]["taints"]}
        assert planned <= found
    master, worker = there(cluster, "master1"), there(cluster, "worker01")
    assert "node-role.kubernetes.io/control-plane" in master["metadata"]["labels"]
    assert worker["status"]["capacity"]["cpu"] == "4"
    assert worker["status"]["capacity"]["memory"] in ("16384Mi", "16Gi")


def test_operator_is_no_system_master(cluster: World, api: Api) -> None:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = api.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    user = answer["status"]["userInfo"]
    assert user["username"] == "kubepark-operator"
    assert "kubeadm:cluster-admins" in user["groups"]
    assert "system:masters" not in user["groups"]


def test_before_the_network_nodes_are_not_ready_and_what_does_not_bear_it_waits(
    cluster: World, api: Api
) -> None:
    for name in NODES:
        node = there(cluster, name)
        assert ready(node) == "False"
        words = next(each["message"] for each in node["status"]["conditions"] if each["type"] == "Ready")
        assert "cni plugin not initialized" in words
    spec = objects.pod_spec(nodeSelector={"kubernetes.io/hostname": "worker01"})
    early = objects.workload("Deployment", "early", "default", spec, 1)
    api.post("/apis/apps/v1/namespaces/default/deployments", early)
    until("kube-proxy runs", lambda: phases(api, "kube-system", "kube-proxy") == {"Running"})
    time.sleep(2)  # a pod that may start does so within one
    assert phases(api, "default", "early") == {"Pending"}
    assert phases(api, "kube-system", "coredns") == {"Pending"}


def test_an_installation_without_its_operator_changes_nothing_then_nodes_get_ready(
    cluster: World, api: Api
) -> None:
    install_calico(api)
    time.sleep(2.5)
    assert {ready(cluster.node(name)) for name in NODES} == {"False"}
    install_operator(api)
    until("all Ready", lambda: {ready(cluster.node(name)) for name in NODES} == {"True"})
    until("early runs", lambda: phases(api, "default", "early") == {"Running"})
    until("CoreDNS runs", lambda: phases(api, "kube-system", "coredns") == {"Running"})
    deployment = "/apis/apps/v1/namespaces/default/deployments/early"
    until("early available", lambda: api.get(deployment)["status"].get("availableReplicas") == 1)
    (pod,) = pods(api, "default", "early")
    assert pod["status"]["hostIP"] == cluster.plan("worker01").private_ip
    assert pod["status"]["podIP"].startswith("192.168.")
    api.delete(deployment)
    until("early gone", lambda: not pods(api, "default", "early"))


def test_a_pod_that_the_node_controller_called_not_ready_is_ready_again(cluster: World, api: Api) -> None:
    """It does so when it is late to see that a node is Ready; a kubelet then says it again."""
    installed(api)
    path = "/apis/apps/v1/namespaces/tigera-operator/deployments/tigera-operator"
    until("operator available", lambda: api.get(path)["status"].get("availableReplicas") == 1)
    (pod,) = pods(api, "tigera-operator", "tigera-operator")
    status = f"/api/v1/namespaces/tigera-operator/pods/{pod['metadata']['name']}/status"
    said = {"conditions": [{"type": "Ready", "status": "False"}]}
    patched = api.patch(status, {"status": said}, STRATEGIC)
    assert "False" in [each["status"] for each in patched["status"]["conditions"]]
    until("operator available again", lambda: api.get(path)["status"].get("availableReplicas") == 1)


def test_gpu_is_there_only_with_the_plugins_pod(cluster: World, api: Api) -> None:
    installed(api)
    assert gpus(cluster) is None
    api.post("/apis/batch/v1/namespaces/default/jobs", objects.gpu_job())
    time.sleep(1)
    assert phases(api, "default", "add") == {"Pending"}
    api.post("/apis/apps/v1/namespaces/kube-system/daemonsets", objects.device_plugin())
    until("GPU allocatable", lambda: gpus(cluster) == "1")
    assert {pod["spec"]["nodeName"] for pod in pods(api, "kube-system", "device-plugin")} == {"gpu01"}
    job = "/apis/batch/v1/namespaces/default/jobs/add"
    until("job complete", lambda: api.get(job)["status"].get("succeeded") == 1)
    assert {pod["spec"]["nodeName"] for pod in pods(api, "default", "add")} == {"gpu01"}
    daemons = "/apis/apps/v1/namespaces/kube-system/daemonsets/device-plugin"
    assert until("plugin ready", lambda: api.get(daemons)["status"]["numberReady"] == 1)
    api.delete(daemons)
    until("GPU gone", lambda: gpus(cluster) == "0")
    api.delete(job)


def test_stop_and_start_keep_identity(cluster: World, api: Api) -> None:
    installed(api)
    before, record = there(cluster, "worker01"), cluster.status("worker01")
    cluster.ec2.stop_instances(InstanceIds=[cluster.instances["worker01"]])
    until("not Ready", lambda: ready(cluster.node("worker01")) == "Unknown")
    cluster.ec2.start_instances(InstanceIds=[cluster.instances["worker01"]])
    until("new boot", lambda: cluster.status("worker01")["bootId"] != record["bootId"])
    cluster.reached("worker01", "joined")
    until("Ready again", lambda: ready(cluster.node("worker01")) == "True")
    after = there(cluster, "worker01")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["nodeInfo"]["bootID"] == cluster.status("worker01")["bootId"]


def test_replacement_has_a_new_node_of_the_same_name(cluster: World, api: Api) -> None:
    installed(api)
    before = there(cluster, "worker01")
    cluster.terminate("worker01")
    cluster.launch("worker01", generation=2)
    record = cluster.reached("worker01", "joined")
    after = there(cluster, "worker01")
    assert record["generation"] == 2
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["spec"]["providerID"].endswith(cluster.instances["worker01"])
    assert after["status"]["addresses"] == before["status"]["addresses"]
    until("Ready", lambda: ready(cluster.node("worker01")) == "True")


def test_master_writes_encrypted_secrets_and_an_audit_log(cluster: World, api: Api) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": objects.meta("planted")}
    secret |= {"stringData": {"k": "PlantedValue"}}
    api.post("/api/v1/namespaces/default/secrets", secret)
    disk = cluster.state_dir / "nodes" / cluster.instances["master1"]
    data = b"".join(path.read_bytes() for path in (disk / "root/var/lib/etcd").rglob("*") if path.is_file())
    assert b"k8s:enc:secretbox:v1:" in data
    assert b"PlantedValue" not in data
    assert b'"auditID"' in (disk / "root/var/log/kubernetes/audit/audit.log").read_bytes()
    api.delete("/api/v1/namespaces/default/secrets/planted")


def test_secrets_are_private_and_not_said(cluster: World) -> None:
    join = json.loads(cluster.parameter(cluster.naming.join_parameter))
    key = cluster.parameter(cluster.naming.encryption_key_parameter)
    disk = cluster.state_dir / "nodes" / cluster.instances["master1"]
    ca_key = (disk / "root/etc/kubernetes/pki/ca.key").read_text().splitlines()[1]
    secrets = [join["token"].split(".")[1], key, ca_key]
    logs = [path.read_text(errors="replace") for path in (cluster.state_dir / "logs").iterdir()]
    logs.append(cluster.log)
    arguments = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    records = [json.dumps(cluster.status(name)) for name in NODES]
    for text in (*logs, arguments, *records):
        assert not [secret for secret in secrets if secret in text]
    assert oct(disk.stat().st_mode & 0o777) == "0o700"
    for name in ("ca.key", "sa.key"):
        assert (disk / "root/etc/kubernetes/pki" / name).stat().st_mode & 0o077 == 0


def test_kill_of_the_boot_leaves_a_cluster_that_the_next_one_takes_over(cluster: World, api: Api) -> None:
    records = {name: cluster.status(name) for name in NODES}
    before = api.get("/api/v1/namespaces/kube-system")["metadata"]["uid"]
    cluster.stop_boot(signal.SIGKILL)
    assert api.get("/readyz") == "ok"
    state = processes(cluster)
    cluster.start_boot()
    time.sleep(3)
    assert processes(cluster)["etcd"] == state["etcd"]
    assert api.get("/api/v1/namespaces/kube-system")["metadata"]["uid"] == before
    assert {name: cluster.status(name) for name in NODES} == records


def test_sigterm_stops_every_process_and_a_start_brings_all_back(cluster: World, api: Api) -> None:
    # An earlier test may have stopped the master: what runs beside it comes back a moment later.
    until("every process", lambda: {"etcd", "kube-apiserver", "kwok"} <= set(processes(cluster)))
    state = processes(cluster)
    assert cluster.stop_boot() == 0
    assert [name for name, process in state.items() if is_alive(process["pid"])] == []
    records = {name: cluster.status(name) for name in NODES}
    cluster.start_boot()
    until("API back", lambda: cluster.node("master1"))
    assert {name: cluster.status(name) for name in NODES} == records


def test_crashed_component_comes_back_unless_held_down(cluster: World, api: Api) -> None:
    state = processes(cluster)
    cluster.fault(master1={"step": "kube-apiserver", "mode": "fail"})
    os.kill(state["kube-apiserver"]["pid"], signal.SIGKILL)
    time.sleep(4)
    assert cluster.node("master1") is None
    cluster.fault()
    until("API back", lambda: cluster.node("master1"))


def test_master_stop_and_start_keeps_the_cluster_and_publishes_anew(cluster: World, api: Api) -> None:
    before = api.get("/api/v1/namespaces/kube-system")["metadata"]["uid"]
    join = json.loads(cluster.parameter(cluster.naming.join_parameter))
    boot = cluster.status("master1")["bootId"]
    cluster.ec2.stop_instances(InstanceIds=[cluster.instances["master1"]])
    until("API away", lambda: cluster.node("master1") is None)
    cluster.ec2.start_instances(InstanceIds=[cluster.instances["master1"]])
    until("new boot", lambda: cluster.status("master1")["bootId"] != boot)
    cluster.reached("master1", "api-ready", 60)
    assert cluster.api().get("/api/v1/namespaces/kube-system")["metadata"]["uid"] == before
    fresh = json.loads(cluster.parameter(cluster.naming.join_parameter))
    assert fresh["token"] != join["token"]
    assert fresh["caCertHashes"] == join["caCertHashes"]


def test_terminated_master_takes_its_cluster_with_it(cluster: World) -> None:
    disk = cluster.state_dir / "nodes" / cluster.instances["master1"]
    ca = json.loads(cluster.parameter(cluster.naming.join_parameter))["caCertHashes"]
    cluster.terminate("master1")
    until("disk wiped", lambda: not disk.exists())
    assert processes(cluster) == {}
    cluster.launch("master1", generation=2)
    cluster.reached("master1", "api-ready", 60)
    assert json.loads(cluster.parameter(cluster.naming.join_parameter))["caCertHashes"] != ca


def test_kubectl_accepts_the_published_kubeconfig(cluster: World) -> None:
    cluster.api()
    kubectl = Path(sys.executable).with_name("kubectl")
    kubeconfig = cluster.state_dir / "operator.kubeconfig"
    command = [str(kubectl), "--kubeconfig", str(kubeconfig), "get", "nodes", "-o", "name"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "node/master1" in listed

"""`kubepark verify gpu` against a real API server. The test plays scheduler and kubelet."""

from __future__ import annotations

import threading
import time

import pytest

from cli.verify_gpu import verify_gpu
from components.incluster.gpu import plan_gpu
from sandbox.tests.program.apiserver import start_apiserver
from tests.unit import incluster_stack as stack

pytestmark = pytest.mark.sandbox

PODS = "/api/v1/namespaces/default/pods"
JOBS = "/apis/batch/v1/namespaces/default/jobs"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """One GPU node as it joins: label and taint, no GPU yet."""
    with start_apiserver(tmp_path_factory.mktemp("verify")) as server:
        runtime = plan_gpu(stack.settings())[0]
        server.api.request("POST", "/apis/node.k8s.io/v1/runtimeclasses", runtime)
        labels = {"accelerator": "nvidia-t4", "nvidia.com/gpu.present": "true"}
        taints = [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
        server.api.request(
            "POST",
            "/api/v1/nodes",
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": "gpu01", "labels": labels},
                "spec": {"taints": taints},
            },
        )
        wait_for(lambda: server.api.get("/api/v1/namespaces/default/serviceaccounts")["items"])
        yield server


@pytest.fixture
def gpus(cluster):
    """Sets what the node offers, as the kubelet does when the device plugin reports."""

    def offer(count):
        ready = [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ok"}]
        status = {"allocatable": {"nvidia.com/gpu": str(count)}, "conditions": ready}
        cluster.api.patch("/api/v1/nodes/gpu01/status", {"status": status})

    return offer


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError("it did not happen in time")


def run(cluster, timeout=3.0, **options):
    said: list[str] = []
    code = verify_gpu(cluster.kubeconfig, timeout=timeout, out=said.append, **options)
    wait_for(lambda: not cluster.api.get(JOBS)["items"])
    return code, said


def kubelet(cluster, phase):
    """Binds the Job's pod and ends it in `phase`."""

    def work():
        (pod,) = wait_for(lambda: cluster.api.get(PODS)["items"])
        name = pod["metadata"]["name"]
        target = {"apiVersion": "v1", "kind": "Node", "name": "gpu01"}
        cluster.api.request(
            "POST",
            f"{PODS}/{name}/binding",
            {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target},
        )
        cluster.api.patch(f"{PODS}/{name}/status", {"status": {"phase": phase}})

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_completed_pod_passes_and_the_job_is_gone(cluster, gpus):
    gpus(1)
    thread = kubelet(cluster, "Succeeded")
    code, said = run(cluster, timeout=20.0)
    thread.join()
    assert code == 0, said
    assert (
        said[-2] == "passed: the pod completed on node gpu01 (its log is not served here and was not checked)"
    )
    assert any(line.startswith("  SuccessfulCreate: Created pod: cuda-vector-add-") for line in said)
    assert said[-1].endswith(" deleted")


def test_a_failed_pod_fails(cluster, gpus):
    gpus(1)
    thread = kubelet(cluster, "Failed")
    code, said = run(cluster, timeout=20.0)
    thread.join()
    assert code == 1
    assert (
        said[-2]
        == "FAILED: the Job ended as Failed: Job has reached the specified backoff limit on node gpu01"
    )


def test_without_device_plugin_it_stays_pending_and_says_why(cluster, gpus):
    gpus(0)
    code, said = run(cluster)
    reason = (
        "node gpu01 offers no nvidia.com/gpu: the DaemonSet nvidia-device-plugin is missing "
        "(kubepark up registers it)"
    )
    assert code == 1
    assert said[-3:-1] == ["FAILED: after 3 s the Job is Pending", f"  because {reason}"]
    assert f"  waiting: {reason}" in said


def test_without_toleration_it_stays_pending_and_says_why(cluster, gpus):
    gpus(1)
    code, said = run(cluster, tolerate=False)
    assert code == 1
    assert said[-2] == (
        "  because node gpu01 has the taint nvidia.com/gpu=present:NoSchedule, "
        "and the pod has no toleration for it"
    )


def test_with_another_label_it_stays_pending_and_says_why(cluster, gpus):
    gpus(1)
    code, said = run(cluster, accelerator="nvidia-l4")
    assert code == 1
    assert said[-2] == (
        "  because the pod wants a node with accelerator=nvidia-l4; GPU node gpu01 has accelerator=nvidia-t4"
    )


def test_without_runtime_class_the_servers_words_are_shown(cluster, gpus):
    gpus(1)
    path = "/apis/node.k8s.io/v1/runtimeclasses"
    runtime = cluster.api.get(f"{path}/nvidia")
    cluster.api.request("DELETE", f"{path}/nvidia")
    try:
        code, said = run(cluster, timeout=5.0)
    finally:
        again = {key: runtime[key] for key in ("apiVersion", "kind", "handler")}
        cluster.api.post(path, again | {"metadata": {"name": "nvidia"}})
    assert code == 1
    assert "FAILED: after 5 s the Job is without a pod" in said
    assert any('RuntimeClass "nvidia" not found' in line for line in said), said


def test_an_interrupt_deletes_the_job(cluster, gpus):
    gpus(1)
    said: list[str] = []

    def out(line):
        said.append(line)
        if line.startswith("  "):
            raise KeyboardInterrupt

    assert verify_gpu(cluster.kubeconfig, timeout=20, out=out) == 1
    assert said[-1] == "interrupted"
    wait_for(lambda: not cluster.api.get(JOBS)["items"])
    wait_for(lambda: not cluster.api.get(PODS)["items"])


def test_without_a_gpu_node_no_job_is_made(cluster):
    cluster.api.patch("/api/v1/nodes/gpu01", {"metadata": {"labels": {"accelerator": None}}})
    try:
        code, said = run(cluster)
    finally:
        cluster.api.patch("/api/v1/nodes/gpu01", {"metadata": {"labels": {"accelerator": "nvidia-t4"}}})
    assert code == 1
    assert said == ["no node has the label accelerator: gpu.power is absent, or no GPU node has joined"]

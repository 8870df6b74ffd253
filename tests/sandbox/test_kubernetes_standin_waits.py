"""What the Kubernetes stand-in waits for, what it says when it waits in vain, and how it deletes."""

from __future__ import annotations

import socket
import threading
import time

import pytest
import yaml

from sandbox.providers.backend import PartialCreate, ProviderError
from sandbox.providers.kubernetes.backend import KubernetesBackend
from tests.sandbox.kubernetes_verbs import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    NAMESPACE,
    config_map,
    configured,
    create,
    delete,
    deployment,
    read,
    wait_for,
)

pytestmark = pytest.mark.sandbox
pytest_plugins = ("tests.sandbox.apiserver", "tests.sandbox.kubernetes_fixtures")


# -- waiting ---------------------------------------------------------------------------------------


def quota(apiserver, namespace, **hard):
    body = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}}
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    apiserver.request("POST", path, body)
    wait_for(lambda: apiserver.request("GET", f"{path}/q").get("status", {}).get("hard"))


def play_kubelet(apiserver, namespace, **status):
    """Report every pod of the namespace as running and ready, or with the `status` given."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    for pod in wait_for(lambda: apiserver.request("GET", pods)["items"]):
        path = f"{pods}/{pod['metadata']['name']}/status"
        apiserver.edit(path, {"status": status or {"phase": "Running", "conditions": [ready]}})


def test_a_deployment_is_ready_when_its_rollout_is_complete(apiserver, backend, namespace):
    kubelet = threading.Timer(0.5, play_kubelet, [apiserver, namespace])
    kubelet.start()
    made = create(backend, DEPLOYMENT, deployment(namespace))
    kubelet.join()
    assert made.outputs["status"]["availableReplicas"] == 1


def test_a_deployment_that_does_not_get_ready_exists_and_says_why(apiserver, backend, namespace):
    quota(apiserver, namespace, pods="0")
    with pytest.raises(PartialCreate) as partial:
        create(backend, DEPLOYMENT, deployment(namespace), timeout=3)
    assert partial.value.id == f"{namespace}/d"
    assert partial.value.outputs["metadata"]["uid"]
    words = " ".join(partial.value.reasons)
    assert "not ready after 3 s" in words
    assert "exceeded quota: q" in words
    with pytest.raises(PartialCreate, match="exceeded quota: q"):
        read(backend, DEPLOYMENT, f"{namespace}/d", deployment(namespace), partial.value.outputs)


def test_a_container_that_cannot_start_is_quoted(apiserver, backend, namespace):
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    status = {"name": "main", "image": "", "imageID": "", "ready": False, "restartCount": 0}
    broken = {"phase": "Pending", "containerStatuses": [{**status, "state": {"waiting": waiting}}]}
    kubelet = threading.Timer(0.5, play_kubelet, [apiserver, namespace], broken)
    kubelet.start()
    with pytest.raises(PartialCreate, match=r"container main waiting: \[ImagePullBackOff\] no such image"):
        create(backend, DEPLOYMENT, deployment(namespace, annotations={"pulumi.com/timeoutSeconds": "4"}))
    kubelet.join()


def test_a_service_without_pods_is_ready_once_its_endpoints_are_computed(apiserver, backend, namespace):
    spec = {"selector": {"app": "none"}, "ports": [{"port": 80}]}
    meta = {"name": "s", "namespace": namespace}
    inputs = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
    create(backend, "kubernetes:core/v1:Service", inputs, timeout=20)
    slices = apiserver.request("GET", f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")
    assert len(slices["items"]) == 1


def test_skip_await_does_not_wait(backend, namespace):
    annotations = {"pulumi.com/skipAwait": "true"}
    started = time.monotonic()
    create(backend, DEPLOYMENT, deployment(namespace, annotations=annotations))
    assert time.monotonic() - started < 3


def test_cancel_ends_a_wait_and_the_object_stays_known(apiserver, namespace):
    backend = configured(apiserver)
    threading.Timer(1.0, backend.cancel).start()
    started = time.monotonic()
    with pytest.raises(PartialCreate, match="the wait was cancelled"):
        create(backend, DEPLOYMENT, deployment(namespace))
    assert time.monotonic() - started < 5


def test_a_job_is_waited_for_until_it_has_completed(apiserver, backend, namespace):
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example.invalid/main:1"}]}
    inputs = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j", "namespace": namespace},
        "spec": {"template": {"spec": pod}, "backoffLimit": 0},
    }
    kubelet = threading.Timer(0.5, play_kubelet, [apiserver, namespace], {"phase": "Failed"})
    kubelet.start()
    with pytest.raises(PartialCreate, match="BackoffLimitExceeded"):
        create(backend, JOB, inputs, timeout=30)
    kubelet.join()
    delete(backend, JOB, f"{namespace}/j")
    kubelet = threading.Timer(0.5, play_kubelet, [apiserver, namespace], {"phase": "Succeeded"})
    kubelet.start()
    assert create(backend, JOB, inputs, timeout=30).outputs["status"]["succeeded"] == 1
    kubelet.join()


# -- delete ----------------------------------------------------------------------------------------


def test_delete_waits_until_the_dependents_are_gone(apiserver, backend, namespace):
    create(backend, DEPLOYMENT, deployment(namespace, annotations={"pulumi.com/skipAwait": "true"}))
    wait_for(lambda: apiserver.request("GET", f"/api/v1/namespaces/{namespace}/pods")["items"])
    delete(backend, DEPLOYMENT, f"{namespace}/d", deployment(namespace))
    assert apiserver.request("GET", f"/apis/apps/v1/namespaces/{namespace}/replicasets")["items"] == []
    delete(backend, DEPLOYMENT, f"{namespace}/d")  # gone already


def test_a_deletion_that_hangs_names_what_it_waits_for(apiserver, backend, namespace):
    inputs = config_map(namespace)
    inputs["metadata"]["finalizers"] = ["example.com/hold"]
    create(backend, CONFIG_MAP, inputs)
    with pytest.raises(ProviderError, match=r"after 1 s; waiting for the finalizers example.com/hold"):
        delete(backend, CONFIG_MAP, f"{namespace}/c", inputs, timeout=1)
    typ, id = NAMESPACE, namespace
    with pytest.raises(ProviderError, match="SomeFinalizersRemain"):
        delete(backend, typ, id, timeout=8)
    apiserver.edit(f"/api/v1/namespaces/{namespace}/configmaps/c", {"metadata": {"finalizers": None}})
    delete(backend, typ, id)
    assert read(backend, typ, id) is None


# -- unreachable -----------------------------------------------------------------------------------


def elsewhere(apiserver, port, **variables):
    document = yaml.safe_load(apiserver.text)
    document["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
    backend = KubernetesBackend()
    backend.configure({"kubeconfig": yaml.safe_dump(document), **variables})
    return backend


@pytest.fixture(params=["refusing", "silent"])
def dead_port(request):
    """A port where nothing listens, or where something accepts and never speaks."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if request.param == "silent":
            listener.listen(16)
        yield listener.getsockname()[1]


def test_an_unreachable_cluster_is_said_at_once(apiserver, dead_port, monkeypatch):
    monkeypatch.delenv("PULUMI_K8S_DELETE_UNREACHABLE", raising=False)
    backend = elsewhere(apiserver, dead_port)
    inputs = config_map("n")
    started = time.monotonic()
    assert create(backend, CONFIG_MAP, inputs, preview=True).outputs is inputs
    with pytest.raises(ProviderError, match=r"^configured Kubernetes cluster is unreachable: "):
        create(backend, CONFIG_MAP, inputs)
    for call in (read, delete):
        with pytest.raises(ProviderError, match=r"unreachable: .*PULUMI_K8S_DELETE_UNREACHABLE=true"):
            call(backend, CONFIG_MAP, "n/c", inputs)
    assert time.monotonic() - started < 8


def test_delete_unreachable_forgets_the_objects(apiserver, dead_port):
    backend = elsewhere(apiserver, dead_port, deleteUnreachable="true")
    assert read(backend, CONFIG_MAP, "n/c", config_map("n")) is None
    delete(backend, CONFIG_MAP, "n/c")

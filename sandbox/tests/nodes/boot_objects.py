"""Kubernetes objects that tests of the simulated nodes create, as small as the API accepts them."""

from __future__ import annotations

from typing import Any

PLUGIN_FOLDER = "/var/lib/kubelet/device-plugins"
Manifest = dict[str, Any]


def meta(name: str, namespace: str | None = None) -> Manifest:
    return {"name": name, **({"namespace": namespace} if namespace else {})}


def pod_spec(**extra: Any) -> Manifest:
    return {"containers": [{"name": "main", "image": "registry.example/main:1"}], **extra}


def workload(kind: str, name: str, space: str, spec: Manifest, count: int | None = None) -> Manifest:
    """A Deployment or a DaemonSet."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": spec}
    body: Manifest = {"selector": {"matchLabels": labels}, "template": template}
    if count is not None:
        body["replicas"] = count
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": meta(name, space), "spec": body}


def device_plugin(spec: Manifest | None = None) -> Manifest:
    """A DaemonSet that brings a device plugin to every node with a GPU."""
    chosen = {
        "nodeSelector": {"nvidia.com/gpu.present": "true"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    }
    volumes = [{"name": "plugins", "hostPath": {"path": PLUGIN_FOLDER}}]
    pod = pod_spec(volumes=volumes, **(spec or chosen))
    return workload("DaemonSet", "device-plugin", "kube-system", pod)


def gpu_job() -> Manifest:
    amount = {"nvidia.com/gpu": "1"}
    resources = {"requests": amount, "limits": amount}
    container = {"name": "add", "image": "registry.example/add:1", "resources": resources}
    spec = {
        "restartPolicy": "Never",
        "nodeSelector": {"accelerator": "nvidia-t4"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "containers": [container],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta("add", "default"),
        "spec": {"template": {"spec": spec}},
    }

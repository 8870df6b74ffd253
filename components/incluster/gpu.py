"""What makes a GPU usable by pods: a RuntimeClass and NVIDIA's device plugin, on GPU nodes only.

The node itself comes with driver, container toolkit, taint and labels (userdata). The plugin's pod is
what turns the card into the allocatable resource `nvidia.com/gpu`.
"""

from __future__ import annotations

import hashlib
from typing import Any

import yaml

from components.incluster.objects import Object, make
from config.model import Settings
from config.naming import CHECKSUM, DEVICE_PLUGIN, GPU_LABEL, GPU_RESOURCE, RUNTIME_CLASS
from config.versions import DEVICE_PLUGIN_IMAGE

NAMESPACE = "kube-system"  # system-node-critical is allowed here without a quota of its own
# The nodes' taint, whatever its effect: the plugin must stay when a node is drained of GPU pods.
TOLERATION = {"key": GPU_RESOURCE, "operator": "Exists"}
NODE_SELECTOR = {GPU_LABEL: "true"}

_PLUGIN_DIR = "/var/lib/kubelet/device-plugins"
_CONFIG_DIR = f"/etc/{DEVICE_PLUGIN}"
_CONFIG_KEY = "config.yaml"
_LABELS = {"app.kubernetes.io/name": DEVICE_PLUGIN}


def plan_gpu(settings: Settings) -> tuple[Object, ...]:
    """Nothing without a GPU node (`gpu.power: absent`); else RuntimeClass, plugin and its configuration."""
    if not settings.gpu.nodes:
        return ()
    runtime_class = make("node.k8s.io/v1", "RuntimeClass", RUNTIME_CLASS, handler=RUNTIME_CLASS)
    config = sharing_config(settings.gpu.time_slicing_replicas)
    shared = () if config is None else (_object("v1", "ConfigMap", data={_CONFIG_KEY: config}),)
    return (runtime_class, *shared, _daemon_set(config))


def sharing_config(replicas: int) -> str | None:
    """The plugin's configuration for `replicas` pods per card; None when a card serves one pod.

    A pod may ask for one slice only: more would not give it more of the card.
    """
    if replicas == 1:
        return None
    return yaml.safe_dump(
        {
            "version": "v1",
            "sharing": {
                "timeSlicing": {
                    "renameByDefault": False,
                    "failRequestsGreaterThanOne": True,
                    "resources": [{"name": GPU_RESOURCE, "replicas": replicas}],
                }
            },
        },
        sort_keys=False,
    )


def _object(version: str, kind: str, **fields: Any) -> Object:
    return make(version, kind, DEVICE_PLUGIN, NAMESPACE, labels=_LABELS, **fields)


def _daemon_set(config: str | None) -> Object:
    container, volumes = _container(), [_host_path()]
    metadata: dict[str, Any] = {"labels": dict(_LABELS)}
    if config is not None:
        container["env"].append({"name": "CONFIG_FILE", "value": f"{_CONFIG_DIR}/{_CONFIG_KEY}"})
        container["volumeMounts"].append({"name": "config", "mountPath": _CONFIG_DIR, "readOnly": True})
        volumes.append({"name": "config", "configMap": {"name": DEVICE_PLUGIN}})
        # The plugin reads its configuration once: another one needs another pod.
        metadata["annotations"] = {CHECKSUM: hashlib.sha256(config.encode()).hexdigest()}
    return _object(
        "apps/v1",
        "DaemonSet",
        # Its end does not wait for its pods: one on a node that is parked would not end in ten minutes.
        annotations={"pulumi.com/deletionPropagationPolicy": "background"},
        spec={
            "selector": {"matchLabels": dict(_LABELS)},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "template": {
                "metadata": metadata,
                "spec": {
                    "automountServiceAccountToken": False,
                    "priorityClassName": "system-node-critical",
                    "runtimeClassName": RUNTIME_CLASS,
                    "nodeSelector": dict(NODE_SELECTOR),
                    "tolerations": [dict(TOLERATION)],
                    "containers": [container],
                    "volumes": volumes,
                },
            },
        },
    )


def _container() -> dict[str, Any]:
    return {
        "name": DEVICE_PLUGIN,
        "image": DEVICE_PLUGIN_IMAGE,
        # Runs where there is a card; without one it has to fail loudly, not to idle.
        "env": [{"name": "FAIL_ON_INIT_ERROR", "value": "true"}],
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"memory": "256Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "device-plugins", "mountPath": _PLUGIN_DIR}],
    }


def _host_path() -> dict[str, Any]:
    return {"name": "device-plugins", "hostPath": {"path": _PLUGIN_DIR}}

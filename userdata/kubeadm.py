"""The kubeadm documents of a node, with placeholders for what only the running machine knows.

The node fills `@NAME@` from its metadata service and, when it joins, from the join record
(`node/fill.py`). Field names: kubeadm.k8s.io/v1beta4 and kubelet.config.k8s.io/v1beta1.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import yaml

from config.model import NodePlan, Settings, Taint
from config.naming import API_PORT, INSTANCE_TYPE_LABEL, REGION_LABEL, ZONE_LABEL, Naming

AUDIT_POLICY = "/etc/kubernetes/audit-policy.yaml"
AUDIT_LOG_DIR = "/var/log/kubernetes/audit"
ENCRYPTION_DIR = "/etc/kubernetes/enc"

# What the kubelet registers besides the plan's own labels. The AWS cloud controller would set the
# same ones; without it they come from the metadata service.
_TOPOLOGY_LABELS = {
    INSTANCE_TYPE_LABEL: "@INSTANCE_TYPE@",
    REGION_LABEL: "@REGION@",
    ZONE_LABEL: "@AVAILABILITY_ZONE@",
}


def init_template(node: NodePlan, settings: Settings) -> str:
    """Documents for `kubeadm init` on the master."""
    api = f"kubeadm.k8s.io/{settings.release.kubeadm_api}"
    init = {
        "apiVersion": api,
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": "@PRIVATE_IP@", "bindPort": API_PORT},
        "nodeRegistration": _registration(node),
        # It would print a join command with a live token into the log.
        "skipPhases": ["show-join-command"],
    }
    return _documents(init, {"apiVersion": api, **_cluster(settings)}, _kubelet())


def join_template(node: NodePlan, settings: Settings) -> str:
    """Document for `kubeadm join`; the CA hash is pinned, always."""
    return _documents(
        {
            "apiVersion": f"kubeadm.k8s.io/{settings.release.kubeadm_api}",
            "kind": "JoinConfiguration",
            "discovery": {
                "bootstrapToken": {
                    "apiServerEndpoint": "@JOIN_ENDPOINT@",
                    "token": "@JOIN_TOKEN@",
                    "caCertHashes": ["@JOIN_CA_HASH@"],
                }
            },
            "nodeRegistration": _registration(node),
            "timeouts": {"discovery": "2m0s"},  # the step fetches a newer record and tries again
        }
    )


def _documents(*documents: dict[str, Any]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False, width=1000)


def _arguments(**values: str) -> list[dict[str, str]]:
    return [{"name": name.replace("_", "-"), "value": value} for name, value in values.items()]


def _registration(node: NodePlan) -> dict[str, Any]:
    labels = ",".join(f"{key}={value}" for key, value in sorted({**node.labels, **_TOPOLOGY_LABELS}.items()))
    return {
        "name": node.name,
        "criSocket": "unix:///run/containerd/containerd.sock",
        "taints": [_taint(taint) for taint in node.taints],
        "kubeletExtraArgs": _arguments(
            hostname_override=node.name,
            node_ip="@PRIVATE_IP@",
            provider_id="@PROVIDER_ID@",
            node_labels=labels,
        ),
    }


def _taint(taint: Taint) -> dict[str, str]:
    named = {"key": taint.key, "effect": taint.effect}
    return {**named, "value": taint.value} if taint.value else named


def _cluster(settings: Settings) -> dict[str, Any]:
    api_name = Naming(settings.cluster).api_name
    # Every name under which someone may reach the API: nodes, operators, tunnels.
    names = [api_name, "@PRIVATE_IP@", "@PUBLIC_IP@", "localhost", "127.0.0.1"]
    outside = urlsplit(settings.control_plane.api_endpoint or "").hostname
    if outside and outside not in names:
        names.append(outside)
    return {
        "kind": "ClusterConfiguration",
        "clusterName": settings.cluster,
        "kubernetesVersion": f"v{settings.release.kubernetes}",
        "controlPlaneEndpoint": f"{api_name}:{API_PORT}",
        # An RSA kubeconfig has 5.6 KB; a standard parameter holds 4,096 characters.
        "encryptionAlgorithm": "ECDSA-P256",
        "networking": {
            "podSubnet": str(settings.network.pod_cidr),
            "serviceSubnet": str(settings.network.service_cidr),
        },
        "apiServer": {
            "certSANs": names,
            "extraArgs": _arguments(
                audit_log_maxage="30",
                audit_log_maxbackup="10",
                audit_log_maxsize="100",
                audit_log_path=f"{AUDIT_LOG_DIR}/audit.log",
                audit_policy_file=AUDIT_POLICY,
                encryption_provider_config=f"{ENCRYPTION_DIR}/encryption.yaml",
            ),
            "extraVolumes": [
                _volume("audit-policy", AUDIT_POLICY, "File", read_only=True),
                _volume("audit-log", AUDIT_LOG_DIR, "DirectoryOrCreate", read_only=False),
                _volume("encryption", ENCRYPTION_DIR, "Directory", read_only=True),
            ],
        },
    }


def _volume(name: str, path: str, kind: str, *, read_only: bool) -> dict[str, Any]:
    return {"name": name, "hostPath": path, "mountPath": path, "pathType": kind, "readOnly": read_only}


def _kubelet() -> dict[str, Any]:
    """The settings of every kubelet; nodes that join read them from the cluster.

    `serverTLSBootstrap` stays off: kubeadm approves no serving certificate, and `kubectl logs` and
    `exec` would fail until somebody did.
    """
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "systemd",
        "containerLogMaxFiles": 3,
        "containerLogMaxSize": "100Mi",
        "protectKernelDefaults": True,
        "rotateCertificates": True,
        "serverTLSBootstrap": False,
        "shutdownGracePeriod": "45s",
        "shutdownGracePeriodCriticalPods": "30s",
    }

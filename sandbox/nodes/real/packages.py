"""The packages that a node can install: programs built from pinned sources, and what goes with them.

Names and paths are those of the Debian packages; versions are patterns made from what was built, so a
row that asks for another version is refused as apt would refuse it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from sandbox.nodes.standins.kernel import KERNELS, MODULES
from sandbox.nodes.standins.table import HOME, NVIDIA_SMI

BINARIES = "/opt/kubepark"
ARCHIVE = "archive.ubuntu.com"
DOCKER, KUBERNETES, NVIDIA = "download.docker.com", "pkgs.k8s.io", "nvidia.github.io"
# What follows the host where a repository is configured. Kubernetes has one repository for each minor.
_SOURCES = {
    ARCHIVE: "",
    DOCKER: "/linux/ubuntu * stable",
    KUBERNETES: "/core:/stable:/v{minor}/deb/ /",
    NVIDIA: "/libnvidia-container/stable/deb/$(ARCH) /",
}
PLUGINS = ("bridge", "host-local", "loopback", "portmap")
PROGRAMS = (
    *("containerd", "containerd-shim-runc-v2", "ctr", "runc", "crictl", "nvidia-container-runtime"),
    *("kubelet", "kubeadm", "kubectl", *PLUGINS),
)
VERSIONS = "versions.json"  # in the folder of binaries: module -> version, as built
_KUBELET_CONFIG = f"{HOME}/kubelet.conf.d"
# A host with cgroup v1 is refused before anything starts; the kubelet is told to bear it (below).
_KUBEADM = f"""\
#!/bin/sh
case "$1 $2" in
"init --config" | "join --config") set -- "$@" --ignore-preflight-errors=SystemVerification ;;
esac
exec {BINARIES}/kubeadm "$@"
"""
_PKI = "/etc/kubernetes"
_CONTAINERD_CONFIG = f"{HOME}/containerd.toml"

# The daemon runs with the node's configuration and, after it, what a sandbox needs; everything else
# (`containerd config dump`) sees the node's alone.
_CONTAINERD = f"""\
#!/bin/sh
if [ $# -gt 0 ]; then exec {BINARIES}/containerd "$@"; fi
exec {BINARIES}/containerd --config {_CONTAINERD_CONFIG}
"""
_CONTAINERD_OVERRIDES = """\
version = 3
imports = ["/etc/containerd/config.toml", "/etc/containerd/conf.d/*.toml", "{overrides}"]
"""
_CONTAINERD_SANDBOX = """\
version = 3

[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = false
"""
_CONTAINERD_NVIDIA = """\

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia.options]
BinaryName = "/usr/bin/nvidia-container-runtime"
SystemdCgroup = false
"""
_CONTAINERD_UNIT = """\
[Unit]
Description=containerd container runtime
After=network.target

[Service]
Type=notify
ExecStart=/usr/bin/containerd
KillMode=process
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
"""
_KUBELET_UNIT = """\
[Unit]
Description=kubelet
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
RestartSec=10

[Install]
WantedBy=multi-user.target
"""
_KUBELET_DROPIN = f"""\
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig={_PKI}/bootstrap-kubelet.conf \
  --kubeconfig={_PKI}/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml --config-dir={_KUBELET_CONFIG}"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS \
  $KUBELET_EXTRA_ARGS
"""
# There is no systemd to ask for cgroups or for a delayed shutdown; a host may have cgroup v1; the disk
# under an overlay is the host's and cannot be measured by the kubelet.
_KUBELET_SANDBOX = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
failCgroupV1: false
localStorageCapacityIsolation: false
shutdownGracePeriod: 0s
shutdownGracePeriodCriticalPods: 0s
evictionHard:
  memory.available: "0%"
  nodefs.available: "0%"
  nodefs.inodesFree: "0%"
  imagefs.available: "0%"
  imagefs.inodesFree: "0%"
"""


def packages(binaries: Path) -> dict[str, Any]:
    """Name (or pattern) -> version pattern, host, links and files (see nodes/standins/packages.py)."""
    built = json.loads((binaries / VERSIONS).read_text(encoding="utf-8"))
    kubernetes, containerd = (f"{built[name].removeprefix('v')}-*" for name in ("kubernetes", "containerd"))
    found = {name: _package(ARCHIVE) for name in ("ca-certificates", "curl", "iptables", "openssl")}
    found |= {name: _package(ARCHIVE) for name in ("conntrack", "socat", "ebtables", "ethtool")}
    found["containerd.io"] = _package(
        DOCKER,
        containerd,
        links={f"/usr/bin/{name}": name for name in ("containerd-shim-runc-v2", "ctr", "runc")},
        text={
            "/usr/bin/containerd": _CONTAINERD,
            _CONTAINERD_CONFIG: _CONTAINERD_OVERRIDES.format(overrides=f"{HOME}/containerd-sandbox.toml"),
            f"{HOME}/containerd-sandbox.toml": _CONTAINERD_SANDBOX,
            f"{HOME}/units/containerd.service": _CONTAINERD_UNIT,
        },
    )
    found["kubelet"] = _package(
        KUBERNETES,
        kubernetes,
        links={"/usr/bin/kubelet": "kubelet"},
        text={
            f"{HOME}/units/kubelet.service": _KUBELET_UNIT,
            f"{HOME}/units/kubelet.service.d/10-kubeadm.conf": _KUBELET_DROPIN,
            f"{_KUBELET_CONFIG}/10-sandbox.conf": _KUBELET_SANDBOX,
        },
    )
    found["kubeadm"] = _package(KUBERNETES, kubernetes, text={"/usr/bin/kubeadm": _KUBEADM})
    found["kubectl"] = _package(KUBERNETES, kubernetes, links={"/usr/bin/kubectl": "kubectl"})
    found["cri-tools"] = _package(KUBERNETES, links={"/usr/bin/crictl": "crictl"})
    found["kubernetes-cni"] = _package(KUBERNETES, links={f"/opt/cni/bin/{name}": name for name in PLUGINS})
    found |= _nvidia()
    minor = built["kubernetes"].removeprefix("v").rpartition(".")[0]
    for package in found.values():
        package["source"] = _SOURCES[package["host"]].format(minor=minor)
    return found


def _nvidia() -> dict[str, Any]:
    """Kernel, module and user space, at the newest that the archive has: the host's own kernel.

    Source of the names: Canonical's restricted modules (linux-restricted-modules-aws), and of those that
    are only mentioned: the Provides of nvidia-utils, which `dpkg -l` shows as not installed.
    """
    kernel = os.uname().release
    module = {f"{MODULES}/{kernel}/nvidia.ko": "a stand-in\n"}
    image = {**_package(ARCHIVE, kernel, text={f"{KERNELS}/{kernel}": "a stand-in\n"}), "image": True}
    smi = f"{HOME}/sandbox/nodes/standins/{NVIDIA_SMI.script}"
    toolkit = _package(
        NVIDIA,
        links={"/usr/bin/nvidia-container-runtime": "nvidia-container-runtime"},
        text={f"{HOME}/containerd-sandbox.toml": _CONTAINERD_SANDBOX + _CONTAINERD_NVIDIA},
    )
    return {
        "linux-aws": {**_package(ARCHIVE, kernel), "image": True},
        "linux-headers-aws": {**_package(ARCHIVE, kernel), "image": True},
        "linux-image-aws": image,
        "linux-modules-nvidia-580-server-open-aws": _package(ARCHIVE, kernel, text=module),
        "nvidia-headless-no-dkms-*-server-open": _package(ARCHIVE),
        "nvidia-utils-*-server": {
            **_package(ARCHIVE),
            "links": {"/usr/bin/nvidia-smi": smi},
            "mentions": ["nvidia-smi", "nvidia-utils"],
        },
        "nvidia-container-toolkit": toolkit,
        "nvidia-container-toolkit-base": _package(NVIDIA),
        "libnvidia-container-tools": _package(NVIDIA),
        "libnvidia-container1": _package(NVIDIA),
    }


def _package(
    host: str,
    version: str = "*",
    *,
    links: dict[str, str] | None = None,
    text: dict[str, str] | None = None,
) -> dict[str, Any]:
    """`links`: path in the machine -> name of a program that was built."""
    programs = {path: f"{BINARIES}/{name}" for path, name in (links or {}).items()}
    return {"version": version, "host": host, "links": programs, "text": text or {}}

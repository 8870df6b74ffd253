"""The packages that the sandbox makes: programs built from pinned sources, and what goes with them.

Names, paths, dependencies and the hosts that they come from are those of the real packages, and so are the
versions' forms. What is in them is ours.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.nodes.standins.table import HOME, script

BINARIES = "/opt/kubepark"  # where every machine has the programs that its packages link to
CODENAME = "noble"
PLUGINS = ("bridge", "host-local", "loopback", "portmap")
_RUNTIME = ("containerd", "containerd-shim-runc-v2", "ctr", "runc")
PROGRAMS = (*_RUNTIME, "crictl", "nvidia-container-runtime", "kubelet", "kubeadm", "kubectl", *PLUGINS)
VERSIONS = "versions.json"  # in the folder of binaries: module -> version, as built
# What follows a program's own version in its package's, where the real repositories have it.
KUBERNETES_REVISION, CONTAINERD_REVISION = "-1.1", "-1~ubuntu.24.04~noble"
NVIDIA_TOOLKIT = "1.20.1-1"
NVIDIA_BRANCH = "580-server"
KERNEL_MODULES = f"{HOME}/modules.d"  # by release: a file for each module of a package


@dataclass(frozen=True)
class Repository:
    """An apt repository at `path` of `host`. Without a suite it is flat. `key`: the path of its key."""

    host: str
    path: str
    suite: str = ""
    component: str = ""
    key: str = ""


KUBERNETES_HOST = "pkgs.k8s.io"
ARCHIVE = Repository("archive.ubuntu.com", "/ubuntu", CODENAME, "main")
DOCKER = Repository("download.docker.com", "/linux/ubuntu", CODENAME, "stable", "/linux/ubuntu/gpg")
NVIDIA = Repository(
    "nvidia.github.io", "/libnvidia-container/stable/deb/amd64", key="/libnvidia-container/gpgkey"
)
# Hosts whose own packages machines can have; NVIDIA's toolkit would look for a driver.
UPSTREAM_HOSTS = (DOCKER.host, KUBERNETES_HOST)


@dataclass(frozen=True)
class Package:
    """`links`: path in the machine -> name of a program that was built. `conffiles` are among `files`."""

    name: str
    version: str
    repository: Repository
    relations: Mapping[str, str] = field(default_factory=dict)  # Depends, Conflicts...
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    conffiles: tuple[str, ...] = ()
    configure: str = ""  # what the package does once it is unpacked, in sh


# Source: the units and defaults of the packages themselves, as far as they matter to a node.
_CONTAINERD_UNIT = """\
[Unit]
Description=containerd container runtime
After=network.target local-fs.target

[Service]
ExecStart=/usr/bin/containerd
Type=notify
Delegate=yes
KillMode=process
Restart=always
RestartSec=5
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
OOMScoreAdjust=-999

[Install]
WantedBy=multi-user.target
"""
_KUBELET_UNIT = """\
[Unit]
Description=kubelet: The Kubernetes Node Agent
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always
StartLimitInterval=0
RestartSec=10

[Install]
WantedBy=multi-user.target
"""
_PKI = "/etc/kubernetes"
_KUBELET_DROPIN = f"""\
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig={_PKI}/bootstrap-kubelet.conf \
--kubeconfig={_PKI}/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS \
    $KUBELET_EXTRA_ARGS
"""
_STARTS = """\
deb-systemd-helper enable {0}
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  systemctl start {0}
fi
"""
_RELOADS = "if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi\n"


def packages(binaries: Path) -> list[Package]:
    """All of them, with the versions of the programs in the folder."""
    built = json.loads((binaries / VERSIONS).read_text(encoding="utf-8"))
    return [_containerd(built["containerd"]), *_kubernetes(built["kubernetes"]), *_nvidia(os.uname().release)]


def repositories(made: Iterable[Package]) -> list[Repository]:
    """Those that have packages, the archive first: it is there without any."""
    return list(dict.fromkeys([ARCHIVE, *(each.repository for each in made)]))


def _in(folder: str, names: Iterable[str]) -> dict[str, str]:
    return {f"{folder}/{name}": name for name in names}


def _containerd(version: str) -> Package:
    config = "/etc/containerd/config.toml"
    unit = "containerd.service"
    return Package(
        "containerd.io",
        version.removeprefix("v") + CONTAINERD_REVISION,
        DOCKER,
        files={f"/usr/lib/systemd/system/{unit}": _CONTAINERD_UNIT, config: 'disabled_plugins = ["cri"]\n'},
        links=_in("/usr/bin", _RUNTIME),
        conffiles=(config,),
        configure=_STARTS.format(unit),
    )


def _kubernetes(version: str) -> list[Package]:
    release = version.removeprefix("v")
    where = f"/core:/stable:/v{release.rpartition('.')[0]}/deb"
    here = Repository(KUBERNETES_HOST, where, key=f"{where}/Release.key")
    package = release + KUBERNETES_REVISION
    unit = "/usr/lib/systemd/system/kubelet.service"
    needs = "conntrack, ebtables, ethtool, iptables, iproute2, mount, util-linux, kubernetes-cni"
    return [
        Package(
            "kubelet",
            package,
            here,
            {"Depends": needs},
            {unit: _KUBELET_UNIT, "/etc/default/kubelet": "KUBELET_EXTRA_ARGS=\n"},
            _in("/usr/bin", ["kubelet"]),
            ("/etc/default/kubelet",),
            _RELOADS,
        ),
        Package(
            "kubeadm",
            package,
            here,
            {"Depends": "cri-tools"},
            {f"{unit}.d/10-kubeadm.conf": _KUBELET_DROPIN},
            _in("/usr/bin", ["kubeadm"]),
        ),
        Package("kubectl", package, here, links=_in("/usr/bin", ["kubectl"])),
        Package("cri-tools", f"{release}-1.1", here, links=_in("/usr/bin", ["crictl"])),
        Package("kubernetes-cni", "1.8.0-1.1", here, links=_in("/opt/cni/bin", PLUGINS)),
    ]


def kernel(release: str, version: str) -> list[Package]:
    """A kernel and NVIDIA's module for it, and the meta packages that lead to them.

    Source of the names: Canonical's restricted modules (linux-restricted-modules-aws).
    """
    module, stub = f"linux-modules-nvidia-{NVIDIA_BRANCH}-open", "a stand-in\n"
    return [
        Package(f"linux-image-{release}", version, ARCHIVE, files={f"/boot/vmlinuz-{release}": stub}),
        Package("linux-image-aws", version, ARCHIVE, {"Depends": f"linux-image-{release} (= {version})"}),
        Package(
            f"{module}-{release}",
            version,
            ARCHIVE,
            files={f"{KERNEL_MODULES}/{release}/nvidia": stub},
            configure=f"{HOME}/modules\n",
        ),
        Package(f"{module}-aws", version, ARCHIVE, {"Depends": f"{module}-{release} (= {version})"}),
    ]


def _nvidia(release: str) -> list[Package]:
    """The driver for the host's own kernel, its user space, and the container toolkit.

    Source of what only is mentioned: the relations of nvidia-utils, which `dpkg -l` shows as not installed.
    """
    mentioned = {"Conflicts": "nvidia-smi, nvidia-utils"}
    toolkit = ("nvidia-container-toolkit-base", "libnvidia-container-tools", "libnvidia-container1")
    version = "6.8.0.1012.12"
    return [
        *kernel(release, version),
        Package(f"nvidia-headless-no-dkms-{NVIDIA_BRANCH}-open", version, ARCHIVE),
        Package(
            f"nvidia-utils-{NVIDIA_BRANCH}",
            version,
            ARCHIVE,
            mentioned,
            files={"/usr/bin/nvidia-smi": script("nvidia-smi")},
        ),
        Package(
            "nvidia-container-toolkit",
            NVIDIA_TOOLKIT,
            NVIDIA,
            {"Depends": f"nvidia-container-toolkit-base (= {NVIDIA_TOOLKIT})"},
            links=_in("/usr/bin", ["nvidia-container-runtime"]),
        ),
        *(Package(name, NVIDIA_TOOLKIT, NVIDIA) for name in toolkit),
    ]

"""containerd's configuration: one root file, and on GPU nodes one drop-in of the same version.

A drop-in whose version is higher than the root file's stops containerd 2.3 (containerd#12891), and
`nvidia-ctk runtime configure` writes such a one; hence both files are ours.
"""

from __future__ import annotations

from config.versions import KubernetesRelease

ROOT_FILE = "/etc/containerd/config.toml"
NVIDIA_FILE = "/etc/containerd/conf.d/99-nvidia.toml"


def root_config(release: KubernetesRelease) -> str:
    return f"""\
version = {release.containerd_config}
imports = ["/etc/containerd/conf.d/*.toml"]

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "registry.k8s.io/pause:{release.pause}"

[plugins.'io.containerd.cri.v1.images'.registry]
config_path = "/etc/containerd/certs.d"

[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = "runc"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = true
"""


def nvidia_dropin(release: KubernetesRelease) -> str:
    """NVIDIA's runtime as the default: Kubeflow notebooks name no RuntimeClass."""
    return f"""\
version = {release.containerd_config}

[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = "nvidia"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.nvidia.options]
BinaryName = "/usr/bin/nvidia-container-runtime"
SystemdCgroup = true
"""

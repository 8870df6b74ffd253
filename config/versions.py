"""Kubernetes releases: what runs together, and until when.

A stack names a release (`kubernetes: "1.36"`) and a platform; it never names a version by itself.
Sources are beside each value. Dates are the upstream end of life.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class KubernetesRelease:
    """One supported Kubernetes minor and the versions that were chosen to go with it."""

    minor: str  # "1.36"
    kubernetes: str  # "1.36.4"
    package_revision: str  # Debian revision in pkgs.k8s.io, "1.1"
    end_of_life: date
    kubeadm_api: str  # "v1beta4"
    containerd_package: str  # exact Debian version of containerd.io
    containerd_config: int  # config.toml schema version
    pause: str
    calico: str
    platforms: tuple[str, ...]


# Kubernetes release dates and end of life: https://kubernetes.io/releases/ ; package versions:
# pkgs.k8s.io (v1.36) and download.docker.com (noble); pause: kubeadm config images list.
RELEASES: Mapping[str, KubernetesRelease] = MappingProxyType(
    {
        "1.36": KubernetesRelease(
            minor="1.36",
            kubernetes="1.36.4",
            package_revision="1.1",
            end_of_life=date(2027, 6, 28),
            kubeadm_api="v1beta4",
            containerd_package="2.3.6-1~ubuntu.24.04~noble",
            containerd_config=3,
            pause="3.10.2",
            calico="v3.32.4",
            platforms=("ubuntu-24.04",),
        ),
    }
)

# Where upstream YAML comes from unless the stack names a file; `{calico}` is the release's version.
# From 3.32 on Calico keeps its CRDs apart from the operator (manifests/ of the release tag). Kubeflow
# has no single file: nothing is installed unless the stack names one.
UPSTREAM_MANIFESTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "calico": (
            "https://raw.githubusercontent.com/projectcalico/calico/{calico}/manifests/v1_crd_projectcalico_org.yaml",
            "https://raw.githubusercontent.com/projectcalico/calico/{calico}/manifests/tigera-operator.yaml",
        ),
        "kubeflow": (),
    }
)

# Where each platform's publisher names its newest image, as public SSM parameters.
# Source: https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/
AMI_PARAMETERS: Mapping[str, str] = MappingProxyType(
    {
        "ubuntu-24.04": "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id",
    }
)

# Images that in-cluster components run. Tags come from the projects' own releases.
# What it stores, by version, is in components/incluster/dex.py.
DEX_IMAGE = "ghcr.io/dexidp/dex:v2.45.1"
DEVICE_PLUGIN_IMAGE = "nvcr.io/nvidia/k8s-device-plugin:v0.20.0"
VECTOR_ADD_IMAGE = "nvcr.io/nvidia/k8s/cuda-sample:vectoradd-cuda12.5.0"

# NVIDIA driver branch on GPU nodes: 580 is the long-term branch (end of life June 2028).
NVIDIA_DRIVER_BRANCH = "580"
# Source: nvidia-container-toolkit releases, October 2026.
NVIDIA_TOOLKIT = "1.20.1-1"

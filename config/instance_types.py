"""The EC2 instance types that nodes may be, for the settings and for the policy pack: there is no other list.

Every one has the architecture of the platforms' images (x86_64), and at least what kubeadm needs on a control
plane, 2 vCPUs, and 4 GiB. To have another type is to add it here, which somebody reviews.
Source: EC2's DescribeInstanceTypes, as moto keeps it (a test compares); GPUs also in
https://aws.amazon.com/ec2/instance-types/g4/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """The GPUs of an instance type as the cluster knows them: label value and number per node."""

    label: str  # value of the node label `accelerator`
    count: int


def _t4(count: int) -> Accelerator:
    return Accelerator(label="nvidia-t4", count=count)


# What a small team's cluster is built of; None: no GPU.
INSTANCE_TYPES: Mapping[str, Accelerator | None] = MappingProxyType(
    {
        "t3.medium": None,
        "t3.large": None,
        "t3.xlarge": None,
        "t3a.large": None,
        "t3a.xlarge": None,
        "m5.large": None,
        "m5.xlarge": None,
        "m6i.large": None,
        "m6i.xlarge": None,
        "m6i.2xlarge": None,
        "m7i.large": None,
        "m7i.xlarge": None,
        "g4dn.xlarge": _t4(1),
        "g4dn.2xlarge": _t4(1),
        "g4dn.4xlarge": _t4(1),
        "g4dn.8xlarge": _t4(1),
        "g4dn.12xlarge": _t4(4),
        "g4dn.16xlarge": _t4(1),
    }
)
GPU_INSTANCE_TYPES: Mapping[str, Accelerator] = MappingProxyType(
    {name: accelerator for name, accelerator in INSTANCE_TYPES.items() if accelerator}
)

# Graviton: a g after the generation's number, and the first of them.
# Source: EC2 instance types guide, "Naming conventions".
_ARM64 = re.compile(r"(a1|[a-z]+[0-9]+g[a-z]*)\..+")


def unusable(name: str) -> str:
    """Why no node can be of a type, whoever adds it to the list; empty if nothing is known against it."""
    if name.startswith("mac"):
        return "runs macOS"
    return "is arm64, and the images are for x86_64" if _ARM64.fullmatch(name) else ""

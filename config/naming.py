"""Names and tags: one place, so that no two parts of the program can disagree about them."""

from __future__ import annotations

import re
from dataclasses import dataclass

TAG_CLUSTER = "kubepark:cluster"
TAG_NODE = "kubepark:node"
TAG_ROLE = "kubepark:role"
TAG_GENERATION = "kubepark:generation"
TAG_DIGEST = "kubepark:user-data-digest"

# AWS takes 50 tags for a resource; an instance has the five above, Name and that of cloud controllers.
# Source: EC2 user guide, "Tag restrictions".
MOST_TAGS = 50 - 7

# The namespace of the stack configuration, and the first part of every component type token.
PROJECT = "kubepark"

LONGEST_CLUSTER = 24  # characters: names of roles hold it beside a node's name
API_PORT = 6443
CHECKSUM = (
    "kubepark/config-sha256"  # pod annotation: what the pod read at its start; another makes other pods
)
# Node annotation: its park cordoned it, at the boot with this id; at a later one the cordon has had its time.
CORDONED = "kubepark/cordoned-at-boot"
GPU_RESOURCE = "nvidia.com/gpu"  # what pods ask for, and the key of the GPU nodes' taint
GPU_LABEL = "nvidia.com/gpu.present"  # of a GPU node: "true"
ACCELERATOR = "accelerator"  # label of a GPU node: its GPU model
# Labels by which the scheduler and controllers know where a node is, and what it is.
INSTANCE_TYPE_LABEL = "node.kubernetes.io/instance-type"
REGION_LABEL = "topology.kubernetes.io/region"
ZONE_LABEL = "topology.kubernetes.io/zone"
DEVICE_PLUGIN = "nvidia-device-plugin"
RUNTIME_CLASS = "nvidia"


@dataclass(frozen=True)
class Naming:
    """Names that are derived from the cluster's name and from nothing else."""

    cluster: str

    @property
    def api_name(self) -> str:
        """The private DNS name that kubeadm initialises on; /etc/hosts resolves it on each node."""
        return f"api.{self.cluster}.internal"

    @property
    def key_alias(self) -> str:
        """Alias of the cluster key. Nodes and program both name the key by it, so that a node's
        write does not look like a change of the parameter's key."""
        return f"alias/kubepark/{self.cluster}"

    @property
    def join_parameter(self) -> str:
        """SecureString: endpoint, token and CA hash, kept fresh by the master."""
        return f"/{self.cluster}/join"

    @property
    def kubeconfig_parameter(self) -> str:
        """SecureString: the operator's kubeconfig. The master can write it and nobody else."""
        return f"/{self.cluster}/kubeconfig"

    @property
    def encryption_key_parameter(self) -> str:
        """SecureString: a copy of the key that encrypts Secrets in etcd."""
        return f"/{self.cluster}/encryption-key"

    @property
    def hosts_path(self) -> str:
        """Path of the plain parameters that hold /etc/hosts rows, in chunks."""
        return f"/{self.cluster}/hosts"

    @property
    def status_path(self) -> str:
        """Path of the nodes' status records."""
        return f"/{self.cluster}/status"

    @property
    def power_parameter(self) -> str:
        """The record of which nodes were stopped on purpose (`config/power.py`)."""
        return f"/{self.cluster}/power"

    @property
    def gpu_power_parameter(self) -> str:
        """What the master may do by itself about which GPU nodes run (`config/power.py`)."""
        return f"/{self.cluster}/gpu-power"

    def hosts_parameter(self, chunk: int) -> str:
        return f"{self.hosts_path}/{chunk:02d}"

    def status_parameter(self, node: str) -> str:
        return f"{self.status_path}/{node}"

    def role_name(self, node: str) -> str:
        """The name of a node's role and of its instance profile; names of nodes end in a number."""
        return f"{self.cluster}-{node}"

    @property
    def schedule_group(self) -> str:
        """The group of the GPU nodes' schedules, each of which is named after its node and what it does."""
        return self.cluster

    @staticmethod
    def schedule(node: str, verb: str) -> str:
        return f"{node}-{verb}"

    @property
    def cluster_tag(self) -> tuple[str, str]:
        """The tag that AWS cloud controllers look for."""
        return (f"kubernetes.io/cluster/{self.cluster}", "owned")


def default_cluster(stack: str) -> str:
    """The name of a stack's cluster unless it has another; not every stack's name gives a valid one."""
    return f"{PROJECT}-{stack}"


def possible_cluster(stack: str) -> str:
    """A valid name of a cluster that is near to the stack's name."""
    return re.sub(r"[^a-z0-9]+", "-", default_cluster(stack).lower())[:LONGEST_CLUSTER].strip("-")


def partition(region: str) -> str:
    """The ARN partition of a region; the settings take no region of another one."""
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"

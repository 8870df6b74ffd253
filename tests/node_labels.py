"""Keys of node labels: what the kubelet takes, and what it refuses or is not the stack's to say."""

from __future__ import annotations

ACCEPTED = (
    "team",
    "x" * 63,
    "mykubernetes.io/x",
    "example.org/Team_1.x",
    "k8s.io.example.org/x",
    ".".join(["a" * 63] * 3 + ["b" * 61]) + "/x",  # 253
    "x" * 253 + "/x",  # the kubelet does not look at the length of each part
    "nvidia.com/mig.config",
    "node.kubernetes.io/pool",
    "team.node.kubernetes.io/pool",
    "kubelet.kubernetes.io/pool",
    "beta.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/zone",
)
REFUSED = (
    ("", "is not the key of a label"),
    ("x" * 64, "is not the key of a label"),
    ("-x", "is not the key of a label"),
    ("/x", "is not the key of a label"),
    ("a/b/c", "is not the key of a label"),
    ("Example.org/x", "is not the key of a label"),
    ("a..b/x", "is not the key of a label"),
    ("a_b/x", "is not the key of a label"),
    ("x" * 254 + "/x", "is not the key of a label"),
    ("accelerator", "is set by the program, from what the node is"),
    ("nvidia.com/gpu.present", "is set by the program, from what the node is"),
    ("node.kubernetes.io/instance-type", "is set by the program, from what the node is"),
    ("topology.kubernetes.io/zone", "is set by the program, from what the node is"),
    ("kubernetes.io/hostname", "is set by the kubelet, from what the machine is"),
    ("kubernetes.io/arch", "is set by the kubelet, from what the machine is"),
    ("kubernetes.io/role", "is Kubernetes' own"),
    ("k8s.io/x", "is Kubernetes' own"),
    ("x.k8s.io/x", "is Kubernetes' own"),
    ("node-role.kubernetes.io/gpu", "is Kubernetes' own"),
    ("node-restriction.kubernetes.io/x", "is Kubernetes' own"),
    ("mynode.kubernetes.io/x", "is Kubernetes' own"),
)

"""The node plan: names, roles, addresses, labels and taints, all known before anything exists."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network

from config.instance_types import GPU_INSTANCE_TYPES
from config.model import NodePlan, NodeRole, NodeSettings, Settings, Taint
from config.naming import (
    ACCELERATOR,
    GPU_LABEL,
    GPU_RESOURCE,
    INSTANCE_TYPE_LABEL,
    REGION_LABEL,
    ZONE_LABEL,
)

GPU_TAINT = Taint(key=GPU_RESOURCE, value="present", effect="NoSchedule")
CONTROL_PLANE_TAINT = Taint(key="node-role.kubernetes.io/control-plane", value="", effect="NoSchedule")

# Labels that the program gives to nodes; nobody else may.
PLANNED_LABELS = frozenset({ACCELERATOR, GPU_LABEL, INSTANCE_TYPE_LABEL, REGION_LABEL, ZONE_LABEL})

# Offsets in a node's subnet. AWS keeps the first four addresses; the reservation covers all of these.
_MASTER_OFFSET = 10
_WORKER_OFFSET = 10  # worker01 is at 11
_GPU_OFFSET = 256  # gpu01 is at 257
NODE_NUMBERS = range(1, 241)


def node_number(name: str) -> int:
    """The digits that end a node's name: `worker03` is 3. They fix its address for life."""
    digits = name[len(name.rstrip("0123456789")) :]
    return int(digits)


def node_address(role: NodeRole, name: str, subnet: IPv4Network) -> str:
    """The fixed private address of a node. It depends on the name only, never on other nodes."""
    if role is NodeRole.MASTER:
        return str(subnet[_MASTER_OFFSET])
    base = _WORKER_OFFSET if role is NodeRole.WORKER else _GPU_OFFSET
    return str(subnet[base + node_number(name)])


def plan_nodes(
    settings: Settings, subnet: IPv4Network, gpu_subnet: IPv4Network | None = None
) -> tuple[NodePlan, ...]:
    """Every node of the stack, master first, then workers and GPU nodes by name.

    `gpu_subnet`: that of GPU nodes, where they have a zone of their own.
    """

    def plan(node: NodeSettings, role: NodeRole, labels: Mapping[str, str], *taints: Taint) -> NodePlan:
        is_gpu = role is NodeRole.GPU
        return NodePlan(
            **vars(node),
            role=role,
            availability_zone=(settings.gpu if is_gpu else settings.network).availability_zone,
            private_ip=node_address(role, node.name, (is_gpu and gpu_subnet) or subnet),
            labels=labels,
            taints=taints,
        )

    def gpu_labels(node: NodeSettings) -> dict[str, str]:
        model = GPU_INSTANCE_TYPES[node.instance_type].label
        return {ACCELERATOR: model, GPU_LABEL: "true", **settings.gpu.labels}

    return (
        plan(settings.control_plane.node, NodeRole.MASTER, {}, CONTROL_PLANE_TAINT),
        *(plan(node, NodeRole.WORKER, {}) for node in settings.workers),
        *(plan(node, NodeRole.GPU, gpu_labels(node), GPU_TAINT) for node in settings.gpu.nodes),
    )

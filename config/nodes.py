"""The node plan: names, roles, addresses, labels and taints, all known before anything exists."""

from __future__ import annotations

from ipaddress import IPv4Network

from config.model import NodePlan, NodeRole, NodeSettings, Settings, Taint
from config.naming import ACCELERATOR, GPU_LABEL, GPU_RESOURCE

GPU_TAINT = Taint(key=GPU_RESOURCE, value="present", effect="NoSchedule")
CONTROL_PLANE_TAINT = Taint(key="node-role.kubernetes.io/control-plane", value="", effect="NoSchedule")


# Offsets in the node subnet. AWS keeps the first four addresses; the reservation covers all of these.
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


def plan_nodes(settings: Settings, subnet: IPv4Network) -> tuple[NodePlan, ...]:
    """Every node of the stack, master first, then workers and GPU nodes by name."""
    plans = [_plan(settings.control_plane.node, NodeRole.MASTER, subnet, {}, (CONTROL_PLANE_TAINT,))]
    plans += [_plan(node, NodeRole.WORKER, subnet, {}, ()) for node in settings.workers]
    for node in settings.gpu.nodes:
        assert settings.gpu.accelerator is not None  # settings.load refuses a GPU node without one
        labels = {
            ACCELERATOR: settings.gpu.accelerator.label,
            GPU_LABEL: "true",
            **settings.gpu.labels,
        }
        plans.append(_plan(node, NodeRole.GPU, subnet, labels, (GPU_TAINT,)))
    return tuple(plans)


def _plan(
    node: NodeSettings,
    role: NodeRole,
    subnet: IPv4Network,
    labels: dict[str, str],
    taints: tuple[Taint, ...],
) -> NodePlan:
    return NodePlan(
        name=node.name,
        role=role,
        private_ip=node_address(role, node.name, subnet),
        instance_type=node.instance_type,
        ami=node.ami,
        volume_gb=node.volume_gb,
        generation=node.generation,
        labels=labels,
        taints=taints,
    )

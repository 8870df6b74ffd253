"""Security groups, generated from one table of flows: what is not in the table is closed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network
from types import MappingProxyType
from typing import NamedTuple

import pulumi
from pulumi_aws import ec2, vpc

from config.model import NodeRole
from config.naming import API_PORT, Naming

NODES = "nodes"
CONTROL_PLANE = "control-plane"


# Which groups a node is in.
GROUPS: Mapping[NodeRole, tuple[str, ...]] = MappingProxyType(
    {NodeRole.MASTER: (NODES, CONTROL_PLANE), NodeRole.WORKER: (NODES,), NodeRole.GPU: (NODES,)}
)
Ports = tuple[int, int]  # first and last


class Flow(NamedTuple):
    """One allowed flow into or out of a group. `peer` is a group's name or an IPv4 network."""

    name: str
    group: str
    protocol: str
    ports: Ports | None  # None: all
    peer: str | IPv4Network
    why: str
    egress: bool = False


_API = (API_PORT, API_PORT)
_ANYWHERE = IPv4Network("0.0.0.0/0")
# NodePorts are closed, and webhooks run over the overlay.
_FLOWS = (
    Flow("vxlan", NODES, "udp", (4789, 4789), NODES, "Calico overlay between nodes"),
    Flow("typha", NODES, "tcp", (5473, 5473), NODES, "Calico agents to Typha"),
    Flow("kubelet", NODES, "tcp", (10250, 10250), NODES, "API server and metrics to kubelets"),
    Flow("api-from-nodes", CONTROL_PLANE, "tcp", _API, NODES, "Nodes to the API server"),
    Flow(
        "etcd",
        CONTROL_PLANE,
        "tcp",
        (2379, 2380),
        CONTROL_PLANE,
        "etcd clients and peers on control-plane nodes",
    ),
    # The provider takes AWS's own allow-all egress away, so that it has to be said.
    Flow("egress", NODES, "-1", None, _ANYWHERE, "Packages, images and AWS", egress=True),
)


def plan_flows(admin_cidrs: Sequence[IPv4Network]) -> tuple[Flow, ...]:
    """Every flow of the cluster: the table, and operators to the API server."""
    operators = [
        Flow(
            f"api-from-{str(cidr).replace('/', '-')}",
            CONTROL_PLANE,
            "tcp",
            _API,
            cidr,
            "Operators to the API server",
        )
        for cidr in sorted(set(admin_cidrs))
    ]
    return (*_FLOWS, *operators)


class Security(pulumi.ComponentResource):
    """Two groups and one rule resource for each flow (never inline rules: those fight with ours).

    Each group's list of rules is closed by a resource of its own: a rule that somebody adds by hand
    shows in a refresh, and the next update revokes it.
    """

    groups: dict[str, ec2.SecurityGroup]
    of_role: dict[NodeRole, list[pulumi.Output[str]]]  # ids of a node's groups
    rules: list[pulumi.CustomResource]

    def __init__(
        self,
        name: str,
        vpc_id: pulumi.Output[str],
        admin_cidrs: Sequence[IPv4Network],
        naming: Naming,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("kubepark:index:Security", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        # Cloud controllers expect the cluster's tag on exactly one group of a node.
        tag, owned = naming.cluster_tag
        extra = {NODES: {tag: owned}, CONTROL_PLANE: {}}
        self.groups = {
            group: ec2.SecurityGroup(
                f"{name}-{group}",
                vpc_id=vpc_id,
                description=f"kubepark {group}",
                tags={"Name": f"{naming.cluster}-{group}", **extra[group]},
                opts=child,
            )
            for group in (NODES, CONTROL_PLANE)
        }
        self.of_role = {role: [self.groups[group].id for group in names] for role, names in GROUPS.items()}
        rules = [(flow, self._rule(name, flow, child)) for flow in plan_flows(admin_cidrs)]
        self.rules = [rule for _, rule in rules]
        for group, made in self.groups.items():
            of_group = [(flow.egress, rule.id) for flow, rule in rules if flow.group == group]
            ec2.VpcSecurityGroupRulesExclusive(
                f"{name}-{group}-only",
                security_group_id=made.id,
                ingress_rule_ids=[rule for egress, rule in of_group if not egress],
                egress_rule_ids=[rule for egress, rule in of_group if egress],
                opts=child,
            )
        self.register_outputs({"group_ids": {name: group.id for name, group in self.groups.items()}})

    def _rule(self, name: str, flow: Flow, child: pulumi.ResourceOptions) -> pulumi.CustomResource:
        kind = vpc.SecurityGroupEgressRule if flow.egress else vpc.SecurityGroupIngressRule
        low, high = flow.ports or (None, None)
        is_group = isinstance(flow.peer, str)
        return kind(
            f"{name}-{flow.name}",
            security_group_id=self.groups[flow.group].id,
            ip_protocol=flow.protocol,
            from_port=low,
            to_port=high,
            referenced_security_group_id=self.groups[str(flow.peer)].id if is_group else None,
            cidr_ipv4=None if is_group else str(flow.peer),
            description=flow.why,
            opts=child,
        )

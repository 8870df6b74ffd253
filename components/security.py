"""Security groups, generated from one table of flows: what is not in the table is closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

import pulumi
from pulumi_aws import ec2, vpc

from config.naming import Naming

NODES = "nodes"
CONTROL_PLANE = "control-plane"


@dataclass(frozen=True, kw_only=True)
class Flow:
    """One allowed flow into or out of a group. `peer` is a group's name or an IPv4 network."""

    name: str
    group: str
    egress: bool = False
    protocol: str
    ports: tuple[int, int] | None  # None: all ports
    peer: str | IPv4Network
    why: str


def plan_flows(admin_cidrs: Sequence[IPv4Network]) -> tuple[Flow, ...]:
    """Every flow of the cluster. NodePorts are closed, and webhooks run over the overlay."""
    between_nodes = (
        ("vxlan", "udp", 4789, "Calico overlay between nodes"),
        ("typha", "tcp", 5473, "Calico agents to Typha"),
        ("kubelet", "tcp", 10250, "API server and metrics to kubelets"),
    )
    flows = [
        Flow(name=name, group=NODES, protocol=protocol, ports=(port, port), peer=NODES, why=why)
        for name, protocol, port, why in between_nodes
    ]
    flows.append(
        Flow(
            name="api-from-nodes",
            group=CONTROL_PLANE,
            protocol="tcp",
            ports=(6443, 6443),
            peer=NODES,
            why="Nodes to the API server",
        )
    )
    flows += [
        Flow(
            name=f"api-from-{str(cidr).replace('/', '-')}",
            group=CONTROL_PLANE,
            protocol="tcp",
            ports=(6443, 6443),
            peer=cidr,
            why="Operators to the API server",
        )
        for cidr in sorted(set(admin_cidrs))
    ]
    flows.append(
        Flow(
            name="etcd",
            group=CONTROL_PLANE,
            protocol="tcp",
            ports=(2379, 2380),
            peer=CONTROL_PLANE,
            why="etcd clients and peers on control-plane nodes",
        )
    )
    # The provider takes AWS's own allow-all egress away, so that it has to be said.
    flows.append(
        Flow(
            name="egress",
            group=NODES,
            egress=True,
            protocol="-1",
            ports=None,
            peer=IPv4Network("0.0.0.0/0"),
            why="Packages, images and AWS",
        )
    )
    return tuple(flows)


class Security(pulumi.ComponentResource):
    """Two groups and one rule resource for each flow (never inline rules: those fight with ours).

    Each group's list of rules is closed by a resource of its own: a rule that somebody adds by hand
    shows in a refresh, and the next update revokes it.
    """

    groups: dict[str, ec2.SecurityGroup]
    rules: list[pulumi.CustomResource]

    def __init__(
        self,
        name: str,
        vpc_id: pulumi.Output[str],
        flows: Sequence[Flow],
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
        rules = [(flow, self._rule(name, flow, child)) for flow in flows]
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

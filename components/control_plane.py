"""The master: an interface with a fixed address, a public address that outlives it, the instance."""

from __future__ import annotations

from dataclasses import replace

import pulumi
from pulumi_aws import ec2

from components.node_pool import NodeArgs, instance
from config.model import NodePlan


class ControlPlane(pulumi.ComponentResource):
    """The master and its addresses.

    Interface and Elastic IP are made first, so the public address is there from the instance's first
    second and stays when the master is replaced. The master is replaced only when its generation
    changes.
    """

    instance: ec2.Instance
    public_ip: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        node: NodePlan,
        args: NodeArgs,
        gateway: pulumi.Resource,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("kubepark:index:ControlPlane", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        interface = ec2.NetworkInterface(
            f"{name}-interface",
            subnet_id=args.subnet_id,
            private_ips=[node.private_ip],
            security_groups=args.group_ids,
            description=f"{node.name} of {args.naming.cluster}",
            tags={"Name": node.name},
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.after)),
        )
        address = ec2.Eip(
            f"{name}-address",
            domain="vpc",
            network_interface=interface.id,
            associate_with_private_ip=node.private_ip,
            tags={"Name": node.name},
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[gateway])),
        )
        self.public_ip = address.public_ip
        self.instance = instance(node.name, node, args, self, interface, after=[address])
        self.register_outputs({"public_ip": self.public_ip, "instance_id": self.instance.id})


def with_groups(args: NodeArgs, *more: pulumi.Output[str]) -> NodeArgs:
    """The same arguments with further security groups."""
    return replace(args, group_ids=[*args.group_ids, *more])

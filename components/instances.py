"""EC2 instances of the node plan: what every node has in common, the master, and the pools of workers."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pulumi
from pulumi_aws import ec2

import userdata
from components.iam import Iam
from components.keys import Keys
from components.network import Network
from components.parameters import Parameters
from components.security import Security
from config import naming as tags
from config.model import Market, NodePlan
from config.naming import Naming

T = TypeVar("T")

# An ordinary `up` never replaces an instance: a newer image, changed scripts and the tag that tells
# of them wait until the node's `generation` is bumped.
IGNORED = ["ami", "user_data_base64", f'tags["{tags.TAG_DIGEST}"]']
# Where a node may be of several types, which one it is gets decided when it is started.
_SEVERAL = "instance_type"
# AWS stops it and starts it again, and does not end it: name, address and disk stay. Without a price it is at
# most the on-demand one. Source: EC2 user guide, "Behavior of Spot Instance interruptions".
_SPOT: ec2.InstanceInstanceMarketOptionsArgsDict = {
    "market_type": "spot",
    "spot_options": {"spot_instance_type": "persistent", "instance_interruption_behavior": "stop"},
}
# The answer of the metadata service ends at the node: a pod, one hop further, never gets its role. Two
# would be for a controller that runs in a pod with the master's role; there is none.
_HOPS = 1


@dataclass(frozen=True, kw_only=True)
class Foundation:
    """What an instance is made of besides its plan."""

    naming: Naming
    user_data: Mapping[str, bytes]  # by node name
    network: Network
    security: Security
    keys: Keys
    iam: Iam
    parameters: Parameters

    def before(self, node: NodePlan) -> list[pulumi.Resource]:
        """What must exist before the node's first second: its way out, its rights, its parameters."""
        return [
            *self.network.reachable,
            *self.security.rules,
            self.iam.policies[node.name],
            *self.parameters.before(node.name),
        ]


def _instance(
    node: NodePlan,
    foundation: Foundation,
    parent: pulumi.Resource,
    interface: ec2.NetworkInterface | None = None,
    after: Sequence[pulumi.Resource] = (),
    protected: bool | None = None,
) -> ec2.Instance:
    """One node. Its address is the plan's, by `interface` or in the subnet directly.

    `associate_public_ip_address` is never set: it makes a refresh replace a stopped instance.
    Addresses are fixed, so the old instance must go before the new one can come.
    """
    data, naming = foundation.user_data[node.name], foundation.naming
    cluster_tag, owned = naming.cluster_tag
    names = {"Name": node.name, tags.TAG_CLUSTER: naming.cluster, tags.TAG_NODE: node.name}
    return ec2.Instance(
        node.name,
        ami=node.ami,
        instance_type=node.instance_type,
        subnet_id=None if interface else foundation.network.subnet_ids[node.availability_zone],
        private_ip=None if interface else node.private_ip,
        vpc_security_group_ids=None if interface else foundation.security.of_role[node.role],
        primary_network_interface={"network_interface_id": interface.id} if interface else None,
        disable_api_termination=protected,
        instance_market_options=_SPOT if node.market is Market.SPOT else None,
        iam_instance_profile=foundation.iam.profiles[node.name].name,
        user_data_base64=base64.b64encode(data).decode(),
        metadata_options={
            "http_endpoint": "enabled",
            "http_tokens": "required",
            "http_put_response_hop_limit": _HOPS,
        },
        root_block_device={
            "volume_type": "gp3",
            "volume_size": node.volume_gb,
            "encrypted": True,
            "kms_key_id": foundation.keys.cluster.arn,
            "delete_on_termination": True,
            "tags": names,  # default tags do not reach the disks of an instance
        },
        tags={
            **names,
            tags.TAG_ROLE: node.role.value,
            tags.TAG_GENERATION: str(node.generation),
            tags.TAG_DIGEST: userdata.digest(data),
            cluster_tag: owned,
        },
        opts=pulumi.ResourceOptions(
            parent=parent,
            depends_on=[*foundation.before(node), *after],
            ignore_changes=[*IGNORED, _SEVERAL] if node.further_types else IGNORED,
            replacement_trigger=_trigger(node),
            delete_before_replace=True,
            protect=protected,
        ),
    )


def _trigger(node: NodePlan) -> int | str:
    """What an instance is made anew for. Of a Spot Instance also its type, which cannot change, and the
    market: on the way back the provider does nothing (hashicorp/terraform-provider-aws, issue 38141)."""
    if node.market is Market.SPOT:
        return f"{node.generation}, {node.market} {node.instance_type}"
    return node.generation


class ControlPlane(pulumi.ComponentResource):
    """The master and its addresses.

    Interface and Elastic IP are made first, so the public address is there from the instance's first
    second and stays when the master is replaced. The master is replaced only when its generation
    changes, and where it is `protected` neither replaced nor deleted.
    """

    instance: ec2.Instance
    public_ip: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        node: NodePlan,
        foundation: Foundation,
        protected: bool,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("kubepark:index:ControlPlane", name, None, opts)
        interface = ec2.NetworkInterface(
            f"{name}-interface",
            subnet_id=foundation.network.subnet_ids[node.availability_zone],
            private_ips=[node.private_ip],
            security_groups=foundation.security.of_role[node.role],
            description=f"{node.name} of {foundation.naming.cluster}",
            tags={"Name": node.name},
            opts=pulumi.ResourceOptions(parent=self, depends_on=foundation.network.reachable),
        )
        address = ec2.Eip(
            f"{name}-address",
            domain="vpc",
            network_interface=interface.id,
            associate_with_private_ip=node.private_ip,
            tags={"Name": node.name},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[foundation.network.gateway]),
        )
        self.public_ip = address.public_ip
        self.instance = _instance(node, foundation, self, interface, after=[address], protected=protected)
        self.register_outputs({"public_ip": self.public_ip, "instance_id": self.instance.id})


class NodePool(pulumi.ComponentResource):
    """The workers or the GPU nodes: one instance for each plan, keyed by name."""

    instances: dict[str, ec2.Instance]

    def __init__(
        self,
        name: str,
        nodes: Sequence[NodePlan],
        foundation: Foundation,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("kubepark:index:NodePool", name, None, opts)
        self.instances = {node.name: _instance(node, foundation, self) for node in nodes}
        self.register_outputs({"instance_ids": {n: created(i.id) for n, i in self.instances.items()}})


def created(value: pulumi.Output[T]) -> pulumi.Output[T | None]:
    """The value; None in an update that did not create what it is of: state cannot hold an unknown."""

    def known(found: T) -> T | None:
        return None if pulumi.contains_unknowns(found) and not pulumi.runtime.is_dry_run() else found

    return value.apply(known, run_with_unknowns=True)


def outdated_nodes(
    nodes: Sequence[NodePlan], user_data: Mapping[str, bytes], live: Mapping[str, ec2.Instance]
) -> pulumi.Output[list[str]]:
    """Nodes that were made from another image or other user data than they would be made from now."""

    def differing(found: Sequence[Sequence[Any]]) -> list[str]:
        wanted = [(userdata.digest(user_data[node.name]), node.ami) for node in nodes]
        made = [((instance_tags or {}).get(tags.TAG_DIGEST), ami) for instance_tags, ami in found]
        return [
            node.name
            for node, want, have in zip(nodes, wanted, made, strict=True)
            if have[1] is not None and want != have
        ]

    return pulumi.Output.all(
        *[pulumi.Output.all(created(live[node.name].tags), created(live[node.name].ami)) for node in nodes]
    ).apply(differing)

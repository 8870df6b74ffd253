"""EC2 instances of the node plan: what every node has in common, and the pools of workers."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws import ec2

import userdata
from components.access import NodeAccess
from config import naming as tags
from config.model import NodePlan, Role
from config.naming import Naming

# An ordinary `up` never replaces an instance: a newer image, changed scripts and the tag that tells
# of them wait until the node's `generation` is bumped.
IGNORED = ["ami", "user_data_base64", f'tags["{tags.TAG_DIGEST}"]']
# Controllers that need the master's role run there in pods, one network hop away.
_HOPS = {Role.MASTER: 2, Role.WORKER: 1, Role.GPU: 1}


@dataclass(frozen=True, kw_only=True)
class NodeArgs:
    """What an instance is made of besides its plan. `after` must exist before its first second."""

    naming: Naming
    user_data: Mapping[str, bytes]
    access: dict[str, NodeAccess]
    key_arn: pulumi.Output[str]
    subnet_id: pulumi.Output[str]
    group_ids: list[pulumi.Output[str]]
    after: Sequence[pulumi.Resource]


def instance(
    name: str,
    node: NodePlan,
    args: NodeArgs,
    parent: pulumi.Resource,
    interface: ec2.NetworkInterface | None = None,
    after: Sequence[pulumi.Resource] = (),
) -> ec2.Instance:
    """One node. Its address is the plan's, by `interface` or in the subnet directly.

    `associate_public_ip_address` is never set: it makes a refresh replace a stopped instance.
    Addresses are fixed, so the old instance must go before the new one can come.
    """
    access = args.access[node.name]
    data = args.user_data[node.name]
    cluster_tag, owned = args.naming.cluster_tag
    names = {"Name": node.name, tags.TAG_CLUSTER: args.naming.cluster, tags.TAG_NODE: node.name}
    return ec2.Instance(
        name,
        ami=node.ami,
        instance_type=node.instance_type,
        subnet_id=None if interface else args.subnet_id,
        private_ip=None if interface else node.private_ip,
        vpc_security_group_ids=None if interface else args.group_ids,
        primary_network_interface={"network_interface_id": interface.id} if interface else None,
        iam_instance_profile=access.profile,
        user_data_base64=base64.b64encode(data).decode(),
        metadata_options={
            "http_endpoint": "enabled",
            "http_tokens": "required",
            "http_put_response_hop_limit": _HOPS[node.role],
        },
        root_block_device={
            "volume_type": "gp3",
            "volume_size": node.volume_gb,
            "encrypted": True,
            "kms_key_id": args.key_arn,
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
            depends_on=[*args.after, *access.ready, *after],
            ignore_changes=IGNORED,
            replacement_trigger=node.generation,
            delete_before_replace=True,
        ),
    )


class NodePool(pulumi.ComponentResource):
    """The workers or the GPU nodes: one instance for each plan, keyed by name."""

    instances: dict[str, ec2.Instance]

    def __init__(
        self,
        name: str,
        nodes: Sequence[NodePlan],
        args: NodeArgs,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("kubepark:index:NodePool", name, None, opts)
        self.instances = {node.name: instance(node.name, node, args, self) for node in nodes}
        self.register_outputs({"instance_ids": {n: i.id for n, i in self.instances.items()}})


def outdated_nodes(
    nodes: Sequence[NodePlan], user_data: Mapping[str, bytes], live: Mapping[str, ec2.Instance]
) -> pulumi.Output[list[str]]:
    """Nodes that were made from another image or other user data than they would be made from now."""

    def differing(found: Sequence[Sequence[Any]]) -> list[str]:
        wanted = [(userdata.digest(user_data[node.name]), node.ami) for node in nodes]
        made = [((instance_tags or {}).get(tags.TAG_DIGEST), ami) for instance_tags, ami in found]
        return [node.name for node, want, have in zip(nodes, wanted, made, strict=True) if want != have]

    return pulumi.Output.all(
        *[pulumi.Output.all(live[node.name].tags, live[node.name].ami) for node in nodes]
    ).apply(differing)

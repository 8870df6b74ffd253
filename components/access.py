"""Keys, parameters and roles: the channel through which nodes and operator exchange data.

Nothing is pushed to a node. The master puts join data and the kubeconfig into encrypted SSM
parameters, workers read the join data, and every node writes a status record of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
from pulumi_aws import iam, kms, ssm

from components import iam_documents as documents
from config.model import NodePlan, Role, Settings
from config.naming import Naming

# Whatever of a parameter changes, except its tags, the AWS provider puts the whole of it: with the value
# in its state (the placeholder) over the live one, or with an empty one for `value_wo`. So all that is
# given to a parameter that nodes write holds at its creation only.
_CREATE_ONLY = ["value", "description", "type", "tier", "key_id"]
_SECRETS = ("join", "kubeconfig", "encryption-key")
_HOSTS_CHUNK = 4000  # characters; the limit of a standard parameter is 4,096
PENDING = "pending"


@dataclass(frozen=True)
class NodeAccess:
    """What an instance needs from here: its profile, and all that must exist before it boots."""

    profile: pulumi.Output[str]
    ready: tuple[pulumi.Resource, ...]


def plan_hosts(nodes: Sequence[NodePlan], naming: Naming) -> tuple[str, ...]:
    """The /etc/hosts rows as JSON chunks that fit a standard parameter each."""
    chunks: list[list[tuple[str, list[str]]]] = [[]]
    for node in nodes:
        names = [node.name] + ([naming.api_name] if node.role is Role.MASTER else [])
        row = (node.private_ip, names)
        if len(_hosts_json([*chunks[-1], row])) > _HOSTS_CHUNK:
            chunks.append([])
        chunks[-1].append(row)
    return tuple(_hosts_json(chunk) for chunk in chunks)


def _hosts_json(rows: list[tuple[str, list[str]]]) -> str:
    return json.dumps({"schema": 1, "rows": rows}, separators=(",", ":"))


class Access(pulumi.ComponentResource):
    """The cluster key and the data key, the parameters, and one role for each node."""

    key: kms.Key
    nodes: dict[str, NodeAccess]

    def __init__(
        self,
        name: str,
        settings: Settings,
        nodes: Sequence[NodePlan],
        naming: Naming,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("kubepark:index:Access", name, None, opts)
        self._name, self._settings, self._naming = name, settings, naming
        self.key, self._alias = self._key("cluster", naming.key_alias, "Parameters and root disks")
        # Volumes, snapshots and backups outlive the cluster, and so must the key that opens them.
        self.data_key, _ = self._key("data", f"{naming.key_alias}-data", "Volumes and backups", keep=True)
        shared = tuple(
            self._parameter(f"{name}-{secret}", f"/{naming.cluster}/{secret}") for secret in _SECRETS
        )
        hosts = tuple(
            ssm.Parameter(
                f"{name}-hosts-{index:02d}",
                name=naming.hosts_parameter(index),
                description="Rows of /etc/hosts",
                type="String",
                tier="Standard",
                value=chunk,
                opts=pulumi.ResourceOptions(parent=self),
            )
            for index, chunk in enumerate(plan_hosts(nodes, naming))
        )
        self.nodes = {node.name: self._node(node, (*shared, *hosts)) for node in nodes}
        self.register_outputs({"key_arn": self.key.arn, "data_key_arn": self.data_key.arn})

    def _key(
        self, role: str, alias: str, description: str, *, keep: bool = False
    ) -> tuple[kms.Key, kms.Alias]:
        key = kms.Key(
            f"{self._name}-{role}",
            description=f"{self._naming.cluster}: {description}",
            enable_key_rotation=True,
            deletion_window_in_days=7,
            policy=json.dumps(documents.key_policy(self._settings.aws)),
            tags={"Name": alias.removeprefix("alias/")},
            opts=pulumi.ResourceOptions(parent=self, retain_on_delete=keep),
        )
        # The alias never stays behind: it would be in the way of the stack's next life.
        name = kms.Alias(
            f"{self._name}-{role}",
            name=alias,
            target_key_id=key.key_id,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return key, name

    def _parameter(self, name: str, path: str) -> ssm.Parameter:
        """A secret that a node fills in; Pulumi makes it, removes it, and never touches its value."""
        return ssm.Parameter(
            name,
            name=path,
            description="Written by the master",
            type="SecureString",
            tier="Standard",
            key_id=self._alias.name,
            value=PENDING,
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=_CREATE_ONLY),
        )

    def _node(self, node: NodePlan, parameters: tuple[ssm.Parameter, ...]) -> NodeAccess:
        child = pulumi.ResourceOptions(parent=self)
        label = f"{self._name}-{node.name}"
        status = ssm.Parameter(
            f"{self._name}-status-{node.name}",
            name=self._naming.status_parameter(node.name),
            description="Written by the node",
            type="String",
            tier="Standard",
            value=json.dumps({"schema": 1, "phase": PENDING}),
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=_CREATE_ONLY),
        )
        role = iam.Role(
            label,
            name=f"{self._naming.cluster}-{node.name}",
            description=f"kubepark {node.role} {node.name}",
            assume_role_policy=json.dumps(documents.ASSUME_BY_EC2),
            opts=child,
        )
        policy = iam.RolePolicy(
            label,
            name="node",
            role=role.name,
            policy=self.key.arn.apply(
                lambda arn: json.dumps(documents.node_policy(node, self._settings.aws, self._naming, arn))
            ),
            opts=child,
        )
        profile = iam.InstanceProfile(
            label, name=f"{self._naming.cluster}-{node.name}", role=role.name, opts=child
        )
        return NodeAccess(profile=profile.name, ready=(policy, status, *parameters))

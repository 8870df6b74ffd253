"""SSM parameters: the channel through which nodes and operator exchange data.

Nothing is pushed to a node. The master puts join data and the kubeconfig into encrypted parameters,
workers read the join data, and every node writes a status record of its own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pulumi
from pulumi_aws import ssm

from config import power
from config.model import GpuSettings, NodePlan, NodeRole
from config.naming import Naming

# Whatever of a parameter changes, except its tags, the AWS provider puts the whole of it: with the value
# in its state (the placeholder) over the live one, or with an empty one for `value_wo`. So all that is
# given to a parameter that nodes write holds at its creation only. Nor is its version looked at, an output
# which the provider takes for changed once an update, of tags, has read the live value beside the given one.
_CREATE_ONLY = ["value", "value_wo_version", "description", "type", "tier", "key_id", "version"]
_HOSTS_CHUNK = 4000  # characters; the limit of a standard parameter is 4,096
PENDING = "pending"


def plan_hosts(nodes: Sequence[NodePlan], naming: Naming) -> tuple[str, ...]:
    """The /etc/hosts rows as JSON chunks that fit a standard parameter each."""
    chunks: list[list[tuple[str, list[str]]]] = [[]]
    for node in nodes:
        names = [node.name] + ([naming.api_name] if node.role is NodeRole.MASTER else [])
        row = (node.private_ip, names)
        if len(_hosts_json([*chunks[-1], row])) > _HOSTS_CHUNK:
            chunks.append([])
        chunks[-1].append(row)
    return tuple(_hosts_json(chunk) for chunk in chunks)


def _hosts_json(rows: list[tuple[str, list[str]]]) -> str:
    return json.dumps({"schema": 1, "rows": rows}, separators=(",", ":"))


class Parameters(pulumi.ComponentResource):
    """The secrets that the master fills in, the rows of /etc/hosts, a status record for each node, the record
    of who is stopped on purpose, and what the master may do about it by itself."""

    shared: list[ssm.Parameter]
    statuses: dict[str, ssm.Parameter]  # by node name

    def __init__(
        self,
        name: str,
        nodes: Sequence[NodePlan],
        naming: Naming,
        key: pulumi.Input[str],
        gpu: GpuSettings,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("kubepark:index:Parameters", name, None, opts)
        self._name = name
        secrets = (naming.join_parameter, naming.kubeconfig_parameter, naming.encryption_key_parameter)
        self.shared = [
            self._written(path, "SecureString", PENDING, "Written by the master", key) for path in secrets
        ]
        for index, chunk in enumerate(plan_hosts(nodes, naming)):
            hosts = ssm.Parameter(
                f"{name}-hosts-{index:02d}",
                name=naming.hosts_parameter(index),
                description="Rows of /etc/hosts",
                type="String",
                tier="Standard",
                value=chunk,
                opts=pulumi.ResourceOptions(parent=self),
            )
            self.shared.append(hosts)
        unwritten = json.dumps({"schema": 1, "phase": PENDING})
        self.statuses = {
            node.name: self._written(
                naming.status_parameter(node.name), "String", unwritten, "Written by the node"
            )
            for node in nodes
        }
        # Nobody boots by it, so no node waits for it.
        self._written(naming.power_parameter, "String", power.dump(()), "Written by kubepark")
        if gpu.guarded:
            # Not in the master's user data, which is read once: it may change any day.
            ssm.Parameter(
                f"{name}-gpu-power",
                name=naming.gpu_power_parameter,
                description="When the master stops and starts GPU nodes",
                type="String",
                tier="Standard",
                value=power.guard(gpu),
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs({})

    def before(self, node: str) -> list[ssm.Parameter]:
        """What must be there when the node boots."""
        return [*self.shared, self.statuses[node]]

    def _written(
        self, path: str, kind: str, value: str, description: str, key: pulumi.Input[str] | None = None
    ) -> ssm.Parameter:
        """One that somebody else fills in: Pulumi makes it, removes it, and never touches its value.

        What `value` names is read into the state by every refresh; what was written as `value_wo` never is.
        Source: terraform-provider-aws, internal/service/ssm/parameter.go, resourceParameterRead.
        """
        secret = kind == "SecureString"
        return ssm.Parameter(
            "-".join([self._name, *path.split("/")[2:]]),
            name=path,
            description=description,
            type=kind,
            tier="Standard",
            key_id=key,
            value=None if secret else value,
            value_wo=value if secret else None,
            value_wo_version=1 if secret else None,
            opts=pulumi.ResourceOptions(parent=self, ignore_changes=_CREATE_ONLY),
        )

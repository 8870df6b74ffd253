"""Everything that can be refused is refused here, before any resource is registered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi

import userdata
from components.incluster.objects import Object
from components.incluster.sources import load_all
from components.network import plan_subnets
from config import last_update, settings
from config.manifest_lock import ManifestError
from config.model import NodePlan, NodeRole, Settings
from config.nodes import plan_nodes
from config.validation import Problems, SettingsError


@dataclass(frozen=True)
class Plan:
    """What one run of the program is going to register, as plain values."""

    settings: Settings
    nodes: tuple[NodePlan, ...]  # the master first
    user_data: Mapping[str, bytes]  # by node name
    manifests: Mapping[str, tuple[Object, ...]]  # by source name

    @property
    def master(self) -> NodePlan:
        return self.nodes[0]

    def of(self, role: NodeRole) -> tuple[NodePlan, ...]:
        return tuple(node for node in self.nodes if node.role is role)


def run() -> Plan:
    """Read the configuration, check it, and plan.

    Raises: pulumi.RunError (the one exception that prints without a traceback) with every problem.
    """
    try:
        loaded = settings.load()
        last_update.check(pulumi.get_stack(), loaded, last_update.previous())
        subnets = {subnet.availability_zone: subnet.cidr for subnet in plan_subnets(loaded.network)}
        nodes = plan_nodes(
            loaded, subnets[loaded.network.availability_zone], subnets[loaded.gpu.availability_zone]
        )
        user_data = {node.name: userdata.render(node, loaded) for node in nodes}
        check_sizes(user_data)
        return Plan(loaded, nodes, user_data, load_all(loaded.manifests))
    except (SettingsError, ManifestError) as error:
        raise pulumi.RunError(str(error)) from None


def check_sizes(user_data: Mapping[str, bytes]) -> None:
    """Refuse user data that is over the limit.

    Raises: SettingsError naming each node; what is long in user data comes from labels.
    """
    problems = Problems(pulumi.get_stack())
    for name, data in user_data.items():
        if userdata.oversize(data):
            problems.add(
                "kubepark:gpu.labels",
                f"the user data of {name} has {len(data)} bytes",
                f"at most {userdata.MAX_BYTES} bytes after gzip",
                None,
            )
    problems.raise_if_any()

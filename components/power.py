"""Instances that the stack file wants running or stopped. Of those on `auto` no update decides anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
from pulumi_aws import ec2transitgateway

from config.model import NodePlan, NodeRole, Power, Settings

Ids = Mapping[str, pulumi.Output[str]]  # of instances, by node name


def pin(
    power: Power,
    settings: Settings,
    nodes: Sequence[NodePlan],
    ids: Ids,
    after: Sequence[pulumi.Resource] = (),
    opts: pulumi.ResourceOptions | None = None,
) -> Ids:
    """Bring the nodes whose pool is to be running or stopped there, once `after` is done. Their ids, from
    then on."""
    of_role = {
        NodeRole.MASTER: settings.control_plane.power,
        NodeRole.WORKER: settings.workers_power,
        NodeRole.GPU: settings.gpu.power,
    }
    meant = {node.name: ids[node.name] for node in nodes if of_role[node.role] is power}
    if not meant:
        return {}
    states = PinnedPower(power.value, power, meant, after, opts).states
    return {name: state.instance_id for name, state in states.items()}


class PinnedPower(pulumi.ComponentResource):
    """The state of some instances. The provider keeps this resource among those of transit gateways; to
    remove it leaves the instance as it is."""

    states: dict[str, ec2transitgateway.InstanceState]  # by node name

    def __init__(
        self,
        name: str,
        power: Power,
        ids: Ids,
        after: Sequence[pulumi.Resource],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("kubepark:index:PinnedPower", name, None, opts)
        self.states = {
            node: ec2transitgateway.InstanceState(
                f"{name}-{node}",
                instance_id=instance,
                state=power.value,
                opts=pulumi.ResourceOptions(parent=self, depends_on=list(after)),
            )
            for node, instance in ids.items()
        }
        self.register_outputs({})

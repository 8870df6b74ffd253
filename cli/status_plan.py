"""What `kubepark status` tells of each node and pool: from instances, power record, Nodes, prices. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from cli.gpu_reasons import condition
from cli.instances import Machine
from cli.power_history import History, Hours, Version, hours
from cli.power_plan import Object
from config import costs
from config.costs import Cost, NodeCost, Pool, StackCost, total
from config.model import NodeRole

POOLS: Mapping[NodeRole, Pool] = {
    NodeRole.MASTER: Pool.CONTROL_PLANE,
    NodeRole.WORKER: Pool.WORKERS,
    NodeRole.GPU: Pool.GPU,
}
# States of a control plane.
PARKED, ANSWERS, SILENT, UNKNOWN = "parked", "answers", "does not answer", "not asked"
NOT_MADE = "not made"


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node of the account, of the stack file, or of both.

    `cost`: by the type that it has now; None if the stack file does not have it. `machine`: None if the
    account does not. `recorded`: whether the power record has it parked; `parked`: since which version.
    `kept`: until when somebody keeps it on. `kubernetes`: what the cluster says. `hours`: of GPU nodes.
    """

    name: str
    pool: Pool
    cost: NodeCost | None
    machine: Machine | None
    recorded: bool
    parked: Version | None
    kept: datetime | None
    kubernetes: str
    hours: Hours | None

    @property
    def state(self) -> str:
        return self.machine.state if self.machine else NOT_MADE

    @property
    def running_cost(self) -> Cost:
        """USD a month while it runs."""
        return self.cost.running if self.cost else self._unpriced

    @property
    def parked_cost(self) -> Cost:
        """USD a month while it is parked."""
        return self.cost.parked if self.cost else self._unpriced

    @property
    def present_cost(self) -> Cost:
        """USD a month if it stays as it is."""
        if self.machine is None:
            return Cost()
        return self.parked_cost if self.machine.off else self.running_cost

    @property
    def cost_of_hours(self) -> Cost:
        """USD of the hours that it ran, over what it costs parked; at the price of its present type."""
        ran = Decimal(str(self.hours.total if self.hours else 0))
        return (self.running_cost - self.parked_cost).hourly * ran

    @property
    def _unpriced(self) -> Cost:
        return Cost(unknown=frozenset({self.name}))


@dataclass(frozen=True, kw_only=True)
class PoolCost:
    """USD a month of a pool: if all of it ran, if all of it were parked, and as it is."""

    running: Cost
    parked: Cost
    present: Cost


@dataclass(frozen=True, kw_only=True)
class Status:
    """`pools`: those that have nodes, and the keys. `history`: of the power record."""

    nodes: tuple[Node, ...]
    pools: Mapping[Pool, PoolCost]
    history: History

    @property
    def sum(self) -> PoolCost:
        parts = list(self.pools.values())
        return PoolCost(
            running=total(each.running for each in parts),
            parked=total(each.parked for each in parts),
            present=total(each.present for each in parts),
        )

    @property
    def gpus(self) -> tuple[Node, ...]:
        """The GPU nodes of whose hours something is known."""
        return tuple(node for node in self.nodes if node.hours)

    @property
    def daily(self) -> tuple[float | None, ...]:
        """Hours of all GPU nodes in each 24 hours; None where nothing is known of any."""
        days = zip(*[node.hours.daily for node in self.gpus if node.hours], strict=True)
        return tuple(_sum([hours for hours in day if hours is not None]) for day in days)


@dataclass(frozen=True, kw_only=True)
class ControlPlane:
    """`state`: parked, answers, ...; `notes`: what else there is to say."""

    state: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Found:
    """All that is known of a stack. `differences`: where the account is not as recorded."""

    stack: str
    region: str
    control_plane: ControlPlane
    status: Status
    differences: tuple[str, ...]
    now: datetime


def _sum(hours: Sequence[float]) -> float | None:
    return sum(hours) if hours else None


def plan(
    cost: StackCost,
    machines: Iterable[Machine],
    history: History,
    kept: Mapping[str, datetime],
    nodes: Mapping[str, Object] | None,
    now: datetime,
) -> Status:
    """`kept`: nodes that somebody keeps on, until when. `nodes`: of the cluster; None if it was not asked."""
    there, planned = {each.name: each for each in machines}, {each.name: each for each in cost.nodes}
    recorded = (history.versions[-1].parked if history.versions else None) or frozenset()

    def node(name: str) -> Node:
        machine, priced = there.get(name), planned.get(name)
        if machine and priced:
            priced = replace(priced, instance=costs.cost_of(cost.table, machine.type))
        pool = POOLS[machine.role] if machine else planned[name].pool
        made = machine.made if machine and pool is Pool.GPU else None
        until = kept.get(name)
        return Node(
            name=name,
            pool=pool,
            cost=priced,
            machine=machine,
            recorded=name in recorded,
            parked=history.parked(name),
            kept=until if until and until > now else None,
            kubernetes="unknown" if nodes is None else describe(nodes.get(name)),
            hours=hours(history, name, made, now) if made else None,
        )

    order = list(Pool)
    found = sorted(map(node, planned | there), key=lambda each: (order.index(each.pool), each.name))
    pools = {pool: [each for each in found if each.pool is pool] for pool in Pool}
    keys = PoolCost(running=cost.keys, parked=cost.keys, present=cost.keys)
    return Status(
        nodes=tuple(found),
        pools={pool: _pool(nodes) for pool, nodes in pools.items() if nodes} | {Pool.KEYS: keys},
        history=history,
    )


def describe(node: Object | None) -> str:
    """What the cluster says of a node, in a few words."""
    if node is None:
        return "not in the cluster"
    ready = {"True": "Ready", "False": "NotReady"}.get(condition(node, "Ready").get("status", ""), "unknown")
    return f"{ready}, cordoned" if node["spec"].get("unschedulable") else ready


def _pool(nodes: Sequence[Node]) -> PoolCost:
    return PoolCost(
        running=total(each.running_cost for each in nodes),
        parked=total(each.parked_cost for each in nodes),
        present=total(each.present_cost for each in nodes),
    )

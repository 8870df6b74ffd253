"""What a stack costs while it runs and while it is parked: planned from its settings and a price table.

Counted is what is paid for by time: instances, root disks, public addresses, keys. Not what depends on use:
traffic, requests, volumes and load balancers that pods ask for, snapshots.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum
from types import MappingProxyType

from config.model import BudgetSettings, Market, NodeSettings, Power, Schedule, Settings
from config.naming import PROJECT
from config.prices import GP3, KMS_KEY, MONTH, PUBLIC_IPV4, PriceTable, refresh_command
from config.problems import Problem, Problems
from config.schedule import hours_a_week

KEYS = 2  # the cluster's and the data's (components/keys.py)
WEEK = Decimal(24 * 7)  # hours
WORKING = Decimal(8 * 5) / WEEK  # the part of the time that is eight hours on five days a week
_CENT = Decimal("0.01")


class Pool(StrEnum):
    """Who is paid for. Keys are there for all nodes, and nothing parks them."""

    CONTROL_PLANE = "control plane"
    WORKERS = "workers"
    GPU = "GPU"
    KEYS = "keys"


class State(StrEnum):
    """What runs. A parked node is stopped: its disk, name and private address stay."""

    RUNNING = "running"
    GPU_PARKED = "GPU parked"
    ALL_PARKED = "all parked"


@dataclass(frozen=True)
class Cost:
    """USD a month of what has a known price, and what has none: then the sum is unknown."""

    monthly: Decimal = Decimal(0)
    unknown: frozenset[str] = frozenset()

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.monthly + other.monthly, self.unknown | other.unknown)

    def __sub__(self, other: Cost) -> Cost:
        return self + other * -1

    def __mul__(self, factor: Decimal | int) -> Cost:
        return Cost(self.monthly * factor, self.unknown)

    @property
    def known(self) -> Decimal | None:
        """USD a month; None if anything in it has no known price."""
        return None if self.unknown else self.monthly

    @property
    def hourly(self) -> Cost:
        """The same in an hour."""
        return Cost(self.monthly / MONTH, self.unknown)


def cost_of(table: PriceTable, item: str, quantity: Decimal | int = 1) -> Cost:
    """What so much of an item costs in a month."""
    usd = table.monthly(item)
    return Cost(unknown=frozenset({item})) if usd is None else Cost(usd * quantity)


@dataclass(frozen=True, kw_only=True)
class NodeCost:
    """A node. EC2 takes an address back when an instance stops, unless it is an Elastic IP (`fixed_address`).

    Source: the EC2 User Guide, "Public IPv4 addresses and external DNS hostnames". An Elastic IP costs the
    same in use and idle, and so does a disk of a stopped instance.
    """

    name: str
    pool: Pool
    instance: Cost
    disk: Cost
    address: Cost
    fixed_address: bool
    spot: bool = False  # then `instance` is the most that it costs: AWS sets the price, and no table has it

    @property
    def running(self) -> Cost:
        return self.instance + self.disk + self.address

    @property
    def parked(self) -> Cost:
        return self.disk + self.parked_address

    @property
    def parked_address(self) -> Cost:
        return self.address if self.fixed_address else Cost()


@dataclass(frozen=True, kw_only=True)
class StackCost:
    """What every node of a stack costs, and its keys."""

    table: PriceTable
    nodes: tuple[NodeCost, ...]
    keys: Cost
    stopped: frozenset[Pool] = frozenset()  # pools that the stack file wants stopped
    gpu_hours: Decimal | None = None  # a week, by the schedule of the GPU nodes if there is one

    def of(self, pool: Pool, state: State) -> Cost:
        """A month of a pool in a state."""
        if pool is Pool.KEYS:
            return self.keys
        parked = state is State.ALL_PARKED or (state is State.GPU_PARKED and pool is Pool.GPU)
        parked = parked or pool in self.stopped
        return total(node.parked if parked else node.running for node in self.nodes if node.pool is pool)

    def sum(self, state: State) -> Cost:
        """A month of everything in a state."""
        return total(self.of(pool, state) for pool in Pool)


def total(costs: Iterable[Cost]) -> Cost:
    return sum(costs, Cost())


def at_work(running: Cost, parked: Cost, part: Decimal = WORKING) -> Cost:
    """A month of what runs a part of the time, and is parked the rest of it."""
    return parked + (running - parked) * part


def plan(
    table: PriceTable,
    control_plane: NodeSettings,
    workers: Iterable[NodeSettings],
    gpu: Iterable[NodeSettings],
    power: Mapping[Pool, Power] = MappingProxyType({}),
    schedule: Schedule | None = None,
) -> StackCost:
    """What nodes cost in the table's region. Each has one public address, the master a fixed one.

    `schedule`: that of the GPU nodes."""

    def node(settings: NodeSettings, pool: Pool) -> NodeCost:
        return NodeCost(
            name=settings.name,
            pool=pool,
            instance=cost_of(table, settings.instance_type),
            disk=cost_of(table, GP3, settings.volume_gb),
            address=cost_of(table, PUBLIC_IPV4),
            fixed_address=pool is Pool.CONTROL_PLANE,
            spot=settings.market is Market.SPOT,
        )

    return StackCost(
        table=table,
        nodes=(
            node(control_plane, Pool.CONTROL_PLANE),
            *(node(each, Pool.WORKERS) for each in workers),
            *(node(each, Pool.GPU) for each in gpu),
        ),
        keys=cost_of(table, KMS_KEY, KEYS),
        stopped=frozenset(pool for pool, wanted in power.items() if wanted is Power.STOPPED),
        gpu_hours=hours_a_week(schedule) if schedule else None,
    )


def plan_stack(settings: Settings, table: PriceTable) -> StackCost:
    """What a stack costs."""
    power = {
        Pool.CONTROL_PLANE: settings.control_plane.power,
        Pool.WORKERS: settings.workers_power,
        Pool.GPU: settings.gpu.power,
    }
    gpu = settings.gpu
    return plan(table, settings.control_plane.node, settings.workers, gpu.nodes, power, gpu.schedule)


def outputs(cost: StackCost) -> dict[str, float]:
    """The stack outputs that say it, to the cent; what is unknown is not among them."""
    named = {"monthly_usd": State.RUNNING, "monthly_usd_gpu_parked": State.GPU_PARKED}
    known = {name: cost.sum(state).known for name, state in named.items()}
    return {name: float(usd.quantize(_CENT)) for name, usd in known.items() if usd is not None}


def check_budget(stack: str, budget: BudgetSettings, cost: StackCost) -> None:
    """Refuse a plan that costs more than the budget, running, unless that is acknowledged.

    Raises: SettingsError.
    """
    allowed = budget.monthly_usd
    if allowed is None:
        return
    problems, key = Problems(stack), f"{PROJECT}:budget.monthlyUsd"
    running = cost.sum(State.RUNNING)
    limit = max(allowed, budget.acknowledged_usd or 0)
    if running.monthly > limit:
        least = int(running.monthly.to_integral_value(ROUND_CEILING))
        by_pool = ", ".join(f"{pool} {cost.of(pool, State.RUNNING).monthly:.2f}" for pool in Pool)
        problems.add(
            f"{PROJECT}:budget.acknowledgedUsd",
            f"the plan costs {running.monthly:.2f} USD a month ({by_pool}), over the budget of {allowed} USD",
            f"{least} USD at least, here or in budget.monthlyUsd; or a smaller plan",
            least,
        )
    elif running.unknown:
        region, items = cost.table.region, ", ".join(sorted(running.unknown))
        problems.found.append(
            Problem(
                key,
                f"cannot be compared with the plan: no price is known of {items} in {region}",
                f"prices in {region}, or no budget",
                refresh_command(region),
            )
        )
    problems.raise_if_any()

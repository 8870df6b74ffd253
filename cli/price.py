"""`kubepark price`: what a stack costs an hour and a month, running and parked. Offline, without an engine.

Of the stack file only the region and the nodes are looked at: the rest may not be known yet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from cli.errors import CommandError
from cli.price_format import SPOT_NOTE, amount, new_table, notes, print_tables, rounded, table_of
from cli.stackfile import config_of, setting
from config import costs
from config.costs import Cost, Pool, StackCost, State
from config.files import replace_file
from config.model import ControlPlaneSettings, GpuSettings, NodeSettings, Power
from config.naming import PROJECT
from config.problems import Problems, SettingsError
from config.sections import aws as aws_section
from config.sections import network as network_section
from config.sections import nodes as node_sections
from config.validation import Section

_REGION, _NODES = "aws.region", ("controlPlane", "workers", "gpu")
_EXPLAINED = "8x5: running for 8 hours on 5 days a week, and the rest of the time as the column says."
_BY_SCHEDULE = "h a week: GPU nodes by gpu.schedule, and the rest of the time as the column says."
_SIGNIFICANT = 4  # digits of a dollar in an hour
Figure = Callable[[Pool, Cost, Cost], Cost]  # of a pool: running, and in this state
# What is shown of each pool in each state: a heading, digits, and the figure.
_PERIODS: Mapping[str, tuple[str, int, Figure]] = {
    "hour": ("USD an hour", _SIGNIFICANT, lambda _, running, now: now.hourly),
    "month": ("USD a month of 730 hours", 2, lambda _, running, now: now),
    "month8x5": ("USD a month, 8x5", 2, lambda _, running, now: costs.at_work(running, now)),
}


def _periods(cost: StackCost) -> Mapping[str, tuple[str, int, Figure]]:
    """With that of the hours of GPU nodes if they have any; of the others it is the column's."""
    hours = cost.gpu_hours
    if hours is None:
        return _PERIODS
    part = hours / costs.WEEK

    def by_schedule(pool: Pool, running: Cost, now: Cost) -> Cost:
        return costs.at_work(running, now, part) if pool is Pool.GPU else now

    return {**_PERIODS, "monthBySchedule": (f"USD a month, GPU {_hours(hours)} h a week", 2, by_schedule)}


def _hours(hours: Decimal) -> str:
    return f"{hours:.2f}".rstrip("0").rstrip(".")


@dataclass(frozen=True)
class Request:
    """What is asked for besides the price of a stack."""

    preview: Path | None
    refresh: bool
    region: str | None
    as_json: bool
    chart: Path | None = None  # where the picture goes


def run(stack: str, request: Request) -> int:
    """Print what is asked for; gives the exit code. Raises: CommandError."""
    if sum(map(bool, (request.refresh, request.preview, request.chart))) > 1:
        raise CommandError("--refresh, --preview and --chart are asked for one at a time")
    if request.refresh:
        if not request.region:
            raise CommandError("--refresh needs the region: --region ap-northeast-2")
        from cli import price_list

        return price_list.run(request.region)
    if request.preview:
        from cli import price_preview

        return price_preview.run(request.preview, stack, request.region, as_json=request.as_json)
    if request.region:
        raise CommandError("--region is for --refresh and --preview: a stack's own is in its file")
    return _of_stack(stack, request)


def _of_stack(stack: str, request: Request) -> int:
    try:
        cost = of_stack(stack)
    except SettingsError as error:
        raise CommandError(str(error)) from None
    if request.chart:
        _draw(stack, cost, request.chart)
    elif request.as_json:
        print(json.dumps(_document(stack, cost), indent=2))
    else:
        _show(stack, cost)
    return 0


def _draw(stack: str, cost: StackCost, file: Path) -> None:
    from cli import price_chart

    try:
        replace_file(file, price_chart.draw(f"{stack}, {cost.table.region}", cost), mode=0o644)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}") from None
    print(f"wrote {file}")


@dataclass(frozen=True)
class Nodes:
    """What a stack file says of its region and nodes."""

    region: str
    control_plane: ControlPlaneSettings
    workers: tuple[NodeSettings, ...]
    workers_power: Power
    gpu: GpuSettings


def of_stack(stack: str) -> StackCost:
    """What a stack file comes to.

    Raises: CommandError, or SettingsError with what is wrong with the region and the nodes.
    """
    return cost_of(nodes_of(stack))


def cost_of(nodes: Nodes) -> StackCost:
    """What nodes cost. Raises: CommandError if the region's prices cannot be read."""
    power = {
        Pool.CONTROL_PLANE: nodes.control_plane.power,
        Pool.WORKERS: nodes.workers_power,
        Pool.GPU: nodes.gpu.power,
    }
    table = table_of(nodes.region)
    gpu = nodes.gpu
    return costs.plan(table, nodes.control_plane.node, nodes.workers, gpu.nodes, power, gpu.schedule)


def nodes_of(stack: str) -> Nodes:
    """Region and nodes of a stack file; what else is in it may be wrong or missing.

    Raises: CommandError, or SettingsError with what is wrong with them.
    """
    from cli.check import given, has_encrypted  # it imports the program

    raw = config_of(stack)
    problems, config = Problems(stack), given(raw)[0]
    region = setting(raw, f"{PROJECT}:{_REGION}")
    needed = {_REGION: config.get("aws") if isinstance(region, Mapping) else region}
    needed |= {key: config.get(key) for key in _NODES}
    if hidden := [key for key, value in needed.items() if has_encrypted(value)]:
        raise CommandError(
            f"stack {stack} has encrypted values in {', '.join(hidden)}, and nothing is decrypted here; "
            "accepted: the region and the nodes in plain text"
        )
    root = Section(problems, f"{PROJECT}:", config)
    aws = aws_section.aws(root.section("aws"))
    network = network_section.network(root.section("network"), aws.region)
    control_plane = node_sections.control_plane(root.section("controlPlane"), "")
    workers, workers_power = node_sections.workers(root.section("workers"), "")
    gpu = node_sections.gpu(root.section("gpu"), "", network)
    if found := [problem for problem in problems.found if _matters(problem.key)]:
        raise SettingsError(stack, found)
    return Nodes(aws.region, control_plane, workers, workers_power, gpu)


def _matters(key: str) -> bool:
    """Whether a problem with a setting leaves the price open.

    A zone of GPU nodes does not: it is compared with the network's, which may be missing.
    """
    name = key.removeprefix(f"{PROJECT}:")
    return name in ("aws", _REGION) or (name.startswith(_NODES) and name != "gpu.availabilityZone")


def _show(stack: str, cost: StackCost) -> None:
    table = new_table(f"{stack}, {cost.table.region}", *State)
    for heading, digits, figure in _periods(cost).values():
        table.add_row(heading, style="bold")
        for pool in Pool:
            table.add_row(f"  {_named(cost, pool)}", *_row(cost, digits, figure, pool))
        table.add_row("  all", *_row(cost, digits, figure, None))
    parked = new_table("A parked node costs a month", "disk", "address", "together")
    for node in cost.nodes:
        figures = (node.disk, node.parked_address, node.parked)
        parked.add_row(f"  {node.name}", *(amount(figure) for figure in figures))
    by_schedule = [_BY_SCHEDULE] if cost.gpu_hours is not None else []
    on_spot = [SPOT_NOTE] if _spot(cost) else []
    lines = [_EXPLAINED, *by_schedule, *on_spot, *notes(cost.table, cost.sum(State.RUNNING).unknown)]
    if setting(config_of(stack), f"{PROJECT}:aws.endpoint"):
        lines.insert(0, "This stack is a sandbox and costs nothing: these are the prices of it in AWS.")
    print_tables([table, parked], lines)


def _named(cost: StackCost, pool: Pool) -> str:
    nodes = [node for node in cost.nodes if node.pool is pool]
    count = costs.KEYS if pool is Pool.KEYS else len(nodes)
    return f"{pool} ({count}{', spot: at most' if any(node.spot for node in nodes) else ''})"


def _spot(cost: StackCost) -> list[str]:
    """The nodes that are Spot Instances."""
    return [node.name for node in cost.nodes if node.spot]


def _row(cost: StackCost, digits: int, figure: Figure, pool: Pool | None) -> Iterable[str]:
    return (amount(_figure(cost, figure, pool, state), digits) for state in State)


def _figure(cost: StackCost, figure: Figure, pool: Pool | None, state: State) -> Cost:
    if pool is None:
        return costs.total(_figure(cost, figure, each, state) for each in Pool)
    return figure(pool, cost.of(pool, State.RUNNING), cost.of(pool, state))


def camel(member: Pool | State) -> str:
    """How a pool or a state is called in JSON: `controlPlane`."""
    first, *others = member.name.lower().split("_")
    return first + "".join(other.capitalize() for other in others)


def _document(stack: str, cost: StackCost) -> dict[str, Any]:
    """The same as data: USD by period, pool (`all` for their sum) and state; null is unknown."""
    usd = {
        period: {
            camel(pool) if pool else "all": {
                camel(state): rounded(_figure(cost, figure, pool, state), digits) for state in State
            }
            for pool in (*Pool, None)
        }
        for period, (_, digits, figure) in _periods(cost).items()
    }
    return {
        "stack": stack,
        "region": cost.table.region,
        "usd": usd,
        "parked": {
            node.name: {"disk": rounded(node.disk), "address": rounded(node.parked_address)}
            for node in cost.nodes
        },
        "gpuHoursAWeek": None if cost.gpu_hours is None else float(cost.gpu_hours),
        "unknown": sorted(cost.sum(State.RUNNING).unknown),
        "spot": _spot(cost),
        "priceDates": list(cost.table.dates),
    }

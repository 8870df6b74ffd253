"""`kubepark status` on a terminal, with its colors, and plainly in a pipe."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.power_history import DAYS, History
from cli.price_format import SPOT_NOTE, amount, new_table
from cli.status_plan import Found, Node, PoolCost, Status
from config.costs import Cost, total

_WIDTH = 160  # characters: what is shortened to fit says nothing, so a narrower terminal wraps
_BAR = 30  # characters of the longest
_PAID, _RUNS, _SAVED = ("█", "blue"), ("▓", "cyan"), ("░", "dim")
_LEVELS = "▁▂▃▄▅▆▇█"
_NOTHING_KNOWN = "·"
_CARD_HOURS = 24.0  # of one node in a day


def show(found: Found) -> None:
    """Print all of it."""
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, _WIDTH)
    console.print(f"{found.stack}, {found.region}, {moment(found.now)}", style="bold", markup=False)
    notes = "".join(f"; {note}" for note in found.control_plane.notes)
    console.print(f"control plane: {found.control_plane.state}{notes}\n", markup=False)
    console.print(_nodes(found.status))
    console.print()
    console.print(_pools(found.status))
    console.print(_legend(), end="\n\n")
    spot = any(node.machine and node.machine.spot for node in found.status.nodes)
    for line in (*([SPOT_NOTE] if spot else []), *hour_lines(found.status), *found.differences):
        console.print(line, markup=False)


def moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def recorded(node: Node, history: History) -> str:
    """What the power record says of a node."""
    if not history.versions:
        return "no record"
    if not node.recorded or node.parked is None:
        return "runs" + (f", kept on until {moment(node.kept)}" if node.kept else "")
    known = history.whole or node.parked.at != history.since
    by = f" by {node.parked.by}" if node.parked.by and known else ""
    return f"parked since {'' if known else 'before '}{moment(node.parked.at)}{by}"


def _nodes(status: Status) -> Table:
    headings = ("node", "pool", "EC2", "power record", "cluster", "type")
    table = new_table(*headings, "USD an hour")
    for column in table.columns[: len(headings)]:
        column.justify = "left"
    for node in status.nodes:
        what = (node.state, recorded(node, status.history), node.kubernetes)
        kind = node.machine.type + (", spot" if node.machine.spot else "") if node.machine else "-"
        table.add_row(node.name, str(node.pool), *what, kind, amount(node.present_cost.hourly, 4))
    return table


def _pools(status: Status) -> Table:
    table = new_table("USD a month of 730 hours", "running", "parked", "now")
    table.add_column("", no_wrap=True)
    longest = max((each.running.known or 0 for each in status.pools.values()), default=0)
    for name, cost in [*status.pools.items(), ("all", status.sum)]:
        figures = (amount(each) for each in (cost.running, cost.parked, cost.present))
        table.add_row(f"  {name}", *figures, Text() if name == "all" else _bar(cost, float(longest)))
    return table


def _bar(cost: PoolCost, longest: float) -> Text:
    """What is paid in any case, what is paid now, and what is not; nothing where a price is unknown."""
    found = Text()
    known = [each.known for each in (cost.parked, cost.present, cost.running)]
    done = 0
    for usd, (mark, style) in zip(known, (_PAID, _RUNS, _SAVED), strict=True):
        if usd is None or None in known or not longest:
            continue
        end = round(float(usd) / longest * _BAR)
        found.append(mark * max(0, end - done), style)
        done = max(done, end)
    return found


def _legend() -> Text:
    words = ("paid also while parked", "paid because it runs", "not paid, because it is parked")
    found = Text()
    for (mark, style), said in zip((_PAID, _RUNS, _SAVED), words, strict=True):
        found.append(mark, style).append(f" {said}   ")
    found.rstrip()
    return found


def hour_lines(status: Status) -> Iterator[str]:
    """How long GPUs ran, what that cost, and how much of it is known."""
    if not status.gpus:
        return
    hours = sum(node.hours.total for node in status.gpus if node.hours)
    cost = total(node.cost_of_hours for node in status.gpus)
    yield f"GPU nodes ran {hours:.1f} h in the last {DAYS} days, from the power record: {priced(cost)}"
    yield f"  {sparkline(status)}  24 hours each, the last ones end now; {_NOTHING_KNOWN}: nothing is known"
    for node in status.gpus:
        if node.hours:
            own = f"{node.hours.total:.1f} h, {priced(node.cost_of_hours)}, since {moment(node.hours.since)}"
            yield f"  {node.name}: {own}"
    yield from (f"  {line}" for line in caveats(status))


def priced(cost: Cost) -> str:
    return f"{amount(cost)} USD" if cost.known is not None else "of unknown price"


def sparkline(status: Status) -> str:
    """A mark for each day: its height is the part of the time that the GPU nodes ran."""
    most = _CARD_HOURS * len(status.gpus)
    return "".join(
        _NOTHING_KNOWN if day is None else _LEVELS[round(min(day / most, 1) * (len(_LEVELS) - 1))]
        for day in status.daily
    )


def caveats(status: Status) -> Iterator[str]:
    """What the hours leave out."""
    history = status.history
    if history.since and any(node.hours and node.hours.since == history.since for node in status.gpus):
        why = "began" if history.whole else "keeps a hundred versions, and they begin"
        yield f"Not the whole {DAYS} days: the record {why} {moment(history.since)}."
    if any(node.hours and node.machine and node.hours.since == node.machine.made for node in status.gpus):
        yield f"Not the whole {DAYS} days: of a node, from when its present instance was made."
    yield "The record has no stops and starts in the console. Prices: of instance and address, as now."

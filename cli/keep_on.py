"""`kubepark keep-on`: until a time neither their schedule nor the idle guard stops GPU nodes.

The record says it to the idle guard. Of a schedule, the stops until then are held off by its start date,
which the program ignores; what then stops a node outside its hours is another schedule, which is there once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from cli import power, power_plan, price
from cli.aws import client
from cli.errors import CommandError
from cli.instances import Machine
from cli.park import Request, Session, emit, session, stack_nodes
from cli.price_format import amount
from cli.schedules import Hold, Schedules, plan, shown, stops_of
from cli.stackfile import cluster_of
from config import schedule as hours
from config.model import NodeRole, Schedule
from config.naming import Naming
from config.power import spelled

VERB = "keep-on"
_FORM = "--until 23:00, --until 2026-11-28T23:00, or --for 3h"
_LENGTH = re.compile(r"(?:(\d{1,3})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m)?")
_CLOCK = re.compile(r"([01]?\d|2[0-3]):[0-5]\d")


def keep_on(request: Request, until: str, length: str, now: datetime | None = None) -> int:
    """Keep the running nodes of the target on; gives the exit code. `until`, `length`: one of them is "".

    Raises: CommandError.
    """
    nodes, now = stack_nodes(request.stack), (now or datetime.now(UTC)).replace(microsecond=0)
    schedule = nodes.gpu.schedule
    if schedule and not hours.readable(schedule):
        raise CommandError(
            f"this machine does not know the clocks of {schedule.timezone}; fix: .venv/bin/pip install tzdata"
        )
    end = moment(until, length, now, schedule)
    request = replace(request, options=f" --until {spelled(end)}")
    held = plan(schedule, now, end) if schedule else Hold()
    with session(request, VERB) as at:
        known = at.known()
        machines = _running(at, known)
        names = [each.name for each in machines]
        schedules = Schedules(at.client("scheduler"), Naming(at.cluster))
        stops = stops_of(schedules, names, request.stack) if schedule else {}
        others = {name: each for name, each in known.keep_on.items() if each > now}
        power.write(at.ssm, at.cluster, known.parked or (), others | dict.fromkeys(names, end))
        for name, stop in stops.items():
            schedules.hold(name, stop, held)
        if request.as_json:
            emit(document(request, names, end, held))
            return 0
        for line in summary(request, names, end, schedule, held):
            at.say(line)
        if held.held:
            hourly = power_plan.saving(price.cost_of(nodes), machines).saved.hourly
            at.say(f"that costs {amount(hourly, 4)} USD an hour from {shown(held.held, schedule)} on")
    return 0


def renew(stack: str, variables: Mapping[str, str], known: power.Known, now: datetime | None = None) -> None:
    """After an update: one that made a schedule or a node anew has ended what was held off."""
    schedule, now = power.schedule_of(stack), now or datetime.now(UTC)
    kept = {name: end for name, end in known.keep_on.items() if end > now}
    if not schedule or not kept:
        return
    schedules = Schedules(client("scheduler", stack, variables), Naming(cluster_of(stack)))
    for name, end in kept.items():
        stop = schedules.stop(name)
        if stop and not stop.get("StartDate"):
            wanted = plan(schedule, now, end)
            schedules.hold(name, stop, wanted)
            if wanted.held:
                print(f"power: {name} is kept on until {shown(end, schedule)}", flush=True)


def _running(at: Session, known: power.Known) -> list[Machine]:
    """The GPU nodes that are meant and run. Raises: CommandError if none is."""
    target, stack = at.request.target, at.request.stack
    chosen = power_plan.chosen(target, known.machines, stack)
    if any(each.role is not NodeRole.GPU for each in chosen):
        raise CommandError(f"nothing stops {target} by itself; accepted: gpu, or the name of a GPU node")
    running = [each for each in chosen if not each.off]
    if not running:
        off = ", ".join(each.name for each in chosen)
        raise CommandError(f"{off} is stopped; fix: bin/kubepark unpark {target} --stack {stack}")
    for each in chosen:
        if each.off:
            at.say(f"{each.name} is stopped, and stays so")
    return running


# -- times -------------------------------------------------------------------------------------------


def moment(until: str, length: str, now: datetime, schedule: Schedule | None) -> datetime:
    """When it ends, in UTC. A time of the day is the next one by the clocks of the schedule, else of this
    machine.

    Raises: CommandError.
    """
    if bool(until) is bool(length):
        raise CommandError(f"how long is said by one option; accepted: {_FORM}")
    if length:
        found = _LENGTH.fullmatch(length)
        days, of_hours, minutes = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
        if not days + of_hours + minutes:
            raise CommandError(f"--for {length} is no length of time; accepted: 3h, 90m, 1h30m, 2d")
        return now + timedelta(days=days, hours=of_hours, minutes=minutes)
    try:
        end = _at(until, now, ZoneInfo(schedule.timezone) if schedule else None)
    except (OverflowError, ValueError):
        raise CommandError(f"--until {until} is no time; accepted: {_FORM}") from None
    if end <= now:
        raise CommandError(f"--until {until} is past: it is {shown(now, schedule)}; accepted: {_FORM}")
    return end


def _at(text: str, now: datetime, zone: ZoneInfo | None) -> datetime:
    """Raises: ValueError."""
    if not _CLOCK.fullmatch(text):
        return _utc(datetime.fromisoformat(text), zone)
    today, clock = now.astimezone(zone).date(), time.fromisoformat(text.zfill(len("00:00")))
    first, second = (_utc(datetime.combine(today + timedelta(day), clock), zone) for day in (0, 1))
    return first if first > now else second


def _utc(at: datetime, zone: ZoneInfo | None) -> datetime:
    """Of a time that clocks show twice, or leave out, the later reading: nobody loses work by that."""
    if at.tzinfo is None and zone is not None:
        at = at.replace(tzinfo=zone)
    return max(at.replace(fold=fold).astimezone(UTC) for fold in (0, 1)).replace(microsecond=0)


# -- words -------------------------------------------------------------------------------------------


def summary(
    request: Request, names: Sequence[str], end: datetime, schedule: Schedule | None, held: Hold
) -> list[str]:
    """What a person reads at the end."""
    lines = [f"kept on until {shown(end, schedule)} ({spelled(end)}): {', '.join(names)}"]
    if schedule is None:
        lines.append("the stack has no gpu.schedule: only an idle guard would have stopped it")
    if held.held:
        lines.append(f"held off: the stop of {shown(held.held, schedule)}")
    if schedule and held.once:
        lines.append(f"then it is stopped, outside its hours ({hours.shown(schedule)})")
    elif schedule:
        stop = hours.next_stop(schedule, end - timedelta(seconds=1))
        lines.append(f"the next stop is that of {shown(stop, schedule)}")
    return [*lines, f"to stop it before: bin/kubepark park {request.target} --stack {request.stack}"]


def document(request: Request, names: Sequence[str], end: datetime, held: Hold) -> dict[str, Any]:
    """The same as data; times are in UTC. `heldOff`: the first stop that does not come; `stops`: the one
    that comes instead."""
    return {
        "stack": request.stack,
        "target": request.target,
        "keptOn": list(names),
        "until": spelled(end),
        "heldOff": spelled(held.held) if held.held else None,
        "stops": spelled(held.once) if held.once else None,
    }

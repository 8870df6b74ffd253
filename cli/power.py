"""Who runs, who is parked on purpose, and where the two differ: from EC2 and the power record of a stack."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cli.aws import client
from cli.errors import CommandError
from cli.instances import Machine, find
from cli.power_plan import ALL, GPU, WORKERS
from cli.schedules import shown
from cli.stackfile import cluster_of, config_of, setting
from config import power
from config import schedule as hours
from config.model import NodeRole, Power, Schedule
from config.naming import PROJECT, Naming
from config.power import PowerRecordError
from config.problems import Problems
from config.sections import schedule as schedules
from config.validation import Section

_LOOK_SECONDS = 5.0
POOLS: Mapping[NodeRole, str] = {NodeRole.GPU: GPU, NodeRole.WORKER: WORKERS, NodeRole.MASTER: ALL}
SECTIONS: Mapping[NodeRole, str] = {
    NodeRole.GPU: "gpu",
    NodeRole.WORKER: "workers",
    NodeRole.MASTER: "controlPlane",
}


@dataclass(frozen=True)
class Known:
    """`parked`: the names in the record; None if the stack has no record yet. `keep_on`: until when nothing
    is to stop a node by itself, in the past as well."""

    machines: tuple[Machine, ...]
    parked: frozenset[str] | None
    keep_on: Mapping[str, datetime] = field(default_factory=dict)

    @property
    def control_plane_off(self) -> bool:
        return bool(self._all_off(NodeRole.MASTER))

    @property
    def gpus_off(self) -> tuple[str, ...]:
        """The GPU nodes, if none of them runs."""
        return self._all_off(NodeRole.GPU)

    @property
    def workers_off(self) -> tuple[str, ...]:
        """The workers, if none of them runs."""
        return self._all_off(NodeRole.WORKER)

    def _all_off(self, role: NodeRole) -> tuple[str, ...]:
        pool = [each for each in self.machines if each.role is role]
        return tuple(each.name for each in pool) if all(each.off for each in pool) else ()


def read(ec2: Any, ssm: Any, cluster: str) -> Known:
    """Raises: CommandError for a record that cannot be understood."""
    name = Naming(cluster).power_parameter
    try:
        record = ssm.get_parameter(Name=name)["Parameter"]["Value"]
        parked, keep_on = power.load(record), power.keep_on(record)
    except ssm.exceptions.ParameterNotFound:
        parked, keep_on = None, {}
    except PowerRecordError as error:
        fix = f"aws ssm put-parameter --overwrite --name {name} --value '{power.dump(())}'"
        raise CommandError(f"the power record ({name}) {error}; fix: {fix}") from None
    return Known(find(ec2, cluster), parked, keep_on)


def write(ssm: Any, cluster: str, parked: Iterable[str], keep_on: Mapping[str, datetime]) -> None:
    """Replace the record, which an update has made."""
    name = Naming(cluster).power_parameter
    ssm.put_parameter(Name=name, Value=power.dump(parked, keep_on), Type="String", Overwrite=True)


def pins(stack: str) -> dict[NodeRole, str]:
    """What the stack file says of each pool; what it must not say is the program's to refuse."""
    config = config_of(stack)
    found = {role: setting(config, f"{PROJECT}:{key}.power") for role, key in SECTIONS.items()}
    return {role: str(value or Power.AUTO) for role, value in found.items()}


def schedule_of(stack: str) -> Schedule | None:
    """The hours of the GPU nodes in the stack file, for who tells of them. None also where they are wrong, as
    the program says then, and where this machine does not know the clocks of their zone."""
    problems, raw = Problems(stack), setting(config_of(stack), f"{PROJECT}:gpu.schedule")
    found = schedules.schedule(Section(problems, f"{PROJECT}:gpu", {"schedule": raw}), Power.AUTO, ())
    return found if found and not problems.found and hours.readable(found) else None


def look(stack: str, variables: Mapping[str, str]) -> Known:
    """Who runs, for an operation that goes on without the answer: then it prints why there is none."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        ec2, ssm = (client(name, stack, variables, seconds=_LOOK_SECONDS) for name in ("ec2", "ssm"))
        known = read(ec2, ssm, cluster_of(stack))
    except (BotoCoreError, ClientError, CommandError) as error:
        print(f"warning: not checked: which nodes are parked ({error})", file=sys.stderr, flush=True)
        return Known((), None)
    for line in differences(stack, known, pins(stack), schedule_of(stack)):
        print(line, flush=True)
    return known


def differences(
    stack: str,
    known: Known,
    wanted: Mapping[NodeRole, str],
    schedule: Schedule | None = None,
    now: datetime | None = None,
) -> Iterator[str]:
    """A line for whatever is not as recorded, or not as the stack file wants it. `wanted`: its words.

    What a schedule does is in no record: of GPU nodes a line says how they are to be now by their hours.
    """
    parked, now = known.parked or frozenset(), now or datetime.now(UTC)
    for role, target in POOLS.items():
        pool = [each for each in known.machines if each.role is role]
        if wanted[role] in (Power.RUNNING, Power.STOPPED):
            off = wanted[role] == Power.STOPPED
            if names := [each.name for each in pool if each.off is not off]:
                yield (
                    f"power: {', '.join(names)}: {'running' if off else 'stopped'}, and "
                    f"{PROJECT}:{SECTIONS[role]}.power is {wanted[role]}; to make it so: "
                    f"bin/kubepark up --refresh --stack {stack}"
                )
            continue
        differing = [each for each in pool if each.off is not (each.name in parked)]
        by_hours = _by_hours(schedule, now) if schedule and role is NodeRole.GPU else ""
        expected = bool(schedule and by_hours and not hours.inside(schedule, now))
        for off, is_now in (
            (True, f"stopped{by_hours}" if by_hours else "stopped, and the record says running"),
            (False, f"running{by_hours}, and the record says parked"),
        ):
            names = [each.name for each in differing if each.off is off]
            for name, whom in _targets(names, target, pool):
                to, back = ("unpark", "park") if off else ("park", "unpark")
                right = f"; if that is right: bin/kubepark {back} {whom} --stack {stack}"
                yield (
                    f"power: {name}: {is_now}; to {'start' if off else 'stop'} it: bin/kubepark {to} {whom} "
                    f"--stack {stack}{'' if off and expected else right}"
                )


def _by_hours(schedule: Schedule, now: datetime) -> str:
    if hours.inside(schedule, now):
        return f", inside the hours of its schedule ({hours.shown(schedule)})"
    start = shown(hours.next_start(schedule, now), schedule)
    return f", outside the hours of its schedule ({hours.shown(schedule)}; next start: {start})"


def _targets(names: Sequence[str], target: str, pool: Sequence[Machine]) -> list[tuple[str, str]]:
    """What to call these nodes of a pool, and what to call them to park and unpark: all at once, or each."""
    whole = names and len(names) == len(pool)
    return [(", ".join(names), target)] if whole else [(name, name) for name in names]

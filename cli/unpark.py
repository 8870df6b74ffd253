"""`kubepark unpark`: start what is parked, and wait until each node is one again."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cli import api_server, cluster, power, power_plan, price
from cli.cluster import Kubeconfig
from cli.errors import CommandError
from cli.instances import Machine, NoCapacity, find
from cli.park import Request, Session, emit, money, session, stack_nodes
from cli.power_plan import Object, Saving
from cli.price_format import amount
from cli.schedules import shown
from config import schedule as hours
from config.model import NodeRole, Power, Schedule
from config.naming import CORDONED, INSTANCE_TYPE_LABEL, PROJECT, Naming

_ORDER = (NodeRole.MASTER, NodeRole.WORKER, NodeRole.GPU)
_POLL_SECONDS = 2.0
_VERIFY_SECONDS = 120.0  # patience of the GPU Job


def unpark(request: Request) -> int:
    """Start, wait, uncordon, run the GPU Job; gives the exit code. Raises: CommandError."""
    nodes = stack_nodes(request.stack)
    types = {
        each.name: (each.instance_type, *each.further_types) for each in nodes.gpu.nodes if each.further_types
    }
    with session(request, "unpark") as at:
        known = at.known()
        machines = power_plan.chosen(request.target, known.machines, request.stack)
        if known.control_plane_off and all(each.role is not NodeRole.MASTER for each in machines):
            raise CommandError(
                "the control plane is stopped, and no node can come back without it; "
                f"fix: bin/kubepark unpark all --stack {request.stack}"
            )
        at.refuse_pinned(machines, Power.STOPPED)
        refused = _start(at, machines, types, known)
        started = [each for each in machines if each.name not in refused]
        at.ec2.settle(started, "running")  # until then EC2 may tell of the start before
        names = {each.name for each in started}
        there = [each for each in find(at.ec2.client, at.cluster) if each.name in names]
        kubeconfig = Return(at).wait(there)
        if kubeconfig and any(each.role is NodeRole.MASTER for each in there):
            at.say(api_server.certificate(kubeconfig, datetime.now(UTC)))
        verified = _verify(at, there, kubeconfig)
        schedule = power.schedule_of(request.stack)
        if schedule and any(each.role is NodeRole.GPU for each in there):
            _say_hours(at, schedule)
        _report(at, there, refused, verified, power_plan.saving(price.cost_of(nodes), there))
    return 1 if refused or verified else 0


def _start(
    at: Session, machines: Sequence[Machine], types: Mapping[str, Sequence[str]], known: power.Known
) -> dict[str, str]:
    """Start what is off, the master first: the nodes that stay parked, with AWS's words.

    Each that starts leaves the record at once, so that whoever interrupts loses nothing.
    """
    refused, parked = {}, known.parked or frozenset()
    for machine in sorted(machines, key=lambda each: _ORDER.index(each.role)):
        if machine.state == "stopping":
            at.ec2.settle([machine], "stopped")
        if machine.off:
            try:
                as_type = at.ec2.start(machine, types.get(machine.name, (machine.type,)), at.request.patience)
            except NoCapacity as error:
                refused[machine.name] = str(error)
                if machine.role is NodeRole.MASTER:  # without it no other node can come back
                    return {each.name: f"{machine.name}: {error}" for each in machines}
                continue
            at.say(f"{machine.name} is being started ({as_type})")
        if machine.name in parked:
            parked -= {machine.name}
            power.write(at.ssm, at.cluster, parked, known.keep_on)
    return refused


@dataclass
class Return:
    """The wait for nodes that were started."""

    at: Session
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    kubeconfig: Kubeconfig | None = None
    told: dict[str, str] = field(default_factory=dict)
    uncordoned: set[str] = field(default_factory=set)

    def wait(self, machines: Sequence[Machine]) -> Kubeconfig | None:
        """Until all are nodes again, uncordoned and with their GPUs. The kubeconfig, if it was needed.

        Raises: CommandError at the deadline, naming what each still lacks.
        """
        end = self.clock() + self.at.request.seconds
        left = list(machines)
        while left:
            lacking = self._look(left)
            left = [each for each in left if lacking[each.name]]
            for name, lacks in lacking.items():
                if self.told.get(name) != lacks:
                    self.told[name] = lacks
                    self.at.say(f"{name}: {lacks or 'is back'}")
            if left and self.clock() >= end:
                lines = [f"  - {each.name}: {lacking[each.name]}" for each in left]
                late = f"after {self.at.request.seconds:g} s these nodes are not back:"
                again = f"they go on by themselves; to wait further: {self.at.request.command('unpark')}"
                raise CommandError("\n".join([late, *lines, again]))
            if left:
                self.sleep(_POLL_SECONDS)
        return self.kubeconfig

    def _look(self, machines: Sequence[Machine]) -> dict[str, str]:
        """What each machine lacks now; those that lack nothing more are taken into use."""
        from cli.kube_nodes import KubeNodes  # the Kubernetes client takes a second to import

        records = _records(self.at)
        alone = {each.name: power_plan.missing(each, None, records.get(each.name)) for each in machines}
        masters = [each for each in machines if each.role is NodeRole.MASTER]
        if any(records.get(each.name, {}).get("phase") != "api-ready" for each in masters):
            return alone
        try:
            if self.kubeconfig is None:
                self.kubeconfig = cluster.kubeconfig_of(self.at.request.stack)
            if not api_server.listens(self.kubeconfig):
                return alone
            with cluster.connected(self.kubeconfig) as api:
                nodes = KubeNodes(api)
                found = nodes.nodes()
                return {
                    each.name: power_plan.missing(each, found.get(each.name), records.get(each.name))
                    or self._take_into_use(nodes, each, found[each.name])
                    for each in machines
                }
        except CommandError as error:  # it has just come up
            reason = " ".join(str(error).split())
            return {name: lacks or reason for name, lacks in alone.items()}

    def _take_into_use(self, nodes: Any, machine: Machine, node: Object) -> str:
        """Uncordon a node, and tell what it then still lacks."""
        if machine.name not in self.uncordoned:
            if CORDONED in power_plan.annotations_of(node):
                nodes.uncordon(machine.name)
                self.at.say(f"{machine.name} is uncordoned")
            if node["metadata"].get("labels", {}).get(INSTANCE_TYPE_LABEL) != machine.type:
                nodes.note_type(machine.name, machine.type)
            self.uncordoned.add(machine.name)
        if machine.role is NodeRole.GPU and not power_plan.gpus_offered(node):
            return "its GPU is not allocatable yet"
        return ""


def _records(at: Session) -> dict[str, Any]:
    """The nodes' status records by name; what is no record counts as none."""
    path = Naming(at.cluster).status_path
    pages = at.ssm.get_paginator("get_parameters_by_path").paginate(Path=path)
    found = {}
    for parameter in (each for page in pages for each in page["Parameters"]):
        try:
            record = json.loads(parameter["Value"])
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict):
            found[parameter["Name"].rpartition("/")[2]] = record
    return found


def _verify(at: Session, machines: Sequence[Machine], kubeconfig: Kubeconfig | None) -> int | None:
    """The acceptance Job's exit code; None if there is no GPU or nobody wants it."""
    gpus = any(each.role is NodeRole.GPU for each in machines)
    if not gpus or not at.request.verify or kubeconfig is None:
        return None
    from cli.verify_gpu import verify_gpu

    return verify_gpu(kubeconfig, timeout=_VERIFY_SECONDS, out=at.say)


def _say_hours(at: Session, schedule: Schedule) -> None:
    """Outside its hours a node may run for days: the stop that ends them is over."""
    now = datetime.now(UTC)
    if not hours.inside(schedule, now):
        stop = shown(hours.next_stop(schedule, now), schedule)
        sooner = f"bin/kubepark keep-on {at.request.target} --for 3h --stack {at.request.stack}"
        at.say(f"outside its hours ({hours.shown(schedule)}) it runs until {stop}; sooner, by: {sooner}")


def _report(
    at: Session, machines: Sequence[Machine], refused: Mapping[str, str], verified: int | None, found: Saving
) -> None:
    names = ", ".join(each.name for each in machines)
    if at.request.as_json:
        document = {
            "stack": at.request.stack,
            "target": at.request.target,
            "running": [each.name for each in machines],
            "refused": dict(refused),
            "gpuJob": verified,
            "usd": money(found),
        }
        emit(document)
    elif machines:
        at.say(f"running: {names}")
        at.say(f"that costs {amount(found.saved.hourly, 4)} USD an hour more, {amount(found.saved)} a month")
    for name, why in refused.items():
        print(
            f"error: {name} stays parked, because AWS has no capacity: {why}. Try again later; GPU nodes "
            f"may be of more types than one ({PROJECT}:gpu.instanceTypes)",
            file=sys.stderr,
            flush=True,
        )

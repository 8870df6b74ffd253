"""`kubepark park` and `kubepark unpark`: stop nodes that nobody needs now, and bring them back.

What is to be done is planned in `power_plan`; here it is asked for, in an order that the same command can
take up again wherever it was interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from cli import api_server, cluster, environments, power, power_plan, price, questions
from cli.aws import client
from cli.drain import drain
from cli.errors import CommandError
from cli.instances import Ec2, Machine
from cli.power_plan import ParkPlan, Saving
from cli.price_format import amount, rounded
from cli.schedules import Schedules, shown
from cli.stackfile import cluster_of
from config import schedule as hours
from config.model import NodeRole, Power
from config.naming import PROJECT, Naming
from config.problems import SettingsError


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asks for.

    `seconds`: how long pods have to go, or nodes to come back. `force`: see `drain`. `patience`: for how many
    seconds each instance type is tried where AWS has no capacity. `verify`: run the GPU Job. `options`: what
    the command says beside target and stack.
    """

    stack: str
    target: str
    seconds: float = 0.0
    yes: bool = True
    as_json: bool = False
    force: bool = False
    patience: float = 0.0
    verify: bool = False
    options: str = ""

    def command(self, verb: str) -> str:
        return f"bin/kubepark {verb} {self.target} --stack {self.stack}{self.options}"


@dataclass(frozen=True, kw_only=True)
class Session:
    """The account and the cluster of a stack, for one command."""

    request: Request
    asks: bool
    ec2: Ec2
    ssm: Any
    cluster: str
    client: Callable[[str], Any]  # of a service

    def say(self, line: str) -> None:
        """Progress: where a document is asked for, it is not on standard output."""
        say(line, self.request.as_json)

    def known(self) -> power.Known:
        """Raises: CommandError for a stack that no update has given a record."""
        known = power.read(self.ec2.client, self.ssm, self.cluster)
        if known.machines and known.parked is None:
            raise CommandError(
                f"stack {self.request.stack} has no power record yet; fix: bin/kubepark up "
                f"--stack {self.request.stack}"
            )
        return known

    def refuse_pinned(self, machines: tuple[Machine, ...], wrong: Power) -> None:
        """Raises: CommandError if the stack file pins one of them to the contrary."""
        found = power.pins(self.request.stack)
        for role in {each.role for each in machines}:
            if found[role] == wrong:
                key = f"{PROJECT}:{power.SECTIONS[role]}.power"
                raise CommandError(
                    f"{key} is {wrong}, and an update would undo this; fix: pulumi config set "
                    f"--stack {self.request.stack} --path {key} auto, then bin/kubepark up "
                    f"--stack {self.request.stack}"
                )


@contextmanager
def session(request: Request, verb: str) -> Iterator[Session]:
    """What a verb needs. An interruption is no end: the same command goes on."""
    environment = environments.of(request.stack)
    with environment.operation(verb) as variables:
        asked = partial(client, stack=request.stack, variables=variables)
        made = Session(
            request=request,
            asks=environment.asks and not request.yes,
            ec2=Ec2(client=asked("ec2"), say=lambda line: say(line, request.as_json)),
            ssm=asked("ssm"),
            cluster=cluster_of(request.stack),
            client=asked,
        )
        try:
            yield made
        except KeyboardInterrupt:
            made.say(f"interrupted; to go on: {request.command(verb)}")
            raise


def say(line: str, as_json: bool) -> None:
    print(line, file=sys.stderr if as_json else sys.stdout, flush=True)


def emit(document: Mapping[str, Any]) -> None:
    print(json.dumps(document, indent=2))


def stack_nodes(stack: str) -> price.Nodes:
    """The nodes of a stack's file. Raises: CommandError."""
    try:
        return price.nodes_of(stack)
    except SettingsError as error:
        raise CommandError(str(error)) from None


# -- park --------------------------------------------------------------------------------------------


def park(request: Request) -> int:
    """Drain, stop and record. Raises: CommandError with what is in the way."""
    nodes = stack_nodes(request.stack)
    cost = price.cost_of(nodes)
    with session(request, "park") as at:
        if at.asks and request.as_json:
            raise CommandError("with --json nothing is asked; fix: add --yes")
        known = at.known()
        machines = power_plan.chosen(request.target, known.machines, request.stack)
        at.refuse_pinned(machines, Power.RUNNING)
        parked = (known.parked or frozenset()) | {each.name for each in machines}
        already = [each.name for each in machines if each.state == "stopped"]
        if already:
            at.say(f"already stopped: {', '.join(already)}")
        evicted = _empty(at, known, machines)
        no_longer = [each.name for each in machines if each.name in known.keep_on]
        if parked != known.parked or no_longer:
            kept = {name: until for name, until in known.keep_on.items() if name not in no_longer}
            power.write(at.ssm, at.cluster, parked, kept)
        if no_longer and nodes.gpu.schedule:
            Schedules(at.client("scheduler"), Naming(at.cluster)).release(no_longer)
        _stop(at, [each for each in machines if each.state != "stopped"])
        found = power_plan.saving(cost, machines)
        if request.as_json:
            emit(_document(request, machines, evicted, found))
        else:
            for line in summary(machines, found, request.command("unpark")):
                at.say(line)
            schedule = power.schedule_of(request.stack)
            if schedule and any(each.role is NodeRole.GPU for each in machines):
                again = shown(hours.next_start(schedule, datetime.now(UTC)), schedule)
                never = f"pulumi config rm --stack {request.stack} --path {PROJECT}:gpu.schedule"
                at.say(f"its schedule starts it again on {again}; not to: {never}, then bin/kubepark up")
    return 0


def _empty(at: Session, known: power.Known, machines: tuple[Machine, ...]) -> list[str]:
    """Ask, cordon and evict: the pods that were evicted."""
    from cli.kube_nodes import KubeNodes  # the Kubernetes client takes a second to import

    running = ", ".join(each.name for each in machines if not each.off)
    if not running:
        return []
    try:
        if known.control_plane_off:
            raise CommandError("the control plane is stopped")
        kubeconfig = cluster.kubeconfig_of(at.request.stack)
        if not api_server.listens(kubeconfig):
            raise CommandError("the API server does not answer")
        with cluster.connected(kubeconfig) as api:
            nodes = KubeNodes(api)
            plan = power_plan.plan_park(at.request.target, machines, nodes.nodes().values(), nodes.pods())
    except CommandError as error:
        if not at.request.force:
            retry = f"{at.request.command('park')} --force"
            raise CommandError(
                f"{error}; so no pod can be moved. To stop {running} all the same: {retry}"
            ) from None
        at.say(f"{error}; so no pod is moved, because of --force")
        _ask(at, f"Stop {running}?")
        return []
    for line in power_plan.question(plan):
        at.say(line)
    _ask(at, f"Stop {running}?")
    with cluster.connected(kubeconfig) as api:
        return _drain(at, plan, KubeNodes(api))


def _ask(at: Session, text: str) -> None:
    if at.asks:
        questions.confirm(text)


def _drain(at: Session, plan: ParkPlan, nodes: Any) -> list[str]:
    for name, boot in plan.cordon.items():
        nodes.cordon(name, boot)
        at.say(f"{name} is cordoned")
    if not plan.evicts:
        return []
    return drain(
        nodes,
        [each.name for each in plan.running],
        at.request.seconds,
        force=at.request.force,
        retry=at.request.command("park"),
        say=at.say,
    )


def _stop(at: Session, machines: Sequence[Machine]) -> None:
    """The master last: until then pods can say how they ended."""
    for masters in (False, True):
        batch = [each for each in machines if (each.role is NodeRole.MASTER) is masters]
        if batch:
            at.say(f"stopping {', '.join(each.name for each in batch)}")
            at.ec2.stop(batch)


def summary(machines: Sequence[Machine], found: Saving, back: str) -> list[str]:
    """What a person reads at the end of a park."""
    names = ", ".join(each.name for each in machines)
    return [
        f"parked: {names}",
        f"saved: {amount(found.saved.hourly, 4)} USD an hour, {amount(found.saved)} a month of 730 hours",
        f"what still costs: {amount(found.left)} USD a month (disks, and an Elastic IP of the control plane)",
        f"back by: {back}",
    ]


def _document(
    request: Request, machines: Sequence[Machine], evicted: Sequence[str], found: Saving
) -> dict[str, Any]:
    return {
        "stack": request.stack,
        "target": request.target,
        "parked": [each.name for each in machines],
        "evicted": list(evicted),
        "usd": money(found),
    }


def money(found: Saving) -> dict[str, float | None]:
    """In JSON: what a park saves and what it leaves; null is unknown."""
    return {
        "savedHourly": rounded(found.saved.hourly, 4),
        "savedMonthly": rounded(found.saved),
        "stillMonthly": rounded(found.left),
    }

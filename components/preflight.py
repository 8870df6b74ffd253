"""Everything that can be refused is refused here, before any resource is registered."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import userdata
from components.incluster.calico import plan_calico
from components.incluster.dex import plan_dex
from components.incluster.gpu import plan_gpu
from components.incluster.objects import Object, identity, namespaces_of, spelled
from components.incluster.profiles import plan_profiles
from components.incluster.sources import load_all
from config import costs, creation, last_update, new_cluster, prices, settings
from config.costs import StackCost
from config.manifest_lock import ManifestError
from config.model import NodePlan, NodeRole, Settings
from config.nodes import plan_nodes
from config.prices import PriceTableError
from config.problems import Problem, Problems, SettingsError
from config.subnets import plan_subnets
from config.validation import unused

# What `plan` raises for what nobody can deploy.
REFUSALS = (SettingsError, ManifestError, PriceTableError)


@dataclass(frozen=True)
class Plan:
    """What one run of the program is going to register, as plain values."""

    settings: Settings
    nodes: tuple[NodePlan, ...]  # the master first
    user_data: Mapping[str, bytes]  # by node name
    manifests: Mapping[str, tuple[Object, ...]]  # by source name
    cost: StackCost
    known_master: str  # instance id of the last update, "" if this one makes the cluster

    @property
    def master(self) -> NodePlan:
        return self.nodes[0]

    def of(self, role: NodeRole) -> tuple[NodePlan, ...]:
        return tuple(node for node in self.nodes if node.role is role)


def run() -> Plan:
    """Read the configuration, check it, and plan.

    Raises: pulumi.RunError (the one exception that prints without a traceback) with every problem.
    """
    import pulumi  # only here: `plan` is for the command, too, which has no engine

    try:
        stack, loaded = pulumi.get_stack(), settings.load()
        before = last_update.previous()
        last_update.check(stack, loaded, before)
        as_types = os.environ.get(creation.VARIABLE, "")
        return plan(stack, loaded, known_master=new_cluster.known_master(loaded, before), created_as=as_types)
    except REFUSALS as error:
        raise pulumi.RunError(str(error)) from None


def plan(
    stack: str, settings: Settings, *, known_master: str = "", created_as: str = "", offline: bool = False
) -> Plan:
    """What the settings come to. `created_as`: see config/creation.py. `offline`: upstream manifests that
    nobody has fetched yet count as empty.

    Raises: SettingsError, ManifestError, PriceTableError.
    """
    cost = costs.plan_stack(settings, prices.load(settings.aws.region))
    costs.check_budget(stack, settings.budget, cost)
    subnets = {subnet.availability_zone: subnet.cidr for subnet in plan_subnets(settings.network)}
    nodes = plan_nodes(
        settings, subnets[settings.network.availability_zone], subnets[settings.gpu.availability_zone]
    )
    nodes = creation.made_as(stack, nodes, created_as)
    user_data = {node.name: userdata.render(node, settings) for node in nodes}
    check_sizes(stack, settings, nodes, user_data)
    manifests = load_all(settings.manifests, offline=offline)
    check_namespaces(stack, settings, manifests)
    check_objects(settings, manifests)
    return Plan(settings, nodes, user_data, manifests, cost, known_master)


def check_namespaces(stack: str, settings: Settings, manifests: Mapping[str, Iterable[Object]]) -> None:
    """Refuse a namespace for a person that upstream's YAML makes, too: with one of them the other would go.

    Raises: SettingsError naming each such person and the source.
    """
    problems = Problems(stack)
    theirs = {name: source for source, objects in manifests.items() for name in namespaces_of(objects)}
    taken = {*theirs, *(person.namespace for person in settings.people)}
    for index, person in enumerate(settings.people):
        if person.has_namespace and person.namespace in theirs:
            problems.add(
                f"{settings.people_path}[{index}].namespace",
                f"{person.namespace} is a namespace that kubepark:manifests.{theirs[person.namespace]} makes",
                "one that nothing else makes",
                unused(person.namespace, taken),
            )
    problems.raise_if_any()


def check_objects(settings: Settings, manifests: Mapping[str, tuple[Object, ...]]) -> None:
    """Refuse manifests that hold what the program makes itself, or what another one holds.

    Raises: ManifestError naming each such object and both its sources. The API server would have one object
    of the two, and the provider refuse the second or undo the first.
    """
    own = {
        "the program (Calico)": plan_calico(settings),
        "the program (GPU support)": plan_gpu(settings),
        "the program (Dex)": plan_dex(settings),
        f"the program ({settings.people_path})": plan_profiles(settings),
    }
    first: dict[tuple[str, str, str, str], str] = {}
    problems = []
    for source, planned in [*own.items(), *manifests.items()]:
        for manifest in planned:
            other = first.setdefault(identity(manifest), source)
            if other != source:
                what = f"{manifest['kind']} {spelled(manifest)}"
                where = ", ".join(settings.manifests[source].locations)
                problems.append(
                    f"{what} is made by {other} and by {source} ({where}); "
                    f"fix: a file without it as kubepark:manifests.{source}"
                )
    if problems:
        raise ManifestError(problems)


def check_sizes(
    stack: str, settings: Settings, nodes: Iterable[NodePlan], user_data: Mapping[str, bytes]
) -> None:
    """Refuse user data that is over the limit.

    Raises: SettingsError naming each node and the files that made its user data long.
    """
    problems = Problems(stack)
    for node in nodes:
        data = user_data[node.name]
        if not userdata.oversize(data):
            continue
        parts = ", ".join(f"{path} ({size:,})" for path, size in userdata.biggest(node, settings))
        wrong = f"the user data of {node.name} has {len(data):,} bytes, most of them in {parts}"
        accepted = f"at most {userdata.MAX_BYTES:,} bytes after gzip"
        planned = {key: value for key, value in node.labels.items() if key not in settings.gpu.labels}
        if userdata.oversize(userdata.render(replace(node, labels=planned), settings)):
            problems.found.append(Problem("userdata/node/", wrong, accepted, "shorten these files"))
        else:
            problems.add("kubepark:gpu.labels", wrong, accepted, None)
    problems.raise_if_any()

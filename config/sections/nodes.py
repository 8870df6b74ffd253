"""The node sections of the stack configuration: control plane, workers and GPU pool."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from config.instance_types import GPU_INSTANCE_TYPES, INSTANCE_TYPES, unusable
from config.model import ControlPlaneSettings, GpuSettings, Market, NetworkSettings, NodeSettings, Power
from config.naming import Naming
from config.nodes import NODE_NUMBERS, node_number
from config.problems import Problems
from config.sections.labels import labels
from config.sections.schedule import schedule
from config.urls import url
from config.validation import Section, matching, one_of, shown, text, whole
from config.versions import AMI_PARAMETERS

_NODE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,57}[a-z])?[0-9]{1,4}")
_AMI = re.compile(r"ami-[0-9a-f]{8}([0-9a-f]{9})?")
_NAME_FORM = "lower-case letters and a number at the end, like worker01"
# What nodes are unless the stack says otherwise, by the section that says it.
DEFAULT_TYPES: Mapping[str, str] = MappingProxyType(
    {"controlPlane": "m7i.large", "workers": "m7i.xlarge", "gpu": "g4dn.xlarge"}
)
_LONGEST_ROLE = 64  # characters; source: the IAM API, CreateRole, RoleName
_MASTER, _MASTER_KEY = "master1", "kubepark:controlPlane.name"
_DEFAULT_NAMES = {"workers": ("worker01", "worker02", "worker03"), "gpu": ("gpu01",)}
# A node that has just come needs some minutes until a pod can have its GPU. The most is a day.
_IDLE_MINUTES = (10, 1440)
AMI_FORM = "ami- and 8 or 17 hexadecimal digits"

ami_id = matching(_AMI, "an AMI id")


def control_plane(section: Section, ami: str) -> ControlPlaneSettings:
    name = section.value("name", _node_name, accepted=_NAME_FORM, example=_MASTER, default=_MASTER)
    settings = ControlPlaneSettings(
        node=_node(section, name, ami, DEFAULT_TYPES["controlPlane"], 40),
        api_endpoint=section.value(
            "apiEndpoint",
            partial(url, schemes=("https",), path=False),
            accepted="https://HOST:PORT",
            example="https://127.0.0.1:6443",
            default=None,
        ),
        identity=section.number("identity", 1, 10_000, 1),
        protected=section.flag("protected"),
        wait_minutes=section.number("waitMinutes", 1, 120, 30, "minutes"),
        power=_power(section, Power.AUTO, Power.RUNNING, Power.STOPPED),
    )
    section.finish()
    return settings


def workers(section: Section, ami: str) -> tuple[tuple[NodeSettings, ...], Power]:
    nodes = _pool(section, ami, DEFAULT_TYPES["workers"], 100, _DEFAULT_NAMES["workers"])
    power = _power(section, *Power)
    section.finish()
    return (() if power is Power.ABSENT else nodes), power


def gpu(section: Section, ami: str, network: NetworkSettings) -> GpuSettings:
    power = _power(section, *Power)
    types = _gpu_types(section)
    market = Market(section.choice("market", Market, Market.ON_DEMAND))
    if market is Market.SPOT and len(types) > 1:
        # Source: EC2 user guide, "Behavior of Spot Instance interruptions".
        wrong = "has several types, and a Spot Instance that is stopped cannot become another one"
        section.refuse("instanceTypes", wrong, "one type, or gpu.market on-demand", None)
    first, *others = types or [DEFAULT_TYPES["gpu"]]
    nodes = tuple(
        replace(node, market=market, further_types=tuple(others) if node.instance_type == first else ())
        for node in _pool(section, ami, first, 100, _DEFAULT_NAMES["gpu"], GPU_INSTANCE_TYPES)
    )
    slicing = section.section("timeSlicing")
    replicas = slicing.number("replicas", 1, 16, 1)
    slicing.finish()
    further = labels(section.section("labels"))
    zone = _zone(section, network)
    hours = schedule(section, power, nodes)
    idle = section.value(
        "idleMinutes",
        whole(*_IDLE_MINUTES),
        accepted="minutes from {} to {}".format(*_IDLE_MINUTES),
        example=60,
        default=None,
    )
    wakes = section.flag("wakeOnDemand")
    section.finish()
    return GpuSettings(
        power=power,
        availability_zone=zone,
        nodes=() if power is Power.ABSENT else nodes,
        time_slicing_replicas=replicas,
        labels=further,
        schedule=hours,
        idle_minutes=idle,
        wake_on_demand=wakes,
    )


def _gpu_types(section: Section) -> list[str]:
    """What GPU nodes are, the first choice first. All have one GPU model: the node's labels name it."""
    types = section.each(
        "instanceTypes", _type_of(GPU_INSTANCE_TYPES), accepted=", ".join(GPU_INSTANCE_TYPES)
    )
    if types and section.has("instanceType"):
        section.refuse("instanceType", "stands beside instanceTypes", "one of the two", None)
    if len(types) < len(section.items("instanceTypes")):
        return types  # the places of the others are no longer known
    for place, name in enumerate(types):
        key, model = f"{section.key('instanceTypes')}[{place}]", GPU_INSTANCE_TYPES[types[0]].label
        if name in types[:place]:
            section.problems.add(key, f"{shown(name)} is in the list before", "each type once", None)
        elif GPU_INSTANCE_TYPES[name].label != model:
            wrong = f"{shown(name)} has another GPU than the first"
            section.problems.add(key, wrong, f"a type with {model}", None)
    return types


def _power(section: Section, *choices: Power) -> Power:
    return Power(section.choice("power", choices, Power.AUTO))


def check_names(
    problems: Problems,
    naming: Naming,
    master: ControlPlaneSettings,
    workers: tuple[NodeSettings, ...],
    gpu: tuple[NodeSettings, ...],
) -> None:
    """Names are unique, and short enough for roles; numbers, which fix addresses, are unique in a pool.

    Of two nodes with one name the fault is not that of one with a default name: a pool without `nodes`
    has it, and there would be nothing to remove.
    """
    _check_role(problems, naming, _MASTER_KEY, master.node.name, _MASTER)
    taken = {master.node.name: _MASTER_KEY}
    for pool, nodes in (("workers", workers), ("gpu", gpu)):
        numbers: dict[int, str] = {}
        for node in nodes:
            key = f"kubepark:{pool}.nodes.{node.name}"
            _check_role(problems, naming, key, node.name, None)
            if node.name in taken:
                one, other = key, taken[node.name]
                if node.name in _DEFAULT_NAMES[pool]:
                    one, other = other, one
                problems.add(
                    one,
                    f"{node.name} is the name of {other} too",
                    "a name of its own",
                    _MASTER if one == _MASTER_KEY else None,
                )
            taken[node.name] = key
            twin = numbers.setdefault(node_number(node.name), node.name)
            if twin != node.name:
                problems.add(
                    key,
                    f"{node.name} ends in the number of {twin}, and the number fixes the address",
                    "a number of its own in the pool",
                    None,
                )


def _check_role(problems: Problems, naming: Naming, key: str, node: str, example: str | None) -> None:
    role = naming.role_name(node)
    if len(role) > _LONGEST_ROLE:
        problems.add(
            key,
            f"{role}, its role's name, has {len(role)} characters",
            f"at most {_LONGEST_ROLE} with the cluster's name and a dash before the node's",
            example,
        )


def check_images(problems: Problems, platform: str, nodes: Iterable[NodeSettings]) -> None:
    """Every node needs an AMI pin: the stack's, its pool's or its own. Nothing is looked up at run time,
    because a newer image would then be a change of every node."""
    bare = [node.name for node in nodes if not node.ami]
    if bare:
        problems.add_lookup(
            "kubepark:platform.ami",
            f"is missing, and {', '.join(bare)} have no ami of their own",
            AMI_FORM,
            ami_lookup(platform),
        )


def ami_lookup(platform: str) -> str:
    """The command that prints the platform's current AMI."""
    return f"aws ssm get-parameter --name {AMI_PARAMETERS[platform]} --query Parameter.Value --output text"


def _pool(
    section: Section,
    ami: str,
    instance_type: str,
    volume_gb: int,
    names: tuple[str, ...],
    types: Collection[str] = INSTANCE_TYPES,
) -> tuple[NodeSettings, ...]:
    """A pool: values for all its nodes, and `nodes`, a map by name with values for one."""
    common = _node(section, names[0], ami, instance_type, volume_gb, types, pool=True)
    listed = section.section("nodes")
    nodes = []
    for name in listed.names() or names:
        part = listed.section(name)
        try:
            _node_name(name)
        except ValueError as error:
            listed.refuse(name, str(error), _NAME_FORM, None)
            continue
        nodes.append(_node(part, name, common.ami, common.instance_type, common.volume_gb, types))
        part.finish()
    return tuple(nodes)


def _node(
    section: Section,
    name: str,
    ami: str,
    instance_type: str,
    volume_gb: int,
    types: Collection[str] = INSTANCE_TYPES,
    *,
    pool: bool = False,
) -> NodeSettings:
    return NodeSettings(
        name=name,
        instance_type=section.value(
            "instanceType",
            _type_of(types),
            accepted=", ".join(types),
            example=instance_type,
            default=instance_type,
        ),
        ami=section.value("ami", ami_id, accepted=AMI_FORM, example=None, default=ami, stand_in=ami),
        volume_gb=section.number("volumeGb", 20, 16_384, volume_gb, "GB"),
        generation=1 if pool else section.number("generation", 1, 10_000, 1),
    )


def _type_of(types: Collection[str]) -> Callable[[Any], str]:
    def parse(raw: Any) -> str:
        name = text(raw)
        if name not in INSTANCE_TYPES:
            raise ValueError(f"{shown(raw)} {unusable(name) or 'is not a type that kubepark knows'}")
        if name not in types:
            raise ValueError(f"{shown(raw)} has no GPU")
        return name

    return parse


def _zone(section: Section, network: NetworkSettings) -> str:
    """GPUs are short in one zone and not in another: the pool is where the nodes are, or in the second."""
    first, second = network.availability_zone, network.second_availability_zone
    return section.value(
        "availabilityZone",
        one_of(first, second),
        accepted=f"{first}, or {second} (network.secondAvailabilityZone, which may be changed)",
        example=second,
        default=first,
    )


def _node_name(raw: Any) -> str:
    if not isinstance(raw, str) or not _NODE_NAME.fullmatch(raw):
        raise ValueError(f"{shown(raw)} is not a node name (DNS-1123, ending in a number)")
    if node_number(raw) not in NODE_NUMBERS:
        raise ValueError(f"{shown(raw)} ends in a number outside {NODE_NUMBERS[0]} to {NODE_NUMBERS[-1]}")
    return raw

"""What must be so after every step; each function gives the faults it found, in words."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sandbox.tests.soak import observe
from sandbox.tests.soak.plan import World
from sandbox.tests.stack.project import Project

_RULES = ("aws:vpc/securityGroupIngressRule:", "aws:vpc/securityGroupEgressRule:")
_GROUPS = ("aws:ec2/securityGroup:SecurityGroup", "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")
# Seconds: the master's timer deletes the Nodes of machines that are gone, some time after `up` has ended.
REAPED = 10.0


def converged(project: Project, world: World) -> list[str]:
    """Everything: no further change, one of each, nothing left over."""
    unchanged = project.run("preview", "--expect-no-changes")
    faults = [f"a preview shows changes:\n{unchanged.stdout}"] if unchanged.returncode else []
    resources = observe.resources(project)
    faults += one_of_each(observe.live(project), resources)
    groups = [item["id"] for item in resources if item["type"] in _GROUPS]
    rules = [item["id"] for item in resources if item["type"].startswith(_RULES)]
    faults += differences("security group rules", observe.security_rules(project, groups), rules)
    faults += objects(project, resources) + settled(lambda: nodes(project, world), REAPED)
    return faults + nothing_left_over(project)


def settled(look: Callable[[], list[str]], seconds: float) -> list[str]:
    """What `look` still finds after that time, or as soon as it finds nothing."""
    deadline = time.monotonic() + seconds
    while (faults := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return faults


def one_of_each(live: Mapping[str, list[str]], resources: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is live in AWS is what the state has, each once."""
    known: dict[str, list[str]] = {typ: [] for typ in live}
    for resource in resources:
        if resource["type"] in known:
            known[resource["type"]].append(resource["id"])
    return [fault for typ, ids in live.items() for fault in differences(typ, ids, known[typ])]


def differences(what: str, live: Iterable[str], known: Iterable[str]) -> list[str]:
    there, wanted = Counter(list(live)), Counter(list(known))  # a list: of a map Counter takes the values
    surplus, lacking = there - wanted, wanted - there
    return [f"{what}: live and not in the state: {sorted(surplus)}" for _ in range(bool(surplus))] + [
        f"{what}: in the state and not live: {sorted(lacking)}" for _ in range(bool(lacking))
    ]


def objects(project: Project, resources: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every Kubernetes object of the state exists."""
    wanted: dict[str, set[str]] = {}
    for resource in resources:
        if resource["type"].startswith("kubernetes:"):
            _, api, kind = resource["type"].split(":")
            group, _, version = api.rpartition("/")
            # kubectl's own way to name a kind; the SDK calls the core group `core`.
            name = kind if group in ("core", "") else f"{kind}.{version}.{group}"
            wanted.setdefault(name, set()).add(resource["id"])
    listed = json.loads(project.kubectl("get", ",".join(sorted(wanted)), "--all-namespaces", "-o", "json"))
    there = {(item["kind"], _id(item["metadata"])) for item in listed["items"]}
    missing = [
        f"{kind} {id}"
        for kind, ids in wanted.items()
        for id in ids
        if (kind.partition(".")[0], id) not in there
    ]
    return [f"in the state and not in the cluster: {sorted(missing)}"] if missing else []


def _id(metadata: Mapping[str, Any]) -> str:
    return "/".join(filter(None, (metadata.get("namespace"), metadata["name"])))


def nodes(project: Project, world: World) -> list[str]:
    """The Node objects are the planned nodes, each of its live instance, and Ready."""
    found = {item["metadata"]["name"]: item for item in project.get("nodes")["items"]}
    faults = differences("nodes", found, ["master1", *world.generations])
    for name, node in found.items():
        if name not in world.generations:
            continue
        instance = project.instance(name)["InstanceId"]
        if not node["spec"].get("providerID", "").endswith(f"/{instance}"):
            faults.append(f"node {name} is not of its live instance {instance}")
        conditions = {item["type"]: item["status"] for item in node["status"]["conditions"]}
        if conditions.get("Ready") != "True":
            faults.append(f"node {name} is not Ready")
    return faults


def nothing_left_over(project: Project) -> list[str]:
    """No lock, no process of an engine operation."""
    faults = [f"a lock is left: {path.name}" for path in observe.locks(project)]
    processes = [f"{process.name()} (pid {process.pid})" for process in observe.engine_processes(project)]
    return faults + ([f"processes are left: {', '.join(processes)}"] if processes else [])


def nothing_live(project: Project) -> list[str]:
    """After `destroy --purge`: terminated instances and keys pending deletion do not count."""
    return [f"still live: {typ} {ids}" for typ, ids in observe.live(project).items() if ids]

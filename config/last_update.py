"""What the last update said of the stack, and what this one may therefore not do.

Stack outputs carry over: what the cluster was made with, its machines, and who was in the list of people.
A difference would otherwise replace the network, be ignored by a control plane that was initialised long
ago, leave nodes and objects of a cluster that is gone, or lose somebody's data. The cluster itself is not
asked: a preview in a pull request cannot reach it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from config import new_cluster
from config.model import Person, PersonRole, PersonState, Settings
from config.naming import PROJECT, Naming
from config.problems import Problem, Problems, SettingsError

# Key of the output `created_with` -> the setting that it comes from.
_NETWORK = {
    "vpc_cidr": "network.vpcCidr",
    "availability_zone": "network.availabilityZone",
    "cluster": "clusterName",
    "master": "controlPlane.name",
}
_CLUSTER = {
    "pod_cidr": "network.podCidr",
    "service_cidr": "network.serviceCidr",
    "kubernetes": "platform.kubernetes",
    "platform": "platform.os",
}


def previous() -> Mapping[str, Any]:
    """All outputs of the last successful update; empty on the first."""
    import pulumi  # only here: the rest is plain values

    stack = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    # The engine's own call behind StackReference, without a resource in the state.
    answer = pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", {"name": stack}).value or {}
    return answer.get("outputs") or {}


def outputs(settings: Settings) -> dict[str, Any]:
    """The stack outputs that the next update is compared with."""
    people = [
        {
            "name": person.key,
            "email": person.email,
            "namespace": person.namespace,
            "state": person.state.value,
            "purged": person.purge,
            "profile": _has_profile(settings, person),
        }
        for person in sorted(settings.people, key=lambda each: each.key)
    ]
    created_with = {
        "cluster": settings.cluster,
        "vpc_cidr": str(settings.network.vpc_cidr),
        "availability_zone": settings.network.availability_zone,
        "pod_cidr": str(settings.network.pod_cidr),
        "service_cidr": str(settings.network.service_cidr),
        "kubernetes": settings.release.minor,
        "platform": settings.platform,
        "api_name": Naming(settings.cluster).api_name,
        "master": settings.control_plane.node.name,
        "identity": str(settings.control_plane.identity),
        "generations": {key: str(number) for key, number in new_cluster.generations(settings).items()},
    }
    return {"people": people, "created_with": created_with}


def _has_profile(settings: Settings, person: Person) -> bool:
    kept = person.has_namespace and person.state is not PersonState.REMOVED
    return settings.kubeflow.has_controller and kept


def check(stack: str, settings: Settings, before: Mapping[str, Any]) -> None:
    """Compare with the outputs of the last update, as `previous` returns them.

    Raises: SettingsError naming each create-only setting that differs and each person who would lose
    something, with the fix.
    """
    problems = [
        *_recreated(stack, settings, before),
        *new_cluster.check(stack, settings, before),
        *_lost(stack, settings, before),
    ]
    if problems:
        raise SettingsError(stack, problems)


def _recreated(stack: str, settings: Settings, before: Mapping[str, Any]) -> Iterator[Problem]:
    """Settings that only a new cluster can take."""
    old, new = before.get("created_with") or {}, outputs(settings)["created_with"]
    same_cluster = old.get("identity") == new["identity"]
    problems = Problems(stack)
    for name, setting in {**_NETWORK, **(_CLUSTER if same_cluster else {})}.items():
        if name in old and old[name] != new[name]:
            problems.add(
                f"{PROJECT}:{setting}",
                f"was {old[name]} when the cluster was made, now {new[name]}",
                f"{old[name]}, or another one after `bin/kubepark destroy`",
                old[name],
            )
    yield from problems.found
    if same_cluster and old.get("api_name", new["api_name"]) != new["api_name"] and not problems.found:
        wrong = f"the API server was {old['api_name']} when the cluster was made, now {new['api_name']}"
        yield Problem(f"{PROJECT}:clusterName", wrong, "the same", "use the kubepark that made the cluster")


def _lost(stack: str, settings: Settings, before: Mapping[str, Any]) -> Iterator[Problem]:
    """People who had a namespace and would lose it, or hand it to somebody else."""
    now = {person.key: (index, person) for index, person in enumerate(settings.people)}
    for old in before.get("people") or []:
        if not old.get("namespace") or old.get("purged"):
            continue
        if old["name"] not in now:
            yield _removed(stack, settings.people_path, old)
        else:
            index, person = now[old["name"]]
            profile = _has_profile(settings, person)
            yield from _changed(stack, f"{settings.people_path}[{index}]", person, profile, old)


def _removed(stack: str, path: str, old: Mapping[str, Any]) -> Problem:
    return Problem(
        key=path,
        wrong=f"{old['name']} is gone from the list and has the namespace {old['namespace']}",
        accepted="the line with `state: removed`, and `data: keep` (the namespace stays) or `data: purge`",
        fix=f"put the line back, then bin/kubepark people remove {old['name']} --data keep --stack {stack} "
        "(or purge; after an update with purge the line may go)",
    )


def _changed(
    stack: str, where: str, person: Person, profile: bool, old: Mapping[str, Any]
) -> Iterator[Problem]:
    """`profile`: whether the person has one from now on."""
    name, namespace, email = old["name"], old["namespace"], old["email"]
    problems = Problems(stack)
    if person.role is PersonRole.VIEWER:
        wrong = f"{name} has the namespace {namespace}, and a viewer has none"
        problems.add(f"{where}.role", wrong, "admin, member", PersonRole.MEMBER.value)
    elif person.namespace != namespace:
        problems.add(
            f"{where}.namespace",
            f"{name} has the namespace {namespace}, and a namespace cannot be renamed",
            namespace,
            namespace,
        )
    # The controller looks at the namespace's owner before it lets a Profile go: its deletion would never end.
    loses_profile = old.get("profile", old["state"] != PersonState.REMOVED) and not profile
    if email != person.email and loses_profile:
        problems.add(
            f"{where}.email",
            f"{name} was {email} at the last update, and Kubeflow removes a Profile only under that e-mail",
            f"{email}; another one in an update of its own, before this one or after it",
            email,
        )
    elif email not in (person.email, person.former_email):
        problems.add(
            f"{where}.email",
            f"{name} was {email}, and Kubeflow knows the owner of {namespace} by that",
            f"{email}; or another one, with `formerEmail: {email}` beside it, and what docs/people.md says "
            "about a new e-mail",
            email,
        )
    yield from problems.found

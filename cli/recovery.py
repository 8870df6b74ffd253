"""Puts right what the state says was in flight when a run was killed.

An interrupted creation is looked up in the cloud: what is found is adopted into the state, what is
not is dropped, so that the next run creates exactly what is missing. An interrupted update or
deletion is settled by reading that resource again. The engine itself only warns and would create a
second one.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from cli.aws import client
from cli.errors import CommandError
from cli.lookup import Cloud, NotOurs, default_tags
from cli.pulumi import Pulumi
from cli.stackfile import config_of, setting
from cli.urns import name_of, type_of

Resource = dict[str, Any]


def resolve_pending(cli: Pulumi, cloud: Cloud | None = None) -> list[str]:
    """Settle every pending operation of the stack; one line for each.

    Raises `CommandError` when the cloud cannot be asked; the state is then as it was.
    """
    before = _export(cli)
    if not (before["deployment"] or {}).get("pending_operations"):
        return []
    if cloud is None:
        account = setting(config_of(cli.stack), "kubepark:aws.accountId")
        cloud = Cloud(partial(client, stack=cli.stack, variables=cli.variables), account and str(account))
    after, adopted, unsettled, lines = plan(before["deployment"], cloud)
    _import(cli, {**before, "deployment": after})
    targets = [*adopted, *unsettled]
    if targets:
        try:
            _refresh(cli, targets)
        except CommandError as error:
            _import(cli, before)
            raise CommandError(
                f"an earlier run was killed, and what it left cannot be looked up: {error}"
            ) from None
    remaining = {resource["urn"] for resource in _export(cli)["deployment"].get("resources") or []}
    lines += [_adopted(urn, id, urn in remaining) for urn, id in adopted.items()]
    return lines


def protected(cli: Pulumi) -> list[str]:
    """The names of the stack's protected resources."""
    resources = (_export(cli)["deployment"] or {}).get("resources") or []
    return [name_of(resource["urn"]) for resource in resources if resource.get("protect")]


def ids(cli: Pulumi) -> set[str]:
    """The ids of everything that a destroy of the stack deletes; of what it leaves in the cloud, none."""
    resources = (_export(cli)["deployment"] or {}).get("resources") or []
    return {
        resource["id"] for resource in resources if resource.get("id") and not resource.get("retainOnDelete")
    }


def plan(
    deployment: Mapping[str, Any], cloud: Cloud
) -> tuple[dict[str, Any], dict[str, str], list[str], list[str]]:
    """What to do about each pending operation, without doing it.

    Gives the deployment with adopted resources and no pending operations, {adopted URN: id}, the
    URNs to read again, and a line for each operation that is settled by this alone.
    """
    result = copy.deepcopy(dict(deployment))
    resources: list[Resource] = result.get("resources") or []
    by_urn = {resource["urn"]: resource for resource in resources if not resource.get("delete")}
    adopted: dict[str, str] = {}
    unsettled: list[str] = []
    lines: list[str] = []
    for operation in result.pop("pending_operations", None) or []:
        resource, kind = operation["resource"], operation["type"]
        urn = resource["urn"]
        what = _named(urn)
        if resource["type"].startswith("pulumi:") or not resource.get("custom"):
            continue  # a provider's configuration, a component: nothing exists outside the state
        if kind != "creating":
            lines.append(f"{what}: an earlier run was killed while {kind} it; read again")
            unsettled += [urn] if urn in by_urn else []
            continue
        if urn in by_urn and by_urn[urn].get("id") and not _replaces(by_urn[urn], resource):
            lines.append(f"{what}: its interrupted creation was made good by a later run")
            continue
        same_type = [other for other in resources if other["type"] == resource["type"]]
        taken = {other.get("id") for other in same_type if not _gone(other)}
        try:
            found = cloud.candidates(resource, default_tags(_provider(resource, resources)))
        except NotOurs as reason:
            lines.append(f"{what}: its creation was interrupted, and {reason}; not adopted")
            continue
        if found is None:
            lines.append(f"{what}: its creation was interrupted and this type cannot be looked up: check")
            continue
        free = [id for id in dict.fromkeys(found) if id not in taken and id.split(":")[-1] not in taken]
        if len(free) > 1:
            raise CommandError(f"{what}: several may be the one whose creation was interrupted: {free}")
        if not free:
            lines.append(f"{what}: its creation was interrupted before it existed; it will be created")
            continue
        adopted[urn] = free[0]
        _adopt({**resource, "id": free[0], "outputs": _as_made(resource)}, by_urn.get(urn), resources)
    result["resources"] = resources
    return result, adopted, unsettled, lines


def _as_made(resource: Resource) -> Resource:
    """What the AWS provider knows of a thing while it makes it. What it knows nothing of counts as imported,
    and an instance's user data as text then, which the next update would take from it.
    """
    return dict(resource.get("inputs") or {}) if resource["type"].startswith("aws:") else {}


def _replaces(present: Resource, pending: Resource) -> bool:
    """Whether the pending creation is that of a replacement for the resource in the state."""
    return _gone(present) or present.get("inputs") != pending.get("inputs")


def _gone(resource: Resource) -> bool:
    """Deleted in the cloud already, and in the state only until its replacement exists."""
    return bool(resource.get("pendingReplacement"))


def _adopt(made: Resource, replaced: Resource | None, resources: list[Resource]) -> None:
    """Record what was made as the engine does: where the replaced one stood, for what depends on either
    stands behind it and what the new one depends on before it. The replaced one is still to be deleted,
    unless it was already, before its replacement.
    """
    if replaced is None:
        resources.append(made)
        return
    place = resources.index(replaced)
    resources[place : place + 1] = [made] if _gone(replaced) else [made, {**replaced, "delete": True}]


def _provider(resource: Resource, resources: list[Resource]) -> Resource | None:
    """The provider that a resource names as `URN::ID`."""
    urn = resource.get("provider", "").rpartition("::")[0]
    return next((other for other in resources if other["urn"] == urn), None)


def _adopted(urn: str, id: str, exists: bool) -> str:
    what = _named(urn)
    if exists:
        return f"{what}: its creation was interrupted but it exists ({id}); adopted"
    return f"{what}: its creation was interrupted before it existed; it will be created"


def _named(urn: str) -> str:
    """Type and name as people read them: `aws:ec2/vpc:Vpc` is `aws:ec2:Vpc` in the engine's own display."""
    return f"{re.sub(r'/[a-z0-9][^:]*:', ':', type_of(urn))} {name_of(urn)}"


def _export(cli: Pulumi) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(cli.read("stack", "export"))
    return document


def _import(cli: Pulumi, document: Mapping[str, Any]) -> None:
    cli.read("stack", "import", given=json.dumps(document))


def _refresh(cli: Pulumi, urns: list[str]) -> None:
    targets = [argument for urn in urns for argument in ("--target", urn)]
    cli.read("refresh", "--yes", "--skip-preview", "--non-interactive", *targets)

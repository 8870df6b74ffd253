"""Puts right what the state says was in flight when a run was killed.

An interrupted creation is looked up in the cloud: what is found is adopted into the state, what is
not is dropped, so that the next run creates exactly what is missing. An interrupted update or
deletion is settled by reading that resource again. The engine itself only warns and would create a
second one.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from sandbox.driver import checkpoint
from sandbox.driver.events import Urn
from sandbox.driver.lookup import Cloud, default_tags
from sandbox.driver.workspace import Workspace
from sandbox.errors import SandboxError
from sandbox.files import atomic_write

Resource = dict[str, Any]


def resolve_pending(workspace: Workspace, cloud: Cloud | None = None) -> list[str]:
    """Settle every pending operation of the stack; one line for each. No CLI call if there is none.

    Raises `SandboxError` when the cloud cannot be asked; the state is then as it was.
    """
    if not checkpoint.deployment(workspace).get("pending_operations"):
        return []
    before = json.loads(workspace.run_cli("stack", "export", "--stack", workspace.stack))
    after, adopted, unsettled, lines = plan(before["deployment"], cloud or Cloud(workspace.config))
    _import(workspace, {**before, "deployment": after})
    targets = [*adopted, *unsettled]
    if targets:
        try:
            _refresh(workspace, targets)
        except SandboxError as error:
            _import(workspace, before)
            raise SandboxError(
                f"an earlier run was killed, and what it left cannot be looked up: {error}"
            ) from None
    remaining = {resource["urn"] for resource in checkpoint.deployment(workspace).get("resources") or []}
    lines += [_adopted(urn, id, urn in remaining) for urn, id in adopted.items()]
    return lines


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
        what = f"{Urn(urn).type} {Urn(urn).name}"
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
        found = cloud.candidates(resource, default_tags(_provider(resource, resources)))
        if found is None:
            lines.append(f"{what}: its creation was interrupted and this type cannot be looked up: check")
            continue
        free = [id for id in dict.fromkeys(found) if id not in taken and id.split(":")[-1] not in taken]
        if len(free) > 1:
            raise SandboxError(f"{what}: several may be the one whose creation was interrupted: {free}")
        if not free:
            lines.append(f"{what}: its creation was interrupted before it existed; it will be created")
            continue
        adopted[urn] = free[0]
        _adopt({**resource, "id": free[0], "outputs": {}}, by_urn.get(urn), resources)
    result["resources"] = resources
    return result, adopted, unsettled, lines


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
    what = f"{Urn(urn).type} {Urn(urn).name}"
    if exists:
        return f"{what}: its creation was interrupted but it exists ({id}); adopted"
    return f"{what}: its creation was interrupted before it existed; it will be created"


def _import(workspace: Workspace, document: Mapping[str, Any]) -> None:
    path = workspace.work_dir / ".recovered.json"
    atomic_write(path, json.dumps(document))
    workspace.run_cli("stack", "import", "--stack", workspace.stack, "--file", str(path))
    path.unlink()


def _refresh(workspace: Workspace, urns: list[str]) -> None:
    targets = [argument for urn in urns for argument in ("--target", urn)]
    workspace.run_cli("refresh", "--yes", "--skip-preview", "--stack", workspace.stack, *targets)

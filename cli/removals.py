"""Before `up` ends somebody's Profile: is the namespace that is to stay really ours?

Kubeflow's controller makes a namespace anew that was deleted by hand, and then the Profile owns it: the API
server deletes it with the Profile, whatever `data: keep` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from cli import cluster
from cli.errors import CommandError
from cli.people_file import PeopleFile
from cli.pulumi import Pulumi
from config import ROOT

Owners = Callable[[str], Iterable[Mapping[str, Any]]]  # a namespace's ownerReferences


def check(cli: Pulumi, kept: Path | None) -> None:
    """Ask the cluster about each namespace that is to outlive its Profile. `kept`: a sandbox's kubeconfig.

    Raises: CommandError naming those that would not, with the commands that make it so.
    """
    try:
        file = PeopleFile(ROOT, cli.stack)
        removed = names_to_keep(file.people) if file.config else set()
    except CommandError:
        return  # the program says all that is wrong with the list, and makes nothing
    namespaces = ending(cli.outputs(), removed) if removed else []
    if not namespaces:
        return
    kubeconfig: Any = kept or cluster.parsed(cluster.published(cli), cli.stack)
    with cluster.connected(kubeconfig) as api:
        refuse(namespaces, lambda name: _owners(api, name))


def names_to_keep(people: Iterable[Any]) -> set[str]:
    """Who is removed and whose data stays. What is malformed is left to the program."""
    entries = [each for each in people if isinstance(each, Mapping)]
    return {
        str(each.get("name"))
        for each in entries
        if (each.get("state"), each.get("data")) == ("removed", "keep")
    }


def ending(outputs: Mapping[str, Any], removed: Iterable[str]) -> list[str]:
    """The namespaces of those among `removed` who had a Profile at the last update."""
    rows = outputs.get("people") or []
    return [str(row["namespace"]) for row in rows if row["name"] in removed and row.get("profile")]


def refuse(namespaces: Iterable[str], owners: Owners) -> None:
    """Raises: CommandError if a Profile owns one of `namespaces`."""
    patch = '[{"op": "remove", "path": "/metadata/ownerReferences"}]'
    lines = [
        f"  - the Profile owns namespace {name}, which `data: keep` would not save; "
        f"fix: kubectl patch namespace {name} --type=json -p '{patch}'"
        for name in namespaces
        if any(owner.get("kind") == "Profile" for owner in owners(name))
    ]
    if lines:
        raise CommandError("\n".join(["nothing was changed, because data would be lost:", *lines]))


def _owners(api: Any, name: str) -> Iterable[Mapping[str, Any]]:
    from kubernetes import client

    found = client.CoreV1Api(api).list_namespace(field_selector=f"metadata.name={name}").items
    return [{"kind": owner.kind} for item in found for owner in item.metadata.owner_references or []]

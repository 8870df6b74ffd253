"""Changes of the list that would lose somebody's data, refused before any resource is registered.

The stack's own outputs of the last update say who was there. The cluster is not asked: a preview in a
pull request has no way to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from config.model import Person
from config.validation import Problem, Problems, SettingsError

OUTPUT = "people"


def check(stack: str, path: str, people: Sequence[Person], before: Sequence[Mapping[str, Any]]) -> None:
    """Compare with the people of the last update. `path` is the list's key, or its file.

    Raises: SettingsError naming each person, what would be lost, and the way.
    """
    now = {person.key: (index, person) for index, person in enumerate(people)}
    problems: list[Problem] = []
    for old in before:
        if not old.get("namespace") or old.get("purged"):
            continue
        if old["name"] not in now:
            problems.append(_vanished(path, old))
        else:
            index, person = now[old["name"]]
            problems += _changed(stack, f"{path}[{index}]", person, old)
    if problems:
        raise SettingsError(stack, problems)


def _vanished(path: str, old: Mapping[str, Any]) -> Problem:
    return Problem(
        key=path,
        wrong=f"{old['name']} is gone from the list and has the namespace {old['namespace']}",
        accepted="the line with `state: removed`, and `data: keep` (the namespace stays) or `data: purge`",
        fix=f"put the line back, then bin/kubepark people remove {old['name']} --data keep (or purge; "
        "after an update with purge the line may go)",
    )


def _changed(stack: str, where: str, person: Person, old: Mapping[str, Any]) -> list[Problem]:
    name, namespace, email = old["name"], old["namespace"], old["email"]
    found = []
    if person.namespace != namespace:
        problems = Problems(stack)
        problems.add(
            f"{where}.namespace",
            f"{name} has the namespace {namespace}, and a namespace cannot be renamed",
            namespace,
            namespace,
        )
        found += problems.found
    if email not in (person.email, person.former_email):
        found.append(
            Problem(
                key=f"{where}.email",
                wrong=f"{name} was {email}, and Kubeflow knows the owner of {namespace} by that",
                accepted=f"{email}; or another one, with `formerEmail: {email}` beside it",
                fix=f"put it back; or, to hand the namespace over, write formerEmail, `up`, and then: "
                f"kubectl -n {namespace} delete rolebinding/namespaceAdmin "
                "authorizationpolicy/ns-owner-access-istio (Kubeflow makes them anew for the new owner)",
            )
        )
    return found

"""What nobody's entry can say alone: names are unique, groups exist, access leads somewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from config.model import AccessLevel, Group, Person, PersonRole, PersonState
from config.people import pair_slug
from config.problems import Problems, joined
from config.validation import unused


def check(problems: Problems, path: str, people: Sequence[Person], groups: Sequence[Group]) -> None:
    """Record every problem. `path` is what comes before `[0]` in the key of the first person."""
    for attribute, key in (("key", "name"), ("email", "email"), ("namespace", "namespace")):
        _check_unique(problems, path, people, attribute, key)
    _check_slugs(problems, path, people)
    known = {group.name: group for group in groups}
    owners = {person.key: person for person in people if person.key}
    for index, person in enumerate(people):
        where = f"{path}[{index}]"
        _check_groups(problems, where, person, known)
        _check_access(problems, f"{where}.access", person.access, owners, person)
        if person.role is PersonRole.VIEWER:
            _check_viewer(problems, where, person, known)
    for group in groups:
        path_of_group = joined("kubepark:groups", group.name)
        _check_access(problems, f"{path_of_group}.access", group.access, owners, None)


def _check_unique(problems: Problems, path: str, people: Sequence[Person], attribute: str, key: str) -> None:
    """Nobody can make up an e-mail: there the fix is to take the entry out."""
    first: dict[str, int] = {}
    for index, person in enumerate(people):
        value = getattr(person, attribute)
        same = value.lower()
        if value and first.setdefault(same, index) != index:
            problems.add(
                f"{path}[{index}].{key}",
                f"{value} is a duplicate of {path}[{first[same]}]",
                "one that nobody else has",
                None if key == "email" else unused(value, {getattr(each, attribute) for each in people}),
                at=f"{path}[{index}]" if key == "email" else None,
            )


def _check_slugs(problems: Problems, path: str, people: Sequence[Person]) -> None:
    """Kubeflow names a contributor's bindings by the e-mail, each run of other characters a dash."""
    first: dict[str, int] = {}
    for index, person in enumerate(people):
        other = people[first.setdefault(pair_slug(person.email), index)]
        if person.email and other.email.lower() != person.email.lower():
            problems.add(
                f"{path}[{index}].email",
                f"{person.email} gives the same names of bindings as {other.email}",
                "an e-mail that differs in more than punctuation",
                None,
                at=f"{path}[{index}]",
            )


def _check_groups(problems: Problems, where: str, person: Person, known: Mapping[str, Group]) -> None:
    for place, name in enumerate(person.groups):
        if name not in known:
            accepted = ", ".join(sorted(known)) or "a name of kubepark:groups"
            problems.add(f"{where}.groups[{place}]", f"{name} is no group", accepted, None)


def _check_access(
    problems: Problems,
    where: str,
    access: Mapping[str, AccessLevel],
    owners: Mapping[str, Person],
    own: Person | None,
) -> None:
    for name in access:
        owner, wrong = owners.get(name), ""
        if owner is None:
            wrong = f"{name} is nobody in the list"
        elif own is not None and owner.key == own.key:
            wrong = "is for the own namespace"
        elif owner.state is PersonState.REMOVED:
            wrong = f"{name} is removed"
        elif owner.role is PersonRole.VIEWER:
            wrong = f"{name} is a viewer, who has no namespace"
        if wrong:
            problems.add(joined(where, name), wrong, "somebody else who has a namespace", None)


def _check_viewer(problems: Problems, where: str, person: Person, known: Mapping[str, Group]) -> None:
    for name, level in person.access.items():
        if level is AccessLevel.EDIT:
            wrong = f"{person.key} is a viewer and would edit the namespace of {name}"
            problems.add(joined(f"{where}.access", name), wrong, "view, or role: member", "view")
    for group in (known[name] for name in person.groups if name in known):
        for name, level in group.access.items():
            if level is AccessLevel.EDIT:
                wrong = (
                    f"{person.key} is a viewer and would edit the namespace of {name} by group {group.name}"
                )
                problems.add(f"{where}.role", wrong, "member, or a group that only views", "member")

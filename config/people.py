"""Who may do what in whose namespace: groups and roles expanded to single grants. Pure."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from config.model import AccessLevel, Group, Person, PersonRole, PersonState

OWNER = "owner"
# Never change it: accounts are known by the user ids that are derived from it.
_USER_IDS = uuid.UUID("55f82a63-80ed-4917-beb4-70b3dde66a5c")


@dataclass(frozen=True, kw_only=True)
class Grant:
    """One person's access to one namespace. `role` is owner, edit or view; `why` says what gives it."""

    person: str
    email: str
    namespace: str
    role: str
    why: str


def grants(people: Sequence[Person], groups: Sequence[Group]) -> tuple[Grant, ...]:
    """Everybody's access, sorted by namespace and person. Whoever is not active has none.

    Where several things give access to one namespace, the strongest counts, and of equals the first:
    the own entry, then groups in the person's order, then the admin role.
    """
    known = {group.name: group for group in groups}
    shared = {person.key: person.namespace for person in people if person.namespace and _alive(person)}
    found = []
    for person in filter(lambda each: each.active, people):
        best: dict[str, tuple[str, str]] = {}
        if person.key in shared:
            best[person.key] = (OWNER, "own")
        for owner, level, why in _given(person, known, shared):
            if owner in shared and (
                owner not in best or (best[owner][0], level) == (AccessLevel.VIEW, AccessLevel.EDIT)
            ):
                best[owner] = (level.value, why)
        found += [
            Grant(person=person.key, email=person.email, namespace=shared[owner], role=role, why=why)
            for owner, (role, why) in best.items()
        ]
    return tuple(sorted(found, key=lambda each: (each.namespace, each.person)))


def _alive(person: Person) -> bool:
    return person.state is not PersonState.REMOVED


def _given(
    person: Person, groups: Mapping[str, Group], shared: Iterable[str]
) -> Iterable[tuple[str, AccessLevel, str]]:
    """(owner's key, level, why), those first that win among equals."""
    yield from ((owner, level, "access") for owner, level in person.access.items())
    for name in person.groups:
        if name in groups:
            yield from ((owner, level, f"group {name}") for owner, level in groups[name].access.items())
    if person.role is PersonRole.ADMIN:
        yield from ((owner, AccessLevel.EDIT, "admin") for owner in shared)


def matrix(people: Sequence[Person], groups: Sequence[Group]) -> list[dict[str, str]]:
    """The grants as plain rows, for the stack output `access`."""
    return [asdict(grant) for grant in grants(people, groups)]


def default_namespace(email: str) -> str:
    """The e-mail's local part as far as it can be part of a DNS-1123 label."""
    return re.sub(r"[^a-z0-9]+", "-", email.lower().partition("@")[0]).strip("-")


def pair_slug(email: str) -> str:
    """An e-mail in the names of a contributor's objects, as Kubeflow's access API makes them."""
    return re.sub(r"[^a-z0-9]+", "-", email.lower())


def user_id(key: str) -> str:
    """A person's `sub` for life: from the key, never from the place in the list or the e-mail."""
    return str(uuid.uuid5(_USER_IDS, key))

"""The list of people and their groups, from the stack configuration or from a file that it names."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from config import ROOT, documents
from config.model import AccessLevel, Group, Person, PersonRole, PersonState
from config.people import default_namespace
from config.sections.quota import tier
from config.validation import Section, below_root, dns_label, shown, text

# Without `*`, which in an AuthorizationPolicy stands for any text.
# Source: https://istio.io/latest/docs/reference/config/security/authorization-policy/
_EMAIL = re.compile(
    r"[a-z0-9.!#$%&'+/=?^_`{|}~-]{1,64}@[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+",
    re.IGNORECASE | re.ASCII,
)
_LONGEST_EMAIL = 150  # its name as an object of Dex still fits

# Namespaces of the cluster itself, of Calico and of Kubeflow's parts, which may come to be at any time.
# Sources: https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/ (`kube-`);
# kubeflow/manifests, common/ (auth, cert-manager, istio-system, knative-serving, knative-eventing,
# kubeflow-system, oauth2-proxy); projectcalico/calico, manifests/ (calico-system, calico-apiserver,
# tigera-operator).
_RESERVED = frozenset({"auth", "cert-manager", "default", "kserve", "kubeflow", "oauth2-proxy"})
_RESERVED_PREFIXES = ("calico-", "istio-", "knative-", "kube-", "kubeflow-", "tigera-")


def people(section: Section) -> tuple[Person, ...]:
    """The people of `people`, or of the file that `peopleFile` names; see `people_checks` for the rest.

    Kubeflow compares e-mails as they are. Dex's own accounts have lower case; a connector hands on what the
    provider spells, which then is how the list must have it.
    """
    path, listed = _listed(section)
    spelled = str if section.raw.get("connectors") else str.lower
    return tuple(
        _person(Section(section.problems, f"{path}[{index}]", raw), spelled)
        for index, raw in enumerate(listed)
    )


def list_path(section: Section) -> str:
    """What comes before `[0]` in the key of the first person."""
    file = section.raw.get("peopleFile")
    return file if isinstance(file, str) else section.key("people")


def _listed(section: Section) -> tuple[str, list[Any]]:
    inline = section.items("people")
    file = section.value(
        "peopleFile",
        below_root,
        accepted="a path below the project's root",
        example=None,
        default=None,
    )
    if file is None:
        return section.key("people"), inline
    if inline:
        section.refuse("people", "is given beside peopleFile", "one of the two", None)
    return file, _read(section, file)


def _read(section: Section, file: str) -> list[Any]:
    wrong = ""
    try:
        found = documents.load((ROOT / file).read_text(encoding="utf-8"))
        wrong = "" if found is None or isinstance(found, list) else "holds no list"
    except (OSError, UnicodeDecodeError) as error:
        wrong = f"cannot be read: {error.__class__.__name__}"
    except documents.NotYaml as error:
        wrong = f"is not valid YAML: {error}"
    if wrong:
        accepted = "a YAML file that holds the list of people"
        section.refuse("peopleFile", f"{file} {wrong}", accepted, None)
        return []
    return found or []


def groups(section: Section) -> tuple[Group, ...]:
    """Groups by name, each with what its members may do in whose namespace."""
    found = []
    for name in section.names():
        group = section.section(name)
        try:
            dns_label(name)
        except ValueError as error:
            section.refuse(name, str(error), "a DNS-1123 label as the group's name", None)
        found.append(Group(name=name, access=_access(group)))
        group.finish()
    return tuple(found)


def _person(section: Section, spelled: Callable[[str], str]) -> Person:
    """One entry of the list. What is malformed becomes "", so that no further problem comes from it.

    `spelled`: how an e-mail is spelled from here on.
    """
    email = section.value(
        "email", _email, accepted="local-part@domain", example="ana@example.org", stand_in=""
    )
    local = default_namespace(email)
    name_of_email = local[:63].strip("-") or "ana"
    name = section.value("name", dns_label, accepted="a DNS-1123 label", example=name_of_email, stand_in="")
    role = PersonRole(section.choice("role", PersonRole, PersonRole.MEMBER))
    state = PersonState(section.choice("state", PersonState, PersonState.ACTIVE))
    person = Person(
        key=name,
        email=spelled(email),
        display_name=section.value("displayName", text, accepted="a text", example="Ana", default=name),
        namespace=_namespace_of(section, role, email, local),
        tier=tier(section),
        role=role,
        groups=tuple(dict.fromkeys(section.each("groups", dns_label, accepted="a group's name"))),
        access=_access(section),
        state=state,
        purge=_purge(section, state),
        former_email=spelled(
            section.value(
                "formerEmail",
                _email,
                accepted="the e-mail of the last update",
                example="ana@example.org",
                default="",
            )
        ),
    )
    section.finish()
    return person


def _namespace_of(section: Section, role: PersonRole, email: str, local: str) -> str:
    if role is PersonRole.VIEWER:
        for key in ("namespace", "tier", "quota"):
            if section.take(key) is not None:
                section.refuse(key, "is given for a viewer, who has no namespace", "none", None)
        return ""
    found = section.value(
        "namespace",
        _namespace,
        accepted="a DNS-1123 label that is not reserved",
        example=_suggested(local),
        default=local,
        stand_in="",
    )
    if email and not section.has("namespace"):
        _check_derived(section, found)
    return found


def _purge(section: Section, state: PersonState) -> bool:
    data = section.choice("data", ("keep", "purge"), None, example="keep")
    if state is PersonState.REMOVED and not section.has("data"):
        section.refuse(
            "data",
            "is missing for somebody who is removed",
            "keep, purge (deletes the namespace)",
            "keep",
        )
    if state is not PersonState.REMOVED and section.has("data"):
        section.refuse("data", f"is given for somebody who is {state}", "none", None)
    return state is PersonState.REMOVED and data == "purge"


def _access(section: Section) -> Mapping[str, AccessLevel]:
    shared = section.section("access")
    found = {}
    for name in shared.names():
        found[name] = AccessLevel(shared.choice(name, AccessLevel, example="view"))
    return MappingProxyType(found)


def _check_derived(section: Section, namespace: str) -> None:
    try:
        _namespace(namespace)
    except ValueError as error:
        section.refuse(
            "namespace",
            f"the e-mail's local part gives no namespace: {error}",
            "a DNS-1123 label that is not reserved",
            _suggested(namespace),
        )


def _suggested(local: str) -> str:
    """A namespace that is not reserved: nothing reserved begins like this."""
    return f"user-{local[:58].strip('-') or 'ana'}"


def _email(raw: Any) -> str:
    if isinstance(raw, str) and "*" in raw:
        raise ValueError(f"{shown(raw)} has `*`, which means any text where access is decided")
    if not isinstance(raw, str) or not _EMAIL.fullmatch(raw):
        raise ValueError(f"{shown(raw)} is not an e-mail address")
    if len(raw) > _LONGEST_EMAIL:
        raise ValueError(f"{shown(raw)} has more than {_LONGEST_EMAIL} characters")
    return raw


def is_reserved(namespace: str) -> bool:
    """Whether a namespace is a system's: none of people's may have its name."""
    return namespace in _RESERVED or namespace.startswith(_RESERVED_PREFIXES)


def _namespace(raw: Any) -> str:
    if is_reserved(dns_label(raw)):
        raise ValueError(f"{shown(raw)} is reserved")
    return str(raw)

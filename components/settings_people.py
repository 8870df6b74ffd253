"""The people sections of the stack configuration: the list, the tiers and the secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from components.model import Person, Tier
from components.validation import Problems, Section, dns_label, one_of, shown, text

_EMAIL = re.compile(
    r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+"
)
# Dex accepts costs 10 to 16; above 14 a login takes seconds. Source: dexidp/dex, server/server.go.
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_HASH_FORM = "a bcrypt hash with a cost from 10 to 14"

# Namespaces that belong to the cluster itself or to Kubeflow.
_RESERVED = frozenset(
    {
        "auth",
        "calico-apiserver",
        "calico-system",
        "cert-manager",
        "default",
        "istio-system",
        "knative-serving",
        "kserve",
        "kubeflow",
        "oauth2-proxy",
        "tigera-operator",
    }
)


def _tier(name: str, cpu: int, memory_gi: int, gpus: int) -> Tier:
    """Quotas count requests; the LimitRange gives containers that ask for nothing a share of them."""
    return Tier(
        name=name,
        quota=MappingProxyType(
            {
                "requests.cpu": str(cpu),
                "requests.memory": f"{memory_gi}Gi",
                "limits.cpu": str(2 * cpu),
                "limits.memory": f"{2 * memory_gi}Gi",
                "requests.nvidia.com/gpu": str(gpus),
            }
        ),
        default_request=MappingProxyType({"cpu": "100m", "memory": "256Mi"}),
        default_limit=MappingProxyType({"cpu": "1", "memory": "1Gi"}),
    )


TIERS: Mapping[str, Tier] = MappingProxyType(
    {
        "small": _tier("small", cpu=4, memory_gi=8, gpus=0),
        "medium": _tier("medium", cpu=8, memory_gi=24, gpus=0),
        "gpu": _tier("gpu", cpu=8, memory_gi=24, gpus=1),
    }
)


def people(problems: Problems, path: str, raw: list[Any]) -> tuple[Person, ...]:
    """The list of people; names, e-mails and namespaces are unique."""
    found: list[Person] = []
    for index, entry in enumerate(raw):
        found.append(_person(Section(problems, f"{path}[{index}]", entry)))
    for attribute, key in (("key", "name"), ("email", "email"), ("namespace", "namespace")):
        first: dict[str, int] = {}
        for index, person in enumerate(found):
            value = getattr(person, attribute)
            if value and first.setdefault(value, index) != index:
                problems.add(
                    f"{path}[{index}].{key}",
                    f"{value} is a duplicate of {path}[{first[value]}]",
                    "one that nobody else has",
                    None if key != "namespace" else f"{value}-2",
                )
    return tuple(found)


def password_hashes(section: Section, people: tuple[Person, ...]) -> Mapping[str, str]:
    """One bcrypt hash for each person, by the person's name. Values never appear in messages."""
    source = "bin/kubepark people hash"
    known = {person.key for person in people}
    for key in section.names():
        if key not in known:
            section.problems.add(
                section.key(key), "belongs to nobody in kubepark:people", "a person's name", None
            )
    hashes = {}
    for person in filter(lambda each: each.key, people):
        value = section.raw.get(person.key)
        match = _BCRYPT.fullmatch(value) if isinstance(value, str) else None
        if value is None:
            section.problems.add_secret(section.key(person.key), "is missing", _HASH_FORM, source)
        elif match is None:
            section.problems.add_secret(section.key(person.key), "is not a bcrypt hash", _HASH_FORM, source)
        elif not 10 <= int(match[1]) <= 14:
            section.problems.add_secret(
                section.key(person.key), f"has cost {int(match[1])}", _HASH_FORM, source
            )
        else:
            hashes[person.key] = str(value)
    return hashes


def oidc_client_secret(problems: Problems, key: str, raw: Any) -> str:
    """The secret that Dex and the login proxy share; there is no default."""
    if not isinstance(raw, str) or len(raw) < 32:
        problems.add_secret(
            key,
            "is missing" if raw is None else "is shorter than 32 characters",
            "a random text of at least 32 characters",
            "openssl rand -hex 32",
        )
        return ""
    return raw


def _person(section: Section) -> Person:
    """One entry of the list. What is malformed becomes "", so that no further problem comes from it."""
    email = section.value(
        "email", _email, accepted="local-part@domain", example="ana@example.org", stand_in=""
    )
    local = re.sub(r"[^a-z0-9]+", "-", email.partition("@")[0]).strip("-")
    name = section.value("name", dns_label, accepted="a DNS-1123 label", example=local or "ana", stand_in="")
    person = Person(
        key=name,
        email=email,
        display_name=section.value("displayName", text, accepted="a text", example="Ana", default=name),
        namespace=section.value(
            "namespace",
            _namespace,
            accepted="a DNS-1123 label that is not reserved",
            example=f"{local}-ns",
            default=local,
            stand_in="",
        ),
        tier=TIERS[
            section.value("tier", one_of(*TIERS), accepted=", ".join(TIERS), example="small", default="small")
        ],
    )
    if email and not section.has("namespace"):
        _check_derived(section, person.namespace)
    section.finish()
    return person


def _check_derived(section: Section, namespace: str) -> None:
    try:
        _namespace(namespace)
    except ValueError as error:
        section.problems.add(
            section.key("namespace"),
            f"the e-mail's local part gives no namespace: {error}",
            "a DNS-1123 label that is not reserved",
            f"{namespace or 'person'}-ns",
        )


def _email(raw: Any) -> str:
    if not isinstance(raw, str) or not _EMAIL.fullmatch(raw.lower()):
        raise ValueError(f"{shown(raw)} is not an e-mail address")
    return raw.lower()


def _namespace(raw: Any) -> str:
    if dns_label(raw) in _RESERVED or str(raw).startswith("kube-"):
        raise ValueError(f"{shown(raw)} is reserved")
    return str(raw)

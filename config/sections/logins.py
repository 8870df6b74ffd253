"""How people log in: password hashes, the client of Dex, and accounts that they have elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from config.model import Connector, Person
from config.problems import Problems
from config.urls import url
from config.validation import Encrypted, Section, dns_label, matching, shown, text, unused

# Dex accepts costs 10 to 16; above 14 a login takes seconds. Source: dexidp/dex, server/server.go.
_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
# Dex puts environment variables for `$NAME` and `${NAME}` into a connector's values, and all secrets are in
# its environment. Source: dexidp/dex, cmd/dex/config.go (os.ExpandEnv).
_LITERAL = re.compile(r"[!-#%-~]+")
# Letters, digits and hyphens; it becomes part of a URL. Source: what GitHub's form says when one is created.
_org = matching(re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]{0,37}[A-Za-z0-9])?"), "an organisation's name")
_domain = matching(
    re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+"), "a domain in lower case"
)
_HASH_FORM = "a bcrypt hash with a cost from 10 to 14"
RANDOM = "openssl rand -hex 32"
TYPES = ("github", "google", "oidc")
_ISSUER = re.compile(
    r"https://[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*(:(?P<port>[1-9][0-9]{0,4}))?/dex"
)


def password_hashes(
    section: Section, people: Sequence[Person], connectors: Sequence[Connector]
) -> Mapping[str, str]:
    """Bcrypt hashes by the person's name. Values never appear in messages.

    Everybody active needs one, unless there is a connector to log in by. Who then has one all the same is
    known by an e-mail in lower case: Dex says no other of a password.
    """
    source = "bin/kubepark people hash"
    known = {person.key for person in people}
    for key in section.names():
        if key not in known:
            section.refuse(key, "belongs to nobody in kubepark:people", "a person's name", None)
    hashes = {}
    for person in (each for each in people if each.key and (each.active or section.has(each.key))):
        value, lower = section.raw.get(person.key), person.email.lower()
        if value is not None and person.email != lower:  # Source: dexidp/dex, storage/static.go
            wrong = f"makes {lower} of {person.email}, who is somebody else to Kubeflow"
            section.refuse(person.key, wrong, f"no password, or {lower} in the list", None)
            continue
        if isinstance(value, Encrypted) or (value is None and section.partial):
            continue
        match = _BCRYPT.fullmatch(value) if isinstance(value, str) else None
        wrong = ""
        if value is None:
            wrong = "" if connectors else "is missing"
        elif match is None:
            wrong = "is not a bcrypt hash"
        elif not 10 <= int(match[1]) <= 14:
            wrong = f"has cost {int(match[1])}"
        elif person.active:
            hashes[person.key] = str(value)
        if wrong:
            section.problems.add_secret(section.key(person.key), wrong, _HASH_FORM, source)
    return hashes


def oidc_client_secret(problems: Problems, key: str, raw: Any) -> str:
    """The secret that Dex and the login proxy share; there is no default."""
    if isinstance(raw, Encrypted):
        return raw
    if not isinstance(raw, str) or len(raw) < 32:
        problems.add_secret(
            key,
            "is missing" if raw is None else "is shorter than 32 characters",
            "a random text of at least 32 characters",
            RANDOM,
        )
        return ""
    return raw


def connectors(problems: Problems, path: str, raw: Sequence[Any]) -> tuple[Connector, ...]:
    """Ways to log in with an account at GitHub, at Google, or at any OpenID Connect provider."""
    found: list[Connector] = []
    for index, entry in enumerate(raw):
        found.append(_connector(Section(problems, f"{path}[{index}]", entry)))
        ids = [each.id for each in found]
        if ids[-1] and ids.index(ids[-1]) != index:
            first = f"{path}[{ids.index(ids[-1])}]"
            problems.add(
                f"{path}[{index}].id",
                f"{ids[-1]} is a duplicate of {first}",
                "an id of its own",
                unused(ids[-1], ids),
            )
    return tuple(found)


def oidc_issuer(root: Section, connectors: Sequence[Connector]) -> str | None:
    """Dex's address for browsers. A connector needs it: providers send people back to it, and Dex refuses to
    be sent back to anything but its issuer + `/callback` (dexidp/dex, connector/github/github.go).
    """
    return root.value(
        "oidcIssuer",
        _issuer,
        accepted="https://HOST/dex, in lower case, where Kubeflow's gateway answers",
        example="https://kubeflow.example.org/dex",
        **({} if connectors else {"default": None}),
    )


def connector_secrets(section: Section, known: Sequence[Connector]) -> Mapping[str, str]:
    """The clients' secrets by connector id. Values never appear in messages."""
    ids = list(dict.fromkeys(each.id for each in known if each.id))
    for key in section.names():
        if key not in ids:
            section.refuse(key, "is no connector's id", ", ".join(ids) or "none", None)
    secrets = {}
    for name in ids:
        value = section.raw.get(name)
        if isinstance(value, str) and value.strip():
            secrets[name] = value
        elif value is not None or not section.partial:
            wrong = "is missing" if value is None else "is not a text"
            accepted = "the client's secret, as the provider gave it"
            section.problems.add_secret(section.key(name), wrong, accepted, "cat")
    return secrets


def _connector(section: Section) -> Connector:
    kind = section.choice("type", TYPES, example="oidc")
    connector_id = section.value("id", dns_label, accepted="a DNS-1123 label", example=kind, stand_in="")
    config: dict[str, Any] = {
        "clientID": section.value("clientId", _literal, accepted="the client's id", example="kubepark"),
    }
    config |= _OF_TYPE[kind](section)
    name = section.value("name", text, accepted="a text", example="Company", default=connector_id)
    section.finish()
    return Connector(type=kind, id=connector_id, name=name, config=MappingProxyType(config))


def _github(section: Section) -> dict[str, Any]:
    """Without organisations everybody with an account could log in."""
    names = section.each("orgs", _org, accepted="an organisation's name", example="acme", required=True)
    return {"orgs": [{"name": name} for name in names]}


def _google(section: Section) -> dict[str, Any]:
    domains = section.each(
        "hostedDomains", _domain, accepted="a domain in lower case", example="acme.org", required=True
    )
    return {"hostedDomains": domains}


def _oidc(section: Section) -> dict[str, Any]:
    issuer = section.value("issuer", _https, accepted="an https URL", example="https://login.acme.org")
    return {"issuer": issuer}


_OF_TYPE: Mapping[str, Callable[[Section], dict[str, Any]]] = MappingProxyType(
    {"github": _github, "google": _google, "oidc": _oidc}
)


def _literal(raw: Any) -> str:
    """ASCII that looks like itself, and that Dex does not take for the name of one of its variables."""
    if not _LITERAL.fullmatch(text(raw)):
        raise ValueError(f"{shown(raw)} has `$`, a space or a character beyond ASCII")
    return str(raw)


def _https(raw: Any) -> str:
    return _literal(url(raw, ("https",)))


def _issuer(raw: Any) -> str:
    """Compared as text everywhere: no capital letter, no slash at the end."""
    match = _ISSUER.fullmatch(raw) if isinstance(raw, str) else None
    if match is None or int(match["port"] or 443) > 65535:
        raise ValueError(f"{shown(raw)} is not the address of Dex")
    return match[0]

"""Dex's configuration file as its documentation and source have it, unknown keys refused.

Dex itself ignores unknown keys, so a typo would pass there. Source: dexidp/dex v2.45, cmd/dex/config.go,
and the documentation of its connectors. Only what we may write is known here.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import yaml

_TOP = {
    "issuer": str,
    "storage": dict,
    "web": dict,
    "logger": dict,
    "oauth2": dict,
    "expiry": dict,
    "enablePasswordDB": bool,
    "staticPasswords": list,
    "staticClients": list,
    "connectors": list,
}
_ACCOUNT = {"email": str, "hashFromEnv": str, "username": str, "name": str, "userID": str, "groups": list}
_STORAGE = {"type": str, "config": dict}
_IN_CLUSTER = {"inCluster": bool, "crdHandling": str}
_OAUTH2 = {"grantTypes": list, "skipApprovalScreen": bool}
_GRANT_TYPES = {"authorization_code", "refresh_token"}  # of those it knows, what a login in a browser uses
_CLIENT = {"idEnv": str, "secretEnv": str, "name": str, "redirectURIs": list}
_CONNECTOR = {"type": str, "id": str, "name": str, "config": dict}
_CONFIG: Mapping[str, dict[str, type]] = {
    "github": {"clientID": str, "clientSecret": str, "redirectURI": str, "orgs": list},
    "google": {"clientID": str, "clientSecret": str, "redirectURI": str, "hostedDomains": list},
    "oidc": {"clientID": str, "clientSecret": str, "redirectURI": str, "issuer": str},
}


def faults(text: str, environment: Mapping[str, str]) -> list[str]:
    """Everything that Dex would stop at, bear silently, or ignore. `environment`: that of its container."""
    config = yaml.safe_load(text)
    found = _keys("", config, _TOP, optional={"connectors"})
    if found:
        return found
    found += _keys("storage", config["storage"], _STORAGE)
    found += _keys("storage.config", config["storage"].get("config"), _IN_CLUSTER)
    found += _keys("oauth2", config["oauth2"], _OAUTH2)
    found += [
        f"oauth2: grant {each}" for each in config["oauth2"].get("grantTypes", []) if each not in _GRANT_TYPES
    ]
    if urlsplit(config["issuer"]).scheme not in ("http", "https"):
        found.append("issuer is no URL")
    if config["staticPasswords"] and not config["enablePasswordDB"]:
        found.append("static passwords need enablePasswordDB")
    for index, account in enumerate(config["staticPasswords"]):
        found += _account(f"staticPasswords[{index}]", account, environment)
    for field in ("email", "userID", "username", "hashFromEnv"):
        values = [str(account.get(field, "")).lower() for account in config["staticPasswords"]]
        found += [
            f"two accounts have the {field} {value}" for value in set(values) if values.count(value) > 1
        ]
    for index, client in enumerate(config["staticClients"]):
        place = f"staticClients[{index}]"
        found += _keys(place, client, _CLIENT)
        found += [
            f"{place}: no {client[key]}" for key in ("idEnv", "secretEnv") if not environment.get(client[key])
        ]
    for index, connector in enumerate(config.get("connectors", [])):
        found += _connector(f"connectors[{index}]", connector, environment, config["issuer"])
    return found


def _account(place: str, account: Any, environment: Mapping[str, str]) -> list[str]:
    found = _keys(place, account, _ACCOUNT, optional={"groups"})
    if found:
        return found
    hashed = environment.get(account["hashFromEnv"], "")
    match = re.fullmatch(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}", hashed)
    rules: list[tuple[str, Callable[[], bool]]] = [
        ("no bcrypt hash in the environment", lambda: match is not None),
        ("cost outside 10 to 16", lambda: match is None or 10 <= int(match[1]) <= 16),
        ("e-mail not in lower case", lambda: account["email"] == account["email"].lower()),
        ("no e-mail", lambda: "@" in account["email"]),
        ("userID is no UUID of version 5", lambda: uuid.UUID(account["userID"]).version == 5),
    ]
    return [f"{place}: {wrong}" for wrong, holds in rules if not holds()]


def _connector(place: str, connector: Any, environment: Mapping[str, str], issuer: str) -> list[str]:
    found = _keys(place, connector, _CONNECTOR)
    if found:
        return found
    if connector["type"] not in _CONFIG:
        return [f"{place}: unknown type {connector['type']}"]
    found = _keys(f"{place}.config", connector["config"], _CONFIG[connector["type"]])
    if connector["config"].get("redirectURI") != f"{issuer}/callback":  # the login would end with status 500
        found.append(f"{place}: redirectURI is not the issuer's callback")
    secret = str(connector["config"].get("clientSecret", ""))
    if not secret.startswith("$") or not environment.get(secret[1:]):
        found.append(f"{place}: the secret is no reference to the environment")
    return found


def _keys(place: str, value: Any, known: Mapping[str, type], optional: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    if not isinstance(value, dict):
        return [f"{place or 'the file'} is no mapping"]
    found = [f"{place}: unknown key {key}" for key in value if key not in known]
    found += [f"{place}: no {key}" for key in known if key not in value and key not in optional]
    return found + [
        f"{place}.{key} is no {kind.__name__}"
        for key, kind in known.items()
        if key in value and not isinstance(value[key], kind)
    ]

"""Dex's configuration file as text: accounts, clients, issuer. Pure and without any secret."""

from __future__ import annotations

from typing import Any

import yaml

from config.model import Connector, Person
from config.people import user_id

NAMESPACE = "auth"
NAME = "dex"
PORT = 5556
# The issuer unless the stack names one. The login proxy and Istio's RequestAuthentication must name the same.
ISSUER = f"http://{NAME}.{NAMESPACE}.svc.cluster.local:{PORT}/dex"
CLIENT_ID_VARIABLE = "OIDC_CLIENT_ID"
CLIENT_SECRET_VARIABLE = "OIDC_CLIENT_SECRET"
# What the login proxy uses. Dex offers all that it knows otherwise: token exchange and the device grant, too.
# Its page for devices stays, and leads nowhere: our client has no redirect to it.
_GRANT_TYPES = ("authorization_code", "refresh_token")


def password_variable(key: str) -> str:
    """The environment variable of a person's hash. Keys are DNS labels, so no two give the same."""
    return "DEX_PW_" + key.upper().replace("-", "_")


def connector_variable(connector_id: str) -> str:
    """The environment variable of a connector's client secret."""
    return "DEX_CONNECTOR_" + connector_id.upper().replace("-", "_")


def dex_config(
    people: tuple[Person, ...], connectors: tuple[Connector, ...] = (), issuer: str = ISSUER
) -> str:
    """Dex's configuration file, the same text for the same people in any order.

    `people`: those with a password, all of them active. Differs from the notes: hashes come from the
    environment, the log level is info, no foreign browser origin is allowed, and the callback is that
    of oauth2-proxy, which Kubeflow uses now (the notes' /login/oidc belonged to the OIDC service that
    it replaced).
    """
    config: dict[str, Any] = {
        "issuer": issuer,
        "storage": {"type": "kubernetes", "config": {"inCluster": True, "crdHandling": "check"}},
        "web": {"http": f"0.0.0.0:{PORT}"},
        "logger": {"level": "info", "format": "text"},
        "oauth2": {"grantTypes": list(_GRANT_TYPES), "skipApprovalScreen": True},
        "expiry": {"idTokens": "24h"},
        "enablePasswordDB": True,
        "staticPasswords": [_account(person) for person in sorted(people, key=lambda p: p.key)],
        "staticClients": [
            {
                "idEnv": CLIENT_ID_VARIABLE,
                "secretEnv": CLIENT_SECRET_VARIABLE,
                "name": "Kubeflow",
                "redirectURIs": ["/oauth2/callback"],
            }
        ],
    }
    if connectors:
        config["connectors"] = [_connector(each, issuer) for each in sorted(connectors, key=lambda c: c.id)]
    return yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=1000)


def _account(person: Person) -> dict[str, Any]:
    groups = {"groups": sorted(person.groups)} if person.groups else {}
    return {
        "email": person.email,
        "hashFromEnv": password_variable(person.key),
        "username": person.key,
        "name": person.display_name,
        "userID": user_id(person.key),
        **groups,
    }


def _connector(connector: Connector, issuer: str) -> dict[str, Any]:
    """Dex puts the environment's values for `$NAME` into connectors, and nowhere else."""
    ours = {"clientSecret": f"${connector_variable(connector.id)}", "redirectURI": f"{issuer}/callback"}
    return {
        "type": connector.type,
        "id": connector.id,
        "name": connector.name,
        "config": {**connector.config, **ours},
    }

"""Dex, the login: one account per person, structure in a ConfigMap and hashes in a Secret.

Dex never reloads its configuration, and a missing or malformed hash stops it for everybody. So the
pod template carries a checksum over all that it reads: the pods roll when, and only when, some of it
changed; new pods must be ready before old ones go.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from components.incluster.dex_config import (
    CLIENT_ID_VARIABLE,
    CLIENT_SECRET_VARIABLE,
    ISSUER,
    NAME,
    NAMESPACE,
    PORT,
    connector_variable,
    dex_config,
    password_variable,
)
from components.incluster.objects import Object, make
from config.model import Settings
from config.naming import CHECKSUM
from config.versions import DEX_IMAGE

CONFIG_KEY = "config.yaml"
CONFIG_MAP = NAME
PASSWORDS_SECRET = "dex-passwords"
CLIENT_SECRET = "dex-oidc-client"

_CONFIG_DIR = "/etc/dex/cfg"
# What Dex v2.45 stores, plural -> kind, as it spells them. Source: dexidp/dex, storage/kubernetes/types.go.
_GROUP = "dex.coreos.com"
_STORED: Mapping[str, str] = MappingProxyType(
    {
        "authcodes": "AuthCode",
        "authrequests": "AuthRequest",
        "oauth2clients": "OAuth2Client",
        "signingkeies": "SigningKey",
        "refreshtokens": "RefreshToken",
        "passwords": "Password",
        "offlinesessionses": "OfflineSessions",
        "connectors": "Connector",
        "devicerequests": "DeviceRequest",
        "devicetokens": "DeviceToken",
    }
)
_LABELS = {"app": NAME}
_USER = 1001
# Who may talk to Dex: the mesh's gateway and control plane, the login proxy, its own namespace.
_CLIENT_NAMESPACES = (NAMESPACE, "istio-system", "oauth2-proxy")


def plan_dex(settings: Settings) -> tuple[Object, ...]:
    """Every object of the namespace `auth`."""
    people = tuple(person for person in settings.people if person.key in settings.password_hashes)
    config = dex_config(people, settings.connectors, settings.oidc_issuer or ISSUER)
    passwords = {password_variable(person.key): settings.password_hashes[person.key] for person in people}
    client = {
        CLIENT_ID_VARIABLE: settings.oidc_client_id,
        CLIENT_SECRET_VARIABLE: settings.oidc_client_secret,
    }
    connectors = {connector_variable(name): secret for name, secret in settings.connector_secrets.items()}
    return (
        make("v1", "Namespace", NAMESPACE),
        *(_definition(plural, kind) for plural, kind in _STORED.items()),
        _object("v1", "ConfigMap", CONFIG_MAP, data={CONFIG_KEY: config}),
        _secret(PASSWORDS_SECRET, passwords),
        _secret(CLIENT_SECRET, {**client, **connectors}),
        _object("v1", "ServiceAccount", NAME),
        *_access(),
        _deployment(checksum(config, {**passwords, **client, **connectors})),
        _service(),
        _object(
            "policy/v1",
            "PodDisruptionBudget",
            NAME,
            spec={"maxUnavailable": 1, "selector": {"matchLabels": dict(_LABELS)}},
        ),
        _network_policy(),
    )


def checksum(config: str, environment: Mapping[str, str]) -> str:
    """sha256 over everything a Dex pod reads at its start. A hash's own random salt keeps it one-way."""
    content = json.dumps([config, dict(environment)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _object(version: str, kind: str, name: str, **fields: Any) -> Object:
    return make(version, kind, name, NAMESPACE, labels=_LABELS, **fields)


def _secret(name: str, values: Mapping[str, str]) -> Object:
    """`data`, not `stringData`: the server keeps no stringData, so a refresh would see it as removed."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return _object("v1", "Secret", name, type="Opaque", data=encoded)


def _access() -> tuple[Object, ...]:
    """Dex keeps its state in custom resources of its own namespace."""
    group = "rbac.authorization.k8s.io"
    subjects = [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}]
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    own = {"apiGroups": [_GROUP], "resources": ["*"], "verbs": verbs}
    role = {"apiGroup": group, "kind": "Role", "name": NAME}
    return (
        _object(f"{group}/v1", "Role", NAME, rules=[own]),
        _object(f"{group}/v1", "RoleBinding", NAME, roleRef=role, subjects=subjects),
    )


def _definition(plural: str, kind: str) -> Object:
    """One of Dex's CRDs as it would make it. By itself it makes them at its first start, and a second replica
    beside it ends because they are not served yet."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
    names = {"plural": plural, "singular": kind.lower(), "kind": kind}
    return make(
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        f"{plural}.{_GROUP}",
        labels=_LABELS,
        annotations={"pulumi.com/waitFor": "condition=Established"},
        spec={"group": _GROUP, "names": names, "scope": "Namespaced", "versions": [version]},
    )


def _deployment(digest: str) -> Object:
    same_node = {
        "labelSelector": {"matchLabels": dict(_LABELS)},
        "topologyKey": "kubernetes.io/hostname",
    }
    return _object(
        "apps/v1",
        "Deployment",
        NAME,
        spec={
            "replicas": 2,
            "selector": {"matchLabels": dict(_LABELS)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": {
                "metadata": {"labels": dict(_LABELS), "annotations": {CHECKSUM: digest}},
                "spec": {
                    "serviceAccountName": NAME,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": _USER,
                        "runAsGroup": _USER,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "affinity": {
                        "podAntiAffinity": {
                            "preferredDuringSchedulingIgnoredDuringExecution": [
                                {"weight": 100, "podAffinityTerm": same_node}
                            ]
                        }
                    },
                    "containers": [_container()],
                    "volumes": [{"name": "config", "configMap": {"name": CONFIG_MAP}}],
                },
            },
        },
    )


def _container() -> dict[str, Any]:
    health = {"httpGet": {"path": "/dex/healthz", "port": "http"}}
    return {
        "name": NAME,
        "image": DEX_IMAGE,
        # Not the image's entry point: that one copies the file through a template engine first.
        "command": ["dex", "serve", f"{_CONFIG_DIR}/{CONFIG_KEY}"],
        "ports": [{"name": "http", "containerPort": PORT}],
        "envFrom": [
            {"secretRef": {"name": CLIENT_SECRET}},
            {"secretRef": {"name": PASSWORDS_SECRET}},
        ],
        "env": [
            {
                "name": "KUBERNETES_POD_NAMESPACE",
                "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}},
            }
        ],
        # Readiness only: the check reads Dex's storage, and an API server that is away for a
        # minute is no reason to restart Dex.
        "readinessProbe": {**health, "periodSeconds": 10, "timeoutSeconds": 3},
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"cpu": "1", "memory": "256Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "config", "mountPath": _CONFIG_DIR, "readOnly": True}],
    }


def _service() -> Object:
    return _object(
        "v1",
        "Service",
        NAME,
        # The provider waits ten seconds after each change of its endpoints for them to settle. That Dex
        # answers is known already: the Deployment is waited for.
        annotations={"pulumi.com/skipAwait": "true"},
        spec={
            "selector": dict(_LABELS),
            "ports": [{"name": "http", "port": PORT, "targetPort": "http"}],
        },
    )


def _network_policy() -> Object:
    """`kubectl port-forward` and the kubelet's probes come from the node and pass all the same."""
    name = "kubernetes.io/metadata.name"
    clients = {"matchExpressions": [{"key": name, "operator": "In", "values": list(_CLIENT_NAMESPACES)}]}
    return _object(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        NAME,
        spec={
            "podSelector": {"matchLabels": dict(_LABELS)},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"namespaceSelector": clients}], "ports": [{"protocol": "TCP", "port": PORT}]}
            ],
        },
    )

"""Secrets stay where they are encrypted: SecureString parameters and Kubernetes Secrets."""

from __future__ import annotations

import base64
import binascii
import re
from functools import partial
from typing import Any

from pulumi_policy import ResourceValidationArgs, Severity

from policies.common import Fail, dig, every, mandatory

PARAMETER = "aws:ssm/parameter:Parameter"
CONFIG_MAPS = frozenset({"kubernetes:core/v1:ConfigMap", "kubernetes:core/v1:ConfigMapPatch"})

# The last part of a parameter's name, in words, that says "secret".
SECRET_WORDS = frozenset(
    {
        "join",
        "kubeconfig",
        "key",
        "keys",
        "apikey",
        "token",
        "tokens",
        "password",
        "passwords",
        "secret",
        "secrets",
        "credentials",
    }
)
# Folders whose last part is the name of a node or a number.
PLAIN_FOLDERS = frozenset({"status", "hosts"})

# What AWS takes where no key is named. Source: SSM API reference, PutParameter, KeyId.
DEFAULT_KEY = "alias/aws/ssm"

SECRET_TEXTS = {
    "a bcrypt hash": re.compile(r"\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}"),
    "a kubeadm bootstrap token": re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"),
    "a private key": re.compile(r"-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----"),
    "a signed token (JWT)": re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]+"),
}


def _is_secret(name: str) -> bool:
    parts = name.strip("/").split("/")
    if len(parts) > 1 and parts[-2] in PLAIN_FOLDERS:
        return False
    return not SECRET_WORDS.isdisjoint(re.split(r"[^a-z0-9]+", parts[-1].lower()))


def _secure_string(args: ResourceValidationArgs, fail: Fail) -> None:
    props = args.props
    name = props.get("name", args.name)
    if not _is_secret(name):
        _no_secret_in_plain(args, name, fail)
        return

    def kind() -> None:
        if props.get("type") != "SecureString":
            fail(f"{name} holds a secret and is of type {props.get('type') or 'not set'}.")

    def key() -> None:
        if props.get("keyId") in (None, DEFAULT_KEY):
            fail(
                f"{name} has no key of ours: the account's default key opens it to everybody in the account."
            )

    def plain() -> None:
        if "insecureValue" in list(props):  # its name is enough: the value may be unknown
            fail(f"{name} is given as insecureValue, which is kept in plain state.")

    every([kind, key, plain])


def _no_secret_in_plain(args: ResourceValidationArgs, name: str, fail: Fail) -> None:
    """A parameter whose name promises no secret may hold one all the same."""
    if args.props.get("type") == "SecureString":
        args.not_applicable(f"{name} is encrypted")

    def search(key: str) -> None:
        for what in secrets_in(str(args.props.get(key))):
            fail(f"The {key} of {name} holds {what}.")

    every(partial(search, key) for key in ("value", "insecureValue"))


def secrets_in(text: str) -> list[str]:
    """What of `SECRET_TEXTS` is in the text."""
    return [what for what, pattern in SECRET_TEXTS.items() if pattern.search(text)]


def _decoded(value: Any) -> str:
    """The text of a binaryData entry; what is not base64 is searched as it is."""
    try:
        return base64.b64decode(value, validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        return str(value)


def _no_secret_in_config_map(args: ResourceValidationArgs, fail: Fail) -> None:
    def search(section: str, key: str, text: str) -> None:
        # The message names the place, never the value.
        for what in secrets_in(text):
            fail(f"{section}[{key!r}] holds {what}.")

    def entry(section: str, values: Any, key: str) -> None:
        value = values[key]
        search(section, key, _decoded(value) if section == "binaryData" else str(value))

    def whole(section: str, *path: str) -> None:
        values = dig(args.props, *path)
        every(partial(entry, section, values, key) for key in values or ())

    every(
        [
            lambda: whole("data", "data"),
            lambda: whole("binaryData", "binaryData"),
            lambda: whole("metadata.annotations", "metadata", "annotations"),
        ]
    )


SECURE_STRING_FOR_SECRETS = mandatory(
    name="secure-string-for-secrets",
    description="A parameter whose name says join, kubeconfig, key, token or password is a SecureString "
    "under a key of ours: everybody in the account may use the default one.",
    remedy="Set type='SecureString' and key_id to the cluster's key.",
    url="https://docs.aws.amazon.com/systems-manager/latest/userguide/systems-manager-parameter-store.html",
    severity=Severity.CRITICAL,
    types=frozenset({PARAMETER}),
    check=_secure_string,
)

NO_SECRET_IN_CONFIG_MAP = mandatory(
    name="no-secret-in-configmap",
    description="No ConfigMap holds a password hash, a token or a private key: many may read ConfigMaps.",
    remedy="Put the value into a Secret and name it from there (Dex: hashFromEnv, secretEnv).",
    url="https://kubernetes.io/docs/concepts/configuration/configmap/",
    severity=Severity.CRITICAL,
    types=CONFIG_MAPS,
    check=_no_secret_in_config_map,
)

"""The stack file as text and tree: who is in it, and what a sandbox adds to its working copy."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.config import not_yaml
from sandbox.errors import SandboxError

CLIENT_SECRET = "kubepark:oidcClientSecret"
HASHES = "kubepark:passwordHashes"
CONNECTORS = "kubepark:connectors"
CONNECTOR_SECRETS = "kubepark:connectorSecrets"
PEOPLE = "kubepark:people"
PEOPLE_FILE = "kubepark:peopleFile"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")  # what can stand in a config path as it is


@dataclass
class StackSecrets:
    """What one stack generated, in plain and as the engine encrypted it. Kept with mode 0600."""

    salt: str = ""  # the engine's own record of how the passphrase becomes a key
    hashes: dict[str, str] = field(default_factory=dict)  # person -> bcrypt
    connectors: dict[str, str] = field(default_factory=dict)  # connector id -> its client's secret
    client_secret: str = ""
    ciphers: dict[str, str] = field(default_factory=dict)  # config path -> ciphertext

    def values(self, people: list[str], connectors: list[str]) -> dict[str, str]:
        """Config path -> plain value, for the people and connectors that have theirs from here."""
        hashes = {hash_path(person): self.hashes[person] for person in people}
        secrets = {_path(CONNECTOR_SECRETS, each): self.connectors[each] for each in connectors}
        return {CLIENT_SECRET: self.client_secret, **hashes, **secrets}


def parse(text: str, name: str) -> Any:
    """YAML 1.2 with comments and order kept, as the engine reads it (PyYAML takes `off` for False)."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML().load(text)
    except YAMLError as error:
        raise not_yaml(name, error) from None
    document.setdefault("config", {})
    return document


def require_no_secrets(document: Any, name: str) -> None:
    """A sandbox has a passphrase of its own, so nothing in the repository can be encrypted with it."""
    if "encryptionsalt" in document or "secretsprovider" in document:
        raise SandboxError(
            f"{name} names a sandbox (kubepark:aws.endpoint) and has encrypted values of its own. A "
            "sandbox generates its secrets: remove `encryptionsalt`, `secretsprovider` and the "
            "`secure:` values from the file"
        )


def dump(document: Any) -> str:
    from ruamel.yaml import YAML

    text, yaml = io.StringIO(), YAML()
    yaml.width = 4096  # characters: a ciphertext stays on its line
    yaml.dump(document, text)
    return text.getvalue()


def people_of(config: Any, root: Path) -> list[Any]:
    """The list of people: in the stack's configuration, or in the file that it names.

    What is malformed counts as empty: the program complains about it, and better than we could.
    """
    people, file = config.get(PEOPLE), config.get(PEOPLE_FILE)
    if isinstance(file, str) and file:
        from ruamel.yaml import YAML
        from ruamel.yaml.error import YAMLError

        try:
            people = YAML(typ="safe").load((root / file).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, YAMLError):
            return []
    return people if isinstance(people, list) else []


def people_without_hash(document: Any, root: Path) -> list[str]:
    """Names of the people that the stack file gives no hash for."""
    return _without(document["config"].get(HASHES), people_of(document["config"], root), "name")


def connectors_without_secret(document: Any) -> list[str]:
    """Ids of the connectors that the stack file gives no secret for."""
    listed = document["config"].get(CONNECTORS)
    return _without(
        document["config"].get(CONNECTOR_SECRETS), listed if isinstance(listed, list) else [], "id"
    )


def _without(given: Any, listed: list[Any], key: str) -> list[str]:
    """What is listed under `key` and not given. What is malformed is left to the program."""
    if not isinstance(given or {}, dict):
        return []
    names = [entry.get(key) for entry in listed if isinstance(entry, dict)]
    usable = [name for name in names if isinstance(name, str) and _NAME.fullmatch(name)]
    return [name for name in dict.fromkeys(usable) if name not in (given or {})]


def merge(document: Any, stored: StackSecrets, people: list[str], connectors: list[str]) -> None:
    """Put the known ciphertexts into `document`; what the stack file says itself stays."""
    config = document["config"]
    if stored.salt:
        document["encryptionsalt"] = stored.salt
    if CLIENT_SECRET in stored.ciphers:
        config.setdefault(CLIENT_SECRET, {"secure": stored.ciphers[CLIENT_SECRET]})
    for key, names in ((HASHES, people), (CONNECTOR_SECRETS, connectors)):
        for name in names:
            cipher = stored.ciphers.get(_path(key, name))
            if cipher:
                config.setdefault(key, {})[name] = {"secure": cipher}


def hash_path(person: str) -> str:
    """Where a person's hash is in the configuration."""
    return _path(HASHES, person)


def _path(key: str, name: str) -> str:
    return f'{key}["{name}"]'


def cipher(config: Any, path: str) -> str:
    """The ciphertext at one of the paths of `StackSecrets.values`."""
    key, inside, name = path.partition('["')
    found = config[key][name.removesuffix('"]')] if inside else config[key]
    return str(found["secure"])

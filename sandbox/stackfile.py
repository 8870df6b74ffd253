"""The stack file as text and tree: who is in it, and what a sandbox adds to its copy."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from sandbox.config import not_yaml
from sandbox.errors import SandboxError

CLIENT_SECRET = "kubepark:oidcClientSecret"
HASHES = "kubepark:passwordHashes"
CONNECTORS = "kubepark:connectors"
CONNECTOR_SECRETS = "kubepark:connectorSecrets"
PEOPLE = "kubepark:people"
PEOPLE_FILE = "kubepark:peopleFile"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")  # what can stand in a config path as it is
_PATH = re.compile(r'(.+)\["(.+)"\]')


@dataclass
class Ciphers:
    """What one stack generated, as the engine encrypted it. `values`: config path -> ciphertext."""

    salt: str = ""  # the engine's own record of how the passphrase becomes a key
    values: dict[str, str] = field(default_factory=dict)

    def update(self, other: Ciphers) -> list[str]:
        """Take over what `other` has; gives the paths that had another ciphertext before."""
        changed = [path for path, text in other.values.items() if self.values.get(path, text) != text]
        self.salt = other.salt or self.salt
        self.values |= other.values
        return changed


def parse(text: str, name: str) -> Any:
    """YAML 1.2 with comments and order kept, as the engine reads it (PyYAML takes `off` for False)."""
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


def set_endpoints(document: Any, aws: str, api: str) -> None:
    """What the stack file names is the default: two checkouts cannot have the same ports."""
    document["config"]["kubepark:aws"]["endpoint"] = aws
    document["config"]["kubepark:controlPlane"]["apiEndpoint"] = api


def dump(document: Any) -> str:
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
        try:
            people = YAML(typ="safe").load((root / file).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, YAMLError):
            return []
    return people if isinstance(people, list) else []


def generated_paths(document: Any, root: Path) -> list[str]:
    """The config paths of secrets that the stack file needs and does not give itself."""
    config = document["config"]
    own = [] if CLIENT_SECRET in config else [CLIENT_SECRET]
    hashes = _without(config.get(HASHES), people_of(config, root), "name")
    listed = config.get(CONNECTORS)
    connectors = listed if isinstance(listed, list) else []
    clients = _without(config.get(CONNECTOR_SECRETS), connectors, "id")
    return [*own, *(_path(HASHES, each) for each in hashes), *(_path(CONNECTOR_SECRETS, e) for e in clients)]


def _without(given: Any, listed: list[Any], key: str) -> list[str]:
    """What is listed under `key` and not given. What is malformed is left to the program."""
    if not isinstance(given or {}, dict):
        return []
    names = [entry.get(key) for entry in listed if isinstance(entry, dict)]
    usable = [name for name in names if isinstance(name, str) and _NAME.fullmatch(name)]
    return [name for name in dict.fromkeys(usable) if name not in (given or {})]


def merge(document: Any, kept: Ciphers, wanted: list[str]) -> None:
    """Put the known ciphertexts into `document`."""
    if kept.salt:
        document["encryptionsalt"] = kept.salt
    for path in wanted:
        if path in kept.values:
            key, name = _split(path)
            place = document["config"].setdefault(key, {}) if name else document["config"]
            place[name or key] = {"secure": kept.values[path]}


def ciphers_in(document: Any) -> Ciphers:
    """The salt and every ciphertext in a copy that `merge` and the CLI have written."""
    config = document["config"]
    entries = {CLIENT_SECRET: config.get(CLIENT_SECRET)}
    for key in (HASHES, CONNECTOR_SECRETS):
        entries |= {_path(key, name): value for name, value in (config.get(key) or {}).items()}
    found = {p: str(v["secure"]) for p, v in entries.items() if isinstance(v, dict) and "secure" in v}
    return Ciphers(str(document.get("encryptionsalt") or ""), found)


def person_of(path: str) -> str | None:
    """Whose password hash is at a config path; None if none is."""
    key, name = _split(path)
    return name if key == HASHES else None


def _path(key: str, name: str) -> str:
    return f'{key}["{name}"]'


def _split(path: str) -> tuple[str, str | None]:
    found = _PATH.fullmatch(path)
    return (found[1], found[2]) if found else (path, None)

"""The stack file of a real account as a sandbox can take it: pure.

Nothing is decrypted. Each encrypted value becomes a stand-in of the form that its place asks for, made from
the ciphertext: the same for the same ciphertext, another one for another.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox import stackfile
from sandbox.config import ACCOUNT_ID, AWS_KEY
from sandbox.errors import SandboxError

_PROVIDER_KEYS = ("encryptionsalt", "secretsprovider", "encryptedkey")
_SECTIONS = ("kubepark:aws", "kubepark:controlPlane", "kubepark:manifests")
_CALICO = "sandbox/manifests/calico.yaml"
_WAIT_MINUTES = 5  # enough for a sandbox's nodes; a base that does not work is not waited for longer
# Its alphabet is that of base64 with a dot (OpenBSD, lib/libc/crypt/bcrypt.c).
_BCRYPT = str.maketrans("+", ".")
_BCRYPT_CHARACTERS = 53
_WHOLE = {  # what is encrypted as one value: where its parts' names are, and how they are called there
    stackfile.HASHES: (stackfile.PEOPLE, "name"),
    stackfile.CONNECTOR_SECRETS: (stackfile.CONNECTORS, "id"),
}


@dataclass(frozen=True)
class Foreign:
    """A stack file's document without encrypted values, `secrets` in their place by config path, and the
    settings that a sandbox has in its own way, as they were. Of a sandbox's own file `secrets` is None: they
    are generated."""

    document: Any
    secrets: dict[str, str] | None
    replaced: dict[str, Any]


def adapted(text: str, name: str, root: Path) -> Foreign:
    """What a sandbox makes of the stack file of `root`. Raises: SandboxError for what is no stack file."""
    document = stackfile.parse(text, name)
    config = document["config"]
    _require_maps(config, name)
    config["sandbox:nodes"] = "simulated"
    section, _, key = AWS_KEY.partition(".")
    if config.get(section, {}).get(key):
        return Foreign(document, None, {})
    for key in _PROVIDER_KEYS:
        document.pop(key, None)
    secrets: dict[str, str] = {}
    for key in list(config):
        for path, value in _secrets(config, key, root):
            secrets[path] = value
    return Foreign(document, secrets, _settle(config))


def _require_maps(config: Any, name: str) -> None:
    """What is set in it must be a map; all else that may be wrong is the program's to say."""
    wrong = [] if isinstance(config, dict) else ["config"]
    wrong += [key for key in _SECTIONS if not wrong and not isinstance(config.get(key, {}), dict)]
    if wrong:
        raise SandboxError(f"{name}: {', '.join(wrong)} must be a map of keys to values")


def _settle(config: Any) -> dict[str, Any]:
    """Set what only a sandbox can say. Gives what was there: a change of it shows in no preview."""
    replaced = {}
    for top, key, value in (
        ("kubepark:aws", "accountId", ACCOUNT_ID),
        ("kubepark:controlPlane", "apiEndpoint", None),
        ("kubepark:controlPlane", "waitMinutes", _WAIT_MINUTES),
    ):
        section = config.setdefault(top, {})
        replaced[f"{top}.{key}"] = section.get(key)
        if value is not None:
            section[key] = value
    config.setdefault("kubepark:manifests", {}).setdefault("calico", _CALICO)
    return replaced


def _secrets(config: Any, key: str, root: Path) -> Iterator[tuple[str, str]]:
    """Each encrypted value under a key of the configuration by its path, replaced by an empty text."""
    if _is_encrypted(config[key]) and key in _WHOLE:
        ciphertext, (listed, called) = config[key]["secure"], _WHOLE[key]
        entries = (
            stackfile.people_of(config, root) if listed == stackfile.PEOPLE else config.get(listed) or []
        )
        config[key] = {}
        for entry in entries:
            if isinstance(entry, dict) and isinstance(name := entry.get(called), str):
                yield f'{key}["{name}"]', stand_in(key, f"{ciphertext} {name}")
    else:
        yield from _below(config, key, key)


def _below(parent: Any, place: Any, path: str) -> Iterator[tuple[str, str]]:
    value = parent[place]
    if _is_encrypted(value):
        parent[place] = ""
        yield path, stand_in(path, value["secure"])
    elif isinstance(value, dict):
        for key in value:
            yield from _below(value, key, f'{path}["{key}"]')
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from _below(value, index, f"{path}[{index}]")


def _is_encrypted(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {"secure"} and isinstance(value["secure"], str)


def stand_in(path: str, ciphertext: str) -> str:
    """A password's hash where one is wanted, else 64 hexadecimal digits."""
    digest = hashlib.sha512(ciphertext.encode()).digest()
    if not path.startswith(stackfile.HASHES):
        return digest[:32].hex()
    return f"$2b$12${base64.b64encode(digest).decode().translate(_BCRYPT)[:_BCRYPT_CHARACTERS]}"

"""`kubepark check`: what `up` would refuse before it registers anything, without an engine.

Offline, with no credentials, and nothing is decrypted. The checks are the program's own (`config.settings`,
`components.preflight`); here is how the engine hands it the stack file. `preview` also compares with the last
update, and fetches upstream manifests.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from cli.errors import CommandError
from cli.stackfile import config_of, setting
from components import preflight
from config import settings
from config.naming import PROJECT
from config.problems import Problem
from config.validation import Encrypted, Partial

_HIDDEN = Encrypted("[encrypted]")
_PREFIX = f"{PROJECT}:"
_OBJECTS = ("passwordHashes", "connectorSecrets")  # the secrets that have parts


def run(stack: str, *, as_json: bool) -> int:
    """Print what is wrong with a stack, as JSON or in the program's own words; gives 0 or 1."""
    error: Exception | None
    try:
        error = refusal(stack)
    except CommandError as unreadable:
        error = unreadable
    if as_json:
        found = {"stack": stack, "ok": error is None, "problems": _problems(error)}
        print(json.dumps(found, indent=2, ensure_ascii=False))
    elif error is None:
        print(f"stack {stack}: nothing that `up` would refuse")
    else:
        print(f"error: {error}", file=sys.stderr)
    return 0 if error is None else 1


def refusal(stack: str) -> Exception | None:
    """The error that the program would end with. Raises: CommandError if the stack file cannot be read."""
    try:
        preflight.plan(stack, settings.parse(stack, *given(config_of(stack))), offline=True)
    except preflight.REFUSALS as error:
        return error
    return None


def given(config: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """What the program gets of a stack file's `config`, and which of its secrets are there in plain text.

    Secrets that a sandbox's file does not have are made before an update.
    """
    found = {
        key.removeprefix(_PREFIX): _value(value) for key, value in config.items() if key.startswith(_PREFIX)
    }
    in_sandbox = setting(config, f"{_PREFIX}aws.endpoint") is not None
    for key in _OBJECTS:
        if isinstance(found.get(key), Encrypted):
            found[key] = Partial()
        elif in_sandbox and isinstance(found.setdefault(key, {}), dict):
            found[key] = Partial(found[key])
    if in_sandbox:
        found.setdefault("oidcClientSecret", _HIDDEN)
    return found, {key for key in settings.SECRETS if not has_encrypted(found.get(key))}


def _value(raw: Any) -> Any:
    """A value at the top: the engine passes objects and lists as JSON, all else as text."""
    if isinstance(raw, dict | list):
        return _part(raw)
    if isinstance(raw, bool):
        raw = str(raw).lower()
    return settings.decoded("" if raw is None else str(raw))


def _part(raw: Any) -> Any:
    """A value as the engine's JSON has it (a test asks the CLI)."""
    if isinstance(raw, dict):
        if raw.keys() == {"secure"} and isinstance(raw["secure"], str):
            return _HIDDEN
        return {key: _part(value) for key, value in raw.items()}
    if isinstance(raw, list):
        return [_part(each) for each in raw]
    return raw


def has_encrypted(value: Any) -> bool:
    """Whether anything in a value is encrypted."""
    if isinstance(value, dict | list):
        return any(map(has_encrypted, value.values() if isinstance(value, dict) else value))
    return isinstance(value, Encrypted)


def _problems(error: Exception | None) -> list[dict[str, str]]:
    """One object for each problem; those of manifests and of files have no key."""
    if error is None:
        return []
    listed = getattr(error, "problems", (str(error),))
    return [asdict(each if isinstance(each, Problem) else Problem("", each, "", "")) for each in listed]

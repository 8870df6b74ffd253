"""Differences of plain values as Pulumi property paths (`tags["a.b"]`, `ports[0].name`)."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from sandbox.aws.provider.values import ChangeKind

_BARE = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")


def join(path: str, key: str | int) -> str:
    """The path of a member; keys that are no plain words are quoted, as the engine's parser wants."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not _BARE.fullmatch(key):
        return f"{path}[{json.dumps(key)}]"
    return f"{path}.{key}" if path else key


def head(path: str) -> str:
    """The top-level property of a path."""
    return re.split(r"[.\[]", path, maxsplit=1)[0]


def below(path: str, roots: Collection[str]) -> bool:
    """Whether a path is one of `roots` or lies under one."""
    return any(re.match(re.escape(root) + r"(?=$|[.\[])", path) for root in roots)


def differences(old: Any, new: Any, path: str = "") -> dict[str, ChangeKind]:
    """Every place where two values differ, at the deepest common level. A null is an absence."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = sorted(old.keys() | new.keys())
        return _members([(key, old.get(key), new.get(key)) for key in keys], path)
    if isinstance(old, list) and isinstance(new, list):
        count = max(len(old), len(new))
        pad = [None] * count
        return _members(list(zip(range(count), old + pad, new + pad, strict=False)), path)
    # To Python 1 == True; to the engine 1 == 1.0 only.
    if old == new and isinstance(old, bool) == isinstance(new, bool):
        return {}
    return {path: "add" if old is None else "delete" if new is None else "update"}


def _members(members: list[Any], path: str) -> dict[str, ChangeKind]:
    found: dict[str, ChangeKind] = {}
    for key, old, new in members:
        found.update(differences(old, new, join(path, key)))
    return found

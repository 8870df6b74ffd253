"""Differences of plain values as Pulumi property paths (`tags["a.b"]`, `ports[0].name`)."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from itertools import zip_longest
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
        members = [(key, old.get(key), new.get(key)) for key in sorted(old.keys() | new.keys())]
    elif isinstance(old, list) and isinstance(new, list):
        members = [(n, *pair) for n, pair in enumerate(zip_longest(old, new))]
    # To Python 1 == True; to the engine 1 == 1.0 only.
    elif old == new and isinstance(old, bool) == isinstance(new, bool):
        return {}
    else:
        return {path: "add" if old is None else "delete" if new is None else "update"}
    found: dict[str, ChangeKind] = {}
    for key, before, after in members:
        found |= differences(before, after, join(path, key))
    return found

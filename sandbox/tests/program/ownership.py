"""Who owns which fields of Kubernetes objects, read from what the API server notes about each write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

OURS = "kubepark"
Field = tuple[str, ...]


def others(items: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """Fields of our objects that somebody else has written: `Kind manager` -> dotted paths, status left out."""
    found: dict[str, set[str]] = {}
    for item in items:
        for manager, fields in _owners(item):
            if manager != OURS:
                key = f"{item['kind']} {manager}"
                found.setdefault(key, set()).update(".".join(field) for field in fields)
    return found


def contested(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """Fields that we write and somebody else, too: whoever writes last wins, until the next refresh."""
    found = []
    for item in items:
        owners = list(_owners(item))
        ours = {field for manager, fields in owners if manager == OURS for field in fields}
        for manager, fields in owners:
            if manager != OURS:
                found += [f"{item['kind']} {manager}: {'.'.join(one)}" for one in sorted(ours & set(fields))]
    return found


def _owners(item: Mapping[str, Any]) -> Iterator[tuple[str, list[Field]]]:
    for entry in item["metadata"].get("managedFields", []):
        if entry.get("subresource") != "status":
            yield entry["manager"], list(_leaves(entry["fieldsV1"]))


def _leaves(node: Mapping[str, Any], path: Field = ()) -> Iterator[Field]:
    """`f:spec` and the like, down to where nothing more is said; `.` is the field itself."""
    for key, value in node.items():
        if key != ".":
            here = (*path, key.removeprefix("f:"))
            if value:
                yield from _leaves(value, here)
            else:
                yield here

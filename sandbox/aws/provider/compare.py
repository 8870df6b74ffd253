"""Declared against live: differences, and inputs rebuilt from what AWS has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.aws.provider import difference
from sandbox.aws.provider.difference import join
from sandbox.aws.provider.resource_type import ResourceType
from sandbox.aws.provider.schema import Shape
from sandbox.aws.provider.values import ChangeKind, Properties


def changes(
    type_: ResourceType,
    shape: Shape,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    live: Mapping[str, Any],
    path: str = "",
) -> dict[str, ChangeKind]:
    """What an update from `old` to `new` inputs would have to change. A property that is declared
    for the first time is compared with what is live, one no longer declared with its default."""
    found: dict[str, ChangeKind] = {}
    for name in sorted(old.keys() | new.keys()):
        where = join(path, name)
        if where in type_.write_only:
            continue
        before, after = old.get(name), new.get(name)
        field = shape.member(name)
        if before is None and after is not None:
            before = live.get(name, type_.defaults.get(where))
            if field.kind == "object" and isinstance(after, dict) and isinstance(before, dict):
                # Only the members that were declared: AWS fills in many more.
                before = {member: before[member] for member in after if member in before}
        if after is None and (where in type_.computed or before == type_.defaults.get(where)):
            continue
        if field.kind == "object" and isinstance(before, dict) and isinstance(after, dict):
            inner = live[name] if isinstance(live.get(name), dict) else {}
            found |= changes(type_, field, before, after, inner, where)
        elif not equal(type_, where, before, after):
            found |= difference.differences(before, after, where)
    if not path:
        undeclared = type_.optional - old.keys() - new.keys()
        found |= {name: "delete" for name in undeclared if live.get(name) is not None}
    return found


def equal(type_: ResourceType, path: str, old: Any, new: Any) -> bool:
    """Equality as AWS sees it."""
    if not difference.differences(old, new):
        return True
    loose = type_.same.get(path)
    return loose is not None and old is not None and new is not None and loose(old, new)


def rebuilt(
    type_: ResourceType, shape: Shape, declared: Mapping[str, Any], live: Mapping[str, Any], path: str = ""
) -> Properties:
    """The inputs of a refresh: what was declared, with the values that AWS has now. Members of maps
    and lists appear and vanish with the live ones; members of objects only if they were declared."""
    inputs: Properties = {}
    for name, value in declared.items():
        where, now = join(path, name), live.get(name)
        field = shape.member(name)
        if value is None or equal(type_, where, value, now):
            inputs[name] = value
        elif field.kind == "object" and isinstance(value, dict) and isinstance(now, dict):
            inputs[name] = rebuilt(type_, field, value, now, where)
        elif now is not None:
            inputs[name] = now
    return inputs


def imported(type_: ResourceType, shape: Shape, live: Mapping[str, Any], path: str = "") -> Properties:
    """The inputs of an import: what a program must declare to have exactly this."""
    inputs: Properties = {}
    for name, field in shape.fields.items():
        where, value = join(path, name), live.get(name)
        if where in type_.computed or value in (None, {}, [], type_.defaults.get(where)):
            continue
        if field.kind == "object":
            value = imported(type_, field, value, where)
        elif where not in type_.handles:
            continue
        if value != {}:
            inputs[name] = value
    return inputs

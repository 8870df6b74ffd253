"""Declared against live: differences, and inputs rebuilt from what AWS has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sandbox.providers import difference
from sandbox.providers.aws.schema import Shape
from sandbox.providers.aws.table import Row
from sandbox.providers.backend import ChangeKind, Properties
from sandbox.providers.difference import join


def changes(
    row: Row,
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
        before, after = old.get(name), new.get(name)
        field = (shape.fields or {}).get(name)
        if before is None and after is not None:
            before = live.get(name, row.defaults.get(where))
            if field is not None and field.kind == "object":
                before = _like(after, before)
        if after is None and (where in row.computed or before == row.defaults.get(where)):
            continue
        if (
            field is not None
            and field.kind == "object"
            and isinstance(before, dict)
            and isinstance(after, dict)
        ):
            inner = live.get(name)
            found.update(changes(row, field, before, after, inner if isinstance(inner, dict) else {}, where))
        elif not equal(row, where, before, after):
            found.update(difference.differences(before, after, where))
    return found


def _like(declared: Any, live: Any) -> Any:
    """A live object with the members that were declared; AWS fills in many more."""
    if isinstance(declared, dict) and isinstance(live, dict):
        return {name: live[name] for name in declared if name in live}
    return live


def equal(row: Row, path: str, old: Any, new: Any) -> bool:
    """Equality as AWS sees it."""
    if not difference.differences(old, new):
        return True
    loose = row.same.get(path)
    return loose is not None and old is not None and new is not None and loose(old, new)


def rebuilt(
    row: Row, shape: Shape, declared: Mapping[str, Any], live: Mapping[str, Any], path: str = ""
) -> Properties:
    """The inputs of a refresh: what was declared, with the values that AWS has now. Members of maps
    and lists appear and vanish with the live ones; members of objects only if they were declared."""
    inputs: Properties = {}
    for name, value in declared.items():
        where, now = join(path, name), live.get(name)
        field = (shape.fields or {}).get(name)
        if value is None or equal(row, where, value, now):
            inputs[name] = value
        elif (
            field is not None and field.kind == "object" and isinstance(value, dict) and isinstance(now, dict)
        ):
            inputs[name] = rebuilt(row, field, value, now, where)
        elif now is not None:
            inputs[name] = now
    return inputs


def imported(row: Row, shape: Shape, live: Mapping[str, Any], path: str = "") -> Properties:
    """The inputs of an import: what a program must declare to have exactly this."""
    inputs: Properties = {}
    for name, field in (shape.fields or {}).items():
        where, value = join(path, name), live.get(name)
        if value is None or where in row.computed or value == row.defaults.get(where) or value in ({}, []):
            continue
        if field.kind == "object":
            value = imported(row, field, value, where)
        elif where not in row.handles:
            continue
        if value != {}:
            inputs[name] = value
    return inputs

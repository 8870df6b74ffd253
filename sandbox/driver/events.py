"""Engine events as plain values. Their JSON form is `apitype.EngineEvent` in Pulumi's Go SDK."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# What the engine says of each operation, and how we say it: symbol, plan, result.
OPERATIONS: Mapping[str, tuple[str, str, str]] = {
    "create": ("+", "create", "created"),
    "update": ("~", "update", "updated"),
    "delete": ("-", "delete", "deleted"),
    "replace": ("+-", "replace", "replaced"),
    "create-replacement": ("++", "create replacement", "replacement created"),
    "delete-replaced": ("--", "delete replaced", "replaced one deleted"),
    "read": (">", "read", "read"),
    "import": ("=", "import", "imported"),
    "discard": ("<", "forget", "forgotten"),
    "discard-replaced": ("<", "forget replaced", "replaced one forgotten"),
    "remove-pending-replace": ("-", "forget pending replacement", "pending replacement forgotten"),
}
# A replacement is planned as one "replace" and carried out as a creation and a deletion.
_HALVES = {"create-replacement", "delete-replaced"}


@dataclass(frozen=True)
class Urn:
    """The parts of `urn:pulumi:STACK::PROJECT::PARENT_TYPES$TYPE::NAME` that people read."""

    text: str

    @property
    def name(self) -> str:
        return self.text.split("::", 3)[-1]

    @property
    def type(self) -> str:
        """`aws:ec2/vpc:Vpc` is shown as `aws:ec2:Vpc`, as the engine's own display does."""
        token = self.text.split("::")[2].rsplit("$", 1)[-1] if self.text.count("::") >= 3 else self.text
        return re.sub(r"/[a-z0-9]\w*:", ":", token)


@dataclass(frozen=True)
class Step:
    """One step on one resource. `changes`: property path to kind (add, update, delete, ...-replace)."""

    operation: str
    urn: Urn
    parent: Urn | None
    custom: bool
    planning: bool
    changes: Mapping[str, str] = field(default_factory=dict)
    old: Mapping[str, Any] = field(default_factory=dict)
    new: Mapping[str, Any] = field(default_factory=dict)

    @property
    def visible(self) -> bool:
        """Whether something happens to a real thing. Components and providers are bookkeeping."""
        bookkeeping = not self.custom or self.urn.type.startswith("pulumi:")
        halves = _HALVES if self.planning else {"replace"}
        return self.operation in OPERATIONS and self.operation not in halves and not bookkeeping

    def values(self, path: str) -> tuple[Any, Any]:
        """The property at `path` before and after; None where it is absent."""
        return property_at(self.old, path), property_at(self.new, path)


def step_of(event: Mapping[str, Any]) -> tuple[str, Step] | None:
    """(`begin` | `end` | `failed`, step) if the event is about a step, else None."""
    for key, moment in (
        ("resourcePreEvent", "begin"),
        ("resOutputsEvent", "end"),
        ("resOpFailedEvent", "failed"),
    ):
        if key in event:
            return moment, _step(event[key]["metadata"], bool(event[key].get("planning")))
    return None


def _step(metadata: Mapping[str, Any], planning: bool) -> Step:
    old, new = metadata.get("old") or {}, metadata.get("new") or {}
    detailed = metadata.get("detailedDiff") or {}
    changes = {path: str(change["diffKind"]) for path, change in detailed.items()}
    for key in [*(metadata.get("diffs") or []), *(metadata.get("keys") or [])]:
        changes = changes or {key: "update"}
    parent = (new or old).get("parent")
    # Absent inputs come as null. A refresh compares outputs: what is there with what was there.
    before = dict(old.get("inputs") or {})
    if not all(change.get("inputDiff") for change in detailed.values()):
        before |= old.get("outputs") or {}
    return Step(
        operation=metadata["op"],
        urn=Urn(metadata["urn"]),
        parent=Urn(parent) if parent else None,
        custom=bool((new or old).get("custom")),
        planning=planning,
        changes=changes,
        old=before,
        new=new.get("inputs") or {},
    )


def property_at(properties: Mapping[str, Any], path: str) -> Any:
    """The value at an engine property path: `tags.Name`, `rules[0].port`, `labels["a.b"]`."""
    value: Any = properties
    for part in _path_parts(path):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _path_parts(path: str) -> Iterator[str]:
    for quoted, index, name in re.findall(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|([^.\[\]]+)', path):
        yield quoted.replace('\\"', '"') or index or name

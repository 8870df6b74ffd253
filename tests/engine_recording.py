"""What a run of the program leaves behind, as plain data (see tests/engine.py)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.engine_wire import mask


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One registration. URNs stand for resources. Options are the effective ones, after inheritance."""

    urn: str
    type: str
    name: str
    custom: bool
    id: str  # empty in preview
    parent: str
    inputs: dict[str, Any]  # plain; UNKNOWN where the engine would not know the value
    secret_paths: frozenset[str]
    provider: str
    providers: dict[str, str]  # by package; components only
    depends_on: tuple[str, ...]  # explicit ones and those behind inputs, sorted
    property_dependencies: dict[str, tuple[str, ...]]
    protect: bool | None
    retain_on_delete: bool | None
    deleted_with: str
    delete_before_replace: bool | None
    ignore_changes: tuple[str, ...]
    replace_on_changes: tuple[str, ...]
    replacement_trigger: Any
    additional_secret_outputs: tuple[str, ...]
    aliases: tuple[dict[str, str], ...]
    custom_timeouts: dict[str, str]
    hide_diffs: tuple[str, ...]
    import_id: str
    outputs: dict[str, Any] = field(default_factory=dict)  # of register_outputs

    @property
    def package(self) -> str:
        return self.type.split(":", 1)[0]

    @property
    def masked_inputs(self) -> dict[str, Any]:
        """The inputs as plain state shows them."""
        masked: dict[str, Any] = mask(self.inputs, self.secret_paths)
        return masked


@dataclass(frozen=True)
class Invoke:
    token: str
    args: dict[str, Any]
    provider: str


@dataclass(frozen=True)
class Log:
    severity: str  # info, warning, error
    message: str
    urn: str  # of the resource it is attached to, or empty


@dataclass
class Recording:
    """What a run left behind. `error` is set only by `attempt`."""

    preview: bool
    resources: dict[str, Resource] = field(default_factory=dict)
    invokes: list[Invoke] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)  # stack outputs
    secret_outputs: frozenset[str] = frozenset()  # dotted paths
    error: BaseException | None = None

    @property
    def urns(self) -> frozenset[str]:
        return frozenset(self.resources)

    def of_type(self, token: str) -> list[Resource]:
        """All resources of a type, by name."""
        found = [resource for resource in self.resources.values() if resource.type == token]
        return sorted(found, key=lambda resource: resource.name)

    def one(self, token: str, name: str | None = None) -> Resource:
        """The only resource of a type (and name); anything else fails the test."""
        found = [item for item in self.of_type(token) if name is None or item.name == name]
        if len(found) != 1:
            others = ", ".join(item.name for item in self.of_type(token)) or "none of that type"
            raise AssertionError(f"{len(found)} resources are {token} {name or ''}: {others}")
        return found[0]

    def children(self, parent: Resource) -> list[Resource]:
        return [item for item in self.resources.values() if item.parent == parent.urn]

    def messages(self, severity: str) -> list[str]:
        return [log.message for log in self.logs if log.severity == severity]

    def plain_text(self) -> str:
        """Everything that is not secret, as one text to search for leaks."""
        parts: list[Any] = [[item.name, item.masked_inputs, item.outputs] for item in self.resources.values()]
        parts.append(mask(self.outputs, self.secret_outputs))
        parts.append([log.message for log in self.logs])
        return json.dumps(parts, default=repr, sort_keys=True)

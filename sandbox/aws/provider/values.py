"""The plain values that the servicer and the types behind it hand each other.

`None` is Pulumi's null, whole numbers are `int`, and a value that is not known yet is `UNKNOWN`,
which appears only during a preview. Secrets are the servicer's business: no marker passes it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Properties = dict[str, Any]
ChangeKind = Literal["add", "update", "delete"]


class _Unknown:
    """The type of `UNKNOWN`: equal to nothing but itself."""

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __deepcopy__(self, memo: object) -> _Unknown:
        return self


UNKNOWN = _Unknown()


def has_unknown(value: Any) -> bool:
    """True if `value` is, or contains at any depth, `UNKNOWN`."""
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return value is UNKNOWN


class ProviderError(Exception):
    """A refusal with the API's code and message; the engine shows `code: message`, no traceback."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if code else message)
        self.code = code
        self.message = message


class PartialCreate(Exception):
    """Raised by `create`: the object exists but is not what was asked for. The engine keeps it and
    repairs it next time."""

    def __init__(self, id: str, outputs: Properties, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.id = id
        self.outputs = outputs
        self.reasons = list(reasons)


@dataclass(frozen=True)
class DiffResult:
    """Property path (`tags["a.b"]`, `spec.ports[0].port`) to kind of change; empty: nothing to do.

    `replaces` are paths whose change cannot be made in place; each covers everything below it.
    """

    changes: Mapping[str, ChangeKind] = field(default_factory=dict)
    replaces: Collection[str] = ()
    delete_before_replace: bool = False


class Created(NamedTuple):
    """A created object. `id` is ignored at preview."""

    id: str
    outputs: Properties


class ReadResult(NamedTuple):
    """An object as it is now: `inputs` are what a program would have to declare to have exactly it."""

    id: str
    inputs: Properties
    outputs: Properties


CheckFailure = tuple[str, str]  # property path, reason

"""What a stand-in provider implements, in plain Python values.

`None` is Pulumi's null, whole numbers are `int`, and a value that is not known yet is `UNKNOWN`,
which appears only during a preview. Secrets are the servicer's business: a backend never sees a
marker. Every method may block: it runs in an executor, several at a time. A backend that must
serialise does it itself.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

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


class Backend(Protocol):
    """One provider. Order of calls: check_config, diff_config, configure, then the rest at will.
    `typ` is a type token; inputs and outputs are keyed by the schema's property names."""

    name: str
    version: str

    def check_config(self, variables: Mapping[str, Any]) -> list[CheckFailure]:
        """Refuse unknown or malformed provider settings. Nested settings are JSON text, as the
        SDKs send them (`config_value` parses one); values may be UNKNOWN at preview."""

    def diff_config(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[bool, list[str]]:
        """(anything changed, settings whose change replaces the provider and all its resources)."""

    def configure(self, variables: Mapping[str, Any]) -> None:
        """Called once, with everything known (the engine leaves a provider with an unknown setting
        unconfigured and does not call it). Raises ProviderError."""

    def secret_outputs(self, typ: str) -> Collection[str]:
        """Top-level properties of a type that are always secret, whatever the program declares."""

    def check(
        self, urn: str, typ: str, old_inputs: Properties, inputs: Properties, seed: bytes
    ) -> tuple[Properties, list[CheckFailure]]:
        """Validate and complete the inputs: (inputs with defaults, failures). `old_inputs` is empty
        for a new resource; `seed` makes automatic names repeatable. The protocol does not tell
        preview and update apart here, but only a preview has UNKNOWN."""

    def diff(
        self, typ: str, id: str, old_inputs: Properties, old_outputs: Properties, inputs: Properties
    ) -> DiffResult:
        """Compare checked inputs with those of the last update or refresh."""

    def create(self, typ: str, inputs: Properties, *, preview: bool) -> Created:
        """Make the object, or at preview predict its outputs. Raises ProviderError (nothing made)
        or PartialCreate."""

    def read(self, typ: str, id: str, inputs: Properties, outputs: Properties) -> ReadResult | None:
        """The live object, None if it is gone. For an import `inputs` and `outputs` are empty."""

    def update(
        self,
        typ: str,
        id: str,
        old_inputs: Properties,
        old_outputs: Properties,
        inputs: Properties,
        *,
        preview: bool,
        ignore_changes: Sequence[str],
    ) -> Properties:
        """Change the object in place; the new outputs. Raises ProviderError."""

    def delete(self, typ: str, id: str, inputs: Properties, outputs: Properties) -> None:
        """Delete the object. One that is gone already is a success; one in use is the API's error."""

    def invoke(self, token: str, args: Properties) -> Properties:
        """Answer a function call. Raises ProviderError for unknown functions and arguments."""

    def cancel(self) -> None:
        """The user wants to stop: calls that wait should end soon with an error. Must not block."""


def config_value(value: Any) -> Any:
    """A provider setting that is not a string, decoded from the JSON text SDKs send it as."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ProviderError("", f"expected a JSON value, got {value!r}") from None

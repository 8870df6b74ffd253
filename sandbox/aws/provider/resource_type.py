"""A resource type: its calls, what forces a new one, what AWS fills in by itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sandbox.aws.provider import checks
from sandbox.aws.provider.api import Api, Tags
from sandbox.aws.provider.values import UNKNOWN, CheckFailure, Properties


@dataclass(frozen=True)
class Change:
    """An update: old and new inputs, defaults filled in, and the top-level properties that differ."""

    old: Properties
    new: Properties
    names: frozenset[str]

    def of(self, *names: str) -> bool:
        return not self.names.isdisjoint(names)


class ResourceType(ABC):
    """One resource type. Subclasses say what is particular; `AwsBackend` does what is common."""

    token: ClassVar[str]
    # Property paths that this type acts on. Everything else that the schema knows is refused:
    # a property that is accepted and ignored would be a silent success.
    handles: ClassVar[frozenset[str]]
    # Paths whose change needs a new resource.
    force_new: ClassVar[frozenset[str]] = frozenset()
    # What an undeclared property means, by path.
    defaults: ClassVar[Mapping[str, Any]] = {}
    # Declared or filled in by AWS: leaving one undeclared keeps what is there.
    computed: ClassVar[frozenset[str]] = frozenset()
    # Absent unless declared, whoever gives it a value: what is live and not declared is a difference.
    optional: ClassVar[frozenset[str]] = frozenset()
    # Settings of the provider that AWS does not store.
    local: ClassVar[frozenset[str]] = frozenset()
    # Looser equality, where AWS answers in another spelling than it was asked.
    same: ClassVar[Mapping[str, Callable[[Any, Any], bool]]] = {}
    # Outputs that an update may change.
    volatile: ClassVar[frozenset[str]] = frozenset()
    secrets: ClassVar[frozenset[str]] = frozenset()
    # Sent to AWS and never compared, read or kept as an output. Source: Pulumi's documentation, "Write-only
    # fields": the value stands in the inputs until the next read, and no difference is seen in it.
    write_only: ClassVar[frozenset[str]] = frozenset()
    # Prefix of automatic names, for types whose `name` may be left out; None: `name` is required or absent.
    name_prefix: ClassVar[str | None] = None

    # Inputs of a kind: CIDR blocks and policy documents; and by path, values to choose from and ranges.
    cidr_blocks: ClassVar[tuple[str, ...]] = ()
    documents: ClassVar[tuple[str, ...]] = ()
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    ranges: ClassVar[Mapping[str, tuple[int, int]]] = {}
    # Outputs that stand in AWS's answer by the same name.
    fields: ClassVar[frozenset[str]] = frozenset()

    def check(self, inputs: Properties) -> list[CheckFailure]:
        """What the real provider checks before any call. Values may be UNKNOWN."""
        return [
            *checks.cidr_blocks(inputs, self.cidr_blocks),
            *checks.documents(inputs, self.documents),
            *checks.choices(inputs, self.choices),
            *checks.ranges(inputs, self.ranges),
        ]

    @abstractmethod
    def create(self, api: Api, inputs: Properties) -> str:
        """The one call that makes the object, with its tags, so that an interrupted create can be
        found by them. Returns the id."""

    def finish(self, api: Api, id: str, inputs: Properties) -> None:
        """Calls that complete a new object. If one fails, the object is recorded as half made."""
        return  # most need none

    def find(self, api: Api, id: str) -> Any:
        """The object as AWS answers with it; None: gone. For `read` alone: a type that finds its object by
        the last state has a `read` of its own, and not this."""
        raise NotImplementedError

    def read(self, api: Api, id: str, known: Properties) -> Properties | None:
        """All properties as AWS has them, tags as `tagsAll`; None: gone. `known` is the last state,
        empty for an import."""
        found = self.find(api, id)
        if found is None:
            return None
        same = {name: found.get(capital(name)) for name in self.fields}
        return {**same, **self.common(api, id, found), **self.details(api, id, found, known)}

    def common(self, api: Api, id: str, found: dict[str, Any]) -> Properties:
        """Outputs that all types of a service make alike."""
        return {}

    def details(self, api: Api, id: str, found: dict[str, Any], known: Properties) -> Properties:
        """Outputs that are particular, beside `fields`."""
        return {}

    def update(self, api: Api, id: str, change: Change) -> None:
        """Everything but tags."""
        return  # of types that can only be replaced or retagged

    def retag(self, api: Api, id: str, removed: list[str], tags: Tags) -> None:
        """Of types with tags: no other is asked."""
        raise NotImplementedError

    @abstractmethod
    def delete(self, api: Api, id: str, state: Properties) -> None:
        """The call that ends it, if there is one."""

    def canonical_id(self, id: str) -> str:
        """The id that an import names, as it is in state."""
        return id

    def with_defaults(self, inputs: Properties) -> Properties:
        top = {path: value for path, value in self.defaults.items() if "." not in path}
        return {**top, **{name: value for name, value in inputs.items() if value is not None}}


def capital(name: str) -> str:
    """A property's name as the API spells it."""
    return name[0].upper() + name[1:]


def capitals(value: Any) -> Any:
    """A value with the names of all its members as the API spells them, and without nulls."""
    return _renamed(value, capital)


def properties(value: Any) -> Any:
    """The way back: an answer of the API with the names of properties."""
    return _renamed(value, lambda name: name[0].lower() + name[1:])


def _renamed(value: Any, rename: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        members = value.items()
        return {rename(name): _renamed(item, rename) for name, item in members if item is not None}
    return [_renamed(item, rename) for item in value] if isinstance(value, list) else value


def paths(text: str) -> frozenset[str]:
    return frozenset(text.split())


def as_set(old: Any, new: Any) -> bool:
    """Equality of lists of texts whose order means nothing. One not known yet equals nothing."""
    if not isinstance(old, list) or not isinstance(new, list) or UNKNOWN in old or UNKNOWN in new:
        return False
    return sorted(old) == sorted(new)

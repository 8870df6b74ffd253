"""Between the engine's structs and plain Python values, with secrets as sets of paths.

The SDK's `PropertyValue` does the wire format. It has no notion of the engine's unknown-value
string, which is handled here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from google.protobuf.struct_pb2 import Struct
from pulumi.provider.experimental.property_value import PropertyValue
from pulumi.runtime import rpc

from sandbox.aws.provider.difference import join
from sandbox.aws.provider.values import UNKNOWN, Properties, ProviderError

Path = tuple[str | int, ...]
# A shorter text is not taken for a copy of a secret: "1" or "true" would taint half the outputs.
_SHORTEST_SECRET = 6


@dataclass(frozen=True)
class Secrets:
    """What was secret in a request: where, and which texts."""

    paths: frozenset[Path] = frozenset()
    texts: frozenset[str] = frozenset()

    def __or__(self, other: Secrets) -> Secrets:
        return Secrets(self.paths | other.paths, self.texts | other.texts)

    def declared(self, names: Collection[str]) -> Secrets:
        """With these top-level properties added."""
        return Secrets(self.paths | {(name,) for name in names}, self.texts)

    def covers(self, path: Path, value: Any) -> bool:
        """Whether the output at `path` must be marked: same place, or same text, as a secret."""
        return path in self.paths or (isinstance(value, str) and value in self.texts)


def decode(struct: Struct) -> tuple[Properties, Secrets]:
    """Plain values of a struct, and its secrets. Raises ProviderError for assets and archives."""
    paths: set[Path] = set()
    texts: set[str] = set()
    values = {}
    for name, value in PropertyValue.unmarshal_map(struct).items():
        values[name] = _plain(value, (name,), paths, texts, False)
    return values, Secrets(frozenset(paths), frozenset(texts))


def encode(values: Mapping[str, Any], secrets: Secrets, *, unknowns: bool) -> Struct:
    """A struct in which everything that `secrets` covers is marked. Nulls are left out, as the
    engine's own marshaller does. UNKNOWN outside a preview is a fault of the backend."""
    return PropertyValue.marshal_map(
        {
            name: _wrapped(value, (name,), secrets, unknowns)
            for name, value in values.items()
            if value is not None
        }
    )


def _plain(value: PropertyValue, path: Path, paths: set[Path], texts: set[str], inside: bool) -> Any:
    inside = inside or value.is_secret
    if value.is_secret:
        paths.add(path)
    content = value.value
    if isinstance(content, str):
        if content == rpc.UNKNOWN:
            return UNKNOWN
        if inside and len(content) >= _SHORTEST_SECRET:
            texts.add(content)
        return content
    if isinstance(content, Mapping):
        return {key: _plain(item, (*path, key), paths, texts, inside) for key, item in content.items()}
    if isinstance(content, tuple):
        return [_plain(item, (*path, n), paths, texts, inside) for n, item in enumerate(content)]
    if isinstance(content, float) and content.is_integer():
        return int(content)
    if content is None or isinstance(content, bool | float):
        return content
    raise ProviderError("", f"{_path_text(path)}: a {type(content).__name__} is not supported")


def _wrapped(value: Any, path: Path, secrets: Secrets, unknowns: bool) -> PropertyValue:
    content: Any = value
    if value is UNKNOWN:
        if not unknowns:
            raise ProviderError("", f"{_path_text(path)}: unknown outside a preview")
        content = rpc.UNKNOWN
    elif isinstance(value, Mapping):
        content = {
            key: _wrapped(item, (*path, key), secrets, unknowns)
            for key, item in value.items()
            if item is not None
        }
    elif isinstance(value, list | tuple):
        content = [_wrapped(item, (*path, n), secrets, unknowns) for n, item in enumerate(value)]
    elif isinstance(value, int) and not isinstance(value, bool):
        content = float(value)
    return PropertyValue(content, is_secret=secrets.covers(path, value))


def _path_text(path: Path) -> str:
    return reduce(join, path, "")

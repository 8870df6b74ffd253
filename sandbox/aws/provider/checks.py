"""What the provider itself checks of an input before any call. One that is not known yet passes."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sandbox.aws.provider.values import UNKNOWN, CheckFailure, Properties


def cidr_blocks(inputs: Properties, names: Iterable[str]) -> Iterator[CheckFailure]:
    """Properties that are no CIDR block, or one with host bits set."""
    for name, text in _given(inputs, names):
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            yield (name, f"{text!r} is not a valid CIDR block: {error}")


def documents(inputs: Properties, names: Iterable[str]) -> Iterator[CheckFailure]:
    """Properties that are no policy documents, as far as the provider looks into them."""
    for name, text in _given(inputs, names):
        try:
            if not isinstance(json.loads(text), dict):
                yield (name, "contains an invalid JSON policy: not a JSON object")
        except ValueError as error:
            yield (name, f"contains an invalid JSON policy: {error}")


def choices(inputs: Properties, allowed: Mapping[str, tuple[str, ...]]) -> Iterator[CheckFailure]:
    for path, value in _given(inputs, allowed):
        if value not in allowed[path]:
            yield (path, f"expected {_last(path)} to be one of: {', '.join(allowed[path])}")


def ranges(inputs: Properties, allowed: Mapping[str, tuple[int, int]]) -> Iterator[CheckFailure]:
    for path, value in _given(inputs, allowed):
        low, high = allowed[path]
        if not low <= value <= high:
            yield (path, f"expected {_last(path)} to be in the range ({low} - {high}), got {value}")


def _given(inputs: Properties, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Paths that have a value, and the value."""
    for path in names:
        value: Any = inputs
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None and value is not UNKNOWN:
            yield path, value


def _last(path: str) -> str:
    return path.rpartition(".")[2]

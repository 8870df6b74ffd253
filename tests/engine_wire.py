"""Property values on the wire: protobuf structs to plain Python and back.

A struct says "secret", "unknown" and "resource" with signatures (the SDK's `runtime.rpc`). Tests want
plain data, so `decode` unwraps secrets and reports their paths, and `mask` shows what a reader of the
plain state would see.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import struct_pb2
from pulumi.runtime import rpc

MASK = "[secret]"


class _Unknown:
    """A value that the engine would not know yet (preview). There is exactly one."""

    def __repr__(self) -> str:
        return "<unknown>"


UNKNOWN: Final = _Unknown()


@dataclass(frozen=True)
class Secret:
    """Marks a part of an answer as secret, as a provider does for a sensitive output."""

    value: Any


@dataclass(frozen=True)
class Decoded:
    """`value`: plain, secrets unwrapped. `secret_paths`: dotted paths that were marked secret."""

    value: dict[str, Any]
    secret_paths: frozenset[str]


def decode(struct: struct_pb2.Struct) -> Decoded:
    """The struct as plain data."""
    secrets: set[str] = set()
    value = {key: _decode(item, key, secrets) for key, item in struct.fields.items()}
    return Decoded(value, frozenset(secrets))


def decode_value(value: struct_pb2.Value) -> Any:
    """One value (a replacement trigger) as plain data."""
    return _decode(value, "", set())


def _decode(value: struct_pb2.Value, path: str, secrets: set[str]) -> Any:
    match value.WhichOneof("kind"):
        case "string_value":
            return UNKNOWN if value.string_value == rpc.UNKNOWN else value.string_value
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "bool_value":
            return value.bool_value
        case "list_value":
            items = enumerate(value.list_value.values)
            return [_decode(item, f"{path}.{index}", secrets) for index, item in items]
        case "struct_value":
            return _decode_struct(value.struct_value, path, secrets)
        case _:
            return None


def _decode_struct(struct: struct_pb2.Struct, path: str, secrets: set[str]) -> Any:
    signature = struct.fields[rpc._special_sig_key].string_value if _signed(struct) else None
    if signature == rpc._special_secret_sig:
        secrets.add(path)
        return _decode(struct.fields["value"], path, secrets)
    if signature == rpc._special_resource_sig:
        return {"urn": struct.fields["urn"].string_value}
    return {key: _decode(item, f"{path}.{key}", secrets) for key, item in struct.fields.items()}


def _signed(struct: struct_pb2.Struct) -> bool:
    return rpc._special_sig_key in struct.fields


def mask(value: Any, secret_paths: frozenset[str], path: str = "") -> Any:
    """The value as plain state shows it: each secret part replaced."""
    if path in secret_paths:
        return MASK
    prefix = f"{path}." if path else ""
    if isinstance(value, Mapping):
        return {key: mask(item, secret_paths, f"{prefix}{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [mask(item, secret_paths, f"{prefix}{index}") for index, item in enumerate(value)]
    return value


def encode(value: Mapping[str, Any]) -> struct_pb2.Struct:
    """Plain data with `Secret` and `UNKNOWN` inside, as a struct."""
    return struct_pb2.Struct(fields={key: _encode(item) for key, item in value.items()})


def _encode(value: Any) -> struct_pb2.Value:
    if value is UNKNOWN:
        return struct_pb2.Value(string_value=rpc.UNKNOWN)
    if isinstance(value, Secret):
        signed = {rpc._special_sig_key: rpc._special_secret_sig, "value": value.value}
        return struct_pb2.Value(struct_value=encode(signed))
    if isinstance(value, Mapping):
        return struct_pb2.Value(struct_value=encode(value))
    if isinstance(value, list | tuple):
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_encode(item) for item in value]))
    if isinstance(value, bool):
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    raise TypeError(f"cannot send a {type(value).__name__} to the program: {value!r}")


def strings(value: Any) -> Iterator[str]:
    """Every string in plain data, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings(item)


def has_unknown(value: Any) -> bool:
    """Whether any part of plain data is UNKNOWN."""
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(has_unknown(item) for item in value)
    return value is UNKNOWN

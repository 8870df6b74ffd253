"""Between what a program declares and what the server keeps: pure functions on plain objects."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from sandbox.providers.backend import UNKNOWN, Properties

MANAGER = "__fieldManager"
INITIAL_VERSION = "__initialApiVersion"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# The SDKs cannot spell keys with dashes, which CustomResourceDefinitions have.
_DASHED = {
    f"x_kubernetes_{name}": f"x-kubernetes-{name.replace('_', '-')}"
    for name in (
        "embedded_resource",
        "int_or_string",
        "list_map_keys",
        "list_type",
        "map_type",
        "preserve_unknown_fields",
        "validations",
    )
}
# Chosen by the server when it stores an object: a dry run invents them.
_ASSIGNED = ("uid", "resourceVersion", "creationTimestamp", "generation")


def metadata(item: Mapping[str, Any]) -> Mapping[str, Any]:
    found = item.get("metadata")
    return found if isinstance(found, Mapping) else {}


def annotation(item: Mapping[str, Any], name: str) -> str | None:
    """The value of `pulumi.com/<name>`."""
    value = (metadata(item).get("annotations") or {}).get(f"pulumi.com/{name}")
    return value if isinstance(value, str) else None


def at(item: Any, *path: str) -> Any:
    """The value below a chain of keys, None where the chain breaks."""
    for key in path:
        if not isinstance(item, Mapping):
            return None
        item = item.get(key)
    return item


def identifier(live: Mapping[str, Any]) -> str:
    """`namespace/name`, or `name` for what lives in no namespace, as the official provider writes it."""
    namespace, name = metadata(live).get("namespace"), metadata(live)["name"]
    return f"{namespace}/{name}" if namespace else str(name)


def field_manager(urn: str, outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> str:
    """Who owns the fields: the annotation, else the name in the state, else one made from the URN."""
    chosen = annotation(inputs, "patchFieldManager") or outputs.get(MANAGER)
    return str(chosen or f"pulumi-kubernetes-{hashlib.sha256(urn.encode()).hexdigest()[:8]}")


def canonical(value: Any) -> Any:
    """The form that is sent and compared: no nulls, keys spelled as Kubernetes does."""
    if isinstance(value, Mapping):
        return {_DASHED.get(k, k): canonical(item) for k, item in value.items() if item is not None}
    if isinstance(value, list):
        return [canonical(item) for item in value]
    return value


def outputs(live: Mapping[str, Any], manager: str) -> Properties:
    """What the state keeps of a live object: not the bookkeeping of fields, and not kubectl's own copy
    of the manifest, which would put a Secret's content into a plain annotation."""
    kept = dict(live)
    meta = {key: value for key, value in metadata(live).items() if key != "managedFields"}
    if "annotations" in meta:
        meta["annotations"] = {k: v for k, v in meta["annotations"].items() if k != _LAST_APPLIED}
    kept["metadata"] = meta
    return {**kept, INITIAL_VERSION: live["apiVersion"], MANAGER: manager}


def foretold(applied: Mapping[str, Any], manager: str, *, exists: bool) -> Properties:
    """Outputs at preview, from a server-side dry run: what only the real run decides is unknown."""
    result = outputs(applied, manager)
    unknown = ("resourceVersion", "generation") if exists else _ASSIGNED
    result["metadata"] |= {key: UNKNOWN for key in unknown if key in result["metadata"]}
    if "status" in result:
        result["status"] = UNKNOWN
    return result


def imported(live: Mapping[str, Any]) -> Properties:
    """Inputs that would declare a live object: everything but what the server and controllers write."""
    inputs = {key: value for key, value in live.items() if key != "status"}
    server_side = (*_ASSIGNED, "managedFields", "selfLink")
    meta = {key: value for key, value in metadata(live).items() if key not in server_side}
    marks = {k: v for k, v in (meta.pop("annotations", None) or {}).items() if k not in _SERVER_ANNOTATIONS}
    if marks:
        meta["annotations"] = marks
    return {**inputs, "metadata": meta}


_SERVER_ANNOTATIONS = (_LAST_APPLIED, "deployment.kubernetes.io/revision")


def refreshed(declared: Properties, live: Properties, recorded: Properties) -> Properties:
    """The declared inputs with what somebody changed since: where the live value is neither the
    declared one nor the one that the server made of it (`recorded`, the outputs in the state).

    Only declared fields are looked at; a quantity that the server writes in another way, a default
    or a controller's own field is no change. `status` is never an input.
    """
    live, recorded = _readable(declared, live), _readable(declared, recorded)
    kept = {"status": declared["status"]} if "status" in declared else {}
    rest = {key: value for key, value in declared.items() if key != "status"}
    return {**_merge(rest, live, recorded), **kept}


def _readable(declared: Properties, item: Properties) -> Properties:
    """A Secret whose `stringData` was declared, with `stringData` as the server understood it."""
    if "stringData" not in declared or item.get("kind") != "Secret":
        return item
    data = item.get("data") or {}
    texts = {key: _text(data[key]) for key in declared["stringData"] if key in data}
    return {**item, "stringData": texts}


def _text(encoded: str) -> str:
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return encoded


def _merge(declared: Any, live: Any, recorded: Any) -> Any:
    if isinstance(declared, Mapping) and isinstance(live, Mapping):
        before = recorded if isinstance(recorded, Mapping) else {}
        merged = {}
        for key, value in declared.items():
            name = _DASHED.get(key, key)
            found = _merge(value, live.get(name), before.get(name))
            if found is not None:
                merged[key] = found
        return merged
    if isinstance(declared, list) and isinstance(live, list):
        return _merge_lists(declared, live, recorded if isinstance(recorded, list) else [])
    return declared if live in (canonical(declared), recorded) else live


def _merge_lists(declared: list[Any], live: list[Any], recorded: list[Any]) -> list[Any]:
    """Elements with names are matched by name (a container that somebody put first), others by place."""
    if all(_named(items) for items in (declared, live, recorded)):
        wanted, before = ({item["name"]: item for item in items} for items in (declared, recorded))
        merged = [_merge(wanted.get(e["name"]), e, before.get(e["name"])) for e in live]
        if len(merged) == len(declared) and {e["name"] for e in live} == wanted.keys():
            order = list(wanted)
            merged.sort(key=lambda element: order.index(element["name"]))
        return merged
    pairs = zip_longest(declared, live, recorded[: len(live)])
    merged = [_merge(*three) for three in pairs]
    return merged[: len(live)]


def _named(items: list[Any]) -> bool:
    names = [item.get("name") if isinstance(item, Mapping) else None for item in items]
    return None not in names and len(set(names)) == len(names)

"""What can be refused before the server is asked: kind, name, and wishes that we could not honour."""

from __future__ import annotations

from sandbox.providers.backend import UNKNOWN, CheckFailure, Properties, ProviderError
from sandbox.providers.kubernetes import kinds

_ANNOTATIONS = (
    "deletionPropagationPolicy",
    "patchFieldManager",
    "patchForce",
    "skipAwait",
    "timeoutSeconds",
)


def failures(typ: str, inputs: Properties) -> list[CheckFailure]:
    """Every reason why these inputs cannot be an object of this type."""
    try:
        kind = kinds.parse(typ)
    except ProviderError as error:
        return [("", str(error))]
    found = [
        (key, f"expected {wanted!r} for the type {typ}, got {inputs.get(key)!r}")
        for key, wanted in (("apiVersion", kind.api_version), ("kind", kind.name))
        if inputs.get(key) is not UNKNOWN and inputs.get(key) != wanted
    ]
    return found + _metadata_failures(inputs.get("metadata"))


def _metadata_failures(metadata: object) -> list[CheckFailure]:
    if metadata is UNKNOWN:
        return []
    if not isinstance(metadata, dict):
        return [("metadata", "expected a mapping with a name")]
    found: list[CheckFailure] = []
    if "generateName" in metadata:
        found.append(("metadata.generateName", "the stand-in makes no random names: set metadata.name"))
    elif not metadata.get("name"):
        found.append(("metadata.name", "required: the stand-in makes no automatic names"))
    annotations = metadata.get("annotations")
    for key in annotations if isinstance(annotations, dict) else ():
        prefix, _, name = key.partition("/")
        if prefix == "pulumi.com" and name not in _ANNOTATIONS:
            found.append((f'metadata.annotations["{key}"]', "not supported by the stand-in"))
    return found

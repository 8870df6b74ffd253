"""The record of which nodes were stopped on purpose: what tells a parked node from one that somebody stopped;
and of those that are kept on for a time, which nothing stops by itself.

Whether a node runs is decided at run time, so the record is in Parameter Store and not in Pulumi's state:
whoever parks writes it, an update reads it, and no update acts on it. Parameter Store keeps its last 100
versions, each with its time (Systems Manager user guide, "Working with parameter versions").
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from config.instance_types import GPU_INSTANCE_TYPES
from config.model import GpuSettings, Power

_SCHEMA = 1
_TIME = "%Y-%m-%dT%H:%M:%SZ"
_NOBODY: Mapping[str, datetime] = MappingProxyType({})


class PowerRecordError(ValueError):
    """What is in the parameter is no record. The text says what is wrong."""


def dump(stopped: Iterable[str], keep_on: Mapping[str, datetime] = _NOBODY) -> str:
    """The record: the names of the nodes that are stopped on purpose, and until when others are kept on."""
    record: dict[str, Any] = {"schema": _SCHEMA, "stopped": sorted(stopped)}
    if keep_on:
        record["keepOn"] = {name: spelled(until) for name, until in sorted(keep_on.items())}
    return json.dumps(record, separators=(",", ":"))


def spelled(at: datetime) -> str:
    """A moment as the record has it: UTC, to the second."""
    return at.astimezone(UTC).strftime(_TIME)


def load(text: str) -> frozenset[str]:
    """The names of the nodes that are stopped on purpose.

    Raises: PowerRecordError.
    """
    stopped = _document(text).get("stopped")
    if not isinstance(stopped, list) or not all(isinstance(name, str) for name in stopped):
        raise PowerRecordError("has no list `stopped` of node names")
    return frozenset(stopped)


def keep_on(text: str) -> dict[str, datetime]:
    """Until when each node that is kept on is; some of it may be over.

    Raises: PowerRecordError.
    """
    found = _document(text).get("keepOn", {})
    try:
        return {name: datetime.strptime(until, _TIME).replace(tzinfo=UTC) for name, until in found.items()}
    except (AttributeError, TypeError, ValueError):
        raise PowerRecordError("has no map `keepOn` from node names to times in UTC") from None


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise PowerRecordError(f"is not JSON: {error}") from None
    if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
        raise PowerRecordError(f"has not the schema {_SCHEMA}")
    return document


def guard(gpu: GpuSettings) -> str:
    """What the master may do by itself about GPU nodes (userdata/node/guard_gpus.py), with the GPUs that pods
    can ask each node for. `idleMinutes` 0: stop none. A pool that is pinned is left alone."""
    free = gpu.power is Power.AUTO
    document = {
        "schema": _SCHEMA,
        "idleMinutes": (free and gpu.idle_minutes) or 0,
        "wake": free and gpu.wake_on_demand,
        "nodes": {
            node.name: GPU_INSTANCE_TYPES[node.instance_type].count * gpu.time_slicing_replicas
            for node in gpu.nodes
        },
    }
    return json.dumps(document, separators=(",", ":"))

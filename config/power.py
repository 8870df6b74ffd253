"""The record of which nodes were stopped on purpose: what tells a parked node from one that somebody stopped.

Whether a node runs is decided at run time, so the record is in Parameter Store and not in Pulumi's state:
whoever parks writes it, an update reads it, and no update acts on it. Parameter Store keeps its last 100
versions, each with its time (Systems Manager user guide, "Working with parameter versions").
"""

from __future__ import annotations

import json
from collections.abc import Iterable

_SCHEMA = 1


class PowerRecordError(ValueError):
    """What is in the parameter is no record. The text says what is wrong."""


def dump(stopped: Iterable[str]) -> str:
    """The record: the names of the nodes that are stopped on purpose."""
    return json.dumps({"schema": _SCHEMA, "stopped": sorted(stopped)}, separators=(",", ":"))


def load(text: str) -> frozenset[str]:
    """The names of the nodes that are stopped on purpose.

    Raises: PowerRecordError.
    """
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise PowerRecordError(f"is not JSON: {error}") from None
    if not isinstance(document, dict) or document.get("schema") != _SCHEMA:
        raise PowerRecordError(f"has not the schema {_SCHEMA}")
    stopped = document.get("stopped")
    if not isinstance(stopped, list) or not all(isinstance(name, str) for name in stopped):
        raise PowerRecordError("has no list `stopped` of node names")
    return frozenset(stopped)

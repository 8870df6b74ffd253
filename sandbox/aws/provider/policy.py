"""Equality of policy documents."""

from __future__ import annotations

import json
from typing import Any


def same(old: Any, new: Any) -> bool:
    """Whether two documents say the same: order of keys and of lists, and one-element lists, are
    spelling."""
    try:
        return bool(_normal(json.loads(old)) == _normal(json.loads(new)))
    except (TypeError, ValueError):
        return False


def _normal(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _normal(item) for key, item in value.items()}
    if isinstance(value, list):
        items = sorted((_normal(item) for item in value), key=lambda item: json.dumps(item, sort_keys=True))
        return items[0] if len(items) == 1 and not isinstance(items[0], dict) else items
    return value

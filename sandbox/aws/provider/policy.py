"""Policy documents, as far as the provider itself looks into them."""

from __future__ import annotations

import json
from typing import Any

from sandbox.aws.provider.values import UNKNOWN, CheckFailure, Properties


def failures(inputs: Properties, *names: str) -> list[CheckFailure]:
    """Properties that are not JSON objects; the provider refuses those before any call."""
    found: list[CheckFailure] = []
    for name in names:
        text = inputs.get(name)
        if text is None or text is UNKNOWN:
            continue
        try:
            if not isinstance(json.loads(text), dict):
                found.append((name, "contains an invalid JSON policy: not a JSON object"))
        except ValueError as error:
            found.append((name, f"contains an invalid JSON policy: {error}"))
    return found


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

"""Properties are converted once a resource, not once a rule.

pulumi_policy (1.21, policy.py, `Analyze`) makes Python values of a resource's message for each rule anew,
which for a large CustomResourceDefinition is most of what the pack does. Nothing it offers says otherwise,
so its two functions are replaced, in its module alone, by ones that remember what they made last.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from pulumi_policy import policy

_LAST = 2  # the resource's properties and its provider's, in turns


def convert_once() -> None:
    """From here on the rules of a resource share what was made of its properties: they only read it."""
    names = vars(policy)
    names.update(
        json_format=SimpleNamespace(MessageToDict=remembering(names["json_format"].MessageToDict)),
        deserialize_properties=remembering(names["deserialize_properties"]),
    )


def remembering(convert: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which gives its result again for the very object of a call just before."""
    memory = threading.local()

    def converted(given: Any, *more: Any) -> Any:
        calls = memory.__dict__.setdefault("calls", deque(maxlen=_LAST))
        for known, options, result in calls:
            if known is given and options == more:
                return result
        calls.append((given, more, convert(given, *more)))
        return calls[-1][2]

    return converted

"""Properties are converted when a rule first reads them, and once for all rules of a resource.

pulumi_policy (1.21, policy.py, `Analyze` and `AnalyzeStack`) makes Python values of a message for each rule
anew, and of all messages for each rule about the stack. With large CustomResourceDefinitions, which no rule
is about, that is most of what the pack does. Nothing it offers says otherwise, so its three functions are
replaced, in its module alone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from pulumi_policy import policy

_LIBRARY = dict(vars(policy))  # as it was
_LAST = 2  # the resource's properties and its provider's, in turns


class Properties(Mapping[str, Any]):
    """Those of a message. Reading an unknown one raises `UnknownValueError`, as in the library."""

    def __init__(self, message: Any) -> None:
        self._message = message
        self._converted: Mapping[str, Any] | None = None

    def _known(self) -> Mapping[str, Any]:
        if self._converted is None:
            plain = _LIBRARY["json_format"].MessageToDict(self._message)
            self._converted = _LIBRARY["unknown_checking_proxy"](_LIBRARY["deserialize_properties"](plain))
        return self._converted

    def __getitem__(self, key: str) -> Any:
        return self._known()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())

    def copy(self) -> Properties:
        """The library copies a rule's configuration; nobody writes to it."""
        return self


def convert_once() -> None:
    """From here on properties are `Properties`, which the rules of a resource share: they only read them.

    For a pack without remediations: those would have to see which values are secret.
    """
    vars(policy).update(
        json_format=SimpleNamespace(MessageToDict=remembering(Properties)),
        deserialize_properties=lambda given, *_: given,
        unknown_checking_proxy=lambda given: given,
    )


def remembering(convert: Callable[[Any], Properties]) -> Callable[[Any], Properties]:
    """The same function, which gives its result again for the very object of a call just before."""
    memory = threading.local()

    def converted(given: Any) -> Properties:
        calls: deque[tuple[Any, Properties]] = memory.__dict__.setdefault("calls", deque(maxlen=_LAST))
        for known, result in calls:
            if known is given:
                return result
        calls.append((given, convert(given)))
        return calls[-1][1]

    return converted

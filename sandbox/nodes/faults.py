"""Faults that a test or a curious reader injects: `faults.json` in the state folder.

    {"worker01": {"step": "join", "mode": "fail", "message": "no space left on device", "times": 2}}

`mode`: `fail` ends the step with the message; `hang` lets it run, on a real node into its deadline; `silent`
cuts the node off, so that it neither goes on nor reports (a real node at once, whatever its step).
`times` is how often (null or absent: for ever).
The file is read again at each step, so removing an entry heals the node. With the name of a static
pod (`kube-apiserver`) as the master's step, that component stays down once it has ended.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.files import read_json

MODES = ("fail", "hang", "silent")


@dataclass(frozen=True)
class Fault:
    """What goes wrong at one step, and how often (None: always)."""

    step: str
    mode: str
    message: str
    times: int | None


class Faults:
    """The faults of one sandbox. Counting is kept in memory and starts anew when an entry changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._taken: dict[str, tuple[Fault, int]] = {}  # node -> its last fault, and how often that was

    def present(self, node: str, step: str) -> Fault | None:
        """The fault at this step, used up or not: a hang lasts while its entry is there."""
        entry = self._read(node)
        if entry.get("step") != step or entry.get("mode") not in MODES:
            return None
        times = entry.get("times")
        message = str(entry.get("message") or f"{step} failed (injected)")
        return Fault(step, str(entry["mode"]), message, None if times is None else int(times))

    def silent(self, node: str) -> bool:
        """Whether this node is cut off, at whatever step it is."""
        return self._read(node).get("mode") == "silent"

    def take(self, node: str, step: str) -> Fault | None:
        """The fault to apply now, counted; None if there is none (any more)."""
        with self._lock:
            fault = self.present(node, step)
            if fault is None:
                return None
            last, count = self._taken.get(node, (fault, 0))
            count = count if last == fault else 0
            if fault.times is not None and count >= fault.times:
                return None
            self._taken[node] = (fault, count + 1)
            return fault

    def _read(self, node: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = read_json(self.path).get(node, {})
        except ValueError:  # half written: looked at again soon
            return {}
        return found

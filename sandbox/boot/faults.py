"""Faults that a test or a curious reader injects: `faults.json` in the state folder.

    {"worker01": {"step": "join", "mode": "fail", "message": "no space left on device", "times": 2}}

`mode`: `fail` ends the step with the message; `hang` lets it run into its deadline; `silent` cuts
the node off, so that it neither goes on nor reports (a real node at once, whatever its step).
`times` is how often (null or absent: for ever).
The file is read again at each step, so removing an entry heals the node. With the name of a static
pod (`kube-apiserver`) as the master's step, that component stays down once it has ended.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODES = ("fail", "hang", "silent")


@dataclass(frozen=True)
class Fault:
    """What goes wrong at one step."""

    mode: str
    message: str


class Faults:
    """The faults of one sandbox. Counting is kept in memory and starts anew when an entry changes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._used: dict[str, tuple[str, int]] = {}

    def present(self, node: str, step: str) -> Fault | None:
        """The fault at this step, used up or not: a hang lasts while its entry is there."""
        entry = self._read().get(node)
        if not entry or entry.get("step") != step or entry.get("mode") not in MODES:
            return None
        message = entry.get("message") or f"{step} failed (injected)"
        return Fault(str(entry["mode"]), str(message))

    def silent(self, node: str) -> bool:
        """Whether this node is cut off, at whatever step it is."""
        return self._read().get(node, {}).get("mode") == "silent"

    def entry(self, node: str, step: str) -> dict[str, Any] | None:
        """What faults.json says about this step, for machines that count by themselves."""
        found = self._read().get(node)
        return found if found and self.present(node, step) else None

    def take(self, node: str, step: str) -> Fault | None:
        """The fault to apply now, counted; None if there is none (any more)."""
        with self._lock:
            fault = self.present(node, step)
            if fault is None:
                return None
            entry = self._read()[node]
            count = self._count(node, entry)
            if entry.get("times") is not None and count >= int(entry["times"]):
                return None
            self._used[node] = (json.dumps(entry, sort_keys=True), count + 1)
            return fault

    def _count(self, node: str, entry: dict[str, Any]) -> int:
        seen, count = self._used.get(node, ("", 0))
        return count if seen == json.dumps(entry, sort_keys=True) else 0

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # absent, or half written: looked at again soon
            return {}
        return found if isinstance(found, dict) else {}

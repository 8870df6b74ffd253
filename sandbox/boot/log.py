"""One line per event on stdout, masked; a line that repeats itself is said once."""

from __future__ import annotations

import threading
import time

from sandbox.boot.record import mask

_last: dict[str, str] = {}
_lock = threading.Lock()


def say(who: str, text: str) -> None:
    """`who` is a node's name or a part of the boot."""
    line = mask(text)
    with _lock:
        if _last.get(who) == line:
            return
        _last[who] = line
        print(f"{time.strftime('%H:%M:%S')} {who}: {line}", flush=True)

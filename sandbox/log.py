"""One line per event on stdout, masked; a line that repeats itself is written once."""

from __future__ import annotations

import threading
import time

from sandbox.record import mask

_last: dict[str, str] = {}
_lock = threading.Lock()


def log(source: str, message: str) -> None:
    """`source` is a node's name or a part of the boot."""
    line = mask(message)
    with _lock:
        if _last.get(source) == line:
            return
        _last[source] = line
        print(f"{time.strftime('%H:%M:%S')} {source}: {line}", flush=True)

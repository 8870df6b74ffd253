"""Folders that are made whole or not at all, once for all processes that share a cache."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from sandbox.files import exclusive


def make_once(target: Path, name: str, prefix: str, fill: Callable[[Path], object]) -> None:
    """Have `fill` make a folder beside `target`, which gets that name when it ends well.

    Nothing happens if `target` is there. `name` is that of the lock that its kind shares; `prefix` begins
    the names of that kind's folders while they are filled, and of no other's: what a killed process left
    is found by it.
    """
    cache = target.parent
    if target.exists():
        return
    with exclusive(cache / f"{name}.lock"):
        if target.exists():
            return
        for leftover in cache.glob(f"{prefix}*"):  # we hold the lock
            shutil.rmtree(leftover)
        with tempfile.TemporaryDirectory(dir=cache, prefix=prefix) as folder:
            staged = Path(folder) / "made"
            fill(staged)
            staged.rename(target)

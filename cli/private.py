"""Folders for what nobody else may read: gone when the work ends, and swept by the next if it was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "kubepark-private-"
_SETTLED_SECONDS = 60.0  # after which nobody is about to lock a folder that he has made


@dataclass(frozen=True)
class Private:
    """Whoever has `lock`, an open descriptor, needs the folder: processes that outlive us are handed it."""

    path: Path
    lock: int


@contextmanager
def folder(parent: Path | None = None) -> Iterator[Private]:
    """A folder that only the user may read, below `parent` or among temporary files. Raises: OSError."""
    parent = parent or Path(tempfile.gettempdir())
    for left in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or another process sweeps it too
            _sweep(left)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent) as name, _locked(Path(name)) as lock:
        yield Private(Path(name), lock)


def _sweep(left: Path) -> None:
    """Remove it if nobody has it. Raises: OSError."""
    if time.time() - left.stat().st_mtime > _SETTLED_SECONDS:
        with _locked(left):
            shutil.rmtree(left)


@contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Hold a folder. Raises: OSError, if somebody has it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)

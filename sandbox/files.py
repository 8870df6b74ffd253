"""Files that several processes share: whole or not at all, one writer at a time."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def cache_dir() -> Path:
    """The user's cache of programs and images: `${XDG_CACHE_HOME:-~/.cache}/kubepark/tools`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kubepark" / "tools"


def atomic_write(path: Path, data: str | bytes, *, mode: int = 0o600) -> None:
    """Replace `path` in one step, so that a reader or a crash never meets half a file."""
    raw = data.encode() if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(raw)
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty when there is none."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return document if isinstance(document, dict) else {}


def link_or_copy(source: Path, target: Path) -> None:
    """A name of its own for a file, where a symbolic link would lead to the folder that it points to."""
    try:
        target.hardlink_to(source)
    except OSError:  # another file system
        shutil.copy2(source, target)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold an advisory lock on a file, made if need be, or on a folder. Waits for whoever has it;
    the kernel frees it if we die."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def append_json(path: Path, entry: Mapping[str, Any]) -> None:
    """Add a line to a private log of JSON objects, with the time; of several threads' lines none mix."""
    stamped = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **entry}
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, (json.dumps(stamped) + "\n").encode())
    finally:
        os.close(descriptor)

"""What was read from the SDK, kept between runs: one small JSON file for each type or function.

Every engine operation starts the plugin anew, and loading the SDK's modules takes most of its
start. The folder is named by everything that the answers depend on, so nothing in it gets stale.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sandbox.files import atomic_write

_READER = Path(__file__).with_name("schema.py")


@functools.cache
def folder() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/kubepark/schema/<digest of SDK versions and the reader>`."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    versions = f"{version('pulumi-aws')} {version('pulumi')} "
    digest = hashlib.sha256(versions.encode() + _READER.read_bytes()).hexdigest()[:16]
    return base / "kubepark" / "schema" / digest


def cached(name: str, read: Callable[[], Any]) -> Any:
    """The JSON value known by `name`, or what `read()` gives, which is then kept.

    What `read` raises is raised and not kept. A cache that cannot be written is no cache, no error.
    """
    path = folder() / f"{name.replace('/', '_').replace(':', '_')}.json"
    with contextlib.suppress(OSError, json.JSONDecodeError):
        return json.loads(path.read_text(encoding="utf-8"))
    value = read()
    with contextlib.suppress(OSError):
        atomic_write(path, json.dumps(value))
    return value

"""Where upstream YAML comes from: a pinned URL, fetched once, or a file below the project's root.

`manifests.lock.yaml` in the root maps each URL to the sha256 of what it served when somebody looked
(`kubepark manifests lock`). What does not match is neither used nor cached.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from components.incluster.objects import Object, normalise
from config import ROOT
from config.files import replace_file
from config.manifest_lock import (
    LOCK_COMMAND,
    LOCK_FILE,
    FetchError,
    ManifestError,
    fetch,
    one_line,
    read_pins,
)
from config.model import ManifestSource


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as Kubernetes reads it: a date is a string. In C where PyYAML has it (20 times faster)."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def cache_dir() -> Path:
    """Where parsed manifests are kept, one file per sha256; shared by all stacks of the user."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "kubepark" / "manifests"


def load_all(
    sources: Mapping[str, ManifestSource],
    root: Path | None = None,
    cache: Path | None = None,
    *,
    offline: bool = False,
) -> dict[str, tuple[Object, ...]]:
    """The objects of all sources. Called before anything is registered, so that a fault creates nothing.

    `offline`: what is pinned and not in the cache counts as empty.

    Raises: ManifestError with the problems of all of them.
    """
    root, cache = root or ROOT, cache or cache_dir()
    problems: list[str] = []
    loaded: dict[str, tuple[Object, ...]] = {}
    remote = any(_is_url(location) for source in sources.values() for location in source.locations)
    pins = _pins_or_problem(root, problems) if remote else {}
    for name, source in sources.items():
        documents: list[Any] = []
        for location in source.locations:
            try:
                documents += (
                    _remote(location, pins, cache, offline)
                    if _is_url(location)
                    else _local(location, root, cache)
                )
            except ManifestError as error:
                problems += error.problems
        loaded[name] = normalise(documents, name, problems)
    if problems:
        raise ManifestError(problems)
    return loaded


def _pins_or_problem(root: Path, problems: list[str]) -> dict[str, str]:
    try:
        return read_pins(root / LOCK_FILE)
    except ManifestError as error:
        problems += error.problems
        return {}


def _is_url(location: str) -> bool:
    return "://" in location


def _local(location: str, root: Path, cache: Path) -> list[Any]:
    path = (root / location).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ManifestError([f"{location} is outside the project; accepted: a path below its root"])
    try:
        body = path.read_bytes()
    except OSError as error:
        raise ManifestError([f"{location} cannot be read: {error.strerror}"]) from None
    digest = hashlib.sha256(body).hexdigest()
    kept = _kept(cache, digest)
    return _documents(body, location, cache, digest) if kept is None else kept


def _remote(url: str, pins: Mapping[str, str], cache: Path, offline: bool) -> list[Any]:
    pin = pins.get(url)
    if not pin:
        raise ManifestError([f"{url} has no sha256 in {LOCK_FILE}; fix: {LOCK_COMMAND}"])
    kept = _kept(cache, pin)
    if kept is not None or offline:
        return kept or []
    try:
        body = fetch(url)
    except FetchError as error:
        raise ManifestError([f"cannot be fetched: {error}"]) from None
    found = hashlib.sha256(body).hexdigest()
    if found != pin:
        raise ManifestError(
            [f"{url} serves sha256 {found}, {LOCK_FILE} pins {pin}; if the change is wanted: {LOCK_COMMAND}"]
        )
    return _documents(body, url, cache, pin)


def _kept(cache: Path, digest: str) -> list[Any] | None:
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
        kept: list[Any] = json.loads(_parsed(cache, digest).read_bytes())
        return kept
    return None


def _documents(body: bytes, where: str, cache: Path, digest: str) -> list[Any]:
    """As the JSON that Kubernetes makes of them, and kept so: 3 MB of YAML take seconds to read."""
    try:
        text = json.dumps(list(yaml.load_all(body, _Loader)), allow_nan=False)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ManifestError([f"{where} is not YAML: {one_line(error)}"]) from None
    except (TypeError, ValueError) as error:  # `!!binary`, `.nan`, a mapping in itself
        raise ManifestError(
            [f"{where} holds what JSON, and so Kubernetes, cannot: {one_line(error)}"]
        ) from None
    path = _parsed(cache, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.encode())  # whole or not at all: two stacks may read at the same time
    documents: list[Any] = json.loads(text)
    return documents


def _parsed(cache: Path, digest: str) -> Path:
    return cache / f"{digest}.json"

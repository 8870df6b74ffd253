"""`kubepark manifests`: pins of the upstream YAML that the program registers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import typer
import yaml

from config import ROOT
from config.manifest_lock import LOCK_FILE, FetchError, ManifestError, fetch, read_pins
from config.versions import RELEASES, UPSTREAM_MANIFESTS

app = typer.Typer(help="Upstream manifests.", no_args_is_help=True, pretty_exceptions_enable=False)

_HEADER = (
    "# What each upstream manifest served when it was looked at. Written by `kubepark manifests lock`.\n"
)


@app.callback()
def manifests() -> None:
    """Upstream manifests."""


@app.command(name="lock")
def lock_command() -> None:
    """Fetch every upstream manifest of every Kubernetes release and write its sha256 to the lock file.

    Look at what it prints before committing: ask why a pin CHANGED under one release.
    """
    try:
        changes = lock(ROOT / LOCK_FILE, upstream_urls(), fetch)
    except ManifestError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    for change in changes or ["nothing changed"]:
        typer.echo(change)


def upstream_urls() -> tuple[str, ...]:
    """The URLs of all releases, each once, in their order."""
    urls = [
        template.format(calico=release.calico)
        for release in RELEASES.values()
        for templates in UPSTREAM_MANIFESTS.values()
        for template in templates
    ]
    return tuple(dict.fromkeys(urls))


def lock(path: Path, urls: Iterable[str], fetch: Callable[[str], bytes]) -> list[str]:
    """Pin `urls` in the lock file at `path`; URLs that no release names any more are dropped.

    Returns one line for each change. Raises: ManifestError when any URL cannot be fetched; the file
    then stays as it was.
    """
    old = read_pins(path) if path.exists() else {}
    new: dict[str, str] = {}
    problems = []
    for url in urls:
        try:
            new[url] = hashlib.sha256(fetch(url)).hexdigest()
        except FetchError as error:
            problems.append(f"cannot be fetched: {error}")
    if problems:
        raise ManifestError(problems)
    changes = _changes(old, new)
    if changes:
        path.write_text(
            _HEADER + yaml.safe_dump({"sha256": new}, sort_keys=False, width=1000), encoding="utf-8"
        )
    return changes


def _changes(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    lines = []
    for url, pin in new.items():
        before = old.get(url)
        if not before:
            lines.append(f"pinned  {url} {pin}")
        elif before != pin:
            lines.append(f"CHANGED {url} {before} -> {pin}")
    return lines + [f"dropped {url}" for url in old if url not in new]

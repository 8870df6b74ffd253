"""`.sandbox/bin`: what goes first on PATH, so that the engine finds our tools and plugins."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from sandbox.config import SandboxConfig
from sandbox.files import atomic_write
from sandbox.plugins import STAND_IN_MARK, Kind

POLICY_SHIM = "pulumi-analyzer-policy-python"


def fill(config: SandboxConfig, tools: Path, kinds: Mapping[str, Kind]) -> None:
    """Make the folder hold a link per tool and a shim per plugin of ours, and nothing else."""
    config.bin_dir.mkdir(parents=True, exist_ok=True)
    shims = {POLICY_SHIM: policy_shim()}
    for name, kind in kinds.items():
        if kind == "standin":
            shims[f"pulumi-resource-{name}"] = stand_in_shim(name, config.root)
    links = {tool.name: tool.resolve() for tool in tools.iterdir()}
    for stale in config.bin_dir.iterdir():
        if stale.name not in shims and stale.name not in links:
            stale.unlink()
    for name, target in links.items():
        link = config.bin_dir / name
        if not link.is_symlink() or link.readlink() != target:
            link.unlink(missing_ok=True)
            link.symlink_to(target)
    for name, text in shims.items():
        shim = config.bin_dir / name
        if not shim.exists() or shim.read_text(encoding="utf-8") != text:
            atomic_write(shim, text, mode=0o755)


def policy_shim() -> str:
    """Runs a policy pack: without a Python language host the engine looks for this executable.

    Only the engine's address and the pack are passed on: the options of the pack's runtime, which a
    language host needs, follow as `-virtualenv=...`, and that is no argument of the module.
    """
    return f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -u -m pulumi.policy "$1" "$2"\n'


def stand_in_shim(name: str, root: Path) -> str:
    """Runs one stand-in provider, whatever folder and environment the engine starts it in."""
    return (
        f"#!/bin/sh\n{STAND_IN_MARK} for the {name} provider plugin\n"
        f'PYTHONPATH={shlex.quote(str(root))}"${{PYTHONPATH:+:$PYTHONPATH}}"\nexport PYTHONPATH\n'
        f'exec {shlex.quote(sys.executable)} -u -m sandbox.providers.{name} "$@"\n'
    )

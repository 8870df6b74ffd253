"""What Pulumi's CLI finds in a sandbox: `.sandbox/bin`, first on PATH, and the plugin folder of its home.

Both providers are built like the other tools, and in the place of the versions that the SDKs ask for.
"""

from __future__ import annotations

import shlex
import sys
from importlib.metadata import version
from pathlib import Path

from sandbox.config import SandboxConfig
from sandbox.files import atomic_write, link_or_copy

LANGUAGE_HOST = "pulumi-language-python"
PROVIDERS = ("aws", "kubernetes")


def install(config: SandboxConfig, tools: Path) -> None:
    """Make both folders hold what `tools` has, and nothing that an earlier run put there besides."""
    config.bin_dir.mkdir(parents=True, exist_ok=True)
    links = {tool.name: tool.resolve() for tool in tools.iterdir()}
    providers = {name: links.pop(f"pulumi-resource-{name}") for name in PROVIDERS}
    pulumi = links.pop("pulumi")
    for stale in config.bin_dir.iterdir():
        if stale.name not in {*links, "pulumi", LANGUAGE_HOST}:
            stale.unlink()
    for name, target in links.items():
        _link(config.bin_dir / name, target)
    install_cli(config.bin_dir, pulumi, config.root)
    for name, provider in providers.items():
        _link(_plugin(config, name) / f"pulumi-resource-{name}", provider)


def install_cli(folder: Path, pulumi: Path, root: Path) -> None:
    """Put the CLI into `folder`, and a Python language host where it looks for one: beside its executable."""
    host, executable = folder / LANGUAGE_HOST, folder / "pulumi"
    if (pulumi.parent / LANGUAGE_HOST).exists():  # it brings its own
        host.unlink(missing_ok=True)
        _link(executable, pulumi)
        return
    _script(host, _python(root, "sandbox.build.language_host"))
    if executable.exists() and not executable.is_symlink() and executable.samefile(pulumi):
        return
    executable.unlink(missing_ok=True)
    link_or_copy(pulumi, executable)


def _python(root: Path, module: str) -> str:
    return (
        f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(root))}"${{PYTHONPATH:+:$PYTHONPATH}}"\nexport PYTHONPATH\n'
        f'exec {shlex.quote(sys.executable)} -u -m {module} "$@"\n'
    )


def _plugin(config: SandboxConfig, name: str) -> Path:
    """The folder of a provider in the version that the installed SDK asks for."""
    return config.pulumi_home / "plugins" / f"resource-{name}-v{version(f'pulumi-{name}')}"


def _link(link: Path, target: Path) -> None:
    if not link.is_symlink() or link.readlink() != target:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def _script(path: Path, text: str) -> None:
    if path.is_symlink() or not path.exists() or path.read_bytes() != text.encode():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        atomic_write(path, text, mode=0o755)

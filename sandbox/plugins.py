"""What Pulumi's CLI finds in a sandbox: `.sandbox/bin`, first on PATH, and the plugin folder of its home.

The Kubernetes provider is the official one, built like the other tools, in the place of the version that the
SDK asks for. The AWS provider is ours, because no package registry has the official one;
`KUBEPARK_PROVIDERS=official` leaves it to the CLI, which downloads it where it can.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from sandbox.config import SandboxConfig
from sandbox.errors import SandboxError
from sandbox.files import atomic_write, link_or_copy

VARIABLE = "KUBEPARK_PROVIDERS"
LANGUAGE_HOST = "pulumi-language-python"
KUBERNETES = "pulumi-resource-kubernetes"
AWS = "pulumi-resource-aws"

AwsProvider = Literal["official", "standin"]


def aws_provider() -> AwsProvider:
    """Which AWS provider is asked for. Raises `SandboxError` for an unknown one."""
    match os.environ.get(VARIABLE, ""):
        case "official":
            return "official"
        case "" | "standin":
            return "standin"
        case other:
            raise SandboxError(f'{VARIABLE}="{other}": accepted: standin (the default) or official')


def install(config: SandboxConfig, tools: Path, aws: AwsProvider) -> None:
    """Make both folders hold what `tools` has, and nothing that an earlier run put there besides."""
    config.bin_dir.mkdir(parents=True, exist_ok=True)
    links = {tool.name: tool.resolve() for tool in tools.iterdir()}
    provider, pulumi = links.pop(KUBERNETES), links.pop("pulumi")
    for stale in config.bin_dir.iterdir():
        if stale.name not in {*links, "pulumi", LANGUAGE_HOST}:
            stale.unlink()
    for name, target in links.items():
        _link(config.bin_dir / name, target)
    install_cli(config.bin_dir, pulumi, config.root)
    _link(_plugin(config, "kubernetes") / KUBERNETES, provider)
    place = _plugin(config, "aws") / AWS
    if aws == "standin":
        _script(place, stand_in(config.root))
    elif place.exists() and b"sandbox.aws.provider" in place.read_bytes()[:500]:
        shutil.rmtree(place.parent)


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


def stand_in(root: Path) -> str:
    """The script that runs our AWS provider, whatever folder and environment the CLI starts it in."""
    return _python(root, "sandbox.aws.provider")


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

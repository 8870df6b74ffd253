"""A small Pulumi project of a test's own, run by the built CLI with its language host, as a sandbox stack is.

project = EngineProject(tmp_path, "import pulumi; pulumi.export('a', 1)", {"tiny": script})
project.ok("up")
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.plugins import install_cli
from sandbox.tests.tools import tool

ROOT = Path(__file__).resolve().parents[3]
PROJECT, STACK = "kubepark", "sandbox"


class EngineProject:
    """One stack with a backend in `folder`, where a later one finds it. `plugins`: provider -> its module or program."""

    def __init__(
        self,
        folder: Path,
        program: str,
        plugins: Mapping[str, str | Path],
        project: str = PROJECT,
        **variables: str,
    ) -> None:
        self.name = project
        self.root = folder / "project"
        binaries, self._backend = folder / "bin", folder / "backend"
        passphrase = folder / "passphrase"
        for made in (self.root, binaries, self._backend):
            made.mkdir(parents=True, exist_ok=True)
        if not passphrase.exists():
            passphrase.write_text(secrets.token_urlsafe(16))
        install_cli(binaries, tool("pulumi"), ROOT)
        for name, module in plugins.items():
            plugin = binaries / f"pulumi-resource-{name}"
            command = str(module) if isinstance(module, Path) else f'{sys.executable}" -u -m "{module}'
            plugin.write_text(f'#!/bin/sh\nexec "{command}" "$@"\n')
            plugin.chmod(0o755)
        (self.root / "Pulumi.yaml").write_text(f"name: {project}\nruntime: python\n")
        self.program = self.root / "__main__.py"
        self.program.write_text(program)
        foreign = ("PULUMI_", "AWS_")
        self.variables = {key: value for key, value in os.environ.items() if not key.startswith(foreign)} | {
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PULUMI_BACKEND_URL": f"file://{self._backend}",
            "PULUMI_DIY_BACKEND_ZSTD": "false",  # `deployment` reads it
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(passphrase),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            **variables,
        }
        if not self.checkpoint_file.exists():
            self.ok("stack", "init", STACK)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """`pulumi ARGUMENTS` in a process group of its own, both streams in one."""
        return subprocess.Popen(
            ["pulumi", *arguments, "--non-interactive", "--color", "never"],
            cwd=self.root,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )

    def run(self, *arguments: str, timeout: float = 180) -> tuple[int, str]:
        """Exit code and output."""
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=timeout)
        return process.returncode, output

    def ok(self, *arguments: str) -> str:
        code, output = self.run(*arguments)
        assert code == 0, f"pulumi {' '.join(arguments)} exited {code}:\n{output}"
        return output

    def up(self, *flags: str) -> str:
        return self.ok("up", "--yes", "--skip-preview", *flags)

    def deployment(self) -> dict[str, Any]:
        """The state as the file backend has it."""
        document = json.loads(self.checkpoint_file.read_text(encoding="utf-8"))
        return document["checkpoint"].get("latest") or {}

    @property
    def checkpoint_file(self) -> Path:
        return self._backend / ".pulumi" / "stacks" / self.name / f"{STACK}.json"

    @property
    def stack_file(self) -> Path:
        return self.root / f"Pulumi.{STACK}.yaml"

    def resources(self) -> list[dict[str, Any]]:
        return self.deployment().get("resources") or []

    def names(self) -> list[str]:
        """Resources in the state, but for the stack and the providers."""
        kept = [r for r in self.resources() if not r["type"].startswith("pulumi:")]
        return sorted(r["urn"].rpartition("::")[2] for r in kept)

    def locks(self) -> list[Path]:
        return list((self._backend / ".pulumi" / "locks").rglob("*.json"))

"""The real Pulumi engine on a `Program`, with the Kubernetes stand-in on PATH and a backend of its own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.sandbox.kubernetes_program import Job, Program, Run
from tests.tools import tool

ROOT = Path(__file__).resolve().parents[2]
_LONGEST = 300.0


class EngineRun:
    """One stack. `environment` is added to that of the engine and so of the plugin."""

    def __init__(self, folder: Path, program: Program) -> None:
        self.program = program
        self.environment: dict[str, str] = {}
        self._root = folder
        shims = folder / "bin"
        shims.mkdir(parents=True)
        (shims / "pulumi").symlink_to(tool("pulumi"))
        _shim(shims / "pulumi-resource-kubernetes", "sandbox.providers.kubernetes")
        self._backend = folder / "backend"
        self._backend.mkdir()
        self._base = {
            "PATH": f"{shims}{os.pathsep}{os.environ['PATH']}",
            "PULUMI_BACKEND_URL": f"file://{self._backend}",
            "PULUMI_CONFIG_PASSPHRASE": secrets.token_urlsafe(16),
            "PULUMI_HOME": str(folder / "home"),
            "TMPDIR": str(folder),  # the Automation API leaves its work folders behind
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def preview(self) -> Run:
        return self._do("preview")

    def up(self) -> Run:
        return self._do("up")

    def refresh(self) -> Run:
        return self._do("refresh")

    def preview_refresh(self) -> Run:
        return self._do("preview_refresh")

    def destroy(self) -> Run:
        return self._do("destroy")

    def resources(self) -> dict[str, dict[str, Any]]:
        """What the state records, by name; empty once everything is destroyed."""
        stack = self._backend / ".pulumi" / "stacks" / "test" / "test.json"
        latest = json.loads(stack.read_text(encoding="utf-8"))["checkpoint"].get("latest") or {}
        return {entry["urn"].rpartition("::")[2]: entry for entry in latest.get("resources") or []}

    def files_with(self, text: str) -> list[str]:
        """Files of the backend (state, history, backups) in which a text stands in plain."""
        files = (path for path in self._backend.rglob("*") if path.is_file())
        return [path.name for path in files if text.encode() in path.read_bytes()]

    def _do(self, verb: str) -> Run:
        environment = {**self._base, **self.environment}
        job = Job(verb, str(self._root), environment, asdict(self.program))
        process = subprocess.run(
            [sys.executable, "-m", "tests.sandbox.kubernetes_program"],
            input=json.dumps(asdict(job)),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
            timeout=_LONGEST,
            check=False,
        )
        if process.returncode != 0:
            raise RuntimeError(f"{verb} broke off:\n{process.stderr}")
        return Run(**json.loads(process.stdout.splitlines()[-1]))


def _shim(path: Path, module: str) -> None:
    lines = ["#!/bin/sh", f'PYTHONPATH="{ROOT}" exec "{sys.executable}" -m {module} "$@"', ""]
    path.write_text("\n".join(lines), encoding="utf-8")
    path.chmod(0o755)

"""Runs a small program on the real engine, in a process of its own, with the echo provider.

    outcome = engine_run(tmp_path, "tests.unit.test_engine:program", "up")
    outcome.ok, outcome.output, outcome.resources

Child process: `python -m tests.real_engine FOLDER MODULE:FUNCTION VERB [PACK]`. One engine operation for
each process, because the SDK keeps state in the process.
"""

from __future__ import annotations

import importlib
import json
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi import automation as auto

from sandbox.shims import POLICY_SHIM, policy_shim
from tests.quick_stack import quick_stack
from tests.tools import tool

ROOT = Path(__file__).parents[1]
SHIMS = {
    "pulumi-resource-aws": f'#!/bin/sh\nexec "{sys.executable}" -u -m tests.echo_provider "$@"\n',
    POLICY_SHIM: policy_shim(),
}


@dataclass(frozen=True)
class Outcome:
    """How an operation ended; `resources`: the state's, as the engine exports it."""

    ok: bool
    output: str
    resources: list[dict[str, Any]]


def engine_run(folder: Path, program: str, verb: str, pack: Path | None = None) -> Outcome:
    """`verb`: preview, up or destroy. The stack lives in `folder` and survives between calls."""
    binaries = folder / "bin"
    if not binaries.exists():
        binaries.mkdir()
        (folder / "state").mkdir()
        (folder / "passphrase").write_text(secrets.token_urlsafe(16))
        (binaries / "pulumi").symlink_to(tool("pulumi"))
        for name, text in SHIMS.items():
            (binaries / name).write_text(text)
            (binaries / name).chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")} | {
        "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
        "PULUMI_HOME": str(folder / "home"),
        "TMPDIR": str(folder),  # the Automation API leaves its work folders behind
        "PULUMI_CONFIG_PASSPHRASE": (folder / "passphrase").read_text(),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
    command = [sys.executable, "-m", "tests.real_engine", program, verb, *([str(pack)] if pack else [])]
    done = subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=180, check=False
    )
    if done.returncode != 0:
        raise AssertionError(f"the engine's driver failed:\n{done.stdout}\n{done.stderr}")
    return Outcome(**json.loads(done.stdout.splitlines()[-1]))


def _operate(program: str, verb: str, packs: list[str]) -> Outcome:
    """In the child process: the operation, its output, the state after it."""
    module, _, function = program.partition(":")
    stack = quick_stack("sandbox", "kubepark", getattr(importlib.import_module(module), function))
    lines: list[str] = []
    arguments: dict[str, Any] = {"on_output": lines.append, "color": "never"}
    if packs:
        arguments["policy_packs"] = packs
    try:
        getattr(stack, verb)(**arguments)
    except auto.errors.CommandError as error:
        lines.append(str(error))
        ok = False
    else:
        ok = True
    return Outcome(ok, "\n".join(lines), (stack.export_stack().deployment or {}).get("resources", []))


if __name__ == "__main__":
    print(json.dumps(vars(_operate(sys.argv[1], sys.argv[2], sys.argv[3:]))))

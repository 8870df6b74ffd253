"""Runs a small program on the real engine, with the echo provider.

outcome = engine_run(tmp_path, "sandbox.tests.program.test_engine_inheritance:tree", "up")
outcome.ok, outcome.output, outcome.resources
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.tests.program.engine_project import EngineProject


@dataclass(frozen=True)
class Outcome:
    """How an operation ended; `resources`: what the state holds then."""

    ok: bool
    output: str
    resources: list[dict[str, Any]]


def engine_run(
    folder: Path,
    program: str,
    verb: str,
    pack: Path | None = None,
    config: Mapping[str, Any] | None = None,
    more: Sequence[str] = (),
) -> Outcome:
    """`verb`: preview, up or destroy. The stack lives in `folder` and survives between calls. `config`: the
    pack's, by rule. `more`: flags of the CLI."""
    module, _, function = program.partition(":")
    text = f"from {module} import {function}\n{function}()\n"
    echo = "sandbox.tests.program.echo_provider"
    project = EngineProject(folder, text, {"aws": echo, "kubernetes": echo})
    flags = [*more] if verb == "preview" else [*more, "--yes", "--skip-preview"]
    if pack:
        flags += ["--policy-pack", str(pack)]
    if config is not None:
        file = folder / "policies.json"
        file.write_text(json.dumps(config), encoding="utf-8")
        flags += ["--policy-pack-config", str(file)]
    code, output = project.run(verb, *flags)
    return Outcome(code == 0, output, project.resources())

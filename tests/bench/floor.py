"""The engine's floor: what a preview costs when neither program nor providers do anything.

The floor program imports `pulumi` alone and registers the resources of a given state: same types,
parents, providers and dependencies, no inputs. Each operation is a process of its own:

    python -m tests.bench.floor FOLDER up|preview

prints `{"resources": N, "seconds": S}`: resources in the state, seconds of the operation itself
(starting Python, importing the SDK and selecting the stack are not counted).
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROJECT = STACK = "floor"
_STACK_TYPE = "pulumi:pulumi:Stack"
_PROVIDER_PREFIX = "pulumi:providers:"


@dataclass(frozen=True)
class Row:
    """One resource to register. `parent`, `provider` and `dependencies` are positions in the list."""

    type: str
    name: str
    custom: bool
    parent: int | None
    provider: int | None
    dependencies: tuple[int, ...]


def rows(resources: Sequence[Mapping[str, Any]]) -> list[Row]:
    """The rows for an exported state, in its order, which is the order of registration."""
    kept = [resource for resource in resources if resource["type"] != _STACK_TYPE]
    at = {resource["urn"]: position for position, resource in enumerate(kept)}
    return [
        Row(
            type=resource["type"],
            name=resource["urn"].rpartition("::")[2],
            custom=bool(resource.get("custom")),
            parent=at.get(resource.get("parent", "")),
            provider=at.get(resource.get("provider", "").rpartition("::")[0]),
            dependencies=tuple(sorted(at[urn] for urn in resource.get("dependencies") or ())),
        )
        for resource in kept
    ]


def register(rows: Sequence[Row]) -> None:
    """The program."""
    import pulumi

    made: list[pulumi.Resource] = []
    for row in rows:
        options = pulumi.ResourceOptions(
            parent=None if row.parent is None else made[row.parent],
            depends_on=[made[position] for position in row.dependencies],
        )
        if row.type.startswith(_PROVIDER_PREFIX):
            package = row.type.removeprefix(_PROVIDER_PREFIX)
            made.append(pulumi.ProviderResource(package, row.name, {}, options))
        elif row.custom:
            provider = None if row.provider is None else made[row.provider]
            assert isinstance(provider, pulumi.ProviderResource)
            own = pulumi.ResourceOptions(provider=provider)
            made.append(
                pulumi.CustomResource(row.type, row.name, {}, pulumi.ResourceOptions.merge(options, own))
            )
        else:
            made.append(pulumi.ComponentResource(row.type, row.name, {}, options))


class Floor:
    """A stack of do-nothing resources in a folder of its own, on a file backend."""

    def __init__(self, folder: Path, pulumi: Path, resources: Sequence[Mapping[str, Any]]) -> None:
        """`resources`: of the exported state to be like."""
        self.folder = folder
        binaries = folder / "bin"
        binaries.mkdir(parents=True)
        (folder / "state").mkdir()
        (binaries / "pulumi").symlink_to(pulumi)
        listed = rows(resources)
        (folder / "rows.json").write_text(json.dumps([vars(row) for row in listed]), encoding="utf-8")
        prefix = _PROVIDER_PREFIX
        for package in {row.type.removeprefix(prefix) for row in listed if row.type.startswith(prefix)}:
            plugin = binaries / f"pulumi-resource-{package}"
            plugin.write_text(f'#!/bin/sh\nexec "{sys.executable}" -u -m tests.bench.floor_provider "$@"\n')
            plugin.chmod(0o755)
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith("PULUMI_")} | {
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_HOME": str(folder / "home"),
            "TMPDIR": str(folder),  # the Automation API leaves its work folders behind
            "PULUMI_CONFIG_PASSPHRASE": secrets.token_urlsafe(16),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }

    def run(self, verb: str) -> tuple[int, float]:
        """One operation, `up` or `preview`: resources in the state, seconds."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.floor", str(self.folder), verb],
            env=self._environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"the floor's {verb} failed:\n{done.stdout}{done.stderr}")
        answer = json.loads(done.stdout.splitlines()[-1])
        return int(answer["resources"]), float(answer["seconds"])


def _operate(folder: Path, verb: str) -> dict[str, float]:
    """In the child process."""
    from pulumi import automation as auto

    listed = [Row(**fields) for fields in json.loads((folder / "rows.json").read_text(encoding="utf-8"))]
    stack = auto.create_or_select_stack(
        STACK,
        project_name=PROJECT,
        program=lambda: register(listed),
        opts=auto.LocalWorkspaceOptions(
            project_settings=auto.ProjectSettings(name=PROJECT, runtime="python")
        ),
    )
    began = time.perf_counter()
    if verb == "up":
        stack.up()
    else:
        stack.preview(expect_no_changes=True)
    seconds = time.perf_counter() - began
    state = stack.export_stack().deployment or {}
    return {"resources": len(state.get("resources", [])), "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(_operate(Path(sys.argv[1]), sys.argv[2])))

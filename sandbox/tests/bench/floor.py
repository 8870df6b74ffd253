"""The engine's floor: what an operation costs when neither program nor providers do anything.

The floor program imports `pulumi` alone and registers the resources of a given state: same types,
parents, providers and dependencies, no inputs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.tests.program.engine_project import EngineProject

ROWS = "rows.json"
_STACK_TYPE = "pulumi:pulumi:Stack"
_PROVIDERS = "pulumi:providers:"
_GOGC = "400"  # as `kubepark` starts the CLI


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
        if row.type.startswith(_PROVIDERS):
            package = row.type.removeprefix(_PROVIDERS)
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
    """A stack of do-nothing resources: the CLI, language host and kind of backend that a sandbox has."""

    def __init__(self, folder: Path, resources: Sequence[Mapping[str, Any]]) -> None:
        """`resources`: of the exported state to be like."""
        listed = rows(resources)
        packages = {row.type.removeprefix(_PROVIDERS) for row in listed if row.type.startswith(_PROVIDERS)}
        text = "from sandbox.tests.bench.floor import main\n\nmain()\n"
        self._project = EngineProject(
            folder, text, dict.fromkeys(packages, "sandbox.tests.bench.floor_provider"), GOGC=_GOGC
        )
        (self._project.root / ROWS).write_text(json.dumps([vars(row) for row in listed]), encoding="utf-8")

    def run(self, verb: str) -> tuple[int, float]:
        """One operation, `up` or `preview`: resources in the state, seconds."""
        flags = ["--expect-no-changes"] if verb == "preview" else ["--yes", "--skip-preview"]
        began = time.perf_counter()
        self._project.ok(verb, *flags)
        return len(self._project.resources()), time.perf_counter() - began


def main() -> None:
    """The program, in its own folder."""
    register([Row(**fields) for fields in json.loads(Path(ROWS).read_text(encoding="utf-8"))])

"""Programs that the sandbox runs, stand-ins for them, and the processes of them that run.

Other tests' processes begin and end meanwhile: one that has ended is no error here.
"""

from __future__ import annotations

import contextlib
import os
from functools import cache
from pathlib import Path

import psutil

from sandbox.build.toolchain import ensure_tools
from sandbox.processes import living

OPERATIONS = {"up", "preview", "refresh", "destroy"}


@cache
def tool(name: str) -> Path:
    """The executable `name`: from `$KUBEPARK_TOOLS` or its `bin`, else from the per-user cache."""
    given = os.environ.get("KUBEPARK_TOOLS")
    for folder in (Path(given), Path(given) / "bin") if given else ():
        if os.access(folder / name, os.X_OK):
            return folder / name
    return ensure_tools() / name


def executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def kill(process: psutil.Process, seconds: float = 10) -> None:
    """Kill -9, and wait for the end: psutil's own wait would go on until process 1 reaps an orphan."""
    process.kill()
    assert living([process], seconds) == []


def cmdline(process: psutil.Process) -> list[str]:
    """Its arguments; empty if it has ended."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


def engines(parent: psutil.Process, *operations: str) -> list[psutil.Process]:
    """The CLIs of operations (default: of all) among what a process has started; those that only read are none."""
    wanted = set(operations or OPERATIONS)
    found = []
    for child in parent.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name() == "pulumi" and wanted.intersection(child.cmdline()[1:2]):
                found.append(child)
    return found

"""What the file backend has on this stack, read without the CLI, and which cloud it describes."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import psutil

from sandbox import local_cloud
from sandbox.errors import SandboxError
from sandbox.files import atomic_write, read_json
from sandbox.processes import is_alive, living
from sandbox.workspace import Workspace

_KILL_SECONDS = 10.0


class CloudGone(SandboxError):
    """The state describes an emulator that does not exist any more. `what` is the finding alone."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(
            f"{what}. Way out: `kubepark reset` forgets them (then `make up` builds them again), "
            "or `make down` clears everything away"
        )


def deployment(workspace: Workspace) -> dict[str, Any]:
    """The latest deployment (resources, pending operations); empty when there is none."""
    document = read_json(workspace.checkpoint_file)
    return (document and document["checkpoint"].get("latest")) or {}


def has_resources(workspace: Workspace) -> bool:
    """Whether the state holds anything but the stack itself and its providers."""
    return counts(workspace)[0] > 0


def counts(workspace: Workspace) -> tuple[int, int]:
    """How many real things the state holds, and how many operations on them were cut off."""
    latest = deployment(workspace)
    real = [item for item in latest.get("resources") or [] if not item["type"].startswith("pulumi:")]
    return len(real), len(latest.get("pending_operations") or [])


def note_cloud(workspace: Workspace) -> None:
    """Remember which emulator the stack is deployed to; nothing to remember while it holds nothing."""
    epoch = local_cloud.epoch(workspace.config)
    if epoch is not None and not has_resources(workspace):
        atomic_write(_epoch_file(workspace), epoch)


def require_same_cloud(workspace: Workspace) -> None:
    """Raise `CloudGone` if the stack was deployed to an emulator that has ended since."""
    noted = _epoch_file(workspace)
    if not (noted.exists() and has_resources(workspace)):
        return
    now = local_cloud.epoch(workspace.config)
    if now == noted.read_text():
        return
    what = "was started anew, empty" if now else "is not running"
    raise CloudGone(
        f"the AWS emulator {what}, and keeps everything in memory, so the resources in the state of "
        f"stack {workspace.stack} and its cluster are gone"
    )


def forget(workspace: Workspace) -> None:
    """Drop the state of the stack, its locks and history. The generated secrets stay."""
    for path in (workspace.config.backend_dir, workspace.config.pulumi_home / "workspaces"):
        shutil.rmtree(path, ignore_errors=True)
    for file in (_epoch_file(workspace), workspace.config.kubeconfig):
        file.unlink(missing_ok=True)


def remove_dead_locks(workspace: Workspace) -> list[str]:
    """Do what `pulumi cancel` does, for locks whose process is dead; a line for each.

    One that is held stays: the CLI says by whom.
    """
    lines = []
    for path, pid in _locks(workspace):
        if not is_alive(pid):
            path.unlink()
            lines.append(f"removed the lock of pid {pid}, which is dead")
    return lines


def end_engines(workspace: Workspace) -> list[str]:
    """Kill whoever works on the stack, before what it would write down is forgotten; a line for each.

    Such a CLI outlives a `kubepark` that was killed alone.
    """
    held = [pid for _, pid in _locks(workspace) if is_alive(pid)]
    engines = [psutil.Process(pid) for pid in held]
    for engine in engines:
        engine.kill()
    if remaining := living(engines, _KILL_SECONDS):
        raise SandboxError(f"pulumi (pid {remaining[0].pid}) works on the stack and cannot be ended")
    return [f"ended pulumi (pid {pid}), which worked on the stack" for pid in held]


def _locks(workspace: Workspace) -> list[tuple[Path, int]]:
    """The locks that processes of this machine hold or held."""
    found = []
    for path in sorted(workspace.lock_dir.glob("*.json")):
        holder = json.loads(path.read_text(encoding="utf-8"))
        if holder["hostname"] == socket.gethostname():
            found.append((path, int(holder["pid"])))
    return found


def _epoch_file(workspace: Workspace) -> Path:
    return workspace.config.state_dir / f"epoch.{workspace.stack}"

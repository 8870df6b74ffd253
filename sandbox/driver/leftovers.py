"""Processes and locks of an operation that did not get to clean up after itself.

Every process of an operation (the CLI, provider plugins, policy packs) inherits a variable that
holds a number used once; a note in the state folder names the running operation. So a later command
finds exactly the processes of a run that was killed, whatever their pids are by now.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterable
from typing import Any

import psutil

from sandbox.config import SandboxConfig
from sandbox.driver.workspace import Workspace
from sandbox.errors import SandboxError
from sandbox.files import atomic_write
from sandbox.processes import living

MARK = "KUBEPARK_OPERATION"
PATIENCE = 20.0  # seconds that an orphaned CLI has to finish the steps in flight


def announce(config: SandboxConfig, operation: str) -> None:
    """Note that this process runs `operation`."""
    note = {"operation": operation, "pid": os.getpid(), "started": psutil.Process().create_time()}
    atomic_write(config.state_dir / "operation.json", json.dumps(note))


def retract(config: SandboxConfig) -> None:
    """The operation is over, and so are its processes."""
    (config.state_dir / "operation.json").unlink(missing_ok=True)


def clear(workspace: Workspace) -> list[str]:
    """End what a killed run left and remove its locks; gives one line for each thing done.

    Raises `SandboxError` if an operation is running: its driver, or a `pulumi` on this stack.
    """
    lines = _end_orphans(workspace.config)
    lines += _remove_dead_locks(workspace)
    return lines


def running(config: SandboxConfig) -> tuple[int, str] | None:
    """Pid of the live driver and its operation; None if there is none."""
    note = _note(config)
    return (note["pid"], note["operation"]) if note and _same_process(note["pid"], note["started"]) else None


def _end_orphans(config: SandboxConfig) -> list[str]:
    note = _note(config)
    if note is None:
        return []
    if _same_process(note["pid"], note["started"]):
        raise SandboxError(
            f"another operation runs on this stack (pid {note['pid']}): wait for it, or `kubepark cancel`"
        )
    ended = end(note["operation"])
    retract(config)
    return [f"ended {', '.join(ended)}: left by a run that was killed"] if ended else []


def end(operation: str) -> list[str]:
    """End every process of `operation`: the CLI gets the time to finish its steps, then all go.

    Gives what was ended, by name and pid.
    """
    found = list(_marked(operation))
    names = [_describe(process) for process in found]
    # SIGINT lets the CLI record what it has done. Plugins without their CLI have nobody to tell.
    engines = [process for process in found if _is_engine(process)]
    _signal(engines, signal.SIGINT)
    living(engines, PATIENCE)
    remaining = list(_marked(operation))
    _signal(remaining, signal.SIGKILL)
    living(remaining, 5)
    return names


def _remove_dead_locks(workspace: Workspace) -> list[str]:
    """Do what `pulumi cancel` does, for locks whose process is dead and only for those."""
    lines = []
    for path in sorted(workspace.lock_dir.glob("*.json")):
        holder = json.loads(path.read_text(encoding="utf-8"))
        pid, host = holder["pid"], holder["hostname"]
        if host != socket.gethostname() or _alive(pid):
            raise SandboxError(
                f"the stack is locked by pid {pid} on {host} since {holder['timestamp'][:19]}: "
                "wait for it, or `kubepark cancel`"
            )
        path.unlink()
        lines.append(f"removed the lock of pid {pid}, which is dead")
    return lines


def _note(config: SandboxConfig) -> dict[str, Any] | None:
    path = config.state_dir / "operation.json"
    if not path.exists():
        return None
    note: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return note


def _marked(operation: str) -> Iterable[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == operation and process.pid != os.getpid():
                yield process
        except psutil.Error:  # ended meanwhile, or another user's
            continue


def _same_process(pid: int, started: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - started) < 2.0
    except psutil.NoSuchProcess:
        return False


def _alive(pid: int) -> bool:
    """A zombie that nobody reaps is dead: it holds nothing any more."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_engine(process: psutil.Process) -> bool:
    try:
        return process.name() == "pulumi"
    except psutil.Error:
        return False


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.name()} (pid {process.pid})"
    except psutil.Error:
        return f"pid {process.pid}"


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue

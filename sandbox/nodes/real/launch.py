"""`python -m sandbox.nodes.real.launch PLAN.json`: become one emulated machine.

Puts the disk together (an overlay over the root file system) and hands over to systemd-nspawn, which starts
the machine's own systemd as process 1. Ends when that ends; when this process is killed, the kernel kills
nspawn, the first process of a PID namespace, and with it everything that ran in the machine: that is what
pulling the plug is. (nspawn killed by itself would leave the machine running.) All mounts live in a mount
namespace and go with it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from sandbox.errors import SandboxError
from sandbox.nodes.real import cgroups
from sandbox.processes import output

_libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
_NEWNS, _NEWPID = 0x00020000, 0x20000000
_PR_SET_PDEATHSIG = 1
_OPTIONS = (
    *("--quiet", "--boot", "--register=no", "--keep-unit", "--console=read-only", "--link-journal=no"),
    *("--resolv-conf=off", "--timezone=off", "--capability=all", "--system-call-filter=@known"),
    "--bind=/dev/kmsg",  # the kubelet reads it
)
_SECONDS = 20  # that a command to a machine may take
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the machine is made of. Paths are the host's.

    `lower`, `upper` and `work` are the overlay's, `root` is where it is mounted; `folders` are plain folders
    by their path in the machine (an overlay cannot carry another one); `readonly` likewise, not writable.
    `nspawn` is the program with its first arguments.
    """

    name: str
    group: str
    namespace: str
    lower: str
    upper: str
    work: str
    root: str
    folders: Mapping[str, str]
    readonly: Mapping[str, str]
    console: str
    nspawn: list[str]


def main(path: str) -> int:
    plan = Plan(**json.loads(Path(path).read_text(encoding="utf-8")))
    _call("unshare", _NEWNS | _NEWPID)
    child = os.fork()
    if child == 0:
        _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)
        try:
            _become(plan)
        except (OSError, SandboxError) as error:
            print(f"launch: {error}", flush=True)
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) & 0xFF


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _become(plan: Plan) -> None:
    """In the new namespaces: the machine's cgroup, its disk, and nspawn in this process's place."""
    cgroups.enter(plan.group)
    output(["mount", "--make-rprivate", "/"])
    output(["mount", "-t", "proc", "proc", "/proc"])
    overlay = f"lowerdir={plan.lower},upperdir={plan.upper},workdir={plan.work}"
    output(["mount", "-t", "overlay", "-o", overlay, "overlay", plan.root])
    command = [
        *(*plan.nspawn, *_OPTIONS, f"--machine={plan.name}", f"--directory={plan.root}"),
        f"--network-namespace-path={plan.namespace}",
        *(f"--bind={source}:{path}" for path, source in plan.folders.items()),
        *(f"--bind-ro={source}:{path}" for path, source in plan.readonly.items()),
    ]
    console = os.open(plan.console, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(console, 1)
    os.dup2(console, 2)
    # Nothing is inherited from the host but a PATH. A machine's own network settings are writable.
    os.execve(command[0], command, {"PATH": os.defpath, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"})


# -- a machine that runs, as the host sees it ------------------------------------------------------


def init(leader: int | None) -> psutil.Process | None:
    """Process 1 of the machine that this process launched; None while there is none."""
    try:
        nspawn = psutil.Process(leader).children() if leader else []
        # Until then nspawn has helpers, which end, and a child that still is nspawn itself.
        found = [each for child in nspawn for each in child.children() if each.name() == "systemd"]
        return found[0] if found else None
    except psutil.NoSuchProcess:
        return None


def inside(pid: int) -> list[str]:
    """The beginning of a command line that runs a program in the machine whose process 1 this is."""
    entered = ["nsenter", f"--target={pid}", "--all", "--root", "--wd"]
    return [*entered, "env", "-i", f"PATH={PATH}", "HOME=/root"]


def power_button(leader: int | None) -> bool:
    """Ask the machine to switch itself off, as a cloud does: whether it took the order."""
    process = init(leader)
    if process is None:
        return False
    try:
        output([*inside(process.pid), "systemctl", "--no-block", "poweroff"], timeout=_SECONDS)
    except SandboxError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""`python -m sandbox.nodes.real.enter PLAN.json`: become one emulated machine.

Enters the instance's network namespace and its own cgroup, makes the other namespaces, mounts the disk
over the host's root, and hands over to the machine's init as process 1. Ends when that ends; when this
process is killed, the kernel kills init and with it everything that ran in the machine: that is what
pulling the plug is. All mounts live in the machine's own mount namespace and go with it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.errors import SandboxError
from sandbox.nodes.real import cgroups, netns
from sandbox.processes import output

_libc = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWPID = 0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x20000000
_PR_SET_PDEATHSIG = 1
BOOT_ID = "proc/sys/kernel/random/boot_id"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the machine is made of. Paths are the host's.

    `upper` and `work` are the overlay's, `root` is where it is mounted; `folders` are plain folders by
    their path in the machine (an overlay cannot carry another one); `readonly` likewise, not writable.
    """

    group: str
    namespace: str
    hostname: str
    upper: str
    work: str
    root: str
    folders: Mapping[str, str]
    readonly: Mapping[str, str]
    runtime: Mapping[str, str]
    console: str
    boot_id: str
    init: list[str]


def main(path: str) -> int:
    plan = Plan(**json.loads(Path(path).read_text(encoding="utf-8")))
    cgroups.enter(plan.group)
    netns.enter(Path(plan.namespace))
    _call("unshare", _NEWNS | _NEWCGROUP | _NEWUTS | _NEWIPC | _NEWPID)
    child = os.fork()
    if child == 0:
        _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)
        try:
            _become(plan)
        except (OSError, SandboxError) as error:
            print(f"enter: {error}", flush=True)
            os._exit(1)
    # The power button: init stops what runs and ends, and so do we.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.kill(child, signal.SIGTERM))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) & 0xFF


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _become(plan: Plan) -> None:
    """In the new namespaces: mount everything, go there, run init."""
    _mount("--make-rprivate", "/")
    root = Path(plan.root)
    overlay = f"lowerdir=/,upperdir={plan.upper},workdir={plan.work}"
    _mount("-t", "overlay", "-o", overlay, "overlay", plan.root)
    _mount("-t", "proc", "proc", root / "proc")
    _mount("-t", "sysfs", "sysfs", root / "sys")
    _mount("--rbind", "/dev", root / "dev")
    _mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", root / "dev/shm")
    for name, mode in (("run", "0755"), ("tmp", "1777")):
        _mount("-t", "tmpfs", "-o", f"mode={mode}", "tmpfs", root / name)
    _mount_cgroups(root / "sys/fs/cgroup")
    for path, source in plan.folders.items():
        _bind(source, root / path.lstrip("/"))
    # Volumes that the kubelet mounts there must be seen by containers, and theirs by the kubelet.
    _mount("--make-rshared", root / "var/lib/kubelet")
    for path, source in plan.readonly.items():
        _bind(source, root / path.lstrip("/"))
        _mount("-o", "remount,bind,ro", root / path.lstrip("/"))
    boot_id = root / "run/boot_id"
    boot_id.write_text(plan.boot_id + "\n")
    for path, text in plan.runtime.items():
        (root / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (root / path.lstrip("/")).write_text(text)
    _mount("--bind", boot_id, root / BOOT_ID)
    _mount("--bind", plan.console, root / "dev/console")
    # The host's own mounts are left behind: the machine's mount table is its own.
    os.chdir(root)
    output(["pivot_root", ".", "."])
    output(["umount", "--lazy", "."])
    os.chdir("/")
    if cgroups.unified():
        cgroups.hand_down()
    socket.sethostname(plan.hostname)
    # Nothing is inherited from the host but a PATH.
    os.execve(plan.init[0], plan.init, {"PATH": os.defpath})


def _mount_cgroups(target: Path) -> None:
    """The host's hierarchies as the node's cgroup namespace shows them: its own group is the root."""
    found = cgroups.hierarchies()
    if cgroups.unified():
        _mount("-t", "cgroup2", "cgroup2", target)
        return
    _mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", target)
    for each in found:
        folder = target / each.mount.relative_to(cgroups.ROOT)
        folder.mkdir(parents=True, exist_ok=True)
        if each.version == 2:
            _mount("-t", "cgroup2", "cgroup2", folder)
        else:
            _mount("-t", "cgroup", "-o", each.options, "cgroup", folder)


def _bind(source: str, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    _mount("--bind", source, target)


def _mount(*arguments: str | Path) -> None:
    output(["mount", *arguments], timeout=30)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

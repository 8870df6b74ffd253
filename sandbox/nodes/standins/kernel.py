"""Which kernel a machine runs, as its scripts see it: the newest that was installed, from the next boot on.

It is the host's in truth, and that is what the machine's own `uname` says; a node reads the release in
/proc, which is a file of the machine's once another kernel was installed.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from sandbox.nodes.standins.table import HOME

RELEASE = Path("/proc/sys/kernel/osrelease")
# Where packages put what on a real machine goes to /boot and /lib/modules, which are the host's here.
KERNELS = Path(HOME) / "kernels"
MODULES = Path(HOME) / "modules"
_BOOTED = Path("/run/kubepark-kernel")


def running() -> str:
    return RELEASE.read_text().strip()


def has_module(name: str) -> bool:
    """Whether a package has brought a module for the kernel that runs."""
    return (MODULES / running() / f"{name}.ko").exists()


def boot() -> None:
    """What the boot loader does."""
    releases = [path.name for path in KERNELS.glob("*")]
    newest = max(releases, key=lambda name: [int(part) for part in re.findall(r"\d+", name)], default="")
    if newest and newest != os.uname().release:
        _BOOTED.write_text(f"{newest}\n")
        subprocess.run(["mount", "--bind", str(_BOOTED), str(RELEASE)], check=True)

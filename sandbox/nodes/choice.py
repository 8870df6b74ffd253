"""Which node backend a sandbox gets: real where they can run, else simulated, or as somebody says.

The stack file's `sandbox:nodes` decides (`auto` unless it says otherwise), `KUBEPARK_NODES` overrides
it for one command.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from sandbox.build.gomodules import REAL_NODE_MODULES
from sandbox.errors import SandboxError

KEY = "sandbox:nodes"
VARIABLE = "KUBEPARK_NODES"
ACCEPTED = ("auto", "real", "simulated")
# What machines are made with (util-linux, iproute2), and what a node's own scripts find in its image.
COMMANDS = ("unshare", "ip", "bridge", "nsenter", "mount", "umount", "pivot_root", "apt-get", "dpkg", "gcc")
IMAGE = ("/usr/bin/python3", "/usr/bin/openssl", "/usr/bin/curl", "/usr/bin/pkill", "/usr/bin/flock")

Backend = Literal["real", "simulated"]


def asked(config: Mapping[str, object]) -> object:
    """What was asked for: the variable, else the stack file, else `auto`."""
    return os.environ.get(VARIABLE) or config.get(KEY, "auto")


def choose(config: Mapping[str, object], state_dir: Path) -> tuple[Backend, str]:
    """The backend, and why not the other one. Raises `SandboxError` if real nodes cannot run but must."""
    wanted = asked(config)
    if wanted not in ACCEPTED:
        where = VARIABLE if os.environ.get(VARIABLE) else KEY
        fix = f"pulumi config set {KEY} auto" if where == KEY else f"unset {VARIABLE}"
        raise SandboxError(f'{where}: "{wanted}" is not known; accepted: {", ".join(ACCEPTED)}; fix: {fix}')
    if wanted == "simulated":
        return "simulated", "as asked"
    reason = obstacle(state_dir)
    if reason and wanted == "real":
        raise SandboxError(f"real nodes cannot run here: {reason}; fix: pulumi config set {KEY} auto")
    return ("simulated" if reason else "real"), reason


def obstacle(state_dir: Path) -> str:
    """Why this machine cannot run real nodes; "" if it can."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return f"they need Linux on x86_64, this is {platform.system()} on {platform.machine()}"
    if os.geteuid() != 0:
        return "they need root"
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    missing += [path for path in IMAGE if not os.access(path, os.X_OK)]
    if missing:
        return f"missing: {', '.join(missing)}"
    return _attempt(state_dir)


def _attempt(state_dir: Path) -> str:
    """Make the namespaces and the overlay that a machine needs, once, and see what the kernel says."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=state_dir, prefix=".probe-") as folder:
        for name in ("upper", "work", "root"):
            (Path(folder) / name).mkdir()
        options = "lowerdir=/,upperdir=upper,workdir=work"
        script = f"ip link add br0 type bridge && mount -t overlay -o {options} overlay root && umount root"
        namespaces = ("--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup")
        command = ["unshare", *namespaces, "--fork", "sh", "-c", script]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    lines = done.stderr.strip().splitlines()
    return f"the kernel refuses: {lines[-1] if lines else 'no reason given'}" if done.returncode else ""


def main() -> None:
    """`python -m sandbox.nodes.choice`: the tool modules that real nodes need, if they can run here."""
    with tempfile.TemporaryDirectory(prefix="kubepark-probe-", dir=Path.cwd()) as folder:
        reason = obstacle(Path(folder))
    if reason:
        print(f"real nodes are not tested: {reason}", file=sys.stderr)
    else:
        print(" ".join(REAL_NODE_MODULES))


if __name__ == "__main__":
    main()

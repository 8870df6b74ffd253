"""What a sandbox's own settings choose: which nodes it gets, and which images and packages real ones have.

The stack file decides, a variable overrides it for one command. Nodes are real where they can run, else
simulated, unless somebody says which; images and packages stand in for those of registries and mirrors,
unless somebody says `upstream`.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sandbox.build.gomodules import REAL_NODE_MODULES
from sandbox.build.images.catalogue import Kind
from sandbox.errors import SandboxError

# What machines are made with (util-linux, iproute2), and their root file system (apt, and Perl for
# mmdebstrap).
COMMANDS = (
    *("unshare", "ip", "bridge", "nsenter", "mount", "umount", "chroot"),
    *("apt-get", "dpkg", "perl", "gcc"),
)
DISTRIBUTIONS = ("debian", "ubuntu")
_PERL = ("perl", "-MPod::Usage", "-MMath::BigInt", "-e", "1")  # what mmdebstrap loads that perl-base lacks
# Where there is cgroup v2 alone: every controller to what is below, which a container's root may not do.
_CONTROL = "/sys/fs/cgroup/cgroup.subtree_control"
_HAND_DOWN = (
    f"{{ [ ! -e {_CONTROL} ] || sed 's/[a-z][a-z]*/+&/g' /sys/fs/cgroup/cgroup.controllers >{_CONTROL}; }}"
)

Backend = Literal["real", "simulated"]


@dataclass(frozen=True)
class Setting:
    """A key of the stack file and the variable that overrides it. The first accepted value is the default."""

    key: str
    variable: str
    accepted: tuple[str, ...]

    def asked(self, config: Mapping[str, object]) -> object:
        """What somebody asked for; None if nobody did."""
        return os.environ.get(self.variable) or config.get(self.key)

    def value(self, config: Mapping[str, object]) -> str:
        """What was asked for, or the default, whether it is accepted or not."""
        found = self.asked(config)
        return self.accepted[0] if found is None else str(found)

    def problem(self, config: Mapping[str, object]) -> str:
        """What is wrong with the value, with a fix; "" if nothing is."""
        value = self.value(config)
        if value in self.accepted:
            return ""
        where = self.variable if os.environ.get(self.variable) else self.key
        return f'{where}: "{value}" is not known; accepted: {", ".join(self.accepted)}; fix: {self.default}'

    @property
    def default(self) -> str:
        """The command that has the default taken, whatever the stack file says."""
        return f"export {self.variable}={self.accepted[0]}"


NODES = Setting("sandbox:nodes", "KUBEPARK_NODES", ("auto", "real", "simulated"))
IMAGES = Setting("sandbox:images", "KUBEPARK_IMAGES", ("standins", "upstream"))
PACKAGES = Setting("sandbox:packages", "KUBEPARK_PACKAGES", ("standins", "upstream"))
CONTENTS = {"images": IMAGES, "packages": PACKAGES}  # of real nodes
SETTINGS = (NODES, *CONTENTS.values())


def check(config: Mapping[str, object], file: str) -> None:
    """Raises one `SandboxError` with everything that is wrong with the sandbox's own settings in `file`."""
    known = [each.key for each in SETTINGS]
    problems = [
        f"{key}: there is no such setting; accepted: {', '.join(known)}; "
        f"fix: sed -i.bak '/^ *{key}:/d' {file}"
        for key in sorted(map(str, config))
        if key.startswith("sandbox:") and key not in known
    ]
    problems += [problem for each in SETTINGS if (problem := each.problem(config))]
    if problems:
        raise SandboxError("\n".join(problems))


def choose(config: Mapping[str, object], state_dir: Path) -> tuple[Backend, str]:
    """The backend, and why not the other one. Raises `SandboxError` if real nodes cannot run but must."""
    wanted = NODES.value(config)
    if wanted == "simulated":
        return "simulated", "as asked"
    reason = obstacle(state_dir)
    if reason and wanted == "real":
        raise SandboxError(f"real nodes cannot run here: {reason}; fix: {NODES.default}")
    return ("simulated" if reason else "real"), reason


def choose_contents(what: str, config: Mapping[str, object], nodes: str, why: str) -> Kind:
    """The kind of images or packages. Raises `SandboxError` if others are asked for than `nodes` of this kind
    can have."""
    setting = CONTENTS[what]
    if setting.value(config) == "standins":
        return "standins"
    if nodes == "simulated":
        reason = f" ({why})" if why else ""
        raise SandboxError(
            f"{setting.key} is upstream, and simulated nodes{reason} run no container; fix: {setting.default}"
        )
    return "upstream"


def obstacle(state_dir: Path) -> str:
    """Why this machine cannot run real nodes; "" if it can."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return f"they need Linux on x86_64, this is {platform.system()} on {platform.machine()}"
    if os.geteuid() != 0:
        return "they need root"
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        return f"missing: {', '.join(missing)}"
    release = platform.freedesktop_os_release()
    if release["ID"] not in DISTRIBUTIONS:
        return f"they are made of Debian's or Ubuntu's packages; this is {release['PRETTY_NAME']}"
    if subprocess.run(_PERL, capture_output=True, check=False).returncode:
        return "missing: Perl's modules (package perl)"
    return _attempt(state_dir)


def _attempt(state_dir: Path) -> str:
    """Make the namespaces and the overlay that a machine needs, once, and see what the kernel says."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=state_dir, prefix=".probe-") as folder:
        for name in ("lower", "upper", "work", "root"):
            (Path(folder) / name).mkdir()
        options = "lowerdir=lower,upperdir=upper,workdir=work"
        overlay = f"mount -t overlay -o {options} overlay root && umount root"
        script = f"ip link add br0 type bridge && {overlay} && {_HAND_DOWN}"
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

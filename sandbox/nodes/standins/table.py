"""What is not the real thing inside a real node, and why: shown to people, and what is put in place."""

from __future__ import annotations

from dataclasses import dataclass

HOME = "/usr/local/lib/kubepark-sandbox"


@dataclass(frozen=True)
class StandIn:
    """Commands of one script, and why the real ones cannot do here."""

    script: str
    commands: tuple[str, ...]
    why: str


STAND_INS = (
    StandIn("systemctl.py", ("systemctl",), "systemd needs a machine of its own; init.py runs the units"),
    StandIn("commands.py", ("journalctl",), "there is no journald; init.py keeps each unit's output"),
    StandIn("commands.py", ("busctl",), "there is no D-Bus; logind.py reads logind's files as logind does"),
    StandIn("commands.py", ("hostnamectl", "timedatectl"), "they ask systemd; name and clock are real"),
    StandIn(
        "commands.py",
        ("modprobe",),
        "the kernel is the host's: modules are looked for and never loaded; NVIDIA's is that of a package",
    ),
    StandIn(
        "commands.py",
        ("sysctl",),
        "network settings are set, others would be the host's: the node sees files in their place",
    ),
    StandIn("commands.py", ("swapoff", "swapon"), "swap is the host's and is left alone"),
    StandIn(
        "packages.py",
        ("apt-get", "apt-mark", "dpkg-query"),
        "package mirrors are out of reach: programs built from the pinned sources are put in place, and "
        "versions, repositories and keys are checked as apt checks them",
    ),
    StandIn("commands.py", ("curl",), "public hosts are out of reach; whether they would be is checked"),
)
# Put in place by the package that brings it on a real machine.
NVIDIA_SMI = StandIn("commands.py", ("nvidia-smi",), "there is no GPU; it lists what the instance type has")
# Only where the host has cgroup v1.
CGROUP_V1 = StandIn(
    "commands.py", ("stat",), "this host has cgroup v1, which a node refuses; asked for it, says v2"
)

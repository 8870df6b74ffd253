"""A cgroup of its own for each real node, in every hierarchy that the host has (v1, v2 or both).

A node's kubelet makes its cgroups below the root of its own cgroup namespace, so that several kubelets
on one machine do not meet. On v2 the node's first process lives in a leaf, since a cgroup with
processes of its own cannot hand controllers down.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
_END_SECONDS = 10.0


@dataclass(frozen=True)
class Hierarchy:
    """A mounted hierarchy. `options` is what mount(8) needs to mount it again (v1 only)."""

    mount: Path
    version: int
    options: str


def hierarchies(mountinfo: str | None = None) -> tuple[Hierarchy, ...]:
    """Every cgroup mount below /sys/fs/cgroup."""
    text = Path("/proc/self/mountinfo").read_text() if mountinfo is None else mountinfo
    found: list[Hierarchy] = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        mount, (kind, _, options) = Path(before.split()[4]), after.split(maxsplit=2)
        if kind == "cgroup2" and (mount == ROOT or ROOT in mount.parents):
            found.append(Hierarchy(mount, 2, ""))
        elif kind == "cgroup" and ROOT in mount.parents:
            names = [name for name in options.split(",") if name not in ("rw", "ro")]
            found.append(Hierarchy(mount, 1, ",".join(names)))
    return tuple(found)


def unified() -> bool:
    """Whether the host has cgroup v2 alone, as the kubelet demands it by default."""
    return any(each.version == 2 and each.mount == ROOT for each in hierarchies())


def enter(group: str) -> None:
    """Make the group in every hierarchy and put this process there."""
    for each in hierarchies():
        folder = each.mount / group
        folder.mkdir(parents=True, exist_ok=True)
        if "cpuset" in each.options.split(","):
            _inherit_cpuset(each.mount, folder)
        if each.version == 2 and each.mount == ROOT:
            _hand_down(folder)
        (folder / "cgroup.procs").write_text(str(os.getpid()))


def _inherit_cpuset(mount: Path, folder: Path) -> None:
    """cpuset v1 takes no process before it has processors and memory nodes, from the top down."""
    for level in [*reversed([each for each in folder.parents if mount in each.parents]), folder]:
        for name in ("cpuset.cpus", "cpuset.mems"):
            if not (level / name).read_text().strip():
                (level / name).write_text((level.parent / name).read_text().strip())


def _hand_down(folder: Path) -> None:
    """v2 alone: every controller from the top down to the group. Its own it has to give to leaves (nspawn
    does).
    """
    for level in reversed([each for each in folder.parents if ROOT in (each, *each.parents)]):
        controllers = (level / "cgroup.controllers").read_text().split()
        (level / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))


def remove(group: str) -> None:
    """The group in every hierarchy, deepest first. Its processes have ended or are ending."""
    deadline = time.monotonic() + _END_SECONDS
    while True:
        try:
            for folder in _folders(group):
                for path, _, _ in os.walk(folder, topdown=False):
                    Path(path).rmdir()
            return
        except OSError:  # busy: a process is on its way out
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def remove_if_empty(group: str) -> None:
    """The group in every hierarchy, unless it holds others."""
    for folder in _folders(group):
        with contextlib.suppress(OSError):
            folder.rmdir()


def _folders(group: str) -> Iterator[Path]:
    return (folder for each in hierarchies() if (folder := each.mount / group).is_dir())

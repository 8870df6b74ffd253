"""What is not the real thing inside a real node, and why: small scripts that every machine's image has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOME = "/usr/local/lib/kubepark-sandbox"
_SBIN = "/usr/local/sbin"
_SCRIPTS = Path(__file__).parent / "files"


@dataclass(frozen=True)
class StandIn:
    """A script that has the place of something real. `folder`: where; "" if a package brings it."""

    script: str
    folder: str
    why: str

    @property
    def path(self) -> str:
        """Of the script in the machine; "" if a package brings it."""
        return self.folder and f"{self.folder}/{self.script}"


STAND_INS = (
    StandIn("guard", HOME, "the kernel is the host's: before anything else what is its own is hidden"),
    StandIn("modules", HOME, "the kernel is the host's: what it has is told to the real modprobe"),
    StandIn("faults.sh", HOME, "lets a step fail or hang where somebody asked for it"),
    StandIn("nvidia-smi", "", "there is no GPU: it lists what the instance type has"),
)
CGROUP_V1 = (
    StandIn("stat", _SBIN, "this host has cgroup v1, which a node refuses; asked for it, says v2"),
    StandIn("kubeadm", _SBIN, "this host has cgroup v1, which kubeadm refuses before anything starts"),
)
UNSYNCHRONISED = StandIn("timedatectl", _SBIN, "the clock is the host's, and nobody synchronises it")


def stand_ins(*, unified: bool, synchronised: bool) -> Iterator[StandIn]:
    """What is put in place on a host with cgroup v2 alone (`unified`) and a clock that NTP keeps."""
    yield from STAND_INS
    if not unified:
        yield from CGROUP_V1
    if not synchronised:
        yield UNSYNCHRONISED


def script(name: str) -> str:
    """The text of a script."""
    return (_SCRIPTS / name).read_text(encoding="utf-8")

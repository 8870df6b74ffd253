"""The disk of a real node.

An overlay over the root file system. What the image has besides is written before the first boot; from then
on only the node writes there. The disk survives a stop and goes with the instance.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

from sandbox.files import atomic_write
from sandbox.nodes.disk import Disk, Memory

# Plain folders: the runtime, the kubelet and etcd cannot live on an overlay.
PLAIN = ("/var/lib/containerd", "/var/lib/kubelet", "/var/lib/etcd")


@dataclass
class RealMemory(Memory):
    """What is remembered of a machine besides."""

    master: bool = False
    gpus: int = 0
    address: str = ""  # in the VPC


class RealDisk(Disk[RealMemory]):
    """The disk of a real node: an overlay and plain folders."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, RealMemory())
        self.upper = folder / "upper"
        self.console = folder / "console.log"  # what the machine prints on its serial console
        self.gpus = folder / "gpus"  # a line for each
        self.hypervisor = folder / "hypervisor"  # what it has as /sys/hypervisor

    def plain(self) -> dict[str, str]:
        """Path in the machine -> folder here, for what is no part of the overlay."""
        return {path: str(self.folder / path.strip("/").replace("/", "-")) for path in PLAIN}

    def format(self, gpus: str) -> None:
        """Make the disk, empty as yet. `gpus`: a line for each GPU that the machine has."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = (self.upper, self.folder / "work", self.folder / "root", self.hypervisor)
        for folder in (*own, *map(Path, self.plain().values())):
            folder.mkdir(parents=True, exist_ok=True)
        self.upper.chmod(0o755)
        atomic_write(self.gpus, gpus, mode=0o644)
        # By it cloud-init knows EC2 in a container, where it does not read DMI.
        atomic_write(self.hypervisor / "uuid", f"ec2{str(uuid.uuid4())[3:]}\n", mode=0o644)
        self.console.touch(mode=0o600)

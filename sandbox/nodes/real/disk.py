"""The disk of a real node: what its image holds, and what its first boot finds there.

An overlay over the host's root stands for the image. What an Ubuntu image does not have, or has its
own of, is hidden or written before the first boot; from then on only the node writes there. The disk
survives a stop and goes with the instance.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox.files import atomic_write
from sandbox.nodes.disk import Disk, Memory

# Folders of the host that the image has empty: the host may be a node, a Docker host or a person's own.
_EMPTY = (
    "etc/apt/keyrings",
    "etc/apt/sources.list.d",
    "etc/cloud/cloud.cfg.d",
    "etc/cni",
    "etc/containerd",
    "etc/kubernetes",
    "etc/kubepark",
    "etc/sysctl.d",
    "etc/systemd/system",
    "home",
    "mnt",
    "opt",
    "root",
    "usr/local/lib/kubepark",
    "usr/local/sbin",
    "var/lib/cloud",
    "var/lib/kubepark",
    "var/log",
)
# Plain folders: the runtime, the kubelet and etcd cannot live on an overlay.
PLAIN = ("/var/lib/containerd", "/var/lib/kubelet", "/var/lib/etcd")
_HOSTS = "127.0.0.1 localhost\n::1 ip6-localhost ip6-loopback\n"
# As os-release(5) of Ubuntu's images, as far as somebody asks.
_RELEASE = (
    'PRETTY_NAME="Ubuntu 24.04 LTS"\nNAME="Ubuntu"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n'
)
_USER = "ubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/bash"


@dataclass
class RealMemory(Memory):
    """What is remembered of a machine besides."""

    master: bool = False
    gpus: int = 0


class RealDisk(Disk[RealMemory]):
    """The disk of a real node: an overlay and plain folders."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, RealMemory())

    @property
    def upper(self) -> Path:
        return self.folder / "upper"

    @property
    def console(self) -> Path:
        """What the machine prints on its serial console."""
        return self.folder / "console.log"

    def plain(self) -> dict[str, str]:
        """Path in the machine -> folder here, for what is no part of the overlay."""
        return {path: str(self.folder / path.strip("/").replace("/", "-")) for path in PLAIN}

    def format(self, image: Mapping[str, str]) -> None:
        """Make the disk. `image`: further files by path, as the image would hold them."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = (self.upper, self.folder / "work", self.folder / "root")
        for folder in (*own, *map(Path, self.plain().values())):
            folder.mkdir(parents=True, exist_ok=True)
        self.upper.chmod(0o755)
        for name in _EMPTY:
            _hide(self.upper / name)
        files = {
            "/etc/hostname": "ubuntu\n",
            "/etc/hosts": _HOSTS,
            "/etc/os-release": _RELEASE,
            "/etc/fstab": "/dev/root / ext4 defaults 0 1\n",
            "/etc/machine-id": hashlib.sha256(self.instance_id.encode()).hexdigest()[:32] + "\n",
            "/etc/passwd": _with_user(Path("/etc/passwd").read_text(encoding="utf-8")),
            "/etc/resolv.conf": "nameserver 169.254.169.253\n",  # the VPC's; nobody answers here
        }
        for path, text in {**files, **image}.items():
            atomic_write(self.upper / path.lstrip("/"), text, mode=0o644)
        home = self.upper / "home/ubuntu"
        home.mkdir(exist_ok=True)
        os.chown(home, 1000, 1000)
        for name in (*PLAIN, "/proc", "/sys", "/dev", "/run", "/tmp"):
            (self.upper / name.lstrip("/")).mkdir(parents=True, exist_ok=True)
        self.console.touch(mode=0o600)


def _hide(folder: Path) -> None:
    """A folder that is empty in the machine, whatever the host has there."""
    folder.mkdir(parents=True, exist_ok=True)
    for level in (folder, *folder.parents):
        if level.name == "upper":
            break
        level.chmod(0o755)
    os.setxattr(folder, "trusted.overlay.opaque", b"y")


def _with_user(passwd: str) -> str:
    """The image's own user, unless the host has somebody with that number."""
    if any(line.split(":")[2:3] == ["1000"] for line in passwd.splitlines()):
        return passwd
    return f"{passwd.rstrip()}\n{_USER}\n"

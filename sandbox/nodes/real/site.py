"""What the real nodes of one sandbox share."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.boot.credentials import RoleKeys
from sandbox.boot.faults import Faults
from sandbox.boot.machine import Surroundings
from sandbox.boot.serve import Application
from sandbox.controlplane import with_server
from sandbox.files import atomic_write
from sandbox.nodes.api import Api, Unavailable
from sandbox.nodes.real.netns import Vpc
from sandbox.processes import Supervisor

GROUP = "kubepark"  # the cgroup that all sandboxes of this host share
ADMIN = "super-admin.conf"
KUBECONFIG = "etc/kubernetes/super-admin.conf"


def prefix_of(state_dir: Path) -> str:
    """What the namespaces and cgroups of one sandbox are called by."""
    return "kp-" + hashlib.sha256(str(state_dir.resolve()).encode()).hexdigest()[:6]


@dataclass
class RealSite:
    """One sandbox. `binaries` holds the programs that packages bring, `nft` is one of the host's own.

    `registry` answers for every image registry, `endpoint` is the emulator's URL.
    """

    state_dir: Path
    around: Surroundings
    endpoint: str
    supervisor: Supervisor
    faults: Faults
    binaries: Path
    nft: Path
    registry: Application
    keys: RoleKeys = field(default_factory=RoleKeys)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _master: tuple[Path, int] | None = None  # root of the master's file system, port on this host

    def __post_init__(self) -> None:
        self.prefix = prefix_of(self.state_dir)
        self.vpc = Vpc(self.prefix)

    @property
    def calls_log(self) -> Path:
        """Every decision about an AWS call of a node, one JSON object per line."""
        return self.state_dir / "logs" / "calls.jsonl"

    def group(self, instance_id: str) -> str:
        """The cgroup of a machine, below each hierarchy."""
        return f"{GROUP}/{self.prefix}/{instance_id}"

    def serves(self, root: Path, port: int) -> None:
        """A master runs: where its file system is and at which port of this host its API answers."""
        with self._lock:
            self._master = (root, port)

    def api(self) -> Api:
        """A client with the administrator's rights. Raises `Unavailable` before there is a cluster."""
        with self._lock:
            master = self._master
        try:
            text = (master[0] / KUBECONFIG).read_text(encoding="utf-8") if master else ""
        except OSError:
            text = ""
        if master is None or not text:
            raise Unavailable("no master has an API yet")
        path = self.state_dir / ADMIN
        atomic_write(path, with_server(text, f"https://127.0.0.1:{master[1]}"))
        return Api.from_kubeconfig(path)

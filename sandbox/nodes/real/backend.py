"""The real backend: machines in namespaces, the switch between them, and their pod network."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Hashable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from sandbox.aws.account import Account
from sandbox.aws.cloud import RUNNING, CloudError
from sandbox.aws.credentials import RoleKeys
from sandbox.aws.serve import Serving
from sandbox.build.images.pullthrough import PullThrough
from sandbox.build.images.registry import Registry
from sandbox.build.images.upstream import Upstream
from sandbox.errors import SandboxError
from sandbox.files import atomic_write
from sandbox.log import log
from sandbox.nodes import kubelet
from sandbox.nodes.api import Api, ApiError, Unavailable, with_server
from sandbox.nodes.backend import NodeBackend
from sandbox.nodes.disk import on_disk
from sandbox.nodes.faults import Faults
from sandbox.nodes.kubelet import INSTALLATION, network_is_up
from sandbox.nodes.real import cgroups, outside
from sandbox.nodes.real.calico import Member, PodNetwork
from sandbox.nodes.real.disk import RealDisk
from sandbox.nodes.real.firewall import internet, ruleset
from sandbox.nodes.real.netns import Vpc, run
from sandbox.nodes.real.node import RealNode
from sandbox.nodes.real.tools import RealTools
from sandbox.processes import Supervisor

MACHINES = "machines"  # the folder of their disks
GROUP = "kubepark"  # the cgroup that all sandboxes of this host share
ADMIN = "super-admin.conf"
KUBECONFIG = "etc/kubernetes/super-admin.conf"
_LOOK_SECONDS = 1.0


def prefix_of(state_dir: Path) -> str:
    """What the namespaces and cgroups of one sandbox are called by."""
    return "kp-" + hashlib.sha256(str(state_dir.resolve()).encode()).hexdigest()[:6]


class RealBackend(NodeBackend[RealNode]):
    """All real nodes of one sandbox, for Linux machines with root."""

    def __init__(
        self, state_dir: Path, account: Account, supervisor: Supervisor, faults: Faults, tools: RealTools
    ) -> None:
        super().__init__(state_dir, account, supervisor, faults)
        self.tools = tools
        self.prefix = prefix_of(state_dir)
        self.vpc = Vpc(self.prefix)
        self.keys = RoleKeys()
        elsewhere = PullThrough(tools.pulled, Upstream())
        self.registry = Registry(tools.catalogue, elsewhere, state_dir / "logs" / "registry.jsonl")
        self.calls_log = state_dir / "logs" / "calls.jsonl"  # decisions about the nodes' AWS calls
        self._outside: list[Serving] = []
        self._outside_lock = threading.Lock()
        self._pods = PodNetwork(tools.nft)
        self._firewall: Hashable = None
        self.resume(on_disk(state_dir / MACHINES))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep_networks, name="networks", daemon=True)
        self._thread.start()

    def make(self, instance_id: str) -> RealNode:
        return RealNode(self, RealDisk(self.state_dir / MACHINES / instance_id))

    def close(self) -> None:
        """No machine is switched off: each runs on, and the next boot process finds it."""
        self._stopped.set()
        self._thread.join()
        super().close()
        for node in self.nodes.values():
            node.stop_serving()
        for each in self._outside:
            each.close()

    def serve_outside(self) -> None:
        """What is outside the machines' network, once there is one."""
        with self._outside_lock:
            if not self._outside:
                kept = self.state_dir / "packages"
                self._outside = outside.start(self.tools.mirrors, kept, self.vpc.path)

    def group(self, instance_id: str) -> str:
        """The cgroup of a machine, below each hierarchy."""
        return f"{GROUP}/{self.prefix}/{instance_id}"

    def is_taken(self, address: str, by: RealNode) -> bool:
        """Whether another machine still has an address that this one was given.

        The emulator calls an instance terminated at once, and its machine takes time to end.
        """
        others = (node for node in list(self.nodes.values()) if node is not by and not node.gone)
        return any(node.disk.memory.address == address for node in others)

    def api(self) -> Api:
        """A client with the administrator's rights. Raises `Unavailable` before there is a cluster."""
        for node in list(self.nodes.values()):
            if not node.api_port or not (root := node.root):
                continue
            try:
                text = (root / KUBECONFIG).read_text(encoding="utf-8")
            except OSError:  # kubeadm has not made it yet, or the machine ends
                continue
            path = self.state_dir / ADMIN
            atomic_write(path, with_server(text, f"https://127.0.0.1:{node.api_port}"))
            return Api.from_kubeconfig(path)
        raise Unavailable("no master has an API yet")

    # -- networks ----------------------------------------------------------------------------------

    def _keep_networks(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            try:
                self._keep_firewall()
                self._keep_pod_network(self.api())
            except Unavailable:  # no cluster yet, or its API restarts
                continue
            except (*CloudError, ApiError, SandboxError, OSError) as error:
                log("network", str(error))

    def _keep_firewall(self) -> None:
        """The switch's rules follow the security groups."""
        cloud = self.account.cloud
        version = cloud.version("ec2")
        if version == self._firewall or not self.vpc.path.exists():
            return
        running = [each for each in cloud.instances().values() if each.state == RUNNING]
        names = sorted({name for each in running for name in each.groups})
        found = cloud.ec2.describe_security_groups(GroupIds=names)["SecurityGroups"] if names else []
        rules = ruleset(running, {group["GroupId"]: group for group in found})
        reached = [
            (each.private_ip, port)
            for each in running
            for port in outside.PORTS
            if self.account.network.reaches_internet(each, port)
        ]
        run(self.vpc.path, [self.tools.nft, "-f", "-"], rules + internet(reached))
        self._firewall = version

    def _keep_pod_network(self, api: Api) -> None:
        """A pod network between the machines that have joined, once Calico is installed."""
        if not network_is_up(api):
            return
        (pool,) = api.get(INSTALLATION)["spec"]["calicoNetwork"]["ipPools"]
        members = [each for node in api.get("/api/v1/nodes")["items"] if (each := self._member(node))]
        for name in self._pods.connect(IPv4Network(pool["cidr"]), members):
            log("network", f"{name} has pod addresses")

    def _member(self, node: dict[str, Any]) -> Member | None:
        """A Node whose machine runs here and that was given pod addresses."""
        pods = node["spec"].get("podCIDR")
        machine = self.nodes.get(kubelet.instance_id(node))
        root = machine.root if machine else None
        if machine is None or root is None or not pods:
            return None
        addresses = node["status"]["addresses"]
        return Member(
            name=node["metadata"]["name"],
            address=next(each["address"] for each in addresses if each["type"] == "InternalIP"),
            pods=IPv4Network(pods),
            namespace=machine.namespace,
            root=root,
        )


def clear(state_dir: Path) -> None:
    """Remove what machines leave behind once their processes have ended: namespaces and cgroups."""
    prefix = prefix_of(state_dir)
    Vpc(prefix).remove()
    cgroups.remove(f"{GROUP}/{prefix}")
    cgroups.remove_if_empty(GROUP)
    # The account lived in the emulator's memory: no instance will ever come back to its disk.
    shutil.rmtree(state_dir / MACHINES, ignore_errors=True)
    (state_dir / ADMIN).unlink(missing_ok=True)

"""The real kind: machines in namespaces, the switch between them, and their pod network."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Hashable
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from sandbox.boot.cloud import RUNNING
from sandbox.boot.cloud import CloudError as CloudErrors
from sandbox.boot.log import say
from sandbox.errors import SandboxError
from sandbox.nodes import kubelet
from sandbox.nodes.agent import network_is_up
from sandbox.nodes.api import Api, ApiError, Unavailable
from sandbox.nodes.pool import NodePool
from sandbox.nodes.real import cgroups
from sandbox.nodes.real.calico import Member, PodNetwork, run
from sandbox.nodes.real.disk import RealDisk, disks
from sandbox.nodes.real.firewall import ruleset
from sandbox.nodes.real.netns import Vpc
from sandbox.nodes.real.node import RealNode
from sandbox.nodes.real.site import ADMIN, GROUP, RealSite, prefix_of

WORKERS = 6
MACHINES = "machines"  # the folder of their disks
_LOOK_SECONDS = 1.0
_INSTALLATION = "/apis/operator.tigera.io/v1/installations/default"


class RealNodes(NodePool[RealNode]):
    """All real nodes of one sandbox: the `NodeKind` of Linux machines with root."""

    def __init__(self, site: RealSite) -> None:
        folder = site.state_dir / MACHINES
        super().__init__(
            lambda instance_id: RealNode(site, RealDisk(folder / instance_id)),
            [disk.instance_id for disk in disks(folder)],
            WORKERS,
        )
        self.site = site
        self._pods = PodNetwork(site.nft)
        self._firewall: Hashable = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep_networks, name="networks", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No machine is switched off: each runs on, and the next boot process finds it."""
        self._stopped.set()
        self._thread.join()
        super().close()
        for node in self.nodes.values():
            node.stop_serving()

    # -- networks ----------------------------------------------------------------------------------

    def _keep_networks(self) -> None:
        said = ""
        while not self._stopped.wait(_LOOK_SECONDS):
            problem = ""
            try:
                self._keep_firewall()
                self._keep_pod_network(self.site.api())
            except Unavailable:  # no cluster yet, or its API restarts
                pass
            except (*CloudErrors, ApiError, SandboxError, OSError) as error:
                problem = str(error)
            if problem and problem != said:
                say("network", problem)
            said = problem

    def _keep_firewall(self) -> None:
        """The switch's rules follow the security groups."""
        cloud = self.site.around.cloud
        version = cloud.version("ec2")
        if version == self._firewall or not self.site.vpc.path.exists():
            return
        running = [each for each in cloud.instances().values() if each.state == RUNNING]
        names = sorted({name for each in running for name in each.groups})
        found = cloud.ec2.describe_security_groups(GroupIds=names)["SecurityGroups"] if names else []
        rules = ruleset(running, {group["GroupId"]: group for group in found})
        run(self.site.vpc.path, [str(self.site.nft), "-f", "-"], rules)
        self._firewall = version

    def _keep_pod_network(self, api: Api) -> None:
        """A pod network between the machines that have joined, once Calico is installed."""
        if not network_is_up(api):
            return
        (pool,) = api.get(_INSTALLATION)["spec"]["calicoNetwork"]["ipPools"]
        members = [each for node in api.get("/api/v1/nodes")["items"] if (each := self._member(node))]
        for name in self._pods.connect(IPv4Network(pool["cidr"]), members):
            say("network", f"{name} has pod addresses")

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

"""What Calico's data plane would do on real nodes, done from outside once Calico is installed.

Its images cannot be had where nothing but package registries is reachable, so its operator is a
stand-in that only runs. When the Installation exists and that operator is available, each node gets a
CNI configuration for its own pod addresses and a VXLAN device to the others, over UDP 4789 as with
`encapsulation: VXLAN`. Before that no node has a pod network, as in life.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from sandbox.files import atomic_write
from sandbox.nodes.real.firewall import table
from sandbox.nodes.real.netns import run

DEVICE = "vxlan.calico"
PORT = 4789
_ID = 4096
_MTU = 1450  # 1500 less VXLAN's 50 bytes
CONFIG = "etc/cni/net.d/10-calico.conflist"


@dataclass(frozen=True, kw_only=True)
class Member:
    """A node of the pod network. `root` is the machine's file system as seen from the host."""

    name: str
    address: str
    pods: IPv4Network
    namespace: Path
    root: Path

    @property
    def tunnel(self) -> str:
        """Address of its VXLAN device: the first of its pod addresses, as Calico has it."""
        return str(self.pods.network_address)

    @property
    def mac(self) -> str:
        digest = hashlib.sha256(f"{self.name} {self.address}".encode()).hexdigest()
        return "66:" + ":".join(digest[index : index + 2] for index in range(0, 10, 2))


def cni_config(member: Member) -> str:
    """The node's CNI configuration: a bridge with addresses from the node's own range."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "mtu": _MTU,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": str(member.pods), "rangeStart": str(member.pods.network_address + 2)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return json.dumps({"cniVersion": "1.0.0", "name": "k8s-pod-network", "plugins": [bridge]}, indent=1)


def commands(member: Member, others: Iterable[Member]) -> str:
    """Input of `ip -batch`: device, and a route to each other node's pods. May be run again."""
    lines = [f"address replace {member.tunnel}/32 dev {DEVICE}", f"link set {DEVICE} up"]
    for other in sorted(others, key=lambda each: each.name):
        lines += [
            f"neighbour replace {other.tunnel} lladdr {other.mac} dev {DEVICE} nud permanent",
            f"route replace {other.pods} via {other.tunnel} dev {DEVICE} onlink",
        ]
    return "\n".join([*lines, ""])


def masquerade(pool: IPv4Network) -> str:
    """An nft script: what leaves the pod network carries the node's address (`natOutgoing`)."""
    leaves = f"ip saddr {pool} ip daddr != {pool} masquerade"
    return table("ip calico-nat", "postrouting", "nat hook postrouting priority 100", leaves)


class PodNetwork:
    """The pod network of one cluster. `nft` is the program on the host."""

    def __init__(self, nft: Path) -> None:
        self._nft = nft
        self._done: dict[str, tuple[Member, frozenset[Member]]] = {}

    def connect(self, pool: IPv4Network, members: Iterable[Member]) -> list[str]:
        """Bring every member up to date: names of those that were changed. Raises `SandboxError`."""
        everyone = frozenset(members)
        changed = []
        for member in sorted(everyone, key=lambda each: each.name):
            wanted = (member, everyone - {member})
            if self._done.get(member.name) != wanted:
                self._connect(pool, *wanted)
                self._done[member.name] = wanted
                changed.append(member.name)
        return changed

    def _connect(self, pool: IPv4Network, member: Member, others: frozenset[Member]) -> None:
        if DEVICE not in run(member.namespace, ["ip", "-brief", "link"]):
            device = f"{DEVICE} address {member.mac} mtu {_MTU}"
            tunnel = f"vxlan id {_ID} local {member.address} dstport {PORT} dev eth0"
            run(member.namespace, ["ip", "-batch", "-"], f"link add {device} type {tunnel}\n")
        run(member.namespace, ["ip", "-batch", "-"], commands(member, others))
        forwarding = "".join(f"fdb replace {o.mac} dev {DEVICE} dst {o.address}\n" for o in others)
        run(member.namespace, ["bridge", "-batch", "-"], forwarding)
        run(member.namespace, [self._nft, "-f", "-"], masquerade(pool))
        atomic_write(member.root / CONFIG, cni_config(member), mode=0o644)

"""The pod network: Calico's operator from upstream YAML, then one `Installation` that says what we want.

VXLAN everywhere with BGP off: pods reach each other through UDP 4789 alone, and EC2's source and
destination check may stay on.
"""

from __future__ import annotations

from components.incluster.objects import Object, make
from config.model import Settings

# One pool, 64 addresses per node and block. The pool's CIDR is ignored once it exists.
_POOL = "default-ipv4-ippool"
_BLOCK_SIZE = 26


def plan_calico(settings: Settings) -> tuple[Object, ...]:
    """The `Installation`. Its name must be `default`, and its pool must lie in kubeadm's podSubnet.

    Source: https://docs.tigera.io/calico/latest/reference/installation/api
    """
    pool = {
        "name": _POOL,
        "cidr": str(settings.network.pod_cidr),
        "encapsulation": "VXLAN",
        "blockSize": _BLOCK_SIZE,
        "natOutgoing": "Enabled",
        "nodeSelector": "all()",
    }
    spec = {
        "variant": "Calico",
        "cni": {"type": "Calico", "ipam": {"type": "Calico"}},
        "kubeletVolumePluginPath": "None",  # no CSI driver: nothing here mounts its volumes
        "calicoNetwork": {
            "bgp": "Disabled",
            "linuxDataplane": "Iptables",
            # The node's own address, fixed by the plan; the first interface may be another.
            "nodeAddressAutodetectionV4": {"kubernetes": "NodeInternalIP"},
            "ipPools": [pool],
        },
    }
    return (make("operator.tigera.io/v1", "Installation", "default", spec=spec),)

"""A complete, valid stack configuration for tests, as plain data."""

from __future__ import annotations

import copy
from typing import Any

# Well-formed and useless: nobody knows a password for it.
HASH = "$2b$12$" + "x" * 53

# The working hours of a team, for `gpu.schedule`.
HOURS = {"start": "08:00", "stop": "19:00", "timezone": "Asia/Seoul", "days": "Mon-Fri"}

_BASE: dict[str, Any] = {
    "clusterName": "lab",
    "aws": {"region": "us-east-1", "accountId": "123456789012"},
    "platform": {"kubernetes": "1.36", "os": "ubuntu-24.04", "ami": "ami-0123456789abcdef0"},
    "network": {
        "availabilityZone": "us-east-1a",
        "secondAvailabilityZone": "us-east-1b",
        "adminCidrs": ["203.0.113.7/32", "198.51.100.0/24"],
    },
    "kubeflow": {"profiles": "controller"},
    "manifests": {"calico": "sandbox/manifests/calico.yaml", "kubeflow": "sandbox/manifests/kubeflow.yaml"},
    "people": [
        {"name": "ana", "email": "ana@example.org", "tier": "gpu"},
        {"name": "bo", "email": "bo@example.org"},
    ],
    "passwordHashes": {"ana": HASH, "bo": HASH},
    "oidcClientSecret": "0123456789abcdef0123456789abcdef",
}
SECRETS = frozenset({"passwordHashes", "oidcClientSecret", "connectorSecrets"})


def configuration(**changes: Any) -> dict[str, Any]:
    """The base configuration with `changes` by dotted path (dots as double underscores), None removes."""
    config = copy.deepcopy(_BASE)
    for path, value in changes.items():
        *parents, last = path.split("__")
        node = config
        for part in parents:
            node = node.setdefault(part, {})
        if value is None:
            node.pop(last, None)
        else:
            node[last] = value
    return config

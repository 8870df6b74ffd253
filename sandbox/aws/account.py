"""The emulated account as its machines meet it: instances, the network and permissions."""

from __future__ import annotations

from sandbox.aws.cloud import Cloud
from sandbox.aws.network import Network
from sandbox.aws.permissions import Permissions

HTTPS = 443


class Account:
    """What all machines of one emulator share."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.network = Network(cloud)
        self.permissions = Permissions(cloud)

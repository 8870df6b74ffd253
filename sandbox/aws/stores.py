"""moto's stores of the sandbox's one account, for what looks into them beside moto itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moto.backends import get_backend

from sandbox.config import ACCOUNT_ID


@dataclass(frozen=True)
class Stores:
    """The stores that serve the region of a request. The caller holds the emulator's lock."""

    region: str

    ec2 = property(lambda self: self._of("ec2"))
    iam = property(lambda self: get_backend("iam")[ACCOUNT_ID]["aws"])  # it has no regions
    kms = property(lambda self: self._of("kms"))
    s3 = property(lambda self: get_backend("s3")[ACCOUNT_ID]["aws"])
    scheduler = property(lambda self: self._of("scheduler"))
    ssm = property(lambda self: self._of("ssm"))

    @property
    def balancers(self) -> list[Any]:
        """Load balancers of both APIs."""
        stores = self._of("elb"), self._of("elbv2")
        return [each for store in stores for each in store.load_balancers.values()]

    def _of(self, service: str) -> Any:
        return get_backend(service)[ACCOUNT_ID][self.region]

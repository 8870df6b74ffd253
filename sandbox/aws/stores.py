"""moto's stores of the sandbox's one account, for what looks into them beside moto itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moto.ec2.models import ec2_backends
from moto.elb.models import elb_backends
from moto.elbv2.models import elbv2_backends
from moto.iam.models import iam_backends
from moto.kms.models import kms_backends
from moto.scheduler.models import scheduler_backends
from moto.ssm.models import ssm_backends

from sandbox.config import ACCOUNT_ID


@dataclass(frozen=True)
class Stores:
    """The stores that serve the region of a request. The caller holds the emulator's lock."""

    region: str

    @property
    def ec2(self) -> Any:
        return ec2_backends[ACCOUNT_ID][self.region]

    @property
    def balancers(self) -> list[Any]:
        """Load balancers of both APIs."""
        backends = elb_backends[ACCOUNT_ID][self.region], elbv2_backends[ACCOUNT_ID][self.region]
        return [each for backend in backends for each in backend.load_balancers.values()]

    @property
    def iam(self) -> Any:
        return iam_backends[ACCOUNT_ID]["aws"]

    @property
    def kms(self) -> Any:
        return kms_backends[ACCOUNT_ID][self.region]

    @property
    def scheduler(self) -> Any:
        return scheduler_backends[ACCOUNT_ID][self.region]

    @property
    def ssm(self) -> Any:
        return ssm_backends[ACCOUNT_ID][self.region]

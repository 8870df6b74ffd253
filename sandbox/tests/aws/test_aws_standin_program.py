"""The stand-in has what the program registers, and nothing else but what an open change needs."""

from __future__ import annotations

from sandbox.aws.provider.resource_types import RESOURCE_TYPES
from sandbox.tests.aws import standin_foundation
from tests.program import run

# Pinning the power of a pool, for which the program has no setting yet.
TO_COME = {"aws:ec2transitgateway/instanceState:InstanceState"}


def test_every_type_of_the_program_has_a_row_and_no_other_has() -> None:
    used = {item.type for item in run().resources.values() if item.type.startswith("aws:")}
    assert len(used) >= 15
    assert set(RESOURCE_TYPES) == used | TO_COME | standin_foundation.SAMPLES.keys()

"""The stand-in has what the program and `foundation/` register, and nothing else."""

from __future__ import annotations

from sandbox.aws.provider.resource_types import RESOURCE_TYPES
from sandbox.tests.aws import standin_foundation
from tests.configuration import HOURS, configuration
from tests.program import run


def test_every_type_of_the_program_has_a_row_and_no_other_has() -> None:
    program = run(config=configuration(workers__power="running", gpu__schedule=HOURS))
    used = {item.type for item in program.resources.values() if item.type.startswith("aws:")}
    assert len(used) >= 15
    assert set(RESOURCE_TYPES) == used | standin_foundation.SAMPLES.keys()

"""Random parks, unparks, updates and changes of people from two checkouts of one stack, some killed.

`KUBEPARK_SEED=17` takes another seed and the two after it; `python -m sandbox.tests.soak.power` takes forty.
"""

from __future__ import annotations

import os

import pytest

from sandbox.tests.soak.power_run import PowerRun
from sandbox.tests.stack.colleague import Colleague
from sandbox.tests.stack.project import Project

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

GIVEN = int(os.environ.get("KUBEPARK_SEED") or 0)
# One is enough here, since `make soak` takes forty: it changes people while no worker runs.
SEEDS = range(GIVEN, GIVEN + 3) if GIVEN else (23,)


@pytest.fixture(scope="module")
def sequences(checkout: Project, tmp_path_factory: pytest.TempPathFactory) -> PowerRun:
    first = checkout.as_declared()
    second = Colleague(tmp_path_factory.mktemp("colleague") / "project", first)
    return PowerRun(first, second, print)


@pytest.mark.parametrize("seed", SEEDS)
def test_no_sequence_of_commands_loses_anything_and_no_update_undoes_a_park(
    sequences: PowerRun, seed: int
) -> None:
    print(f"seed {seed}: KUBEPARK_SEED={seed} begins with the same steps again")
    sequences.run(seed)

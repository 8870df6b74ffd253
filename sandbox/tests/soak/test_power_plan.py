"""The model behind random sequences of power commands: what it allows, and that it can fail."""

from __future__ import annotations

import pytest

from sandbox.tests.soak.power_plan import MASTER, TARGETS, WORKERS, Step, World, outcome, sequence, torn

ALL = TARGETS["all"]
GPU = TARGETS["gpu"]


def worlds(seed: int) -> list[tuple[Step, World, World, bool | None]]:
    """Each step of a sequence with what is before and after it, and whether it succeeds."""
    found, world = [], World()
    for step in sequence(seed):
        after, succeeds = outcome(world, step)
        found.append((step, world, after, succeeds))
        world = after
    return found


@pytest.mark.parametrize("seed", range(40))
def test_only_park_and_unpark_change_who_runs_and_at_the_end_everybody_does(seed: int) -> None:
    taken = worlds(seed)
    assert [each[0] for each in taken] == sequence(seed), "a seed decides every step"
    for step, before, after, _ in taken:
        if step.verb not in ("park", "unpark"):
            assert after.parked == before.parked, "an update never undoes a park"
        assert MASTER not in after.parked or after.parked == ALL
    _, _, end, succeeds = taken[-1]
    assert (end.parked, end.deployed, succeeds) == (frozenset(), end.declared, True)


def test_every_command_happens_in_either_checkout_and_half_of_the_seeds_kill() -> None:
    by_seed = {seed: sequence(seed) for seed in range(40)}
    steps = [step for found in by_seed.values() for step in found]
    assert {(step.verb, step.target) for step in steps} == {
        *((verb, target) for verb in ("park", "unpark") for target in TARGETS),
        *(("up", ""), ("preview", ""), ("person", "bo"), ("person", "chris")),
    }
    assert {step.checkout for step in steps} == {0, 1}
    killing = [seed for seed, found in by_seed.items() if any(step.killed is not None for step in found)]
    assert killing == list(range(1, 40, 2))
    killed = [step for step in steps if step.killed is not None]
    assert {step.verb for step in killed} == {"park", "unpark", "up", "preview"}
    assert {(step.engine, step.colleague) for step in killed} == {
        (engine, colleague) for engine in (True, False) for colleague in (True, False)
    }
    updates = [
        (before, after) for seed in by_seed for step, before, after, _ in worlds(seed) if step.verb == "up"
    ]
    assert any(before.parked for before, _ in updates)
    waiting = [before for before, after in updates if after.deployed is None]
    assert waiting, "people were changed while no worker ran"
    assert all(before.parked >= WORKERS and not before.control_plane_off for before in waiting)


@pytest.mark.parametrize(
    ("step", "world", "after", "succeeds"),
    [
        (Step(verb="unpark", target="gpu"), World(ALL), World(ALL), False),
        (Step(verb="unpark", target="all"), World(ALL), World(), True),
        (Step(verb="up"), World(ALL), World(ALL), True),
        (Step(verb="up"), World(ALL, {"bo"}), World(ALL, {"bo"}), False),
        (Step(verb="up"), World(GPU, {"bo"}), World(GPU, {"bo"}, {"bo"}), True),
        (Step(verb="up"), World(ALL, {"bo"}, None), World(ALL, {"bo"}, None), None),
        (Step(verb="up"), World(WORKERS), World(WORKERS), True),
        (Step(verb="up"), World(WORKERS, {"bo"}), World(WORKERS, {"bo"}, None), True),
        (Step(verb="preview"), World(GPU, {"bo"}), World(GPU, {"bo"}), False),
        (Step(verb="preview"), World(GPU, {"bo"}, {"bo"}), World(GPU, {"bo"}, {"bo"}), True),
        (Step(verb="person", target="bo"), World(declared=frozenset({"bo"})), World(), True),
    ],
)  # fmt: skip
def test_what_waits_for_the_control_plane_or_a_worker(
    step: Step, world: World, after: World, succeeds: bool
) -> None:
    assert outcome(world, step) == (after, succeeds)


def test_whoever_is_off_is_in_the_record_at_each_moment_of_a_command() -> None:
    before, after = World(), World(GPU)
    none: frozenset[str] = frozenset()
    for one, other in ((before, after), (after, before)):  # park, and unpark
        assert torn(one, other, none, none) == []
        assert torn(one, other, none, GPU) == []
        assert torn(one, other, GPU, GPU) == []
        assert torn(one, other, GPU, none) == ["stopped and not recorded: ['gpu01']"]
    assert torn(World(GPU), World(GPU), none, GPU) == ["stopped: [], of ['gpu01'] to ['gpu01']"]
    worker = frozenset({"worker01"})
    assert torn(before, after, worker, worker) == [
        "stopped: ['worker01'], of [] to ['gpu01']",
        "recorded: ['worker01'], of [] to ['gpu01']",
    ]

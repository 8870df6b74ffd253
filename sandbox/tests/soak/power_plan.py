"""Random sequences of power commands and changes of people from two checkouts of one stack, decided by a seed
alone, and a model of what must be so after each step. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

Verb = Literal["park", "unpark", "up", "preview", "person"]

MASTER = "master1"
WORKERS = frozenset({"worker01", "worker02", "worker03"})
TARGETS: Mapping[str, frozenset[str]] = {
    "gpu": frozenset({"gpu01"}),
    "workers": WORKERS,
    "all": WORKERS | {"gpu01", MASTER},
}
PEOPLE = ("bo", "chris")
_WEIGHTS: Mapping[Verb, int] = {"park": 3, "unpark": 3, "up": 4, "preview": 1, "person": 3}
_KILLABLE = ("park", "unpark", "up", "preview")
_KILLS = 2  # of commands in a sequence that has any


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command in one checkout.

    `killed`: at which part of the time that the command takes it is killed with signal 9 (None: never); then
    it is run again. `colleague`: between the two, somebody else runs `up`. `engine`: what the command started
    is killed with it.
    """

    verb: Verb
    target: str = ""
    checkout: int = 0
    killed: float | None = None
    engine: bool = True
    colleague: bool = False

    def __str__(self) -> str:
        words = f"{' '.join(filter(None, (self.verb, self.target)))} from checkout {self.checkout}"
        if self.killed is None:
            return words
        alone = "" if self.engine else " of it alone"
        meanwhile = ", then `up` from the other one" if self.colleague else ""
        return f"{words}, kill -9{alone} after {self.killed:.0%}{meanwhile}, and again"


@dataclass(frozen=True)
class World:
    """What is so between two commands.

    `parked`: nodes that are stopped, which are those in the record. `declared`: people who are suspended in
    the stack file; `deployed`: in the cluster, None after an `up` that failed and may have begun, or that left
    what waits for a worker.
    """

    parked: frozenset[str] = frozenset()
    declared: frozenset[str] = frozenset()
    deployed: frozenset[str] | None = frozenset()

    @property
    def control_plane_off(self) -> bool:
        return MASTER in self.parked

    def updated(self) -> World:
        """What is so after an `up` with a control plane."""
        whole = self.deployed == self.declared or not self.parked >= WORKERS
        return replace(self, deployed=self.declared if whole else None)


def outcome(world: World, step: Step) -> tuple[World, bool | None]:
    """What is so after a step, and whether the command succeeds (None: nobody knows)."""
    names = TARGETS.get(step.target, frozenset())
    unchanged = None if world.deployed is None else world.deployed == world.declared
    if step.verb == "park":
        return replace(world, parked=world.parked | names), True
    if step.verb == "unpark":
        # Without the control plane no node can come back.
        refused = world.control_plane_off and MASTER not in names
        return (world, False) if refused else (replace(world, parked=world.parked - names), True)
    if step.verb == "person":
        return replace(world, declared=world.declared ^ {step.target}), True
    if step.verb == "preview":
        return world, unchanged
    # What is in the cluster waits while the control plane is off, and nothing is begun.
    if world.control_plane_off:
        return world, unchanged
    return world.updated(), True


def torn(before: World, after: World, off: frozenset[str], recorded: frozenset[str]) -> list[str]:
    """What is wrong with the power after a command was killed somewhere between these two worlds.

    The record is written before a stop and after a start, so that whoever is off is in it at each moment.
    """
    least, most = before.parked & after.parked, before.parked | after.parked
    faults = []
    for what, found in (("stopped", off), ("recorded", recorded)):
        if not least <= found <= most:
            faults.append(f"{what}: {sorted(found)}, of {sorted(least)} to {sorted(most)}")
    if not off <= recorded:
        faults.append(f"stopped and not recorded: {sorted(off - recorded)}")
    return faults


def sequence(seed: int) -> list[Step]:
    """The steps of a seed. Something is parked first, and at the end everything is brought back.

    Commands are killed in the sequences of odd seeds.
    """
    random = Random(seed)
    verbs = random.choices(list(_WEIGHTS), list(_WEIGHTS.values()), k=random.randint(2, 4))
    verbs.insert(random.randrange(len(verbs)), "up")
    verbs.insert(0, "park")
    steps = [_step(random, verb) for verb in verbs]
    if seed % 2:
        places = [place for place, step in enumerate(steps) if step.verb in _KILLABLE]
        for place in random.sample(places, min(_KILLS, len(places))):
            steps[place] = _killed(random, steps[place])
    last = random.randrange(2)
    end = [Step(verb="unpark", target="all", checkout=last), Step(verb="up", checkout=1 - last)]
    return [*steps, *end, Step(verb="preview", checkout=last)]


def _step(random: Random, verb: Verb) -> Step:
    targets = {"park": list(TARGETS), "unpark": list(TARGETS), "person": PEOPLE}.get(verb)
    return Step(verb=verb, target=random.choice(targets) if targets else "", checkout=random.randrange(2))


def _killed(random: Random, step: Step) -> Step:
    return replace(
        step, killed=random.random(), engine=random.random() < 0.5, colleague=random.random() < 0.5
    )

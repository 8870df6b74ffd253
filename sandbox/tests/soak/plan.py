"""What to do next: a random sequence of changes and accidents, decided by a seed alone.

Pure: the same seed gives the same steps, whatever the machine does with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Literal

Fault = Literal["none", "kill", "interrupt"]

FIRST_WORKERS = ("worker01", "worker02", "worker03")
FEWEST, MOST = 2, 5  # workers
TIERS = ("small", "medium", "gpu")
DRIFTS = ("instance-tag", "vpc-tag", "security-rule", "hosts-parameter", "config-map", "deployment")
BUILD_KILLS = 4  # creations that a rebuild is killed in; the first build is killed in each type's
INTERRUPT_SECONDS = 12.0  # longest time from the start of `up` to Ctrl-C

# What each change creates; a kill waits for one of them to be in flight.
_INSTANCE = "aws:ec2/instance:Instance"
CREATES: dict[str, tuple[str, ...]] = {
    "add-worker": (
        "aws:ssm/parameter:Parameter",
        "aws:iam/role:Role",
        "aws:iam/rolePolicy:RolePolicy",
        "aws:iam/instanceProfile:InstanceProfile",
        _INSTANCE,
    ),
    "bump": (_INSTANCE,),
    "terminate": (_INSTANCE,),
}


@dataclass(frozen=True)
class Step:
    """One change and one accident while it is carried out.

    `value`: the new generation or tier. `moment` (0 to 1): which of several things, or when.
    `killed`: the type whose creation `kill` strikes; empty where only the run can know (`rebuild`).
    """

    change: str
    target: str = ""
    value: str = ""
    fault: Fault = "none"
    moment: float = 0.0
    killed: str = ""

    def __str__(self) -> str:
        several = "each type" if self.change == "build" else "some types"
        accident = {"none": "", "kill": f", kill -9 creating {self.killed or several}"}
        words = accident.get(self.fault, f", Ctrl-C after {self.moment * INTERRUPT_SECONDS:.1f} s")
        return " ".join(filter(None, (self.change, self.target, self.value))) + words


@dataclass
class World:
    """What the stack file says, as far as the planner changes it."""

    generations: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*FIRST_WORKERS, "gpu01"), 1))
    people: dict[str, str] = field(default_factory=lambda: {"ana": "gpu", "bo": "medium", "chris": "small"})

    @property
    def workers(self) -> list[str]:
        return sorted(name for name in self.generations if name.startswith("worker"))

    def apply(self, step: Step) -> None:
        """What is so once the step is done."""
        if step.change == "add-worker":
            self.generations[step.target] = 1
        elif step.change == "remove-worker":
            del self.generations[step.target]
        elif step.change == "bump":
            self.generations[step.target] = int(step.value)
        elif step.change == "tier":
            self.people[step.target] = step.value


def steps(seed: int) -> Iterator[Step]:
    """Without end; the first builds everything from nothing."""
    random, world = Random(seed), World()
    yield Step("build", fault="kill", moment=random.random())
    while True:
        step = _next(random, world)
        world.apply(step)
        yield step


def _next(random: Random, world: World) -> Step:
    change = random.choice([name for name, choice in _CHANGES.items() if choice.possible(world)])
    target, value = _CHANGES[change].pick(random, world)
    fault, killed = _accident(random, change)
    return Step(change, target, value, fault, random.random(), killed)


def _accident(random: Random, change: str) -> tuple[Fault, str]:
    """Half of the changes go undisturbed. A kill needs a creation to strike."""
    if change == "rebuild":
        return "kill", ""
    faults: list[Fault] = ["none", "interrupt"] if change not in CREATES else ["none", "interrupt", "kill"]
    weights = [2] + [1] * (len(faults) - 1)
    fault = random.choices(faults, weights)[0]
    return fault, random.choice(CREATES[change]) if fault == "kill" else ""


def _always(_world: World) -> bool:
    return True


@dataclass(frozen=True)
class _Choice:
    """How a change gets its target and value, and when it can be made at all."""

    pick: Callable[[Random, World], tuple[str, str]]
    possible: Callable[[World], bool] = _always


def _new_worker(random: Random, world: World) -> tuple[str, str]:
    free = [f"worker{number:02d}" for number in range(1, 10) if f"worker{number:02d}" not in world.workers]
    return random.choice(free), ""


def _any_worker(random: Random, world: World) -> tuple[str, str]:
    return random.choice(world.workers), ""


def _any_node(random: Random, world: World) -> tuple[str, str]:
    """The master is left alone: a new one is a rebuild, with settings of its own."""
    return random.choice(sorted(world.generations)), ""


def _bump(random: Random, world: World) -> tuple[str, str]:
    node, _ = _any_node(random, world)
    return node, str(world.generations[node] + 1)


def _tier(random: Random, world: World) -> tuple[str, str]:
    person = random.choice(sorted(world.people))
    return person, random.choice([tier for tier in TIERS if tier != world.people[person]])


def _person(random: Random, world: World) -> tuple[str, str]:
    return random.choice(sorted(world.people)), ""


def _drift(random: Random, _world: World) -> tuple[str, str]:
    return random.choice(DRIFTS), ""


_CHANGES = {
    "add-worker": _Choice(_new_worker, lambda world: len(world.workers) < MOST),
    "remove-worker": _Choice(_any_worker, lambda world: len(world.workers) > FEWEST),
    "bump": _Choice(_bump),
    "tier": _Choice(_tier),
    "hash": _Choice(_person),
    "terminate": _Choice(_any_node),
    "drift": _Choice(_drift),
    "rebuild": _Choice(lambda _random, _world: ("", "")),
}

"""Every problem's printed command, pasted: the real CLI carries it out, and that problem is gone."""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from config import ROOT, costs, last_update, prices, settings
from config.instance_types import GPU_INSTANCE_TYPES
from config.model import Settings
from config.problems import Problem
from config.validation import Section
from config.versions import RELEASES
from sandbox.tests.program.printed_fixes import STACK, StackFile, problems_of, rules_of_problems
from tests.configuration import HASH, HOURS, SECRETS, configuration
from tests.unit.test_settings import CASES

pytestmark = pytest.mark.sandbox

OTHER = "Ana.b"  # whose name is none of a cluster
# The calls that find problems; `test_no_rule_is_left_out` looks for each of them in config/.
RECORDING = {"add", "add_secret", "add_lookup", "refuse", "value", "choice", "number", "each"}
# A release with a platform that another one has not, a type with another GPU: there is one release, with one
# platform, and one model of GPU.
NOT_YET = ("config/sections/platform.py", "config/sections/nodes.py")
CLIENT = {"clientId": "kubepark"}
ISSUER = "https://kubeflow.acme.org/dex"
OIDC = {"type": "oidc", "id": "corp", "name": "Company", "issuer": "https://login.acme.org", **CLIENT}
ANA = {"name": "ana", "email": "ana@example.org", "namespace": "ana"}
BO = {"name": "bo", "email": "bo@example.org"}


def people(*listed: dict[str, Any], **more: Any) -> dict[str, Any]:
    hashes = {str(each["name"]): HASH for each in listed if "name" in each}
    return configuration(people=list(listed), passwordHashes=hashes, **more)


def quota(**hard: Any) -> dict[str, Any]:
    return people({**ANA, "quota": {key.replace("_", "."): value for key, value in hard.items()}})


FULL = people(
    {**ANA, "state": "removed", "data": "keep", "access": {"bo": "view"}},
    BO,
    controlPlane={"name": "master1"},
    gpu={
        "nodes": {"gpu07": {}},
        "timeSlicing": {"replicas": 1},
        "schedule": HOURS,
        "idleMinutes": 60,
        "wakeOnDemand": True,
        "market": "spot",
    },
    workers={"nodes": {"worker01": {}}},
    connectors=[OIDC],
    oidcIssuer=ISSUER,
    connectorSecrets={"corp": "x"},
    groups={"g": {"access": {"bo": "edit"}}},
    tags={"team": "ml"},
)
REFUSED = [
    *(configuration(**changes) for changes, _ in CASES.values()),
    configuration(network=["a"], workers="text", people="text", tags={"example.org/a.b": [1]}),
    configuration(network__vpcCidr="192.168.0.0/16"),
    configuration(network__secondAvailabilityZone="us-east-1a", network__adminCidrs={"a": "b"}),
    configuration(platform__ami="ami-1", tags={"kubepark:x": "1", 'a."b" c': "2", "123": [1]}),
    configuration(gpu__labels={"kubernetes.io/a.b": "x", "": "y", "example.org/a.b": [1]}),
    configuration(**{"foo.bar": {"x": 1}}),
    configuration(controlPlane__name="gpu01"),
    configuration(gpu={"instanceTypes": ["m7i.large"]}),
    configuration(gpu={"idleMinutes": 5, "wakeOnDemand": "maybe", "market": "cheap"}),
    configuration(gpu={"instanceTypes": ["g4dn.xlarge", "g4dn.2xlarge"], "market": "spot"}),
    configuration(gpu={"instanceTypes": ["g4dn.xlarge", "g4dn.xlarge"], "instanceType": "g4dn.xlarge"}),
    configuration(gpu={"power": "stopped", "schedule": {"start": "8", "stop": "9", "timezone": "x", "days": "x"}}),
    configuration(gpu={"schedule": {"start": "08:00", "stop": "08:00"}}),
    configuration(clusterName="a", gpu={"nodes": {f"{'g' * 57}01": {}}, "schedule": HOURS}),
    configuration(workers__nodes={f"{'w' * 59}01": {}}),
    configuration(peopleFile=[7]),
    configuration(peopleFile="people.yaml", people=None),
    configuration(peopleFile="people.yaml", people=[ANA]),
    configuration(aws__accountId=123456789012),
    configuration(budget={"monthlyUsd": 1}),
    configuration(budget={"monthlyUsd": "much", "acknowledgedUsd": 5}),
    people({"email": "1234@example.org"}),
    people({**ANA, "email": "Ana@example.org"}, BO, connectors=[OIDC]),
    people({**ANA, "groups": ["none"]}, {**ANA, "access": {"eve.x": "edit"}}),
    people(ANA, {**BO, "name": "ana-2"}, {**BO, "name": "ana", "email": "b.o@example.org"}),
    people({**BO, "email": "a.b@example.org"}, {**ANA, "email": "a-b@example.org"}),
    people({**ANA, "role": "viewer", "tier": "small", "access": {"bo": "edit"}, "groups": ["g"]}, BO, groups=FULL["groups"]),
    people({**ANA, "state": "removed"}, {**BO, "data": "keep"}, groups={"G!": {}}),
    people({**ANA, "groups": ["No!"], "tier": "small", "quota": {"pods": 4}}),
    people({"name": "ana", "email": f"kube-{'a' * 58}@example.org"}),
    quota(cpu="1", pods="x", requests_storage="1x"),
    quota(requests_cpu="5", limits_cpu="4"),
    quota(requests_cpu="50m", limits_cpu="1"),
    quota(requests_memory="4Gi", limits_memory="5Mi"),
    quota(**{"requests_nvidia_com/gpu": 9}),
    configuration(connectors=[OIDC], connectorSecrets={"corp": "x"}),
    configuration(oidcIssuer="https://Kubeflow.acme.org/dex"),
    configuration(connectors=[OIDC, OIDC, {"type": "github", "id": "gh", **CLIENT}]),
    configuration(connectors=[{"type": "google", "id": "g", "hostedDomains": [1], **CLIENT}]),
]  # fmt: skip
# What the stack was, and what it would be.
LOST = [
    (configuration(), configuration(network__vpcCidr="10.30.0.0/16", network__podCidr="172.16.0.0/16")),
    (configuration(), configuration(clusterName="other")),
    (people(ANA), people({**ANA, "role": "viewer", "namespace": None, "email": "new@example.org"})),
    (people(ANA), people({**ANA, "namespace": "lab"})),
    (people(ANA), people({**ANA, "email": "new@example.org"})),
    (configuration(), configuration(controlPlane__generation=2, controlPlane__protected=True)),
]


@dataclass(frozen=True)
class Stack:
    """A configuration that is refused. `before`: that of the last update; `plain`: see `settings.parse`."""

    config: dict[str, Any]
    before: Settings | None = None
    plain: frozenset[str] = frozenset()
    name: str = STACK

    def problems(self, config: dict[str, Any], plain: frozenset[str]) -> tuple[Problem, ...]:
        def parse() -> None:
            found = settings.parse(self.name, config, self.plain & plain)
            costs.check_budget(
                self.name, found.budget, costs.plan_stack(found, prices.load(found.aws.region))
            )
            if self.before:
                last_update.check(self.name, found, last_update.outputs(self.before))

        return problems_of(parse)


def wrong_types() -> dict[str, Any]:
    """`FULL` with each value of a wrong type."""
    read: list[tuple[Section, str]] = []
    value = Section.value

    def recording(self: Section, key: str, *arguments: Any, **named: Any) -> Any:
        read.append((self, key))
        return value(self, key, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Section, "value", recording)
        settings.parse(STACK, FULL)
    assert len(read) > 50
    wrong = copy.deepcopy(FULL)
    for section, key in read:
        place: Any = wrong
        for part in re.findall(r"[A-Za-z0-9]+", section.path.partition(":")[2]):
            place = place[int(part)] if part.isdigit() else place.setdefault(part, {})
        if key != "peopleFile":  # the list would be there
            place[key] = [7]
    return wrong


def stacks() -> Iterator[Stack]:
    yield Stack(wrong_types())
    yield from map(Stack, REFUSED)
    yield from (Stack(now, settings.parse(STACK, before)) for before, now in LOST)
    yield Stack(configuration(), plain=SECRETS)
    yield Stack(configuration(clusterName=None), name=OTHER)


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[Stack, Problem]]:
    """For each rule one stack that breaks it, with the problem."""
    by_rule: dict[str, tuple[Stack, Problem]] = {}
    for stack in stacks():
        with rules_of_problems() as rules:
            problems = stack.problems(stack.config, stack.plain)
            assert problems, stack.config
            for problem in problems:
                by_rule.setdefault(rules[id(problem)], (stack, problem))
    return by_rule


def test_every_printed_command_works(
    found: dict[str, tuple[Stack, Problem]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    free: dict[str, SimpleQueue[StackFile]] = {STACK: SimpleQueue(), OTHER: SimpleQueue()}
    for name in (STACK, STACK, OTHER):
        free[name].put(StackFile(tmp_path_factory.mktemp("project"), name))

    def attempt(stack: Stack, problem: Problem) -> list[str]:
        """What is wrong with the fix: the problem is still there, or the key has another one."""
        file, before = free[stack.name].get(), stack.problems(stack.config, stack.plain)
        try:
            file.write(stack.config)
            file.run(problem.fix)
            after = stack.problems(file.read(), file.plain())
        finally:
            free[stack.name].put(file)
        still = [each for each in after if each == problem]
        other = [each for each in after if each not in before and each.key == problem.key]
        return [f"{problem}\n  after it: {each}" for each in [*still, *other]]

    with ThreadPoolExecutor(2) as pool:
        assert [
            line for lines in pool.map(lambda each: attempt(*each), found.values()) for line in lines
        ] == []


def test_no_rule_is_left_out(found: dict[str, tuple[Stack, Problem]]) -> None:
    left = []
    for path in sorted((ROOT / "config").rglob("*.py")):
        if path.name != "validation.py":
            left += [
                f"{path.relative_to(ROOT)}:{call.lineno}"
                for call in _rules(path)
                if not _met(call, path, found)
            ]
    assert len(RELEASES) == len({each.label for each in GPU_INSTANCE_TYPES.values()}) == 1
    assert [each for each in left if not each.startswith(NOT_YET)] == []
    assert len(left) == len(NOT_YET)
    assert {"unknown key", "no object", "no list"} <= set(found)


def _rules(path: Path) -> list[ast.Call]:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    named = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in RECORDING]
    return [call for call in named if len(call.args) + len(call.keywords) > 1]  # a set's `add` has one


def _met(call: ast.Call, path: Path, found: dict[str, Any]) -> bool:
    lines = range(call.lineno, (call.end_lineno or call.lineno) + 1)
    return any(f"{path.relative_to(ROOT)}:{line}" in found for line in lines)

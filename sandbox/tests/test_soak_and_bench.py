"""The plans and sums behind `make soak` and `make bench`: a check that cannot fail proves nothing."""

from __future__ import annotations

from itertools import islice

import pytest

from components.incluster.crds import slim
from sandbox.tests.bench.definitions import ISTIO, ISTIO_SHAPE, Shape, definition, shape, size
from sandbox.tests.bench.floor import rows
from sandbox.tests.bench.measure import Row, Sample, middle, table
from sandbox.tests.soak import checks
from sandbox.tests.soak.plan import CREATES, FEWEST, MOST, World, steps


@pytest.mark.parametrize("seed", range(20))
def test_a_seed_decides_every_step_and_each_is_possible(seed):
    taken = list(islice(steps(seed), 60))
    assert taken == list(islice(steps(seed), 60))
    assert (taken[0].change, taken[0].fault) == ("build", "kill")
    world = World()
    for step in taken[1:]:
        known = {*world.generations, *world.people}
        if step.change in ("remove-worker", "bump", "terminate", "tier", "hash"):
            assert step.target in known
        elif step.change == "add-worker":
            assert step.target not in known
        if step.killed:
            assert step.killed in CREATES[step.change]
        world.apply(step)
        assert FEWEST <= len(world.workers) <= MOST
    assert taken != list(islice(steps(seed + 1), 60))


def test_every_change_and_accident_happens():
    taken = [step for seed in range(5) for step in islice(steps(seed), 100)]
    assert {step.change for step in taken} == {
        *("build", "rebuild", "add-worker", "remove-worker", "bump", "tier", "hash", "terminate", "drift")
    }
    assert {step.fault for step in taken} == {"none", "kill", "interrupt"}


def test_what_is_there_twice_or_not_at_all_is_a_fault():
    state = [{"type": "vpc", "id": "a"}, {"type": "other", "id": "x"}]
    assert checks.one_of_each({"vpc": ["a"]}, state) == []
    assert checks.one_of_each({"vpc": ["a", "b"]}, state) == ["vpc: live and not in the state: ['b']"]
    assert checks.one_of_each({"vpc": ["a", "a"]}, state) == ["vpc: live and not in the state: ['a']"]
    assert checks.one_of_each({"vpc": []}, state) == ["vpc: in the state and not live: ['a']"]


def test_names_of_a_map_are_compared_and_not_its_values():
    assert checks.differences("nodes", {"a": {"spec": 1}, "b": {}}, ["a", "b"]) == []
    assert checks.differences("nodes", {"a": {}}, ["b"]) == [
        "nodes: live and not in the state: ['a']",
        "nodes: in the state and not live: ['b']",
    ]


def test_a_figure_over_its_limit_is_said():
    within, over = Row("up", 89.9, "s", 90.0), Row("ratio", 2.51, "", 2.5)
    assert (within.ok, over.ok, Row("seconds", 1e9, "s").ok) == (True, False, True)
    assert middle([Sample(3, 1), Sample(1, 9), Sample(2, 5)]) == Sample(2, 5)
    head, first, second = table([within, over]).splitlines()
    assert head.split() == ["measured", "value", "limit", "result"]
    assert first.split() == ["up", "89.90", "s", "90", "s", "PASS"]
    assert second.split() == ["ratio", "2.51", "2.5", "over", "limit"]


def test_the_floor_has_the_same_parents_providers_and_dependencies():
    provider = "urn:pulumi:s::p::pulumi:providers:aws::aws"
    component, leaf = "urn:pulumi:s::p::kubepark:index:Network::network", "urn:pulumi:s::p::n$t::leaf"
    stack = {"urn": "urn:pulumi:s::p::pulumi:pulumi:Stack::p-s", "type": "pulumi:pulumi:Stack"}
    made = rows(
        [
            stack,
            {"urn": provider, "type": "pulumi:providers:aws", "custom": True, "parent": stack["urn"]},
            {"urn": component, "type": "kubepark:index:Network", "parent": stack["urn"]},
            {"urn": leaf, "type": "t", "custom": True, "parent": component,
             "provider": f"{provider}::an-id", "dependencies": [provider]},
        ]
    )  # fmt: skip
    assert [(row.name, row.custom, row.parent, row.provider, row.dependencies) for row in made] == [
        ("aws", True, None, None, ()),
        ("network", False, None, None, ()),
        ("leaf", True, 1, 0, (0,)),
    ]


def test_generated_definitions_are_as_large_and_as_deep_as_the_real_ones():
    assert shape({"a": {"b": [1, 2]}, "c": "d"}) == Shape(values=6, objects=2, nested=6 + 4)
    full = [definition("net.example.org", f"Istio{n:02d}", *kilobytes) for n, kilobytes in enumerate(ISTIO)]
    bare = [slim(each) for each in full]
    assert size(full) == pytest.approx(1000 * sum(described for described, _ in ISTIO), rel=0.1)
    assert size(bare) == pytest.approx(1000 * sum(without for _, without in ISTIO), rel=0.1)
    found = sum(map(shape, bare), start=Shape())
    for field in ("values", "objects", "nested"):
        assert getattr(found, field) == pytest.approx(getattr(ISTIO_SHAPE, field), rel=0.1), field

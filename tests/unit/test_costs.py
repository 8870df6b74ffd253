"""What a stack costs, line by line, against figures that were worked out by hand; and the budget.

In us-east-1 a month of 730 hours is of m7i.large 0.1008 * 730 = 73.584, of m7i.xlarge 147.168, of g4dn.xlarge
383.98, of 40 GB of gp3 3.20, of 100 GB 8.00, of a public address 0.005 * 730 = 3.65, of a key 1.00.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from components import preflight
from config import costs, prices, settings
from config.costs import Cost, Pool, StackCost, State
from config.prices import PriceTable
from config.problems import SettingsError
from tests.configuration import configuration
from tests.program import run


def cost(**changes: Any) -> StackCost:
    found = settings.parse("dev", configuration(**changes))
    return costs.plan_stack(found, prices.load(found.aws.region))


RUNNING, GPU_PARKED, ALL_PARKED = State


def elsewhere(region: str) -> dict[str, Any]:
    zones = {"availabilityZone": f"{region}a", "secondAvailabilityZone": f"{region}b"}
    return {"aws__region": region} | {f"network__{key}": zone for key, zone in zones.items()}


@pytest.mark.parametrize(
    ("pool", "running", "gpu_parked", "all_parked"),
    [
        (
            Pool.CONTROL_PLANE,
            "80.434",
            "80.434",
            "6.85",
        ),  # 73.584 + 3.20 + 3.65; its address is an Elastic IP
        (Pool.WORKERS, "476.454", "476.454", "24"),  # 3 * (147.168 + 8.00 + 3.65); 3 disks
        (Pool.GPU, "395.63", "8", "8"),  # 383.98 + 8.00 + 3.65; the disk
        (Pool.KEYS, "2", "2", "2"),
    ],
)
def test_a_month_of_each_pool(pool: Pool, running: str, gpu_parked: str, all_parked: str) -> None:
    found = [cost().of(pool, state).known for state in State]
    assert found == [Decimal(running), Decimal(gpu_parked), Decimal(all_parked)]


def test_a_month_and_an_hour_of_everything() -> None:
    found = [cost().sum(state) for state in State]
    assert [each.known for each in found] == [Decimal("954.518"), Decimal("566.888"), Decimal("40.85")]
    # 0.1008 + 3 * 0.2016 + 0.526 + 5 * 0.005 + (440 * 0.08 + 2) / 730 = 1.25660 + 0.05096
    assert [f"{each.hourly.known:.4f}" for each in found] == ["1.3076", "0.7766", "0.0560"]


def test_a_month_of_eight_hours_on_five_days_a_week() -> None:
    """40 of 168 hours: of the GPU 8.00 + 387.63 * 40 / 168, of everything 40.85 + 913.668 * 40 / 168."""
    found = cost()
    gpu = costs.at_work(found.of(Pool.GPU, RUNNING), found.of(Pool.GPU, ALL_PARKED))
    assert f"{gpu.known:.4f}" == "100.2929"
    assert f"{costs.at_work(found.sum(RUNNING), found.sum(ALL_PARKED)).known:.4f}" == "258.3900"
    assert f"{costs.at_work(found.sum(RUNNING), found.sum(GPU_PARKED)).known:.4f}" == "659.1809"
    assert costs.at_work(found.sum(RUNNING), found.sum(RUNNING)) == found.sum(RUNNING)


def test_what_a_parked_node_still_costs() -> None:
    master, worker, *_, gpu = cost().nodes
    assert (master.disk.known, master.parked_address.known) == (Decimal("3.2"), Decimal("3.65"))
    for node in (worker, gpu):
        assert (node.disk.known, node.parked_address.known, node.parked.known) == (8, 0, 8)


def test_each_node_counts_with_its_own_type_and_disk() -> None:
    nodes = {"worker01": {}, "worker07": {"instanceType": "t3.large", "volumeGb": 50}}
    found = cost(workers__nodes=nodes, **elsewhere("ap-northeast-2"))
    # Seoul: 0.2478 * 730 + 100 * 0.0912 + 3.65 and 0.104 * 730 + 50 * 0.0912 + 3.65
    assert [node.running.known for node in found.nodes[1:3]] == [Decimal("193.664"), Decimal("84.13")]
    assert found.of(Pool.CONTROL_PLANE, RUNNING).known == Decimal("97.745")  # 90.447 + 3.648 + 3.65
    assert found.of(Pool.GPU, RUNNING).known == Decimal("485.08")  # 472.31 + 9.12 + 3.65


def test_without_gpu_nodes_there_is_nothing_to_park() -> None:
    found = cost(gpu__power="absent")
    assert found.of(Pool.GPU, RUNNING).known == 0
    assert found.sum(RUNNING) == found.sum(GPU_PARKED)
    assert found.sum(RUNNING).known == Decimal("558.888")  # 954.518 - 395.63


def test_a_pool_that_is_to_be_stopped_costs_what_a_parked_one_does() -> None:
    found = cost(gpu__power="stopped")
    assert found.of(Pool.GPU, RUNNING).known == 8
    assert found.sum(RUNNING) == cost().sum(GPU_PARKED)
    assert found.sum(ALL_PARKED) == cost().sum(ALL_PARKED)


def test_what_has_no_price_makes_the_sum_unknown_and_is_named() -> None:
    table = prices.load("us-east-1")
    without = {item: price for item, price in table.prices.items() if item != "g4dn.xlarge"}
    found = costs.plan_stack(settings.parse("dev", configuration()), PriceTable("us-east-1", without))
    assert found.of(Pool.WORKERS, RUNNING).known is not None
    assert found.sum(RUNNING).known is None
    assert found.sum(RUNNING).unknown == {"g4dn.xlarge"}
    assert found.sum(GPU_PARKED).known == Decimal("566.888")
    assert costs.outputs(found) == {"monthly_usd_gpu_parked": 566.89}
    assert (Cost() - found.sum(RUNNING)).known is None


# -- stack outputs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("preview", [False, True], ids=["up", "preview"])
def test_the_stack_outputs_are_the_same_in_previews(preview: bool) -> None:
    outputs = run(preview=preview).outputs
    assert (outputs["monthly_usd"], outputs["monthly_usd_gpu_parked"]) == (954.52, 566.89)


def test_where_no_price_is_known_there_is_no_output() -> None:
    recording = run(config=configuration(**elsewhere("eu-central-1")))
    assert recording.error is None
    assert not {name for name in recording.outputs if "monthly" in name}


# -- the budget ------------------------------------------------------------------------------------


def refused(**changes: Any) -> list[str]:
    found = settings.parse("dev", configuration(**changes))
    try:
        preflight.plan("dev", found, offline=True)
    except SettingsError as error:
        return [str(problem) for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "budget",
    [
        {},
        {"monthlyUsd": 955},
        {"monthlyUsd": "955"},
        {"monthlyUsd": 500, "acknowledgedUsd": 955},
        {"monthlyUsd": 955, "acknowledgedUsd": 1},
    ],
)
def test_a_plan_within_the_budget_or_acknowledged_goes_on(budget: dict[str, Any]) -> None:
    assert refused(budget=budget) == []


@pytest.mark.parametrize("budget", [{"monthlyUsd": 954}, {"monthlyUsd": 954, "acknowledgedUsd": 954}])
def test_a_plan_over_the_budget_is_refused_with_what_it_costs(budget: dict[str, Any]) -> None:
    assert refused(budget=budget) == [
        "kubepark:budget.acknowledgedUsd: the plan costs 954.52 USD a month (control plane 80.43, "
        "workers 476.45, GPU 395.63, keys 2.00), over the budget of 954 USD; accepted: 955 USD at least, here "
        "or in budget.monthlyUsd; or a smaller plan; fix: pulumi config set --stack dev --path "
        "kubepark:budget.acknowledgedUsd 955"
    ]


def test_up_is_refused_before_anything_is_registered() -> None:
    recording = run(config=configuration(budget={"monthlyUsd": 500}))
    assert "over the budget of 500 USD" in str(recording.error)
    assert all("pulumi:pulumi:Stack" in urn for urn in recording.urns)


def test_the_known_part_alone_can_be_over_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    table = prices.load("us-east-1")
    without = {item: price for item, price in table.prices.items() if item != "g4dn.xlarge"}
    monkeypatch.setattr(prices, "load", lambda region: PriceTable(region, without))
    assert "over the budget of 100 USD" in refused(budget={"monthlyUsd": 100})[0]


def test_a_budget_needs_prices() -> None:
    assert refused(budget={"monthlyUsd": 9999}, **elsewhere("eu-central-1")) == [
        "kubepark:budget.monthlyUsd: cannot be compared with the plan: no price is known of g4dn.xlarge, gp3, "
        "kmsKey, m7i.large, m7i.xlarge, publicIpv4 in eu-central-1; accepted: prices in eu-central-1, or no "
        "budget; fix: bin/kubepark price --refresh --region eu-central-1"
    ]


@pytest.mark.parametrize(
    ("budget", "wrong"),
    [
        ({"monthlyUsd": "much"}, 'budget.monthlyUsd: "much" is not a whole number'),
        ({"monthlyUsd": 0}, "budget.monthlyUsd: 0 is outside 1 to 1000000"),
        ({"acknowledgedUsd": 9.5}, "budget.acknowledgedUsd: 9.5 is not a whole number"),
        ({"monthlyUSD": 5}, "budget.monthlyUSD: is not a known key (did you mean monthlyUsd?)"),
        (500, "budget: 500 is not an object"),
    ],
)
def test_a_budget_of_another_form_is_refused(budget: Any, wrong: str) -> None:
    with pytest.raises(SettingsError) as raised:
        settings.parse("dev", configuration(budget=budget))
    (problem,) = raised.value.problems
    assert str(problem).startswith(f"kubepark:{wrong}")

"""What a park stops, cordons, evicts and asks; what a started node still lacks; what a park saves."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from cli import power_plan
from cli.errors import CommandError
from config import costs, prices, settings
from config.costs import StackCost
from config.naming import CORDONED
from tests.configuration import configuration
from tests.unit.park_objects import LAUNCHED, machine, machines, node, pod, record

NODES = [node("gpu01"), node("worker01"), node("worker02"), node("master1")]
PODS = [
    pod("train", "gpu01", gpus=1, owner="Job"),
    pod("web", "worker01"),
    pod("bare", "gpu01", owner=""),
    pod("plugin", "gpu01", namespace="kube-system", owner="DaemonSet"),
    pod("done", "gpu01", owner="Job", gpus=1, phase="Succeeded"),
    pod(
        "etcd-master1",
        "master1",
        namespace="kube-system",
        owner="Node",
        annotations={"kubernetes.io/config.mirror": "x"},
    ),
    pod("coredns", "worker01", namespace="kube-system"),
    pod("dex", "worker02", namespace="auth"),
    pod("try", "worker02", namespace="default", owner=""),
]


def plan(target: str, nodes: list[dict[str, Any]] = NODES, **states: str) -> power_plan.ParkPlan:
    chosen = power_plan.chosen(target, machines(**states), "dev")
    return power_plan.plan_park(target, chosen, nodes, PODS)


@pytest.mark.parametrize(
    ("target", "stopped", "cordoned", "evicts", "pods"),
    [
        ("gpu", ["gpu01"], ["gpu01"], True, ["ana/train", "ana/bare"]),
        ("worker01", ["worker01"], ["worker01"], True, ["ana/web", "kube-system/coredns"]),
        ("workers", ["worker01", "worker02"], ["worker01", "worker02"], False, ["ana/web", "default/try"]),
        (
            "all",
            ["gpu01", "worker01", "worker02", "master1"],
            ["gpu01", "worker01", "worker02"],
            False,
            ["ana/train", "ana/bare", "ana/web", "default/try"],
        ),
    ],
)
def test_what_is_stopped_cordoned_and_evicted(
    target: str, stopped: list[str], cordoned: list[str], evicts: bool, pods: list[str]
) -> None:
    """Pods of DaemonSets, of files and that have ended hold nobody up; of pools that go whole, people's are listed."""
    found = plan(target)
    assert [each.name for each in found.running] == stopped
    assert list(found.cordon) == cordoned
    assert found.evicts is evicts
    assert [each.key for each in found.pods] == pods


def test_a_person_is_told_who_holds_a_gpu_and_what_nothing_makes_anew() -> None:
    assert power_plan.question(plan("gpu")) == [
        "to stop gpu01, these pods are evicted:",
        "  ana/train on gpu01 (1 GPU)",
        "  ana/bare on gpu01 (nothing makes it anew)",
    ]
    assert power_plan.question(plan("workers"))[0] == (
        "to stop worker01, worker02, these pods end with their nodes, and have nowhere else to go:"
    )
    assert power_plan.question(plan("gpu", gpu01="stopped")) == []


def test_a_cordon_that_somebody_else_made_is_left_to_them_and_our_own_is_of_this_boot() -> None:
    theirs = plan("gpu", [node("gpu01", unschedulable=True)])
    assert theirs.cordon == {}
    ours = plan("gpu", [node("gpu01", boot="boot-2", unschedulable=True, annotations={CORDONED: "boot-1"})])
    assert ours.cordon == {"gpu01": "boot-2"}


def test_what_is_stopped_already_is_neither_drained_nor_stopped() -> None:
    found = plan("all", gpu01="stopped", worker01="stopping")
    assert [each.name for each in found.running] == ["worker01", "worker02", "master1"], "one is waited for"
    assert list(found.cordon) == ["worker02"]
    assert [each.key for each in found.pods] == ["default/try"]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "gpus",
            "there is no gpus in stack dev; accepted: gpu, workers, all, gpu01, master1, worker01, worker02",
        ),
        (
            "master1",
            "master1 is the control plane, and without it no node is of use; accepted: all (bin/kubepark park "
            "all --stack dev)",
        ),
    ],
)
def test_what_names_nothing_that_can_be_parked(target: str, message: str) -> None:
    with pytest.raises(CommandError) as refused:
        power_plan.chosen(target, machines(), "dev")
    assert str(refused.value) == message


def test_a_stack_without_instances_and_one_without_a_gpu() -> None:
    with pytest.raises(
        CommandError, match="has no instances in the account and region of its file; fix: bin/kub"
    ):
        power_plan.chosen("gpu", (), "dev")
    with pytest.raises(CommandError, match="there is no gpu in stack dev; accepted: "):
        power_plan.chosen("gpu", (machine("worker01"), machine("master1")), "dev")


# -- what a started node lacks -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "there", "lacks"),
    [
        (None, node("gpu01"), "it has not reported since its start"),
        (record("gpu01", at="2026-11-23T09:59:59Z"), node("gpu01"), "it has not reported since its start"),
        (record("gpu01") | {"instanceId": "i-old"}, node("gpu01"), "it has not reported since its start"),
        (record("gpu01", at="soon"), node("gpu01"), "it has not reported since its start"),
        (record("gpu01", phase="running", step="join"), node("gpu01"), "step join"),
        (
            record("gpu01", phase="failed", step="join", message="first\nno route to host"),
            node("gpu01"),
            "step join failed, and it tries again: no route to host",
        ),
        (record("gpu01"), None, "the API server does not answer, or does not know it"),
        (record("gpu01"), node("gpu01", boot="boot-1"), "its kubelet has not registered since its start"),
        (record("gpu01"), node("gpu01", boot="boot-2", ready="Unknown"), "not Ready: kubelet is silent"),
        (record("gpu01"), node("gpu01", boot="boot-2"), ""),
        (record("gpu01", at="2026-11-23T10:00:00Z"), node("gpu01", boot="boot-2"), ""),
    ],
)
def test_what_a_started_node_still_lacks(said: Any, there: Any, lacks: str) -> None:
    """What it said before its start is not about this boot, and a Ready that no kubelet renewed is not either."""
    launched = LAUNCHED + timedelta(milliseconds=700)
    assert power_plan.missing(machine("gpu01", launched=launched), there, said) == lacks


# -- money ---------------------------------------------------------------------------------------------


def cost(**changes: Any) -> StackCost:
    found = settings.parse("dev", configuration(**changes))
    return costs.plan_stack(found, prices.load(found.aws.region))


def test_what_a_park_saves_and_what_still_costs() -> None:
    """In us-east-1: 0.526 and 0.005 USD an hour of 730; the disk has 100 GB for 0.08."""
    found = power_plan.saving(cost(), [machine("gpu01")])
    assert (found.saved.known, found.left.known) == (Decimal("387.63"), Decimal("8"))
    assert found.saved.hourly.known == Decimal("0.531")
    # The master keeps its Elastic IP: 0.1008 * 730 are saved, and 3.20 and 3.65 stay.
    found = power_plan.saving(cost(), [machine("master1")])
    assert (found.saved.known, found.left.known) == (Decimal("73.584"), Decimal("6.85"))


def test_a_resized_node_saves_what_it_is_now_and_one_that_is_in_no_file_is_unknown() -> None:
    found = power_plan.saving(cost(), [machine("gpu01", type="g4dn.2xlarge")])
    assert found.saved.known == Decimal("0.752") * 730 + Decimal("3.65")
    found = power_plan.saving(cost(), [machine("gpu01"), machine("gpu07")])
    assert (found.saved.known, found.left.known) == (None, None)
    assert found.saved.unknown == {"gpu07"}

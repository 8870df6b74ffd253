"""A new master takes everything that belongs to the old one with it, or nothing happens at all."""

from __future__ import annotations

from typing import Any

import pytest

from config import last_update, settings
from config.problems import SettingsError
from tests.configuration import configuration
from tests.program import run

MASTER = {"controlPlane__generation": 2, "controlPlane__identity": 2}
WORKERS = {"workers__nodes": {f"worker0{n}": {"generation": 2} for n in (1, 2, 3)}}
GPU = {"gpu__nodes": {"gpu01": {"generation": 2}}}
ALL = MASTER | WORKERS | GPU
INSTANCE = "aws:ec2/instance:Instance"


def outputs(**config: Any) -> dict[str, Any]:
    """What an update with this configuration leaves for the next one."""
    return last_update.outputs(settings.parse("dev", configuration(**config)))


def problems(before: dict[str, Any], **config: Any) -> list[str]:
    try:
        last_update.check("dev", settings.parse("dev", configuration(**config)), before)
    except SettingsError as error:
        return [str(problem) for problem in error.problems]
    return []


def line(key: str, *, more: str = "") -> str:
    return (
        f"kubepark:{key}: is 1 as before, and the control plane is made anew (new CA, empty etcd); accepted: "
        f"another number{more}; fix: pulumi config set --stack dev --path kubepark:{key} 2"
    )


NODES = [
    line(f"{pool}.generation")
    for pool in (
        "workers.nodes.worker01",
        "workers.nodes.worker02",
        "workers.nodes.worker03",
        "gpu.nodes.gpu01",
    )
]
WAY = ", with a new generation of every node"


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"controlPlane__generation": 2}, [line("controlPlane.identity", more=WAY), *NODES]),
        ({"controlPlane__identity": 2}, [line("controlPlane.generation", more=WAY), *NODES]),
        (MASTER, NODES),
        (MASTER | WORKERS, NODES[3:]),
        (MASTER | WORKERS | {"gpu__power": "absent"}, []),
        (ALL, []),
        (WORKERS | GPU, []),
        ({}, []),
    ],
)
def test_what_must_go_with_the_master_is_named_with_the_command(
    change: dict[str, Any], missing: list[str]
) -> None:
    assert problems(outputs(), **change) == missing


def test_the_commands_of_the_message_are_all_that_is_needed() -> None:
    """Pasted one after the other, node by node, also where the stack names no nodes."""
    config = {"controlPlane__generation": 2}
    for _ in range(2):
        for found in problems(outputs(), **config):
            _, _, path, number = found.rpartition("fix: ")[2].rsplit(maxsplit=3)
            config[path.removeprefix("kubepark:").replace(".", "__")] = int(number)
    assert problems(outputs(), **config) == []
    assert len(config) == 6


def test_a_node_that_was_not_there_before_needs_no_other_number() -> None:
    more = {f"worker0{n}": {"generation": 2} for n in (1, 2, 3)} | {"worker04": {}}
    assert problems(outputs(), **MASTER, **GPU, workers__nodes=more) == []


def test_an_update_that_did_not_say_its_generations_is_taken_as_it_is() -> None:
    before = {"created_with": {"identity": "1"}}
    assert problems(before, controlPlane__generation=2) == []
    assert problems({}, **MASTER) == []


def test_the_master_keeps_its_name() -> None:
    (found,) = problems(outputs(), controlPlane__name="master2")
    assert found.startswith("kubepark:controlPlane.name: was master1 when the cluster was made, now master2")


def test_a_lone_generation_is_refused_before_anything_is_registered() -> None:
    refused = run(before=outputs(), config=configuration(controlPlane__generation=2))
    assert "controlPlane.identity: is 1 as before" in str(refused.error)
    assert all("pulumi:pulumi:Stack" in urn for urn in refused.urns)


def test_with_all_of_them_every_machine_and_every_object_is_made_anew() -> None:
    """Objects one by one: a provider that is replaced would delete them with credentials of before."""
    first, made = run(before=outputs()), run(before=outputs(), config=configuration(**ALL))
    assert made.error is None
    for recording, number in ((first, 1), (made, 2)):
        inside = [item for item in recording.resources.values() if item.type.startswith("kubernetes:")]
        assert len(inside) > 20
        for item in [*inside, *recording.of_type(INSTANCE)]:
            assert (item.replacement_trigger, item.delete_before_replace) == (number, True), item.urn
        assert recording.one("pulumi:providers:kubernetes").inputs["clusterIdentifier"] == "lab/1"


def test_a_master_that_was_lost_and_made_anew_is_not_taken_for_the_old_one() -> None:
    """Its instance is another one, with the same generation: only the update itself can see that."""
    first = run()
    assert first.error is None
    assert run(before=first.outputs).error is None
    nodes = [{**node, "instance_id": "i-gone"} for node in first.outputs["nodes"]]
    refused = run(before={**first.outputs, "nodes": nodes})
    head, *commands = str(refused.error).splitlines()
    found = first.one(INSTANCE, "master1").id
    assert head == (
        f"the master was i-gone and is {found}, with a new CA and an empty etcd; nodes and objects are of a "
        "cluster that is gone. Make all of it anew, with the next `up`:"
    )
    assert commands[:2] == [
        "  pulumi config set --stack dev --path kubepark:controlPlane.identity 2",
        "  pulumi config set --stack dev --path kubepark:controlPlane.generation 2",
    ]
    assert len(commands) == 2 + len(NODES)
    assert not [item for item in refused.resources.values() if item.type.startswith("kubernetes:")]


def test_a_master_that_was_never_created_is_nobody() -> None:
    """An output that was unknown to the last update is not in its state."""
    first = run()
    for missing in ({}, {"instance_id": None}):
        nodes = [{"role": node["role"], "name": node["name"], **missing} for node in first.outputs["nodes"]]
        assert run(before={**first.outputs, "nodes": nodes}).error is None


def test_a_protected_master_is_not_made_anew() -> None:
    assert problems(outputs(), **ALL, controlPlane__protected=True) == [
        "kubepark:controlPlane.protected: the master is protected, and would be deleted; accepted: false, in an "
        "update before this one; fix: pulumi config set --stack dev --path kubepark:controlPlane.protected false"
    ]
    assert problems(outputs(), controlPlane__protected=True) == []


def test_another_cluster_is_not_compared_with_the_old_ones_master() -> None:
    before = run().outputs
    nodes = [{**node, "instance_id": "i-gone"} for node in before["nodes"]]
    assert run(before={**before, "nodes": nodes}, config=configuration(**ALL)).error is None

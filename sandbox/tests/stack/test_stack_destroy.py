"""`kubepark destroy` on one deployment with leftovers of controllers, beside another cluster's like ones."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.tests.nodes.boot_world import until
from sandbox.tests.stack.injection import refuse
from sandbox.tests.stack.leftovers import (
    CLUSTER,
    FINALIZER,
    Planted,
    another_cluster,
    everything,
    of_others,
    owned,
)
from sandbox.tests.stack.project import Project

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

SECONDS = "8"  # of patience: a deletion that is refused three times succeeds after seven


def plant_in_cluster(project: Project, made: str, handmade: str) -> None:
    """Services whose load balancers controllers made, and a volume of the driver's and one of a person's."""
    services: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "default", "finalizers": [FINALIZER]},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        }
        for name in ("web", "orphan")
    ]
    volumes: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {
                "capacity": {"storage": "100Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "csi": {"driver": "ebs.csi.aws.com", "volumeHandle": volume},
                "claimRef": {"namespace": "default", "name": name},
            },
        }
        for name, volume, annotations in (
            ("made", made, {"pv.kubernetes.io/provisioned-by": "ebs.csi.aws.com"}),
            ("handmade", handmade, {}),
        )
    ]
    file = project.root / "planted.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [*services, *volumes]}))
    project.kubectl("apply", "-f", str(file))


def let_go(project: Project, planted: Planted) -> None:
    """What the cloud's controller does with Service web, once somebody deletes it."""

    def deleted() -> bool:
        return "deletionTimestamp" in project.get("service", "web")["metadata"]

    until("the Service is being deleted", deleted, 60)
    project.aws("elbv2").delete_load_balancer(LoadBalancerArn=planted.balancer)
    project.kubectl("patch", "service", "web", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


def refused(operation: str, times: int | None, **arguments: str) -> dict[str, Any]:
    row = {"operation": operation, "arguments": arguments, "times": times}
    return {**row, "code": "DependencyViolation", "message": "it has a dependent object"}


def lines_with(said: str, word: str) -> list[str]:
    return [line.strip() for line in said.splitlines() if line.strip().startswith(word)]


def assert_said(said: str, planted: Planted, made: str, key: str) -> None:
    """What a person reads: what happened in the cluster, what remains and what stays, with prices."""
    assert "Service default/web: its controller let go of it" in said
    assert "no controller let go of Service default/orphan" in said
    assert f"volume {made} was made for a claim" in said
    (remains,) = lines_with(said, "REMAINS")
    assert f"target group {planted.orphan_target}" in remains
    assert "0.00 USD a month: DependencyViolation: it has a dependent object" in remains
    command = f"aws elbv2 delete-target-group --region us-east-1 --target-group-arn {planted.orphan_target}"
    assert lines_with(said, "aws elbv2") == [command]
    stays = lines_with(said, "stays")
    assert [line for line in stays if planted.snapshot in line and "5.00 USD a month: a backup" in line]
    assert [line for line in stays if f"key {key}" in line and "1.00 USD a month" in line]
    assert "claim default/made" in "".join(stays), "its snapshot says whose data it has"


@pytest.fixture(scope="module")
def planted(checkout: Project) -> Planted:
    """The stack as declared, with leftovers in its own subnet."""
    checkout.as_declared()
    master = checkout.instance("master1")
    return Planted(checkout, CLUSTER, master["VpcId"], master["SubnetId"])


def test_leftovers_go_in_order_one_that_stays_is_named_with_its_price_and_others_are_not_touched(
    checkout: Project, planted: Planted
) -> None:
    project, ec2, key = checkout, checkout.aws("ec2"), checkout.outputs()["data_key_id"]
    stranger = another_cluster(project)
    shared = planted.make_volume([{"Key": f"kubernetes.io/cluster/{CLUSTER}", "Value": "shared"}])
    made, handmade = planted.make_volume([], key), planted.make_volume([])
    worker = project.instance("worker01")["InstanceId"]
    ec2.attach_volume(VolumeId=planted.volume, InstanceId=worker, Device="/dev/sdf")
    plant_in_cluster(project, made, handmade)
    planted.allow(project.group("nodes"), planted.group)  # as cloud controllers do
    theirs = {stranger.vpc, stranger.group, stranger.volume, stranger.snapshot, shared, handmade}
    before = of_others(everything(project), theirs)
    assert all(before[kind] for kind in before if kind != "keys"), "the comparison must find all kinds"
    refuse(
        project,
        refused("ec2:DeleteNetworkInterface", 3, NetworkInterfaceId=planted.interface),
        refused("elasticloadbalancing:DeleteTargetGroup", None, TargetGroupArn=planted.orphan_target),
    )
    running = project.start(
        "destroy", "--yes", "--skip-preview", "--volumes", "snapshot", "--timeout", SECONDS
    )
    let_go(project, planted)
    said, _ = running.communicate(timeout=400)
    assert running.returncode == 1, said
    assert_said(said, planted, made, key)
    of_volumes = {each["VolumeId"] for each in ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]}
    assert {planted.volume, made} <= of_volumes
    left = everything(project)
    assert of_others(left, theirs) == before
    ours = {planted.vpc, planted.volume, made, planted.interface, planted.group, planted.balancer}
    kept = {kind: items for kind, items in of_others(left, ours).items() if items}
    assert set(kept) == {"snapshots", "target groups"}, "the group keeps its network's name"
    assert project.resources() == []


def test_the_next_run_ends_it_without_an_api_server_and_a_kept_volume_stays_readable(
    checkout: Project, planted: Planted
) -> None:
    refuse(checkout)
    key = data_key(checkout)
    volume = planted.make_volume(owned(CLUSTER), key)
    document = checkout.json_of("destroy", "--yes", "--json", "--skip-preview", "--timeout", SECONDS)
    assert document["deleted"] == [f"deleted target group {planted.orphan_target} (sandbox-orphan)"]
    assert (document["remains"], document["unanswered"]) == ([], {})
    stays = {each["id"]: each for each in document["stays"]}
    assert sorted(each["kind"] for each in stays.values()) == ["key", *["snapshot"] * 3, "volume"]
    assert (stays[volume]["usdMonthly"], stays[volume]["why"]) == (8.0, "--volumes keep")
    assert document["usdMonthly"] == 3 * 5.0 + 8.0 + 1.0, "snapshots and a volume of 100 GB, and the data key"
    assert {each["kind"] for each in document["goes"]} == {"key"}, "the cluster's key"
    (kept,) = checkout.aws("ec2").describe_volumes(VolumeIds=[volume])["Volumes"]
    assert kept["KmsKeyId"].endswith(key)
    assert key_state(checkout, key) == "Enabled"


def test_the_policy_deletes_volumes_and_purge_backups_and_the_key(
    checkout: Project, planted: Planted
) -> None:
    key = data_key(checkout)
    said = checkout.ok("destroy", "--yes", "--volumes", "delete", "--skip-preview")
    assert [line for line in said.splitlines() if line.startswith("deleted volume")]
    purged = checkout.json_of("destroy", "--yes", "--json", "--purge", "--skip-preview")
    assert len([line for line in purged["deleted"] if "snapshot" in line]) == 3
    assert (purged["stays"], purged["remains"], purged["usdMonthly"]) == ([], [], 0.0)
    assert key_state(checkout, key) == "PendingDeletion"


def data_key(project: Project) -> str:
    """The one that outlived its stack."""
    (key,) = [each for each in everything(project)["keys"] if each["KeyState"] == "Enabled"]
    assert key["Description"] == f"{CLUSTER}: Volumes and backups"
    return str(key["KeyId"])


def key_state(project: Project, key: str) -> str:
    return str(project.aws("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"])

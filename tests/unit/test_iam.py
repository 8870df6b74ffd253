"""What each role may do, compared with documents that a person has read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from components import iam, schedule
from config import settings
from config.model import NodeRole
from config.naming import Naming
from config.nodes import plan_nodes
from config.subnets import plan_subnets
from tests.configuration import configuration

GOLDEN = Path(__file__).parents[1] / "golden" / "iam"


def policies() -> dict[str, Any]:
    lab = settings.parse("dev", configuration())
    nodes = plan_nodes(lab, plan_subnets(lab.network)[0].cidr)
    found = {
        node.name: iam.node_policy(node, lab.aws, Naming(lab.cluster))
        for node in nodes
        if node.name in ("master1", "worker01", "gpu01")
    }
    guard = iam.node_policy(nodes[0], lab.aws, Naming(lab.cluster), guards=True)
    return {
        **found,
        "master1-guard": guard,
        "schedule": schedule.role_policy(["gpu01"], lab.aws, Naming(lab.cluster)),
        "assume-schedule": schedule.trust_policy(lab.aws, Naming(lab.cluster)),
        "key": iam.key_policy(lab.aws),
        "key-spot": iam.key_policy(lab.aws, spot=True),
        "assume": iam.ASSUME_BY_EC2,
    }


@pytest.mark.parametrize("name", sorted(policies()))
def test_document_is_as_reviewed(name: str) -> None:
    text = json.dumps(policies()[name], indent=2) + "\n"
    path = GOLDEN / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), f"{path.name} differs; `make golden` takes the new one"


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(policies())


def actions(document: dict[str, Any], resource_part: str) -> set[str]:
    """Actions that are allowed on a resource whose ARN ends in `resource_part`."""
    found: set[str] = set()
    for statement in document["Statement"]:
        resources = statement["Resource"]
        resources = [resources] if isinstance(resources, str) else resources
        if any(resource.endswith(resource_part) for resource in resources):
            listed = statement["Action"]
            found |= {listed} if isinstance(listed, str) else set(listed)
    return found


@pytest.mark.parametrize("name", ["worker01", "gpu01"])
def test_a_worker_reads_join_data_and_writes_only_its_own_record(name: str) -> None:
    document = policies()[name]
    assert actions(document, "/lab/join") == {"ssm:GetParameter"}
    assert actions(document, "/lab/kubeconfig") == set()
    assert actions(document, "/lab/encryption-key") == set()
    assert actions(document, f"/lab/status/{name}") == {"ssm:PutParameter"}
    assert actions(document, "/lab/status/master1") == set()
    assert actions(document, "/lab/status") == set()


def test_the_master_writes_secrets_and_reads_none_back() -> None:
    document = policies()["master1"]
    for secret in ("join", "kubeconfig", "encryption-key"):
        assert actions(document, f"/lab/{secret}") == {"ssm:PutParameter"}
    assert actions(document, ":key/*") == {"kms:Encrypt"}


def test_a_guard_stops_and_starts_this_clusters_gpu_nodes_and_a_worker_never_is_one() -> None:
    document = policies()["master1-guard"]
    added = [each for each in document["Statement"] if each not in policies()["master1"]["Statement"]]
    assert [each["Sid"] for each in added] == ["ReadPower", "WritePower", "GpuNodes", "RootDisks"]
    assert actions(document, "/lab/power") == {"ssm:GetParameter", "ssm:PutParameter"}
    assert actions(document, "/lab/gpu-power") == {"ssm:GetParameter"}
    assert actions(document, ":instance/*") == {"ec2:StartInstances", "ec2:StopInstances"}
    assert actions(document, ":key/*") == {"kms:Encrypt", "kms:CreateGrant"}
    assert added[2]["Condition"] == {
        "StringEquals": {"aws:ResourceTag/kubepark:cluster": "lab", "aws:ResourceTag/kubepark:role": "gpu"}
    }
    lab = settings.parse("dev", configuration())
    for node in plan_nodes(lab, plan_subnets(lab.network)[0].cidr)[1:]:
        assert iam.node_policy(node, lab.aws, Naming("lab"), guards=True) == iam.node_policy(
            node, lab.aws, Naming("lab")
        )


def test_ec2s_role_for_spot_instances_uses_the_key_for_disks_alone() -> None:
    first, *added = policies()["key-spot"]["Statement"]
    assert [first] == policies()["key"]["Statement"]
    role = "arn:aws:iam::123456789012:role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"
    for statement in added:
        assert statement["Principal"] == {"AWS": role}
        assert statement["Condition"]["StringEquals"] == {"kms:ViaService": "ec2.us-east-1.amazonaws.com"}
    assert added[1]["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}


def test_the_master_reads_all_records_and_writes_its_own() -> None:
    document = policies()["master1"]
    assert actions(document, "/lab/status") == {"ssm:GetParametersByPath"}
    assert actions(document, "/lab/status/master1") == {"ssm:PutParameter"}
    assert actions(document, "/lab/status/worker01") == set()


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-central-1", "aws"), ("us-gov-west-1", "aws-us-gov")],
)
def test_partition_of_a_region(region: str, partition: str) -> None:
    assert iam.partition(region) == partition


def test_roles_are_all_covered() -> None:
    lab = settings.parse("dev", configuration())
    nodes = plan_nodes(lab, plan_subnets(lab.network)[0].cidr)
    assert {node.role for node in nodes} == set(NodeRole)

"""From what AWS answers to things with a price: whose they are, what goes by itself, what is not known."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cli import leftovers as kinds
from cli.inventory import Account
from cli.leftovers import Found, Rule
from config.prices import load

OURS = [{"Key": "kubepark:cluster", "Value": "lab"}]
THEIRS = [{"Key": "kubepark:cluster", "Value": "other"}]
OWNED = [{"Key": "kubernetes.io/cluster/lab", "Value": "owned"}]
SHARED = [{"Key": "kubernetes.io/cluster/lab", "Value": "shared"}]


class Aws:
    """Clients whose operations answer with what is given, everything else with nothing."""

    def __init__(self, **answers: Any) -> None:
        self._answers = answers
        self.asked: list[tuple[str, Any]] = []

    def can_paginate(self, operation: str) -> bool:
        return False

    def __getattr__(self, operation: str) -> Any:
        def call(**arguments: Any) -> Any:
            self.asked.append((operation, arguments))
            answer = self._answers.get(operation, _Nothing())
            return answer(**arguments) if callable(answer) else answer

        return call


class _Nothing(dict[str, Any]):
    def __missing__(self, key: str) -> list[Any]:
        return []


def found(**answers: Any) -> list[Found]:
    seen = inventory(Aws(**answers))
    assert seen.unanswered == {}
    return list(seen.found)


def inventory(aws: Aws) -> Any:
    return Account(lambda service: aws, "lab", load("us-east-1")).inventory()


def volume(id: str, tags: list[dict[str, str]], **more: Any) -> dict[str, Any]:
    plain = {"VolumeId": id, "Size": 100, "VolumeType": "gp3", "State": "available", "Attachments": []}
    return {**plain, "Tags": tags, **more}


def test_volumes_are_ours_by_either_tag_once_and_never_another_s_or_shared() -> None:
    listed = [volume("vol-1", [*OURS, *OWNED]), volume("vol-2", THEIRS), volume("vol-3", SHARED)]
    (only,) = found(describe_volumes={"Volumes": listed})
    assert (only.kind, only.id, only.detail) == (kinds.VOLUME, "vol-1", "100 GB gp3")
    assert only.cost.known == Decimal(8)


def test_ec2_is_asked_for_each_tag_with_its_value() -> None:
    aws = Aws()
    inventory(aws)
    asked = [call["Filters"][0] for name, call in aws.asked if name == "describe_snapshots"]
    assert [(each["Name"], each["Values"]) for each in asked] == [
        ("tag:kubepark:cluster", ["lab"]),
        ("tag:kubernetes.io/cluster/lab", ["owned"]),
        ("tag:elbv2.k8s.aws/cluster", ["lab"]),
    ]
    assert all(call["OwnerIds"] == ["self"] for name, call in aws.asked if name == "describe_snapshots")


def test_a_volume_that_the_cluster_claims_is_its_own_unless_another_has_a_tag_on_it() -> None:
    listed = [volume("vol-1", []), volume("vol-2", THEIRS), volume("vol-3", [])]
    aws = Aws(describe_volumes={"Volumes": listed})
    account = Account(lambda service: aws, "lab", load("us-east-1"))
    assert account.inventory().found == ()
    account.claimed = ["vol-1", "vol-2"]
    assert [each.id for each in account.inventory().found] == ["vol-1"]


def test_a_disk_that_ends_with_its_instance_follows_it_and_another_is_held() -> None:
    root = {"InstanceId": "i-1", "DeleteOnTermination": True}
    data = {"InstanceId": "i-1", "DeleteOnTermination": False}
    listed = [
        volume("vol-1", OURS, Attachments=[root]),
        volume("vol-2", OURS, Attachments=[data]),
        volume("vol-3", OURS, State="deleting"),
    ]
    first, second = found(describe_volumes={"Volumes": listed})
    assert (first.follows, second.follows, second.held) == ("with instance i-1", "", True)


@pytest.mark.parametrize(
    ("kind", "size", "known"), [("gp3", 10, Decimal("0.8")), ("io2", 10, None), ("gp2", 10, None)]
)
def test_a_disk_without_a_known_price_is_unknown(kind: str, size: int, known: Decimal | None) -> None:
    (only,) = found(describe_volumes={"Volumes": [volume("vol-1", OURS, VolumeType=kind, Size=size)]})
    assert only.cost.known == known


def test_names_of_claims_and_services_are_shown() -> None:
    claim = [
        {"Key": "kubernetes.io/created-for/pvc/namespace", "Value": "ana"},
        {"Key": "kubernetes.io/created-for/pvc/name", "Value": "data"},
    ]
    (only,) = found(describe_volumes={"Volumes": [volume("vol-1", [*OWNED, *claim])]})
    assert str(only) == "volume vol-1 (100 GB gp3, claim ana/data)"
    service = {"Key": "kubernetes.io/service-name", "Value": "default/web"}
    balancer = {"LoadBalancerArn": "arn:b", "LoadBalancerName": "a1b2", "Type": "network"}
    tagged = {"ResourceArn": "arn:b", "Tags": [*OWNED, service]}
    (one,) = found(
        describe_load_balancers={"LoadBalancers": [balancer], "LoadBalancerDescriptions": []},
        describe_tags={"TagDescriptions": [tagged]},
    )
    assert str(one) == "load balancer arn:b (a1b2, Service default/web)"
    assert one.cost.known == Decimal("0.0225") * 730


def test_tags_of_load_balancers_are_asked_twenty_at_a_time() -> None:
    names = [f"arn:{number}" for number in range(45)]
    listed = [{"LoadBalancerArn": name, "LoadBalancerName": name, "Type": "application"} for name in names]

    def tags(**call: Any) -> Any:
        return {
            "TagDescriptions": [{"ResourceArn": each, "Tags": OURS} for each in call.get("ResourceArns", ())]
        }

    aws = Aws(
        describe_load_balancers={"LoadBalancers": listed, "LoadBalancerDescriptions": []}, describe_tags=tags
    )
    seen = inventory(aws).found
    assert len(seen) == 45
    assert {each.cost.known for each in seen} == {None}, "no price is known of an application load balancer"
    assert [len(call["ResourceArns"]) for name, call in aws.asked if name == "describe_tags"] == [20, 20, 5]


def test_a_group_comes_with_the_rules_that_name_it_and_the_default_one_is_its_network_s() -> None:
    groups = [
        {"GroupId": f"sg-{number}", "GroupName": name, "Tags": OURS}
        for number, name in enumerate(("k8s-elb-a", "nodes", "default"))
    ]
    rules = [
        {
            "GroupId": group,
            "SecurityGroupRuleId": f"sgr-{group}",
            "IsEgress": False,
            "ReferencedGroupInfo": info,
        }
        for group, info in (("sg-1", {"GroupId": "sg-0"}), ("sg-0", {"GroupId": "sg-0"}), ("sg-1", None))
    ]
    seen = found(
        describe_security_groups={"SecurityGroups": groups},
        describe_security_group_rules={"SecurityGroupRules": rules},
    )
    assert {each.id: each.rules for each in seen} == {"sg-0": (Rule("sg-1", "sgr-sg-1", False),), "sg-1": ()}


def test_instances_count_while_they_run_and_are_gone_when_terminated() -> None:
    def instance(id: str, state: str) -> dict[str, Any]:
        return {"InstanceId": id, "InstanceType": "g4dn.xlarge", "State": {"Name": state}, "Tags": OURS}

    instances = [instance("i-1", "running"), instance("i-2", "stopped"), instance("i-3", "terminated")]
    seen = found(describe_instances={"Reservations": [{"Instances": instances}]})
    assert {each.id: each.cost.known for each in seen} == {"i-1": Decimal("0.526") * 730, "i-2": Decimal(0)}


def key(id: str) -> dict[str, Any]:
    state = "PendingDeletion" if id == "going" else "Enabled"
    more = {"DeletionDate": datetime(2026, 12, 5, tzinfo=UTC)} if id == "going" else {}
    manager = "AWS" if id == "aws" else "CUSTOMER"
    return {"KeyMetadata": {"KeyState": state, "KeyManager": manager, "Description": "", **more}}


def denied(operation: str) -> ClientError:
    return ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, operation)


def test_keys_are_ours_by_tag_one_on_its_way_out_is_free_and_one_that_is_locked_is_somebody_else_s() -> None:
    def describe(KeyId: str) -> Any:
        if KeyId == "locked":
            raise denied("DescribeKey")
        return key(KeyId)

    def tags(KeyId: str) -> Any:
        value = "other" if KeyId == "foreign" else "lab"
        return {"Tags": [{"TagKey": "kubepark:cluster", "TagValue": value}]}

    ids = ("data", "going", "foreign", "aws", "locked")
    seen = found(
        list_keys={"Keys": [{"KeyId": id} for id in ids]}, describe_key=describe, list_resource_tags=tags
    )
    assert {each.id: (each.cost.known, each.follows) for each in seen} == {
        "data": (Decimal(1), ""),
        "going": (Decimal(0), "deleted on 2026-12-05"),
    }


def test_roles_have_the_cluster_s_name_and_its_tag() -> None:
    roles = {"lab-master1": OURS, "lab-2-master1": THEIRS, "admin": OURS}
    seen = found(
        list_roles={"Roles": [{"RoleName": name} for name in roles]},
        get_role=lambda RoleName: {"Role": {"Tags": roles[RoleName]}},
    )
    assert [each.id for each in seen] == ["lab-master1"]


def test_one_question_without_permission_is_named_and_the_others_are_answered() -> None:
    def refuse(**_: Any) -> Any:
        raise denied("DescribeNatGateways")

    seen = inventory(Aws(describe_nat_gateways=refuse, describe_volumes={"Volumes": [volume("vol-1", OURS)]}))
    assert [each.id for each in seen.found] == ["vol-1"]
    assert seen.unanswered == {
        "NAT gateways": "no permission for DescribeNatGateways; what is needed: bin/kubepark permissions"
    }


@pytest.mark.parametrize(
    ("tags", "state", "follows"),
    [(OURS, "ACTIVE", ""), (OURS, "DELETING", "with its schedules"), (THEIRS, "", None)],
)
def test_a_group_of_schedules_is_found_by_its_name_and_tag(
    tags: list[dict[str, str]], state: str, follows: str | None
) -> None:
    asked: list[str] = []

    def group(Name: str) -> dict[str, str]:
        asked.append(Name)
        return {"Arn": "arn:g", "State": state}

    seen = found(get_schedule_group=group, list_tags_for_resource={"Tags": tags})
    assert asked == ["lab"]
    expected = [] if follows is None else [Found(kind=kinds.SCHEDULES, id="lab", follows=follows)]
    assert seen == expected

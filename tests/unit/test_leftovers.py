"""What destroy deletes of what controllers left, in which order, and what it says of the rest."""

from __future__ import annotations

import re
import shlex
from decimal import Decimal

import pytest
from botocore.session import get_session

from cli import leftovers as kinds
from cli.leftovers import Found, Kind, Report, Wanted, free, intentions, owns, plan
from cli.volume_policy import VolumePolicy
from config.costs import Cost

ALL = [kind for kind in vars(kinds).values() if isinstance(kind, Kind)]
DELETE, SNAPSHOT = Wanted(volumes=VolumePolicy.DELETE), Wanted(volumes=VolumePolicy.SNAPSHOT)
PURGE = Wanted(volumes=VolumePolicy.DELETE, purge=True)


def found(kind: Kind, id: str = "x", usd: float | None = 0, **more: object) -> Found:
    cost = Cost(unknown=frozenset({"it"})) if usd is None else Cost(Decimal(str(usd)))
    return Found(kind=kind, id=id, cost=cost, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tags", "ours"),
    [
        ({"kubepark:cluster": "lab"}, True),
        ({"kubernetes.io/cluster/lab": "owned"}, True),
        ({"elbv2.k8s.aws/cluster": "lab"}, True),
        ({"kubernetes.io/cluster/lab": "shared"}, False),
        ({"kubernetes.io/cluster/lab2": "owned"}, False),
        ({"kubepark:cluster": "lab2", "kubernetes.io/cluster/lab": "owned"}, False),
        ({"kubepark:cluster": "lab", "kubernetes.io/cluster/lab2": "owned"}, True),
        ({"elbv2.k8s.aws/cluster": "lab2"}, False),
        ({}, False),
    ],
)
def test_a_thing_is_the_cluster_s_by_its_tags(tags: dict[str, str], ours: bool) -> None:
    assert owns("lab", tags) is ours


def test_a_volume_is_free_if_no_cluster_has_a_tag_on_it() -> None:
    assert free({"Name": "data", "ebs.csi.aws.com/cluster": "true"})
    for key in ("kubepark:cluster", "kubernetes.io/cluster/other", "elbv2.k8s.aws/cluster"):
        assert not free({key: "any"})


def test_deletions_are_in_the_order_in_which_one_holds_the_next() -> None:
    backwards = [found(kind, f"{kind.words}-1") for kind in reversed(kinds.ORDER)]
    assert [each.kind for each in plan(backwards, (), PURGE).delete] == list(kinds.ORDER)


@pytest.mark.parametrize(
    ("wanted", "stays"),
    [
        (Wanted(), {"volume", "snapshot", "key"}),
        (SNAPSHOT, {"snapshot", "key"}),
        (DELETE, {"snapshot", "key"}),
        (PURGE, set()),
    ],
)
def test_data_stays_unless_the_person_says_otherwise_and_every_stay_has_a_reason(
    wanted: Wanted, stays: set[str]
) -> None:
    planned = plan([found(kind) for kind in ALL], (), wanted)
    assert {each.kind.words for each in planned.stay} == stays
    assert all(planned.stay.values())
    accounted = {each.kind for each in (*planned.delete, *planned.stay, *planned.other)}
    assert accounted == set(ALL), "nothing is forgotten"
    assert {each.kind for each in planned.other} == set(ALL) - set(kinds.ORDER)


def test_what_pulumi_knows_and_what_goes_by_itself_is_not_planned() -> None:
    known, root = found(kinds.GROUP, "sg-1"), found(kinds.VOLUME, "vol-1", follows="with instance i-1")
    planned = plan([known, root, found(kinds.VPC, "vpc-1")], {"sg-1", "vpc-1"}, DELETE)
    assert (planned.delete, dict(planned.stay), planned.other) == ((), {}, ())


def test_before_pulumi_only_what_nodes_do_not_hold_goes() -> None:
    free_, held = found(kinds.INTERFACE, "eni-1"), found(kinds.INTERFACE, "eni-2", held=True)
    things = [free_, held, *(found(kind) for kind in (kinds.VOLUME, kinds.SNAPSHOT, kinds.KEY))]
    assert plan(things, (), PURGE, before=True).delete == (free_,)
    assert set(plan(things, (), PURGE).delete) == set(things)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.words.replace(" ", "-"))
def test_the_call_of_each_kind_exists_and_so_does_its_command(kind: Kind) -> None:
    """By AWS's own description of its APIs, which the AWS CLI is made from."""
    model = get_session().get_service_model(kind.service)
    names = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): name for name in model.operation_names}
    operation = model.operation_model(names[kind.operation])
    assert kind.parameter in operation.input_shape.members
    words = shlex.split(kind.command("the id", "eu-west-1"))
    option = "--" + re.sub(r"(?<!^)(?=[A-Z])", "-", kind.parameter).lower()
    operation_word = kind.operation.replace("_", "-")
    assert words == ["aws", kind.service, operation_word, "--region", "eu-west-1", option, "the id"]


def report(**more: object) -> Report:
    nothing = {
        "region": "us-east-1",
        "deleted": (),
        "stay": {},
        "remains": {},
        "follows": (),
        "unanswered": {},
    }
    return Report(**{**nothing, **more})  # type: ignore[arg-type]


def test_nothing_left_is_said_and_clean() -> None:
    assert report().lines() == ["nothing that carries the cluster's tag is left"]
    assert report().clean
    assert report(stay={found(kinds.KEY): "why"}, follows=(found(kinds.KEY),)).clean


def test_what_remains_is_named_priced_and_has_its_command() -> None:
    left = report(
        stay={found(kinds.VOLUME, "vol-1", 8, detail="100 GB gp3"): "--volumes keep"},
        remains={found(kinds.ADDRESS, "eipalloc-1", 3.65): "this command does not delete it"},
        follows=(found(kinds.KEY, "k-1", follows="deleted on 2026-12-05"),),
    )
    assert not left.clean
    assert left.lines() == [
        "left with the cluster's tag:",
        "  stays    volume vol-1 (100 GB gp3), 8.00 USD a month: --volumes keep",
        "  goes     key k-1: deleted on 2026-12-05",
        "  REMAINS  Elastic IP eipalloc-1, 3.65 USD a month: this command does not delete it",
        "           aws ec2 release-address --region us-east-1 --allocation-id eipalloc-1",
        "  in all   11.65 USD a month",
    ]
    document = left.document()
    assert document["usdMonthly"] == 11.65
    assert document["remains"] == [
        {
            "kind": "Elastic IP",
            "id": "eipalloc-1",
            "detail": "",
            "usdMonthly": 3.65,
            "command": "aws ec2 release-address --region us-east-1 --allocation-id eipalloc-1",
            "why": "this command does not delete it",
        }
    ]


def test_what_nobody_could_look_at_is_not_clean_and_no_unknown_price_is_zero() -> None:
    assert not report(unanswered={"keys": "no permission"}).clean
    assert "  unknown  keys: no permission" in report(unanswered={"keys": "no permission"}).lines()
    left = report(remains={found(kinds.BALANCER, "arn", None): "why"})
    assert left.lines()[1] == "  REMAINS  load balancer arn, price unknown: why"
    assert left.lines()[-1] == "  in all   0.00 USD a month, and what has no known price"
    assert left.document()["usdMonthly"] is None


def test_the_person_reads_what_will_happen_before_it_does() -> None:
    things = [found(kinds.VOLUME, "vol-1", 8), found(kinds.SNAPSHOT, "snap-1", 5), found(kinds.VPC, "vpc-1")]
    said = {wanted: intentions(plan(things, (), wanted), wanted) for wanted in (Wanted(), SNAPSHOT, PURGE)}
    assert said[Wanted()][0] == "  keep volume vol-1, 8.00 USD a month: --volumes keep"
    assert said[SNAPSHOT][0] == "  snapshot and delete volume vol-1, 8.00 USD a month"
    assert said[PURGE][:2] == [
        "  delete volume vol-1, 8.00 USD a month",
        "  delete snapshot snap-1, 5.00 USD a month",
    ]
    assert said[PURGE][2] == "  leave VPC vpc-1, 0.00 USD a month: this command does not delete it"

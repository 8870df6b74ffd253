"""Deleting what controllers left: retries with an end, snapshots before volumes, rules before groups."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from cli import leftovers as kinds
from cli.leftovers import Found, Rule
from cli.sweep import Deleter, Waits, sweep
from cli.volume_policy import VolumePolicy

TARGET = Found(kind=kinds.TARGET_GROUP, id="tg")
GROUP = Found(kind=kinds.GROUP, id="sg-1", rules=(Rule("sg-2", "sgr-1", False), Rule("sg-2", "sgr-2", True)))
VOLUME = Found(kind=kinds.VOLUME, id="vol-1")


def error(code: str, message: str = "why") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "Delete")


class Clock:
    """Time that passes by sleeping alone."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def swept(answers: dict[str, list[Any]], *things: Found, seconds: float = 300) -> SimpleNamespace:
    """Sweep with a deletion that answers, for an id, with its list's next entry; the last one stays."""
    clock, said = Clock(), list[str]()

    def delete(each: Found) -> str:
        left = answers[each.id]
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    done, reasons = sweep(
        things, delete, said.append, seconds=seconds, sleep=clock.sleep, clock=lambda: clock.now
    )
    return SimpleNamespace(done=done, reasons=reasons, said=said, clock=clock)


def test_three_refusals_and_a_success_are_one_deletion_and_others_do_not_wait() -> None:
    held = error("DependencyViolation", "it is held")
    run = swept({"tg": [held, held, held, "deleted tg"], "vol-1": ["deleted vol-1"]}, TARGET, VOLUME)
    assert run.done == ["deleted vol-1", "deleted tg"]
    assert run.reasons == {}
    assert run.clock.pauses == [1, 2, 4]
    refusal = "target group tg: DependencyViolation: it is held; trying again"
    assert run.said == [refusal, "deleted vol-1", "deleted tg"], "a reason is said once"


def test_one_refused_for_ever_ends_at_the_deadline_with_aws_s_own_reason() -> None:
    run = swept({"tg": [error("ResourceInUse", "in use by a listener")]}, TARGET, seconds=100)
    assert run.done == []
    assert run.reasons == {"tg": "ResourceInUse: in use by a listener"}
    assert run.clock.now == 100
    assert max(run.clock.pauses) == 15


def test_a_missing_permission_is_final_and_costs_no_time() -> None:
    run = swept({"tg": [error("AccessDenied")], "vol-1": ["deleted vol-1"]}, TARGET, VOLUME)
    assert run.clock.pauses == []
    assert run.reasons == {"tg": "AccessDenied: why"}
    assert run.done == ["deleted vol-1"]


@pytest.mark.parametrize(
    "code", ["InvalidVolume.NotFound", "TargetGroupNotFound", "LoadBalancerNotFound", "NotFoundException"]
)
def test_what_somebody_else_deleted_is_gone(code: str) -> None:
    run = swept({"tg": [error(code)]}, TARGET)
    assert (run.done, run.reasons, run.clock.pauses) == ([], {}, [])


def test_a_service_that_does_not_answer_is_tried_again() -> None:
    silent = EndpointConnectionError(endpoint_url="https://ec2.invalid")
    assert swept({"tg": [silent, Waits("not yet"), "deleted tg"]}, TARGET).done == ["deleted tg"]


# -- one deletion ----------------------------------------------------------------------------------


class Client:
    """Notes calls; `answers` has what an operation gives."""

    def __init__(self, **answers: Callable[..., Any]) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.exceptions = SimpleNamespace(ClientError=ClientError)
        self._answers = answers

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            self.calls.append((operation, arguments))
            return self._answers.get(operation, lambda **_: {})(**arguments)

        return call

    @property
    def operations(self) -> list[str]:
        return [name for name, _ in self.calls]


def deleter(client: Client, policy: VolumePolicy = VolumePolicy.DELETE) -> Deleter:
    return Deleter(lambda service: client, "lab", policy, lambda line: None)


def test_rules_that_name_a_group_go_before_it_also_those_that_are_gone() -> None:
    def gone(**_: Any) -> None:
        raise error("InvalidSecurityGroupRuleId.NotFound")

    client = Client(revoke_security_group_ingress=gone)
    assert deleter(client).delete(GROUP) == "deleted security group sg-1"
    assert client.calls == [
        ("revoke_security_group_ingress", {"GroupId": "sg-2", "SecurityGroupRuleIds": ["sgr-1"]}),
        ("revoke_security_group_egress", {"GroupId": "sg-2", "SecurityGroupRuleIds": ["sgr-2"]}),
        ("delete_security_group", {"GroupId": "sg-1"}),
    ]


def snapshots(*states: str, pending: str = "") -> Client:
    """EC2 with a volume whose snapshot passes through these states."""
    left = list(states)

    def describe(**asked: Any) -> dict[str, Any]:
        if "Filters" in asked:
            return {"Snapshots": [{"SnapshotId": pending}] if pending else []}
        return {"Snapshots": [{"State": left.pop(0), "Progress": "40%"}]}

    tags = [{"Key": "kubernetes.io/created-for/pvc/name", "Value": "data"}, {"Key": "aws:x", "Value": "y"}]
    return Client(
        describe_snapshots=describe,
        describe_volumes=lambda **_: {"Volumes": [{"Tags": tags}]},
        create_snapshot=lambda **_: {"SnapshotId": "snap-1"},
    )


def test_a_volume_goes_only_when_its_snapshot_is_complete_and_there_is_one_only() -> None:
    client = snapshots("pending", "completed")
    one = deleter(client, VolumePolicy.SNAPSHOT)
    with pytest.raises(Waits, match=r"its snapshot snap-1 is being made \(40%\)"):
        one.delete(VOLUME)
    assert "delete_volume" not in client.operations
    assert one.delete(VOLUME) == "deleted volume vol-1, as snapshot snap-1"
    assert client.operations.count("create_snapshot") == 1
    assert client.operations[-1] == "delete_volume"
    (made,) = [arguments for name, arguments in client.calls if name == "create_snapshot"]
    assert made["TagSpecifications"][0]["Tags"] == [
        {"Key": "kubernetes.io/created-for/pvc/name", "Value": "data"},
        {"Key": "kubepark:cluster", "Value": "lab"},
    ]


def test_a_run_that_was_interrupted_goes_on_with_the_snapshot_that_it_began() -> None:
    client = snapshots("completed", pending="snap-0")
    assert deleter(client, VolumePolicy.SNAPSHOT).delete(VOLUME).endswith("as snapshot snap-0")
    assert "create_snapshot" not in client.operations


def test_a_snapshot_that_failed_is_begun_again_and_the_volume_waits() -> None:
    client = snapshots("error", "completed")
    one = deleter(client, VolumePolicy.SNAPSHOT)
    with pytest.raises(Waits, match="its snapshot snap-1 failed"):
        one.delete(VOLUME)
    one.delete(VOLUME)
    assert client.operations.count("create_snapshot") == 2

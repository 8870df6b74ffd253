"""Evictions until a deadline, starts with what capacity there is, and who differs from the power record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cli import power
from cli.drain import drain
from cli.errors import CommandError
from cli.instances import Ec2, Machine, NoCapacity
from cli.power import Known
from cli.power_plan import Pod
from config.model import NodeRole
from tests.unit.park_objects import Time, machine, machines, pod

BUDGET = "The disruption budget web needs 1 healthy pods and has 1 currently"


class Cluster:
    """Pods, and the answers to evictions by pod: reasons, one for each time it is asked; then it is granted."""

    def __init__(self, pods: Sequence[dict[str, Any]], ends: bool = True, **refusals: list[str]) -> None:
        self._pods, self._ends, self._refusals = list(pods), ends, refusals
        self.deleted: list[str] = []

    def pods(self) -> list[dict[str, Any]]:
        return list(self._pods)

    def evict(self, pod: Pod) -> str:
        if refused := self._refusals.get(pod.name):
            return refused.pop(0) if len(refused) > 1 else refused[0]
        if self._ends:
            self._remove(pod)
        return ""

    def delete(self, pod: Pod) -> None:
        self.deleted.append(pod.key)
        self._remove(pod)

    def _remove(self, pod: Pod) -> None:
        self._pods = [each for each in self._pods if each["metadata"]["uid"] != pod.uid]


def drained(cluster: Cluster, *, seconds: float = 60, force: bool = False) -> tuple[list[str], list[str]]:
    said: list[str] = []
    time = Time()
    gone = drain(
        cluster,
        ["gpu01"],
        seconds,
        force=force,
        retry="bin/kubepark park gpu --stack dev",
        say=said.append,
        clock=time.clock,
        sleep=time.sleep,
    )
    return gone, said


def test_pods_are_evicted_and_waited_for_and_those_elsewhere_left_alone() -> None:
    cluster = Cluster([pod("train", "gpu01", gpus=1), pod("web", "worker01")])
    assert drained(cluster) == (["ana/train"], ["ana/train: evicted"])
    assert [each["metadata"]["name"] for each in cluster.pods()] == ["web"]


def test_a_budget_is_asked_until_the_deadline_and_then_named_with_its_pod() -> None:
    cluster = Cluster([pod("web", "gpu01"), pod("train", "gpu01")], web=[BUDGET])
    with pytest.raises(CommandError) as refused:
        drained(cluster)
    assert str(refused.value).splitlines() == [
        "after 60 s these pods are still there, and nothing was stopped:",
        f"  - ana/web on gpu01: {BUDGET}",
        "the nodes stay cordoned. To go on: bin/kubepark park gpu --stack dev; with --force, what a "
        "PodDisruptionBudget protects",
        "is deleted at the deadline. To let the nodes be used again: bin/kubepark unpark",
    ]
    assert cluster.deleted == []


def test_a_pod_that_does_not_end_is_named_as_such() -> None:
    with pytest.raises(CommandError, match="ana/web on gpu01: it was evicted and has not ended"):
        drained(Cluster([pod("web", "gpu01")], ends=False))


def test_force_deletes_at_the_deadline_what_a_budget_protects_and_nothing_before() -> None:
    cluster = Cluster([pod("web", "gpu01")], web=[BUDGET])
    gone, said = drained(cluster, force=True)
    assert (gone, cluster.deleted) == (["ana/web"], ["ana/web"])
    assert said == [f"ana/web: {BUDGET}", "ana/web: deleted, because of --force"]


def test_a_budget_that_gives_way_in_time_needs_no_force() -> None:
    class Granting(Cluster):
        def evict(self, pod: Pod) -> str:
            answers = self._refusals["web"]
            if answers:
                return answers.pop(0)
            self._remove(pod)
            return ""

    cluster = Granting([pod("web", "gpu01")], web=[BUDGET, BUDGET])
    assert drained(cluster) == (["ana/web"], [f"ana/web: {BUDGET}", "ana/web: evicted"])


# -- capacity ------------------------------------------------------------------------------------------


class Aws:
    """EC2 that refuses starts: by type, how often (None: always)."""

    def __init__(
        self, type: str = "g4dn.xlarge", code: str = "InsufficientInstanceCapacity", **left: int | None
    ) -> None:
        self.type, self.code = type, code
        self.left = {name.replace("_", "."): times for name, times in left.items()}
        self.calls: list[str] = []

    def start_instances(self, InstanceIds: list[str]) -> None:
        self.calls.append(f"start {self.type}")
        times = self.left.get(self.type, 0)
        if times is None or times > 0:
            self.left[self.type] = None if times is None else times - 1
            answer = {"Error": {"Code": self.code, "Message": f"no {self.type}"}}
            raise ClientError(answer, "StartInstances")

    def modify_instance_attribute(self, InstanceId: str, InstanceType: dict[str, str]) -> None:
        self.type = InstanceType["Value"]
        self.calls.append(f"resize {self.type}")


def start(
    aws: Aws, *types: str, patience: float = 60, now: str = "g4dn.xlarge"
) -> tuple[str, list[str], float]:
    """The type that it was started as, what was said, and how long it took."""
    said: list[str] = []
    time = Time()
    ec2 = Ec2(client=aws, say=said.append, clock=time.clock, sleep=time.sleep)
    stopped: Machine = machine("gpu01", "stopped", type=now)
    return ec2.start(stopped, types or ("g4dn.xlarge",), patience), said, time.now


def test_no_capacity_for_a_moment_is_waited_for() -> None:
    aws = Aws(g4dn_xlarge=2)
    found, said, took = start(aws)
    assert (found, took) == ("g4dn.xlarge", 15)
    assert aws.calls == ["start g4dn.xlarge"] * 3
    assert said[0] == "no capacity for gpu01 (g4dn.xlarge) now; the next try is in 5 s"


def test_a_spot_instance_that_aws_took_back_is_waited_for_and_then_left_to_it() -> None:
    aws = Aws(code="IncorrectSpotRequestState", g4dn_xlarge=2)
    assert start(aws)[0] == "g4dn.xlarge"
    with pytest.raises(NoCapacity, match=r"g4dn\.xlarge: IncorrectSpotRequestState: no "):
        start(Aws(code="IncorrectSpotRequestState", g4dn_xlarge=None))


def test_after_the_deadline_the_instance_becomes_the_next_type() -> None:
    aws = Aws(g4dn_xlarge=None, g4dn_2xlarge=1)
    found, said, took = start(aws, "g4dn.xlarge", "g4dn.2xlarge", patience=20)
    assert (found, aws.type, took) == ("g4dn.2xlarge", "g4dn.2xlarge", 25)
    assert "gpu01 becomes g4dn.2xlarge (it was g4dn.xlarge)" in said


def test_without_capacity_of_any_type_it_stays_parked_as_the_first_and_each_is_named() -> None:
    aws = Aws(g4dn_xlarge=None, g4dn_2xlarge=None)
    with pytest.raises(NoCapacity) as refused:
        start(aws, "g4dn.xlarge", "g4dn.2xlarge", patience=10)
    assert str(refused.value) == (
        "g4dn.xlarge: InsufficientInstanceCapacity: no g4dn.xlarge; "
        "g4dn.2xlarge: InsufficientInstanceCapacity: no g4dn.2xlarge"
    )
    assert aws.type == "g4dn.xlarge"


def test_the_first_type_is_tried_first_whatever_the_instance_is_now() -> None:
    aws = Aws(type="g4dn.2xlarge")
    assert start(aws, "g4dn.xlarge", "g4dn.2xlarge", now="g4dn.2xlarge")[0] == "g4dn.xlarge"
    assert aws.calls == ["resize g4dn.xlarge", "start g4dn.xlarge"]


def test_a_type_that_the_zone_never_has_is_not_waited_for_and_another_error_is_none_of_capacity() -> None:
    aws = Aws(code="Unsupported", g4dn_xlarge=None)
    assert start(aws, "g4dn.xlarge", "g4dn.2xlarge")[2] == 0
    with pytest.raises(ClientError, match="VcpuLimitExceeded"):
        start(Aws(code="VcpuLimitExceeded", g4dn_xlarge=None))


def test_an_instance_that_does_not_get_there_is_named_at_the_deadline() -> None:
    class Slow:
        def describe_instances(self, InstanceIds: list[str]) -> dict[str, Any]:
            states = {"i-gpu01": "stopping", "i-worker01": "stopped"}
            found = [{"InstanceId": each, "State": {"Name": states[each]}} for each in InstanceIds]
            return {"Reservations": [{"Instances": found}]}

    said: list[str] = []
    time = Time()
    ec2 = Ec2(client=Slow(), say=said.append, clock=time.clock, sleep=time.sleep)
    with pytest.raises(CommandError) as late:
        ec2.settle([machine("gpu01"), machine("worker01")], "stopped")
    assert str(late.value) == "not stopped after 10 minutes: gpu01; run the command again to go on"
    assert said == ["worker01 is stopped"]


# -- the record ----------------------------------------------------------------------------------------

AUTO = dict.fromkeys(NodeRole, "auto")


def lines(parked: set[str], wanted: dict[NodeRole, str] | None = None, **states: str) -> list[str]:
    return list(power.differences("dev", Known(machines(**states), frozenset(parked)), wanted or AUTO))


def test_who_is_as_recorded_is_not_spoken_of() -> None:
    assert lines(set()) == []
    assert lines({"gpu01"}, gpu01="stopped") == []
    assert lines({"gpu01"}, gpu01="stopping") == []


def test_who_differs_from_the_record_is_named_with_both_ways_out() -> None:
    assert lines(set(), gpu01="stopped") == [
        "power: gpu01: stopped, and the record says running; to start it: bin/kubepark unpark gpu "
        "--stack dev; if that is right: bin/kubepark park gpu --stack dev"
    ]
    assert lines({"gpu01"}) == [
        "power: gpu01: running, and the record says parked; to stop it: bin/kubepark park gpu "
        "--stack dev; if that is right: bin/kubepark unpark gpu --stack dev"
    ]
    (line,) = lines(set(), worker02="stopped")
    assert "to start it: bin/kubepark unpark worker02 --stack dev" in line, "its pool is not meant"
    (line,) = lines(set(), worker01="stopped", worker02="stopped")
    assert line.startswith("power: worker01, worker02: stopped, and ")
    assert "bin/kubepark unpark workers --stack dev" in line


def test_who_is_not_as_the_stack_file_wants_it_is_named_with_the_update_that_makes_it_so() -> None:
    wanted = AUTO | {NodeRole.GPU: "running", NodeRole.WORKER: "stopped"}
    assert lines({"gpu01"}, wanted, gpu01="stopped", worker02="stopped") == [
        "power: gpu01: stopped, and kubepark:gpu.power is running; to make it so: bin/kubepark up --refresh "
        "--stack dev",
        "power: worker01: running, and kubepark:workers.power is stopped; to make it so: bin/kubepark up --refresh "
        "--stack dev",
    ]


class Ssm:
    """Parameter Store with one parameter; None: it is not there."""

    class exceptions:
        class ParameterNotFound(Exception):
            """As boto3 raises it."""

    def __init__(self, value: str | None) -> None:
        self.value = value

    def get_parameter(self, Name: str) -> dict[str, Any]:
        assert Name == "/lab/power"
        if self.value is None:
            raise self.exceptions.ParameterNotFound
        return {"Parameter": {"Value": self.value}}

    def put_parameter(self, Name: str, Value: str, Type: str, Overwrite: bool) -> None:
        assert (Name, Type, Overwrite) == ("/lab/power", "String", True)
        self.value = Value


@pytest.fixture
def no_instances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "find", lambda ec2, cluster: ())


@pytest.mark.usefixtures("no_instances")
def test_a_stack_of_before_the_record_has_none_and_one_that_is_none_is_an_error_with_the_way_out() -> None:
    ssm = Ssm(None)
    assert power.read(None, ssm, "lab").parked is None
    power.write(ssm, "lab", ["worker01", "gpu01"], {})
    assert power.read(None, ssm, "lab").parked == {"gpu01", "worker01"}
    with pytest.raises(CommandError) as broken:
        power.read(None, Ssm("{}"), "lab")
    assert str(broken.value) == (
        "the power record (/lab/power) has not the schema 1; fix: aws ssm put-parameter --overwrite --name "
        """/lab/power --value '{"schema":1,"stopped":[]}'"""
    )


def test_an_operation_that_may_not_ask_goes_on_and_says_so(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def denied(service: str, *_: Any, **options: Any) -> Any:
        raise CommandError("AWS cannot be asked: no profile")

    monkeypatch.setattr(power, "client", denied)
    found = power.look("sandbox", {})
    assert (found.machines, found.control_plane_off, found.gpus_off) == ((), False, ())
    said = capsys.readouterr().err
    assert said == "warning: not checked: which nodes are parked (AWS cannot be asked: no profile)\n"


def test_only_a_stopped_master_is_a_control_plane_that_is_off() -> None:
    assert not Known(machines(), frozenset()).control_plane_off
    assert not Known((), None).control_plane_off
    assert Known(machines(master1="stopping"), frozenset()).control_plane_off
    assert Known(machines(gpu01="stopped"), frozenset()).gpus_off == ("gpu01",)
    assert Known(machines(), frozenset()).gpus_off == ()

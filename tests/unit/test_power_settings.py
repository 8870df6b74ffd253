"""Who runs: the settings by pool, the types that a GPU node may be of, and the record of who is parked."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import socket
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components import cluster
from config import kubeconfig, power, settings
from config.instance_types import Accelerator
from config.model import Power
from config.power import PowerRecordError
from config.problems import SettingsError
from config.sections import nodes
from tests.configuration import configuration
from tests.engine import Recording
from tests.program import run, whole

INSTANCE, STATE = "aws:ec2/instance:Instance", "aws:ec2transitgateway/instanceState:InstanceState"
SEVERAL = ["g4dn.xlarge", "g4dn.2xlarge"]


def refused(**changes: Any) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        settings.parse("dev", configuration(**changes))
    return [str(problem) for problem in raised.value.problems]


def test_by_default_no_update_decides_who_runs() -> None:
    found = settings.parse("dev", configuration())
    assert {found.control_plane.power, found.workers_power, found.gpu.power} == {Power.AUTO}
    assert whole().of_type(STATE) == []


def test_each_pool_takes_these_words() -> None:
    for pool, words in (
        ("workers", "auto, running, stopped, absent"),
        ("controlPlane", "auto, running, stopped"),
    ):
        (problem,) = refused(**{f"{pool}__power": "off"})
        assert f'kubepark:{pool}.power: "off" is not one of {words}; accepted: {words}; fix: ' in problem
    (problem,) = refused(controlPlane__power="absent")
    assert '"absent" is not one of auto, running, stopped' in problem


def test_absent_workers_are_not_there_and_the_gpu_node_is() -> None:
    recording = whole(config=configuration(workers__power="absent"))
    assert {item.name for item in recording.of_type(INSTANCE)} == {"master1", "gpu01"}


@pytest.mark.parametrize("preview", [False, True])
def test_pools_to_be_stopped_are_stopped_after_everything_else(preview: bool) -> None:
    recording = whole(config=configuration(gpu__power="stopped", workers__power="stopped"), preview=preview)
    states = {item.name: item for item in recording.of_type(STATE)}
    assert set(states) == {f"stopped-{name}" for name in ("gpu01", "worker01", "worker02", "worker03")}
    in_cluster = {i.urn for i in recording.resources.values() if i.custom and i.package == "kubernetes"}
    assert len(in_cluster) > 20
    for name, state in states.items():
        assert state.inputs["state"] == "stopped"
        assert in_cluster <= set(state.depends_on)
        instance = recording.one(INSTANCE, name.removeprefix("stopped-"))
        assert instance.urn in state.depends_on


def test_preview_and_update_pin_the_same() -> None:
    pinned = configuration(gpu__power="running", workers__power="stopped")
    assert whole(config=pinned).urns == whole(config=pinned, preview=True).urns


def test_a_gpu_that_is_to_run_waits_for_nothing_in_the_cluster() -> None:
    recording = whole(config=configuration(gpu__power="running"))
    (state,) = recording.of_type(STATE)
    assert (state.name, state.inputs["state"]) == ("running-gpu01", "running")
    assert state.inputs["instanceId"] == recording.one(INSTANCE, "gpu01").id
    assert {recording.resources[urn].package for urn in state.depends_on} == {"aws"}


def test_a_master_that_is_to_run_is_started_before_anything_in_the_cluster_is_looked_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as api:
        endpoint = f"https://127.0.0.1:{api.getsockname()[1]}"
        pinned = configuration(controlPlane__power="running", controlPlane__apiEndpoint=endpoint)
        recording = whole(config=pinned, listens=None)
    (state,) = recording.of_type(STATE)
    provider = recording.one("pulumi:providers:kubernetes")
    assert state.name == "running-master1"
    assert state.urn in provider.depends_on


def test_an_api_that_does_not_come_back_ends_the_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record of the master is of before it was stopped, and says that all is well."""
    now = iter(range(0, 10_000, 40))
    monkeypatch.setattr(cluster, "monotonic", lambda: next(now))
    monkeypatch.setattr(cluster.waiting, "POLL_SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    pinned = configuration(
        controlPlane__power="running",
        controlPlane__waitMinutes=1,
        controlPlane__apiEndpoint=f"https://127.0.0.1:{port}",
    )
    error = run(config=pinned, listens=None).error
    assert str(error) == f"the API server does not answer at https://127.0.0.1:{port}"


# -- instance types of GPU nodes ---------------------------------------------------------------------


def test_gpu_nodes_are_of_the_first_type_and_an_update_leaves_the_one_that_a_start_chose() -> None:
    config = configuration(
        gpu__instanceTypes=SEVERAL, gpu__nodes={"gpu01": {}, "gpu02": {"instanceType": "g4dn.4xlarge"}}
    )
    first, own = settings.parse("dev", config).gpu.nodes
    assert (first.instance_type, first.further_types) == ("g4dn.xlarge", ("g4dn.2xlarge",))
    assert (own.instance_type, own.further_types) == ("g4dn.4xlarge", ())
    recording = whole(config=config)
    assert recording.one(INSTANCE, "gpu01").inputs["instanceType"] == "g4dn.xlarge"
    assert "instanceType" in recording.one(INSTANCE, "gpu01").ignore_changes
    assert "instanceType" not in recording.one(INSTANCE, "gpu02").ignore_changes


def test_other_types_change_nothing_of_what_a_node_is_made_of() -> None:
    one, several = whole(), whole(config=configuration(gpu__instanceTypes=SEVERAL))
    assert one.one(INSTANCE, "gpu01").inputs == several.one(INSTANCE, "gpu01").inputs


def test_a_list_of_types_is_refused_where_a_start_could_not_follow_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = {**nodes.GPU_INSTANCE_TYPES, "g4dn.8xlarge": Accelerator(label="nvidia-other", count=1)}
    monkeypatch.setattr(nodes, "GPU_INSTANCE_TYPES", other)
    (problem,) = refused(gpu__instanceTypes=["g4dn.xlarge", "m7i.large", "g4dn.xlarge"])
    assert problem.startswith(
        'kubepark:gpu.instanceTypes[1]: "m7i.large" has no GPU; accepted: g4dn.xlarge, '
    )
    listed = ["g4dn.xlarge", "g4dn.xlarge", "g4dn.8xlarge"]
    found = refused(gpu__instanceTypes=listed, gpu__instanceType="g4dn.2xlarge")
    assert [each.partition("; accepted")[0] for each in found] == [
        "kubepark:gpu.instanceType: stands beside instanceTypes",
        'kubepark:gpu.instanceTypes[1]: "g4dn.xlarge" is in the list before',
        'kubepark:gpu.instanceTypes[2]: "g4dn.8xlarge" has another GPU than the first',
    ]


# -- Spot Instances ----------------------------------------------------------------------------------


def test_gpu_nodes_are_bought_on_demand_unless_the_stack_says_spot() -> None:
    assert "instanceMarketOptions" not in whole().one(INSTANCE, "gpu01").inputs
    (problem,) = refused(gpu__market="cheap")
    words = "on-demand, spot"
    assert f'kubepark:gpu.market: "cheap" is not one of {words}; accepted: {words}; fix: ' in problem
    (problem,) = refused(gpu={"market": "spot", "instanceTypes": SEVERAL})
    assert problem == (
        "kubepark:gpu.instanceTypes: has several types, and a Spot Instance that is stopped cannot become another "
        "one; accepted: one type, or gpu.market on-demand; fix: pulumi config rm --stack dev --path "
        "kubepark:gpu.instanceTypes"
    )
    assert settings.parse(
        "dev", configuration(gpu={"market": "spot", "instanceTypes": SEVERAL[:1]})
    ).gpu.nodes


def test_a_spot_instance_is_stopped_and_not_ended_and_no_other_node_is_one() -> None:
    one, spot = whole(), whole(config=configuration(gpu__market="spot"))
    assert spot.one(INSTANCE, "gpu01").inputs["instanceMarketOptions"] == {
        "marketType": "spot",
        "spotOptions": {"spotInstanceType": "persistent", "instanceInterruptionBehavior": "stop"},
    }
    differing = {urn for urn in one.urns if one.resources[urn].inputs != spot.resources[urn].inputs}
    assert one.urns == spot.urns
    key = one.one("aws:kms/key:Key", "keys-cluster")
    assert differing == {one.one(INSTANCE, "gpu01").urn, key.urn}, "and the key of its disk"
    changed = spot.resources[key.urn].inputs
    assert {name for name in changed if changed[name] != key.inputs[name]} == {"policy"}
    assert b"drain-spot" in user_data(spot, "gpu01")
    assert b"drain-spot" not in user_data(spot, "master1") + user_data(one, "gpu01")


def test_another_market_or_another_type_of_a_spot_instance_makes_gpu_nodes_anew_and_no_others() -> None:
    def triggers(**gpu: Any) -> dict[str, Any]:
        recording = whole(config=configuration(gpu=gpu))
        return {item.name: item.replacement_trigger for item in recording.of_type(INSTANCE)}

    plain, spot = triggers(), triggers(market="spot")
    other, bigger = (
        triggers(instanceType="g4dn.2xlarge"),
        triggers(market="spot", instanceType="g4dn.2xlarge"),
    )
    assert plain == other == dict.fromkeys(plain, 1), "the type of any other instance changes in place"
    assert {name for name in plain if plain[name] != spot[name]} == {"gpu01"}
    assert {name for name in plain if spot[name] != bigger[name]} == {"gpu01"}


# -- the master's guard of GPU nodes -----------------------------------------------------------------


@pytest.mark.parametrize("minutes", [9, 1441, "soon", True])
def test_idle_minutes_have_bounds_and_the_flag_is_one(minutes: object) -> None:
    found = refused(gpu={"idleMinutes": minutes, "wakeOnDemand": "maybe"})
    accepted = "accepted: minutes from 10 to 1440; fix: pulumi config set --stack dev --path"
    assert [each.partition(": ")[0] for each in found] == [
        "kubepark:gpu.idleMinutes",
        "kubepark:gpu.wakeOnDemand",
    ]
    assert f"{accepted} kubepark:gpu.idleMinutes 60" in found[0]


def test_without_a_setting_nothing_of_the_guard_is_there() -> None:
    recording = whole()
    assert "gpu-power" not in str([each.inputs for each in recording.of_type("aws:ssm/parameter:Parameter")])
    assert "ec2:" not in str([each.inputs for each in recording.of_type("aws:iam/rolePolicy:RolePolicy")])
    assert b"guard-gpus" not in user_data(recording)


def user_data(recording: Recording, node: str = "master1") -> bytes:
    """Unpacked."""
    return gzip.decompress(base64.b64decode(recording.one(INSTANCE, node).inputs["userDataBase64"]))


def test_another_number_of_minutes_or_another_node_is_a_change_of_one_parameter() -> None:
    one = whole(config=configuration(gpu={"idleMinutes": 45}))
    other = whole(
        config=configuration(
            gpu={"idleMinutes": 60, "wakeOnDemand": True, "nodes": {"gpu01": {}, "gpu03": {}}}
        )
    )
    (before,), (after,) = (
        [item for item in each.of_type("aws:ssm/parameter:Parameter") if item.name == "parameters-gpu-power"]
        for each in (one, other)
    )
    assert json.loads(before.inputs["value"]) == {
        "schema": 1,
        "idleMinutes": 45,
        "wake": False,
        "nodes": {"gpu01": 1},
    }
    assert json.loads(after.inputs["value"])["nodes"] == {"gpu01": 1, "gpu03": 1}
    assert after.inputs["name"] == "/lab/gpu-power"
    assert "value" not in after.ignore_changes
    assert b"guard-gpus" in user_data(one)
    assert user_data(one) == user_data(other), "no node gets outdated"


def test_what_the_guard_is_told() -> None:
    def told(**gpu: Any) -> Any:
        return json.loads(power.guard(settings.parse("dev", configuration(gpu=gpu)).gpu))

    nodes = {"gpu01": {}, "gpu02": {"instanceType": "g4dn.12xlarge"}}
    asked = {"idleMinutes": 45, "wakeOnDemand": True, "nodes": nodes}
    expected = {"schema": 1, "idleMinutes": 45, "wake": True, "nodes": {"gpu01": 1, "gpu02": 4}}
    assert told(**asked) == expected
    assert told(**asked, timeSlicing={"replicas": 3})["nodes"] == {"gpu01": 3, "gpu02": 12}
    assert told(wakeOnDemand=True)["idleMinutes"] == 0
    for pin in ("running", "stopped"):
        assert told(**asked, power=pin) == expected | {"idleMinutes": 0, "wake": False}, "a pin wins"


# -- the record --------------------------------------------------------------------------------------


def test_the_record_is_made_by_an_update_and_kept_as_it_is_from_then_on() -> None:
    (record,) = [
        item for item in whole().of_type("aws:ssm/parameter:Parameter") if item.inputs["name"] == "/lab/power"
    ]
    assert (record.inputs["type"], power.load(record.inputs["value"])) == ("String", frozenset())
    assert "value" in record.ignore_changes


def test_what_was_stopped_is_read_as_it_was_written() -> None:
    assert power.load(power.dump(["worker01", "gpu01"])) == {"gpu01", "worker01"}
    assert power.dump(["b1", "a1"]) == '{"schema":1,"stopped":["a1","b1"]}'
    assert power.keep_on(power.dump([])) == {}


def test_who_is_kept_on_is_in_the_record_in_utc_to_the_second() -> None:
    until = datetime(2026, 11, 29, 0, 0, 0, 7, timezone(timedelta(hours=1)))
    text = power.dump(["worker01"], {"gpu02": until, "gpu01": until})
    assert text == (
        '{"schema":1,"stopped":["worker01"],"keepOn":{"gpu01":"2026-11-28T23:00:00Z",'
        '"gpu02":"2026-11-28T23:00:00Z"}}'
    )
    assert power.load(text) == {"worker01"}
    assert power.keep_on(text) == dict.fromkeys(("gpu01", "gpu02"), until.replace(microsecond=0))


@pytest.mark.parametrize("found", ["[]", '"gpu01"', '{"gpu01":5}', '{"gpu01":"23:00"}', "null"])
def test_what_is_no_map_of_times_is_said(found: str) -> None:
    with pytest.raises(PowerRecordError, match="has no map `keepOn` from node names to times in UTC"):
        power.keep_on(f'{{"schema":1,"stopped":[],"keepOn":{found}}}')


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "is not JSON"),
        ('{"schema":2,"stopped":[]}', "has not the schema 1"),
        ("[]", "has not the schema 1"),
        ('{"schema":1,"stopped":"gpu01"}', "has no list `stopped` of node names"),
        ('{"schema":1,"stopped":[1]}', "has no list `stopped` of node names"),
    ],
)
def test_what_is_no_record_is_said(text: str, wrong: str) -> None:
    with pytest.raises(PowerRecordError, match=wrong):
        power.load(text)


@pytest.mark.parametrize(
    ("listens", "kept"), [(True, "server: https://lab:6443\n"), (False, kubeconfig.NOWHERE)]
)
def test_a_preview_leaves_a_silent_api_alone(
    listens: bool, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its address the provider would try for half a minute, and compare with the state in the end."""

    async def told(endpoint: str) -> bool:
        assert endpoint == "https://lab:6443"
        return listens

    said: list[str] = []
    monkeypatch.setattr(cluster, "_listens", told)
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: True)
    monkeypatch.setattr(pulumi.log, "info", said.append)
    made = object.__new__(cluster.Cluster)
    made._file = str(tmp_path / "kubeconfig")
    assert asyncio.run(made._keep([" server: https://lab:6443\n", "https://lab:6443"])) == made._file
    assert Path(made._file).read_text().strip() == kept.strip()
    assert len(said) == (0 if listens else 1)

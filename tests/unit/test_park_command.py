"""`kubepark park` and `unpark` from the question to the last line, with an account and a cluster of plain data."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from cli import (
    api_server,
    cluster,
    drain,
    environments,
    kube_nodes,
    main,
    park,
    power,
    questions,
    stackfile,
    unpark,
)
from cli.errors import CommandError
from cli.instances import Machine
from config.naming import CORDONED
from tests.unit.park_objects import machines, node, pod, record

FILE = """\
config:
  kubepark:aws: {region: us-east-1, accountId: "123456789012"}
  kubepark:workers: {nodes: {worker01: {}, worker02: {}}}
"""


class Lab:
    """One account and its cluster. `log`: what was changed, in order."""

    def __init__(self) -> None:
        self.machines: dict[str, Machine] = {each.name: each for each in machines()}
        self.parked: frozenset[str] | None = frozenset()
        self.keep_on: dict[str, datetime] = {}
        self.nodes = {name: node(name, gpus=int(name == "gpu01")) for name in self.machines}
        self.pods = [pod("train", "gpu01", gpus=1), pod("web", "worker01")]
        self.records: dict[str, Any] = {}
        self.log: list[str] = []
        self.reachable = True

    # -- as EC2
    def stop_instances(self, InstanceIds: list[str]) -> None:
        self._switch(InstanceIds, "stop", "stopped")

    def start_instances(self, InstanceIds: list[str]) -> None:
        self._switch(InstanceIds, "start", "running")
        for name in (each.removeprefix("i-") for each in InstanceIds):
            self.records[name] = record(name, phase="api-ready" if name == "master1" else "joined")
            self.nodes[name]["status"]["nodeInfo"]["bootID"] = "boot-2"

    def _switch(self, ids: list[str], verb: str, state: str) -> None:
        names = [each.removeprefix("i-") for each in ids]
        self.log.append(f"{verb} {' '.join(names)}")
        self.machines |= {name: replace(self.machines[name], state=state) for name in names}

    def describe_instances(self, InstanceIds: list[str]) -> dict[str, Any]:
        found = [
            {"InstanceId": each.instance_id, "State": {"Name": each.state}}
            for each in self.machines.values()
            if each.instance_id in InstanceIds
        ]
        return {"Reservations": [{"Instances": found}]}

    # -- as the cluster
    def cordon(self, name: str, boot: str) -> None:
        self.log.append(f"cordon {name}")
        self.nodes[name]["spec"]["unschedulable"] = True
        self.nodes[name]["metadata"]["annotations"] = {CORDONED: boot}

    def uncordon(self, name: str) -> None:
        self.log.append(f"uncordon {name}")

    def evict(self, found: Any) -> str:
        self.log.append(f"evict {found.key}")
        self.pods = [each for each in self.pods if each["metadata"]["uid"] != found.uid]
        return ""


class Kube:
    def __init__(self, lab: Lab) -> None:
        self.cordon, self.uncordon, self.evict = lab.cordon, lab.uncordon, lab.evict
        self.nodes, self.pods = lambda: lab.nodes, lambda: lab.pods
        self.note_type = lambda name, kind: None


class Person(environments.Account):
    @contextlib.contextmanager
    def operation(self, verb: str) -> Iterator[dict[str, str]]:
        yield {}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    made = Lab()
    monkeypatch.setattr(stackfile, "ROOT", tmp_path)
    (tmp_path / "Pulumi.dev.yaml").write_text(FILE, encoding="utf-8")
    monkeypatch.setattr(environments, "of", lambda stack: Person())
    monkeypatch.setattr(park, "client", lambda service, stack, variables: made)
    order = ("gpu01", "worker01", "worker02", "master1")
    found = lambda *_: tuple(made.machines[name] for name in order)  # noqa: E731
    monkeypatch.setattr(power, "read", lambda *_: power.Known(found(), made.parked, made.keep_on))
    monkeypatch.setattr(drain, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(unpark, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(unpark, "find", found)
    monkeypatch.setattr(unpark, "_records", lambda at: made.records)
    monkeypatch.setattr(api_server, "listens", lambda kubeconfig: True)
    monkeypatch.setattr(
        api_server, "certificate", lambda kubeconfig, now: "the API server's certificate is good"
    )

    def write(ssm: Any, cluster: str, parked: Any, keep_on: Any) -> None:
        made.parked, made.keep_on = frozenset(parked), dict(keep_on)
        made.log.append(f"record {' '.join(sorted(parked)) or 'nobody'}")

    @contextlib.contextmanager
    def connected(kubeconfig: Any) -> Iterator[Lab]:
        if not made.reachable:
            raise CommandError("the Kubernetes API cannot be reached at https://198.51.100.7:6443: refused")
        yield made

    monkeypatch.setattr(power, "write", write)
    monkeypatch.setattr(cluster, "kubeconfig_of", lambda stack: {})
    monkeypatch.setattr(cluster, "connected", connected)
    monkeypatch.setattr(kube_nodes, "KubeNodes", Kube)
    return made


def run(*words: str) -> int:
    return main.main([*words, "--stack", "dev"])


def error(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.removeprefix("error: ").strip()


def test_park_gpu_cordons_evicts_records_and_stops_in_this_order(lab: Lab, capsys) -> None:
    assert run("park", "--yes") == 0
    assert lab.log == ["cordon gpu01", "evict ana/train", "record gpu01", "stop gpu01"]
    said = capsys.readouterr().out
    assert "  ana/train on gpu01 (1 GPU)\n" in said
    assert said.endswith(
        "parked: gpu01\n"
        "saved: 0.5310 USD an hour, 387.63 a month of 730 hours\n"
        "what still costs: 8.00 USD a month (disks, and an Elastic IP of the control plane)\n"
        "back by: bin/kubepark unpark gpu --stack dev\n"
    )


def test_park_all_evicts_nobody_and_stops_the_master_last(lab: Lab) -> None:
    assert run("park", "all", "--yes") == 0
    assert lab.log == [
        *("cordon gpu01", "cordon worker01", "cordon worker02"),
        "record gpu01 master1 worker01 worker02",
        *("stop gpu01 worker01 worker02", "stop master1"),
    ]


def test_who_says_no_has_changed_nothing(lab: Lab, monkeypatch, capsys) -> None:
    asked: list[str] = []

    def no(text: str) -> None:
        asked.append(text)
        raise CommandError("nothing was changed")

    monkeypatch.setattr(questions, "confirm", no)
    assert run("park", "workers") == 1
    assert asked == ["Stop worker01, worker02?"]
    captured = capsys.readouterr()
    assert (
        "these pods end with their nodes, and have nowhere else to go:\n  ana/web on worker01\n"
        in captured.out
    )
    assert lab.log == []


def test_the_same_park_again_repairs_what_an_interruption_left(lab: Lab, monkeypatch, capsys) -> None:
    def interrupt(ids: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Lab, "stop_instances", lambda self, InstanceIds: interrupt(InstanceIds))
        assert run("park", "gpu", "--yes") == main.INTERRUPTED
    assert "interrupted; to go on: bin/kubepark park gpu --stack dev" in capsys.readouterr().out
    lab.log.clear()
    assert run("park", "gpu", "--yes") == 0
    assert lab.log == ["cordon gpu01", "stop gpu01"]
    lab.log.clear()
    assert run("park", "gpu", "--yes") == 0
    assert lab.log == []
    assert "already stopped: gpu01" in capsys.readouterr().out


def test_without_an_api_nothing_is_stopped_unless_forced(lab: Lab, capsys) -> None:
    lab.reachable = False
    assert run("park", "workers", "--yes") == 1
    assert error(capsys) == (
        "the Kubernetes API cannot be reached at https://198.51.100.7:6443: refused; so no pod can be moved. To "
        "stop worker01, worker02 all the same: bin/kubepark park workers --stack dev --force"
    )
    assert lab.log == []
    assert run("park", "workers", "--yes", "--force") == 0
    assert lab.log == ["record worker01 worker02", "stop worker01 worker02"]


def test_json_has_progress_on_standard_error_and_asks_nothing(lab: Lab, capsys) -> None:
    assert run("park", "gpu", "--json") == 1
    assert error(capsys) == "with --json nothing is asked; fix: add --yes"
    assert run("park", "gpu", "--json", "--yes") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "stack": "dev",
        "target": "gpu",
        "parked": ["gpu01"],
        "evicted": ["ana/train"],
        "usd": {"savedHourly": 0.531, "savedMonthly": 387.63, "stillMonthly": 8.0},
    }
    assert "gpu01 is stopped\n" in captured.err


@pytest.mark.parametrize(
    ("verb", "pinned", "yes"), [("park", "running", ["--yes"]), ("unpark", "stopped", [])]
)
def test_a_pool_that_the_stack_file_pins_is_refused_with_the_way(
    lab: Lab, verb: str, pinned: str, yes: list[str], capsys
) -> None:
    file = stackfile.stack_file("dev")
    file.write_text(FILE + f"  kubepark:gpu: {{power: {pinned}}}\n", encoding="utf-8")
    assert run(verb, "gpu", *yes) == 1
    assert error(capsys) == (
        f"kubepark:gpu.power is {pinned}, and an update would undo this; fix: pulumi config set --stack dev --path "
        "kubepark:gpu.power auto, then bin/kubepark up --stack dev"
    )
    assert lab.log == []


def test_a_stack_of_before_the_record_is_told_to_update(lab: Lab, capsys) -> None:
    lab.parked = None
    assert run("park", "gpu", "--yes") == 1
    assert error(capsys) == "stack dev has no power record yet; fix: bin/kubepark up --stack dev"


# -- unpark --------------------------------------------------------------------------------------------


def test_unpark_starts_the_master_first_and_takes_each_node_into_use(lab: Lab, capsys) -> None:
    run("park", "all", "--yes")
    lab.log.clear()
    assert run("unpark", "all", "--skip-verify") == 0
    assert lab.log == [
        *("start master1", "record gpu01 worker01 worker02", "start worker01", "record gpu01 worker02"),
        *("start worker02", "record gpu01", "start gpu01", "record nobody"),
        *("uncordon gpu01", "uncordon worker01", "uncordon worker02"),
    ]
    said = capsys.readouterr().out
    assert "gpu01: is back\n" in said
    assert "that costs 1.0450 USD an hour more" in said


def test_a_node_cannot_come_back_without_the_control_plane(lab: Lab, capsys) -> None:
    run("park", "all", "--yes")
    lab.log.clear()
    capsys.readouterr()
    assert run("unpark", "gpu") == 1
    assert error(capsys) == (
        "the control plane is stopped, and no node can come back without it; fix: bin/kubepark unpark all "
        "--stack dev"
    )
    assert lab.log == []


def test_a_drain_that_was_given_up_is_undone_by_unpark(lab: Lab) -> None:
    """The node never stopped: what it reported at its only boot counts."""
    lab.cordon("gpu01", "boot-1")
    lab.records["gpu01"] = record("gpu01", boot="boot-1")
    lab.log.clear()
    assert run("unpark", "gpu", "--skip-verify") == 0
    assert lab.log == ["uncordon gpu01"]


def test_nodes_that_do_not_come_back_are_named_with_what_they_lack(lab: Lab, monkeypatch, capsys) -> None:
    run("park", "gpu", "--yes")
    capsys.readouterr()
    said = record("gpu01", phase="failed", step="gpu-driver", message="no device")
    monkeypatch.setattr(unpark, "_records", lambda at: {"gpu01": said})
    assert run("unpark", "gpu", "--timeout", "1") == 1
    assert error(capsys).splitlines() == [
        "after 1 s these nodes are not back:",
        "  - gpu01: step gpu-driver failed, and it tries again: no device",
        "they go on by themselves; to wait further: bin/kubepark unpark gpu --stack dev",
    ]

"""The master deletes the Node of a machine that is gone, by the nodes' own records, and no other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from config.naming import CORDONED
from sandbox.tests.program.node_root import LIB, NodeRoot, booting

MASTER = "master1"
OLD, NEW = "i-0000000000000001d", "i-000000000000000e2"


def node_object(name: str, instance: str | None, ready: str | None = "True") -> dict[str, Any]:
    conditions = [{"type": "MemoryPressure", "status": "True"}]
    if ready:
        conditions.append({"type": "Ready", "status": ready})
    spec = {"providerID": f"aws:///eu-central-1a/{instance}"} if instance else {}
    metadata = {"name": name, "uid": f"uid-of-{name}"}
    return {"metadata": metadata, "spec": spec, "status": {"conditions": conditions}}


def record(instance: str, message: str = "") -> str:
    return json.dumps({"schema": 1, "instanceId": instance, "phase": "running", "message": message})


def publish(node: NodeRoot, records: dict[str, str]) -> None:
    for name, value in records.items():
        node.world.ssm.put_parameter(
            Name=f"/sample/status/{name}", Value=value, Type="String", Overwrite=True
        )


def reap(node: NodeRoot, nodes: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
    """Exit status, and what was deleted: path -> body."""
    node.path("/nodes.json").write_text(json.dumps({"items": nodes}))
    code, _ = node.run("reap-nodes")
    deleted = node.path("/deleted")
    lines = deleted.read_text().splitlines() if deleted.exists() else []
    return code, {line.split()[0]: json.loads(line.split(maxsplit=1)[1]) for line in lines}


@pytest.mark.parametrize(
    ("what", "instance", "ready", "said", "goes"),
    [
        ("replaced, and the lifecycle controller has not noticed", OLD, "True", record(NEW), True),
        ("replaced", OLD, "Unknown", record(NEW), True),
        ("this machine's", NEW, "True", record(NEW), False),
        ("parked: its record stays", NEW, "Unknown", record(NEW), False),
        ("an id that ends another one", "i-1" + NEW[2:], "True", record(NEW), True),
        ("the new machine has not spoken", OLD, "Unknown", '{"schema":1,"phase":"pending"}', False),
        ("a machine that does not know itself", OLD, "Unknown", record(""), False),
        ("a message that looks like a field", NEW, "True", record(NEW, record(OLD)), False),
        ("only a message", NEW, "True", json.dumps({"message": record(OLD)}), False),
        ("no JSON at all", OLD, "Unknown", "broken", False),
        ("registered without a provider id", None, "Unknown", record(NEW), False),
        ("removed from the plan", OLD, "Unknown", None, True),
        ("removed from the plan, and without conditions", OLD, None, None, True),
        ("removed from the plan, and still there", OLD, "True", None, False),
    ],
)
def test_which_node_goes(
    what: str, instance: str | None, ready: str | None, said: str | None, goes: bool, tmp_path: Path
) -> None:
    with booting("master", tmp_path) as node:
        publish(node, {} if said is None else {"worker01": said})
        code, deleted = reap(node, [node_object("worker01", instance, ready)])
        assert code == 0
        expected = {"/api/v1/nodes/worker01": {"preconditions": {"uid": "uid-of-worker01"}}}
        assert deleted == (expected if goes else {}), what


PATCH = {"metadata": {"annotations": {CORDONED: None}}, "spec": {"unschedulable": None}}


@pytest.mark.parametrize(
    ("what", "cordoned", "boot", "ready", "back"),
    [
        ("started again, by whomever", "boot-1", "boot-2", "True", True),
        ("its kubelet is not there yet", "boot-1", "boot-2", "Unknown", False),
        ("cordoned, and not stopped yet", "boot-1", "boot-1", "True", False),
        ("cordoned by a person", None, "boot-2", "True", False),
    ],
)
def test_which_node_is_uncordoned(
    what: str, cordoned: str | None, boot: str, ready: str, back: bool, tmp_path: Path
) -> None:
    parked = node_object("gpu01", NEW, ready)
    parked["spec"]["unschedulable"] = True
    parked["status"]["nodeInfo"] = {"bootID": boot}
    if cordoned:
        parked["metadata"]["annotations"] = {CORDONED: cordoned}
    with booting("master", tmp_path) as node:
        publish(node, {"gpu01": record(NEW)})
        assert reap(node, [parked]) == (0, {})
        patches = [call.partition(" patch node ")[2] for call in node.calls("kubectl .* patch ")]
    assert patches == ([f"gpu01 -p {json.dumps(PATCH)}"] if back else []), what


@pytest.mark.parametrize("ready", ["True", "Unknown"])
def test_the_masters_own_node_stays_whatever_is_said(ready: str, tmp_path: Path) -> None:
    with booting("master", tmp_path) as node:
        publish(node, {MASTER: record(NEW)})
        assert reap(node, [node_object(MASTER, OLD, ready)]) == (0, {})


def test_records_are_read_to_the_last_page(tmp_path: Path) -> None:
    with booting("master", tmp_path) as node:
        names = [f"worker{number:02d}" for number in range(1, 25)]
        publish(node, {name: record(NEW) for name in names})
        nodes = [node_object(name, NEW, "Unknown") for name in names] + [node_object("gpu09", OLD, "False")]
        assert reap(node, nodes)[1].keys() == {"/api/v1/nodes/gpu09"}


def test_no_records_no_deletion(tmp_path: Path) -> None:
    with booting("master", tmp_path) as node:
        node.world.ssm.delete_parameter(Name=f"/sample/status/{MASTER}")
        assert reap(node, [node_object("worker01", OLD, "Unknown")]) == (1, {})


def test_a_refused_read_deletes_nothing(tmp_path: Path) -> None:
    with booting("master", tmp_path) as node:
        node.world.faults.append((400, '{"__type":"AccessDeniedException","message":"not authorized"}'))
        assert reap(node, [node_object("worker01", OLD, "Unknown")]) == (1, {})
        assert node.world.calls == ["GetParametersByPath"]


def test_an_api_that_is_away_ends_the_run(tmp_path: Path) -> None:
    with booting("master", tmp_path) as node:
        node.stand_in("kubectl", "echo 'connection refused' >&2; exit 1")
        assert reap(node, []) == (1, {})
        assert node.world.calls == []


def test_nodes_are_listed_before_records_are_read(tmp_path: Path) -> None:
    """The other way round, a machine that registers in between would lose its new Node."""
    with booting("master", tmp_path) as node:
        answer = [{"Name": f"/sample/status/{MASTER}", "Value": record(NEW)}]
        look = f"from pathlib import Path\nassert 'get --raw /api/v1/nodes' in Path({str(node.calls_file)!r}).read_text()"
        node.put(f"{LIB}/kp-aws", f"{look}\nby_path = lambda node, path: {answer!r}\n")
        assert reap(node, [node_object("gpu09", OLD, "False")])[1].keys() == {"/api/v1/nodes/gpu09"}

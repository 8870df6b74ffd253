"""The master's guard of GPU nodes: when it stops one, when it starts one, and what it leaves alone.

Its cluster and its AWS are values here; with real ones it runs in sandbox/tests/stack/test_stack_guard.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from config.naming import CORDONED, GPU_RESOURCE
from userdata.node import guard_gpus
from userdata.node.guard_gpus import IDLE, Guard

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
BOOT = "boot-1"
STARTED = (
    "<currentState><name>pending</name></currentState><previousState><name>stopped</name></previousState>"
)
RUNS = "<currentState><name>running</name></currentState><previousState><name>running</name></previousState>"


def at(minutes: float) -> str:
    """A time as the API server writes it."""
    return (NOON + timedelta(minutes=minutes)).strftime(guard_gpus.STAMP)


def node(name: str = "gpu01", *, ready: bool = True, boot: str = BOOT, idle: float | None = None) -> Any:
    """A GPU node; `idle`: since which minute it is noted as idle in this boot."""
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-of-{name}",
            "labels": {"accelerator": "nvidia-t4"},
            "annotations": {} if idle is None else {IDLE: f"{boot} {at(idle)}"},
        },
        "spec": {"providerID": f"aws:///us-east-1a/i-{name}"},
        "status": {
            "nodeInfo": {"bootID": boot},
            "allocatable": {GPU_RESOURCE: "1"},
            "conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}],
        },
    }


def pod(
    name: str = "train", *, on: str = "", made: float = 0, phase: str = "", gpus: int = 1, **spec: Any
) -> Any:
    """A pod that asks for GPUs, on a node or, as the scheduler said, nowhere."""
    container = {"name": "main", "resources": {"requests": {GPU_RESOURCE: str(gpus)}}}
    conditions = [] if on else [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]
    return {
        "metadata": {"namespace": "ana", "name": name, "creationTimestamp": at(made)},
        "spec": {"containers": [container, {"name": "other"}], **({"nodeName": on} if on else {}), **spec},
        "status": {"phase": phase or ("Running" if on else "Pending"), "conditions": conditions},
    }


class Cluster:
    """What the guard sees and changes. `before_pods`: called before each list of pods."""

    def __init__(self, *nodes: Any, pods: tuple[Any, ...] = (), idle: int = 30, wake: bool = True) -> None:
        self.nodes = {each["metadata"]["name"]: each for each in nodes}
        self.pods = list(pods)
        self.settings = {"schema": 1, "idleMinutes": idle, "wake": wake, "nodes": {"gpu01": 1, "gpu02": 1}}
        self.record: dict[str, Any] = {"schema": 1, "stopped": []}
        self.answers: dict[str, tuple[str, str]] = {"StartInstances": ("", STARTED)}
        self.calls: list[str] = []  # of EC2 and on the record, in their order
        self.events: dict[str, tuple[str, str]] = {}
        self.before_pods: Callable[[], None] = lambda: None

    def kubectl(self, *words: str, given: Any = None) -> Any:
        if words == ("get", "--raw", "/api/v1/pods"):
            self.before_pods()
            return {"items": json.loads(json.dumps(self.pods))}
        if words == ("get", "--raw", "/api/v1/nodes"):
            return {"items": json.loads(json.dumps(list(self.nodes.values())))}
        if words[:2] == ("patch", "node"):
            return self._patch(self.nodes[words[2]], json.loads(words[-1]))
        assert words[:2] == ("apply", "--server-side"), words
        self.events[given["metadata"]["name"]] = (given["reason"], given["message"])
        return given

    def _patch(self, node: Any, body: Any) -> Any:
        for target, changes in (
            (node["metadata"]["annotations"], body["metadata"]["annotations"]),
            (node["spec"], body["spec"]),
        ):
            for key, value in changes.items():
                target[key] = value
                if value is None:
                    del target[key]
        return node

    def look(self, minutes: float, monkeypatch: pytest.MonkeyPatch) -> None:
        """One tick at a minute after noon."""
        monkeypatch.setattr(guard_gpus, "kubectl", self.kubectl)
        guard = object.__new__(Guard)
        guard.read = lambda name: dict(self.settings if name == "gpuPower" else self.record)  # type: ignore[method-assign]
        guard.write = self._write  # type: ignore[method-assign]
        guard.ec2 = self._ec2  # type: ignore[method-assign]
        monkeypatch.setattr(guard_gpus, "NODE_FILE", self)
        monkeypatch.setattr(guard_gpus.runpy, "run_path", lambda path: {})
        guard.__init__((NOON + timedelta(minutes=minutes)).timestamp())  # type: ignore[misc]
        guard.look()

    @staticmethod
    def read_text() -> str:
        return "{}"

    def _write(self, record: Any) -> None:
        self.record = record
        self.calls.append(f"stopped={','.join(record['stopped'])}")

    def _ec2(self, action: str, node: Any) -> tuple[str, str]:
        self.calls.append(f"{action} {node['spec']['providerID'].rpartition('/')[2]}")
        return self.answers.get(action, ("", ""))

    @property
    def reasons(self) -> list[str]:
        return [reason for reason, _ in self.events.values()]

    def cordoned(self, name: str = "gpu01") -> tuple[bool, str | None]:
        found = self.nodes[name]
        return bool(found["spec"].get("unschedulable")), found["metadata"]["annotations"].get(CORDONED)


# -- idle --------------------------------------------------------------------------------------------


def test_a_node_that_nobody_uses_is_stopped_after_its_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(node())
    cluster.record["keepOn"] = {"gpu01": at(-1), "gpu02": "2026-12-01T00:00:00Z"}
    for minute in (0, 1, 29):
        cluster.look(minute, monkeypatch)
        assert (cluster.calls, cluster.cordoned()) == ([], (False, None))
    assert cluster.nodes["gpu01"]["metadata"]["annotations"][IDLE] == f"{BOOT} {at(0)}"
    cluster.look(30, monkeypatch)
    assert cluster.calls == ["stopped=gpu01", "StopInstances i-gpu01"], "the record first, as park does"
    assert cluster.cordoned() == (True, BOOT), "as park notes it"
    assert cluster.record["keepOn"] == {"gpu01": at(-1), "gpu02": "2026-12-01T00:00:00Z"}
    assert list(cluster.events.values()) == [
        ("GpuIdle", f"stopped: no pod has asked for a GPU since {at(0)}")
    ]
    cluster.look(31, monkeypatch)  # the kubelet is still heard of
    assert cluster.reasons == ["GpuIdle"], "said again, it is the same event"


@pytest.mark.parametrize(
    ("what", "pods", "since"),
    [
        ("held", [pod(on="gpu01")], None),
        ("held by one that is ending", [pod(on="gpu01", phase="Pending")], None),
        ("asked for by an init container only", [pod(on="gpu01", gpus=0, initContainers=[
            {"name": "i", "resources": {"requests": {GPU_RESOURCE: "1"}}}])], None),
        ("wanted by a pod that came later", [pod(made=20)], 20),
        ("a pod that waits for longer than that has had its chance", [pod(made=-60)], 0),
        ("a pod for another kind of node", [pod(made=20, nodeSelector={"accelerator": "other"})], 0),
        ("a pod for more GPUs", [pod(made=20, gpus=2)], 0),
        ("a pod without a GPU", [pod(on="gpu01", gpus=0)], 0),
        ("held on another node", [pod(on="gpu02")], 0),
        ("done", [pod(on="gpu01", phase="Succeeded", made=-30)], 0),
    ],
)  # fmt: skip
def test_since_when_a_node_is_idle(what: str, pods: list[Any], since: float | None) -> None:
    found = guard_gpus.idle_since(node(idle=0), [each for each in pods if guard_gpus.gpus(each)], 1, at(25))
    assert found == ("" if since is None else at(since)), what


def test_a_use_between_two_looks_counts() -> None:
    done = pod(on="gpu01", phase="Failed")
    done["status"]["containerStatuses"] = [
        {"state": {"terminated": {"finishedAt": at(12)}}},
        {"state": {"running": {}}},
    ]
    assert guard_gpus.idle_since(node(idle=0), [done], 1, at(25)) == at(12)


def test_what_was_noted_in_another_boot_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    back = node(boot="boot-2")
    back["metadata"]["annotations"][IDLE] = f"{BOOT} {at(-600)}"
    cluster = Cluster(back)
    cluster.look(0, monkeypatch)
    assert (cluster.calls, back["metadata"]["annotations"][IDLE]) == ([], f"boot-2 {at(0)}")


def test_a_use_starts_the_minutes_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(node(idle=-29), pods=(pod(on="gpu01"),))
    cluster.look(0, monkeypatch)
    assert IDLE not in cluster.nodes["gpu01"]["metadata"]["annotations"]
    cluster.pods = []
    cluster.look(5, monkeypatch)
    cluster.look(34, monkeypatch)
    assert cluster.calls == []
    cluster.look(35, monkeypatch)
    assert "StopInstances i-gpu01" in cluster.calls


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("off", lambda cluster: cluster.settings.update(idleMinutes=0)),
        ("not in the plan", lambda cluster: cluster.settings.update(nodes={"gpu02": 1})),
        ("kept on", lambda cluster: cluster.record.update(keepOn={"gpu01": at(1)})),
        ("not there", lambda cluster: cluster.nodes.update(gpu01=node(ready=False, idle=-60))),
    ],
)
def test_who_is_not_stopped(
    what: str, change: Callable[[Cluster], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(node(idle=-60))
    change(cluster)
    cluster.look(0, monkeypatch)
    assert (cluster.calls, cluster.cordoned(), cluster.events) == ([], (False, None), {}), what


def test_what_comes_between_look_and_stop_undoes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pod that was bound, one that waits, and a person who keeps the node on."""

    def keeps(cluster: Cluster) -> None:
        cluster.record["keepOn"] = {"gpu01": at(60)}

    for come in (
        lambda cluster: cluster.pods.append(pod(on="gpu01")),
        lambda cluster: cluster.pods.append(pod(made=0)),
        keeps,
    ):
        cluster, looks = Cluster(node(idle=-60)), iter((False, True))

        def second(cluster: Cluster = cluster, looks: Any = looks, come: Any = come) -> None:
            if next(looks):
                assert cluster.cordoned() == (True, BOOT), "nothing more can come"
                come(cluster)

        cluster.before_pods = second
        cluster.look(0, monkeypatch)
        assert (cluster.calls, cluster.cordoned()) == ([], (False, None))
        assert cluster.reasons == ["GpuWanted"]


def test_a_stop_that_aws_refuses_leaves_all_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(node(idle=-60))
    cluster.answers["StopInstances"] = ("UnauthorizedOperation", "UnauthorizedOperation: no")
    cluster.look(0, monkeypatch)
    assert cluster.calls == ["stopped=gpu01", "StopInstances i-gpu01", "stopped="]
    assert cluster.cordoned() == (False, None)
    assert list(cluster.events.values()) == [("GpuStopRefused", "UnauthorizedOperation: no")]


def test_a_cordon_of_a_person_stays_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = node(idle=-60)
    theirs["spec"]["unschedulable"] = True
    cluster = Cluster(theirs)
    cluster.look(0, monkeypatch)
    assert "StopInstances i-gpu01" in cluster.calls
    assert cluster.cordoned() == (True, None)


# -- wake --------------------------------------------------------------------------------------------


def parked(name: str = "gpu01", **more: Any) -> Any:
    found = node(name, ready=False, **more)
    found["spec"]["unschedulable"] = True
    found["metadata"]["annotations"][CORDONED] = BOOT
    return found


def test_a_pod_that_waits_starts_a_node_and_the_record_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(parked(), parked("gpu02"), pods=(pod(made=1),))
    cluster.record = {"schema": 1, "stopped": ["gpu01", "gpu02"], "keepOn": {"gpu02": at(9)}}
    cluster.look(2, monkeypatch)
    assert cluster.calls == ["StartInstances i-gpu01", "stopped=gpu02"], "one pod, one node"
    assert cluster.record["keepOn"] == {"gpu02": at(9)}
    assert list(cluster.events.values()) == [("GpuWanted", "started: ana/train waits for a GPU")]
    cluster.answers["StartInstances"] = ("", RUNS)  # it boots
    cluster.look(3, monkeypatch)
    assert cluster.calls[2:] == ["StartInstances i-gpu01"]
    assert cluster.reasons == ["GpuWanted"]
    coming = cluster.nodes["gpu01"] = node(boot="boot-2")
    coming["status"]["allocatable"][GPU_RESOURCE] = "0"
    cluster.look(4, monkeypatch)
    assert "StartInstances i-gpu02" not in cluster.calls, "the pod is for the node that is coming"


def test_as_many_nodes_as_pods_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = pod("busy", on="gpu01")
    cluster = Cluster(node(), parked("gpu02"), pods=(busy, pod("a", made=1), pod("b", made=2)))
    cluster.look(3, monkeypatch)
    assert [call for call in cluster.calls if call.startswith("Start")] == ["StartInstances i-gpu02"]


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("off", lambda cluster: cluster.settings.update(wake=False)),
        ("nobody said that it has no place", lambda cluster: cluster.pods[0]["status"].update(conditions=[])),
        ("for more GPUs", lambda cluster: cluster.pods.__setitem__(0, pod(made=1, gpus=4))),
        ("for others", lambda cluster: cluster.pods.__setitem__(0, pod(made=1, nodeSelector={"disk": "big"}))),
        ("asks for none", lambda cluster: cluster.pods.__setitem__(0, pod(made=1, gpus=0))),
        ("cordoned by a person", lambda cluster: cluster.nodes["gpu01"]["metadata"]["annotations"].pop(CORDONED)),
        ("it waited here in vain", lambda cluster: cluster.nodes.update(gpu01=parked(idle=1))),
    ],
)  # fmt: skip
def test_who_is_not_started(
    what: str, change: Callable[[Cluster], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(parked(), pods=(pod(made=1),))
    change(cluster)
    cluster.look(2, monkeypatch)
    assert (cluster.calls, cluster.events) == ([], {}), what


def test_without_capacity_the_next_node_is_tried_and_then_the_next_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster(parked(), parked("gpu02"), pods=(pod(made=1),))
    said = "InsufficientInstanceCapacity: none left"
    cluster.answers["StartInstances"] = ("InsufficientInstanceCapacity", said)
    for minute in (2, 3):
        cluster.look(minute, monkeypatch)
    assert cluster.calls == ["StartInstances i-gpu01", "StartInstances i-gpu02"] * 2
    assert set(cluster.events.values()) == {("GpuStartRefused", f"{said}; tried again each minute")}
    assert len(cluster.events) == 2, "one of each node"


def test_a_node_that_is_still_stopping_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(parked(), pods=(pod(made=1),))
    cluster.answers["StartInstances"] = ("IncorrectInstanceState", "IncorrectInstanceState: stopping")
    cluster.look(2, monkeypatch)
    assert (cluster.calls, cluster.events) == (["StartInstances i-gpu01"], {})

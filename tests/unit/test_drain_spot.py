"""A Spot Instance that AWS takes back: who is evicted, until when, and what is said of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from config.naming import CORDONED
from userdata.node import drain_spot
from userdata.node.drain_spot import Drain

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp()
NOTICE = {"action": "stop", "time": "2026-11-28T12:02:00Z"}
BUDGET = "The disruption budget keep-train needs 1 healthy pods and has 1 currently"
REFUSED = {
    "message": "Cannot evict pod",
    "details": {"causes": [{"reason": "DisruptionBudget", "message": BUDGET}]},
}


def pod(name: str, kind: str = "ReplicaSet", phase: str = "Running", **annotations: str) -> dict[str, Any]:
    owners = [{"kind": kind, "controller": True}] if kind else []
    meta = {"namespace": "ana", "name": name, "uid": f"uid-of-{name}", "ownerReferences": owners}
    return {"metadata": {**meta, "annotations": annotations}, "status": {"phase": phase}}


class Api:
    """A node with pods. `refusals`: of a pod, how often its eviction is refused."""

    def __init__(self, *pods: dict[str, Any], unschedulable: bool = False, **refusals: int) -> None:
        self.pods, self.refusals = list(pods), refusals
        spec = {"unschedulable": True} if unschedulable else {}
        self.node: dict[str, Any] = {
            "metadata": {"uid": "u"},
            "spec": spec,
            "status": {"nodeInfo": {"bootID": "b"}},
        }
        self.events: list[tuple[str, str]] = []
        self.evicted: list[Any] = []
        self.now = NOON

    def __call__(self, method: str, path: str, body: Any = None, kind: str = "") -> tuple[int, Any]:
        if path == "/api/v1/nodes/gpu01":
            if method == "PATCH":
                assert kind == "application/merge-patch+json"
                self.node["metadata"]["annotations"] = body["metadata"]["annotations"]
                self.node["spec"] |= body["spec"]
            return 200, self.node
        if path == "/api/v1/pods?fieldSelector=spec.nodeName%3Dgpu01":
            return 200, {"items": list(self.pods)}
        if path == "/api/v1/namespaces/default/events":
            self.events.append((body["reason"], body["message"]))
            return 201, body
        return self._evict(path, body)

    def _evict(self, path: str, body: Any) -> tuple[int, Any]:
        name = body["metadata"]["name"]
        assert path == f"/api/v1/namespaces/ana/pods/{name}/eviction"
        assert body["deleteOptions"]["preconditions"]["uid"] == f"uid-of-{name}"
        assert self.node["spec"]["unschedulable"], "before anything goes"
        self.evicted.append(name)
        if self.refusals.get(name, 0):
            self.refusals[name] -= 1
            return 429, REFUSED
        self.pods = [each for each in self.pods if each["metadata"]["name"] != name]
        return 201, {}

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def drained(self) -> list[tuple[str, str]]:
        Drain(self, "gpu01", lambda: self.now, self.sleep).run(NOTICE)
        return self.events


def test_who_runs_there_is_evicted_and_the_node_is_cordoned_as_a_park_does() -> None:
    api = Api(
        pod("train"),
        pod("alone", kind=""),
        pod("plugin", kind="DaemonSet"),
        pod("proxy", kind="Node", **{drain_spot.MIRROR: "x"}),
        pod("done", phase="Succeeded"),
    )
    assert api.drained() == [
        ("SpotInterruption", "AWS will stop this instance at 2026-11-28T12:02:00Z"),
        ("SpotDrained", "nothing is left to evict"),
    ]
    assert sorted(api.evicted) == ["alone", "train"]
    assert api.node["metadata"]["annotations"] == {CORDONED: "b"}


def test_a_cordon_of_a_person_stays_theirs() -> None:
    api = Api(unschedulable=True)
    api.drained()
    assert "annotations" not in api.node["metadata"]


def test_a_budget_is_named_once_and_asked_until_it_gives_way() -> None:
    api = Api(pod("train"), train=3)
    reasons = api.drained()
    assert reasons[1:] == [
        ("SpotDrainBlocked", f"ana/train: {BUDGET}"),
        ("SpotDrained", "nothing is left to evict"),
    ]
    assert api.now == NOON + 4 * drain_spot.PAUSE


def test_a_budget_that_never_gives_way_ends_with_the_machine() -> None:
    api = Api(pod("train"), train=1000)
    assert api.drained()[1:] == [("SpotDrainBlocked", f"ana/train: {BUDGET}")]
    assert api.now == NOON + 120
    assert len(api.evicted) == 120 / drain_spot.PAUSE


@pytest.mark.parametrize(
    ("status", "answer", "why"),
    [
        (201, {}, ""),
        (404, {"message": "pods not found"}, ""),
        (409, {"message": "another one of its name"}, ""),
        (429, REFUSED, BUDGET),
        (429, {"message": "slow down"}, "429 slow down"),
        (403, {"message": "not its pod"}, "403 not its pod"),
    ],
)
def test_what_an_answer_means(status: int, answer: dict[str, Any], why: str) -> None:
    assert drain_spot.evict(lambda *_: (status, answer), pod("train")) == why

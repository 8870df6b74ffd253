"""What the API server answers to cordons and evictions, in the words that people read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from cli.errors import CommandError
from cli.kube_nodes import KubeNodes
from cli.power_plan import Pod
from config.naming import CORDONED

POD = Pod(namespace="ana", name="train", uid="uid-1", node="gpu01", gpus=1, managed=True)
VIOLATED = "Cannot evict pod as it would violate the pod's disruption budget."
NEEDS = "The disruption budget keep needs 1 healthy pods and has 1 currently"


class Answer:
    """A call of the client: what it was given, and the status that it fails with (None: it does not)."""

    def __init__(self, status: int | None = None, body: dict[str, Any] | str = "") -> None:
        self.status, self.body = status, body
        self.given: list[Any] = []

    def __call__(self, *arguments: Any, **options: Any) -> dict[str, Any]:
        self.given.append((arguments, options))
        if self.status is None:
            return {}
        error = ApiException(status=self.status, reason="Refused")
        error.body = self.body if isinstance(self.body, str) else json.dumps(self.body)
        raise error


def cluster(**calls: Answer) -> KubeNodes:
    made = KubeNodes(client.ApiClient())
    for name, answer in calls.items():
        setattr(made._core, name, answer)
    return made


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(), ""),
        (Answer(404), ""),
        (Answer(409), ""),
        (
            Answer(
                429,
                {
                    "message": VIOLATED,
                    "details": {"causes": [{"reason": "DisruptionBudget", "message": NEEDS}]},
                },
            ),
            NEEDS,
        ),
        (Answer(429, {"message": VIOLATED}), VIOLATED),
        (
            Answer(500, {"message": "This pod has more than one PodDisruptionBudget"}),
            "This pod has more than one PodDisruptionBudget",
        ),
        (Answer(429, "<html>"), "Refused"),
    ],
)
def test_an_eviction_is_granted_or_has_the_servers_reason(answer: Answer, why: str) -> None:
    assert cluster(create_namespaced_pod_eviction=answer).evict(POD) == why
    ((_, _, body), _) = answer.given[0]
    assert body.delete_options.preconditions.uid == "uid-1", "another pod of the name is not meant"


def test_what_else_is_refused_is_one_clean_error() -> None:
    denied = Answer(403, {"message": "pods is forbidden"})
    with pytest.raises(CommandError, match="the Kubernetes API refuses: 403 pods is forbidden"):
        cluster(create_namespaced_pod_eviction=denied).evict(POD)
    with pytest.raises(CommandError, match="403 pods is forbidden"):
        cluster(delete_namespaced_pod=denied).delete(POD)
    with pytest.raises(CommandError, match="403 pods is forbidden"):
        cluster(list_pod_for_all_namespaces=denied).pods()


def test_a_pod_that_is_gone_is_deleted() -> None:
    answer = Answer(404)
    cluster(delete_namespaced_pod=answer).delete(POD)
    assert answer.given[0][1]["body"].preconditions.uid == "uid-1"


def test_a_cordon_is_noted_and_taken_away_with_its_note() -> None:
    answer = Answer()
    made = cluster(patch_node=answer)
    made.cordon("gpu01", "boot-1")
    made.uncordon("gpu01")
    assert [arguments for arguments, _ in answer.given] == [
        ("gpu01", {"metadata": {"annotations": {CORDONED: "boot-1"}}, "spec": {"unschedulable": True}}),
        ("gpu01", {"metadata": {"annotations": {CORDONED: None}}, "spec": {"unschedulable": None}}),
    ]

"""The rule about GPU workloads."""

from __future__ import annotations

import pytest

from policies.gpu import GPU_REQUEST_EQUALS_LIMIT, POD_SPECS
from tests.policies.support import UNKNOWN, evaluate

GPU = "nvidia.com/gpu"
TOLERATION = {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}
JOB = "kubernetes:batch/v1:Job"


def container(requests=None, limits=None):
    resources = {"requests": requests, "limits": limits}
    return {"name": "main", "resources": {key: value for key, value in resources.items() if value}}


def pod(*containers, tolerations=(TOLERATION,), **more):
    return {"containers": list(containers), "tolerations": list(tolerations), **more}


def workload(type_, spec):
    """The pod spec where the kind keeps it."""
    for key in reversed(POD_SPECS[type_]):
        spec = {key: spec}
    return spec


def evaluated(spec, type_=JOB):
    return evaluate(GPU_REQUEST_EQUALS_LIMIT, type_, workload(type_, spec))


EQUAL = container({GPU: 1, "cpu": "1"}, {GPU: "1", "cpu": "2"})


@pytest.mark.parametrize("type_", sorted(POD_SPECS))
def test_equal_request_and_limit_with_toleration_is_compliant(type_):
    result = evaluated(pod(EQUAL), type_)
    assert result.violations == ()
    assert result.applicable


@pytest.mark.parametrize("type_", sorted(POD_SPECS))
def test_a_missing_toleration_is_a_violation_in_every_kind(type_):
    result = evaluated(pod(EQUAL, tolerations=()), type_)
    assert result.violations == (f"main needs a GPU node, but its taint {GPU} is not tolerated.",)


def test_a_limit_alone_is_compliant_because_kubernetes_requests_as_much():
    assert evaluated(pod(container(limits={GPU: 1}))).violations == ()


@pytest.mark.parametrize(
    ("requests", "limits", "message"),
    [
        ({GPU: 1}, {GPU: 2}, f"Container main: {GPU} requests 1 with a limit of 2."),
        ({GPU: 1}, None, f"Container main: {GPU} requests 1 with a limit of nothing."),
        (
            {"nvidia.com/mig-1g.5gb": 1},
            {"cpu": 1},
            "Container main: nvidia.com/mig-1g.5gb requests 1 with a limit of nothing.",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["containers", "initContainers"])
def test_unequal_request_and_limit_is_a_violation(requests, limits, message, kind):
    spec = pod() | {kind: [container(requests, limits)]}
    assert evaluated(spec).violations == (message,)


@pytest.mark.parametrize(
    ("toleration", "covers"),
    [
        ({"key": GPU, "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": GPU, "value": "present", "effect": "NoSchedule"}, True),
        ({"key": GPU, "operator": "Equal", "value": "other"}, False),
        ({"key": GPU, "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}, False),
    ],
)
def test_tolerations_count_as_kubernetes_counts_them(toleration, covers):
    assert (evaluated(pod(EQUAL, tolerations=[toleration])).violations == ()) is covers


@pytest.mark.parametrize("label", ["accelerator", "nvidia.com/gpu.present"])
def test_a_workload_pinned_to_gpu_nodes_needs_the_toleration_too(label):
    pinned = {"nodeSelector": {label: "true"}}
    assert evaluated(pod(container(), **pinned)).violations == ()
    [message] = evaluated(pod(container(), tolerations=(), **pinned)).violations
    assert message.startswith(f"nodeSelector {label} needs a GPU node")


def test_a_workload_without_gpu_is_not_evaluated():
    assert not evaluated(pod(container({"cpu": 1}))).applicable
    assert not evaluate(GPU_REQUEST_EQUALS_LIMIT, JOB, {}).applicable


def test_an_unknown_container_does_not_hide_another():
    unequal = container({GPU: 1}, {GPU: 4})
    result = evaluated(pod({"name": "first", "resources": UNKNOWN}, unequal, tolerations=()))
    assert result.violations == (
        f"Container main: {GPU} requests 1 with a limit of 4.",
        f"main needs a GPU node, but its taint {GPU} is not tolerated.",
    )
    assert result.unknown == "spec.template.spec.containers.0.resources"

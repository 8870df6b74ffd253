"""The rules about pods: requests and limits, privileges, images."""

from __future__ import annotations

import pytest

from policies.pods import (
    IMAGES_PINNED,
    LIMIT_RANGE,
    LIMITS_COVER_REQUESTS,
    NO_PRIVILEGED_POD,
    POD_SPECS,
    PRIVILEGED,
)
from tests.policies.support import UNKNOWN, evaluate

JOB = "kubernetes:batch/v1:Job"
DIGEST = "sha256:" + "0" * 64


def workload(type_, spec, name="train", namespace="ana"):
    """The pod spec where the kind keeps it."""
    for key in reversed(POD_SPECS[type_]):
        spec = {key: spec}
    return {"metadata": {"name": name, "namespace": namespace}, **spec}


def sized(requests, limits):
    return {"name": "main", "resources": {"requests": requests, "limits": limits}}


@pytest.mark.parametrize("type_", sorted(POD_SPECS))
@pytest.mark.parametrize("kind", ["containers", "initContainers"])
def test_every_rule_reads_every_container_of_every_kind(type_, kind):
    bad = sized({"cpu": "2"}, {"cpu": "1"}) | {"image": "busybox", "securityContext": {"privileged": True}}
    for policy in (LIMITS_COVER_REQUESTS, NO_PRIVILEGED_POD, IMAGES_PINNED):
        assert len(evaluate(policy, type_, workload(type_, {kind: [bad]})).violations) == 1
        assert evaluate(policy, type_, workload(type_, {kind: []})).violations == ()


@pytest.mark.parametrize(
    ("requests", "limits"),
    [
        ({"cpu": "500m", "memory": "1Gi"}, {"cpu": 1, "memory": "1024Mi"}),
        ({"cpu": "1"}, {"memory": "1Gi"}),
        ({"cpu": 1}, {}),
        ({}, {"cpu": 1}),
        (None, None),
    ],
)
def test_a_request_up_to_its_limit_is_compliant(requests, limits):
    props = workload(JOB, {"containers": [sized(requests, limits)]})
    assert evaluate(LIMITS_COVER_REQUESTS, JOB, props).violations == ()


@pytest.mark.parametrize(
    ("requests", "limits", "message"),
    [
        ({"cpu": 2}, {"cpu": "1999m"}, "Container main: cpu requests 2 with a limit of 1999m."),
        ({"memory": "1Gi"}, {"memory": "1G"}, "Container main: memory requests 1Gi with a limit of 1G."),
        ({"cpu": "1"}, {"cpu": "1 core"}, 'Container main: cpu: "1 core" is not a quantity.'),
    ],
)
def test_a_request_above_its_limit_is_a_violation(requests, limits, message):
    props = workload(JOB, {"containers": [sized(requests, limits)]})
    assert evaluate(LIMITS_COVER_REQUESTS, JOB, props).violations == (message,)


def test_defaults_are_compared_as_well():
    limits = [{"type": "Container", "defaultRequest": {"cpu": "2", "memory": "1Gi"}, "default": {"cpu": "1"}}]
    result = evaluate(LIMITS_COVER_REQUESTS, LIMIT_RANGE, {"spec": {"limits": limits}})
    assert result.violations == ("Defaults for each Container: cpu requests 2 with a limit of 1.",)


def test_an_unknown_size_does_not_hide_another():
    requests = {"cpu": UNKNOWN, "memory": "2Gi"}
    props = workload(JOB, {"containers": [sized(requests, {"cpu": "1", "memory": "1Gi"})]})
    result = evaluate(LIMITS_COVER_REQUESTS, JOB, props)
    assert result.violations == ("Container main: memory requests 2Gi with a limit of 1Gi.",)
    assert result.unknown == "spec.template.spec.containers.0.resources.requests.cpu"


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"hostNetwork": False, "containers": [{"name": "main", "securityContext": {"privileged": False}}]},
        {"containers": [{"name": "main", "securityContext": {"allowPrivilegeEscalation": False}}]},
    ],
)
def test_an_ordinary_pod_is_compliant(spec):
    assert evaluate(NO_PRIVILEGED_POD, JOB, workload(JOB, spec)).violations == ()


@pytest.mark.parametrize("key", ["hostNetwork", "hostPID", "hostIPC"])
def test_a_part_of_the_node_is_a_violation(key):
    assert evaluate(NO_PRIVILEGED_POD, JOB, workload(JOB, {key: True})).violations == (
        f"ana/train has {key}: true.",
    )


def test_a_privileged_container_is_a_violation_even_where_something_else_is_unknown():
    containers = [
        {"name": "first", "securityContext": UNKNOWN},
        {"name": "second", "securityContext": {"privileged": True}},
    ]
    result = evaluate(NO_PRIVILEGED_POD, JOB, workload(JOB, {"hostPID": UNKNOWN, "containers": containers}))
    assert result.violations == ("Container second of ana/train is privileged.",)
    assert result.unknown == "spec.template.spec.hostPID"


@pytest.mark.parametrize("name", sorted(PRIVILEGED))
def test_pods_on_the_list_may_and_their_names_in_other_namespaces_may_not(name):
    namespace, _, own = name.partition("/")
    props = workload(JOB, {"hostNetwork": True}, own, namespace)
    assert not evaluate(NO_PRIVILEGED_POD, JOB, props).applicable
    assert evaluate(NO_PRIVILEGED_POD, JOB, workload(JOB, {"hostNetwork": True}, own, "ana")).violations


def test_configuration_adds_to_the_list():
    props, config = workload(JOB, {"hostNetwork": True}), {"allowed": ["ana/train"]}
    assert not evaluate(NO_PRIVILEGED_POD, JOB, props, config=config).applicable


@pytest.mark.parametrize(
    "image", ["ghcr.io/dexidp/dex:v2.45.1", f"busybox@{DIGEST}", f"busybox:latest@{DIGEST}", "r:5000/a/b:1"]
)
def test_a_release_or_a_digest_is_compliant(image):
    props = workload(JOB, {"containers": [{"name": "main", "image": image}]})
    assert evaluate(IMAGES_PINNED, JOB, props).violations == ()


@pytest.mark.parametrize(
    "image", ["busybox", "r:5000/a/b", "busybox:latest", "nvidia/cuda:latest-ubi9", "a@md5:0", "", "a:"]
)
def test_an_image_that_may_change_is_a_violation(image):
    props = workload(JOB, {"containers": [{"name": "main", "image": image}]})
    result = evaluate(IMAGES_PINNED, JOB, props)
    assert result.violations == (f"The image of container main may change: {image}.",)


def test_an_unknown_image_does_not_hide_another_and_configuration_names_more_tags():
    containers = [{"name": "first", "image": UNKNOWN}, {"name": "second", "image": "a/b:main"}]
    props = workload(JOB, {"containers": containers})
    result = evaluate(IMAGES_PINNED, JOB, props, config={"moving": ["main"]})
    assert result.violations == ("The image of container second may change: a/b:main.",)
    assert result.unknown == "spec.template.spec.containers.0.image"
    assert evaluate(IMAGES_PINNED, JOB, props).violations == ()

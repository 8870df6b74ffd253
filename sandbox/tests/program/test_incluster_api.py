"""A real API server of the default row accepts every planned object, with strict field validation."""

from __future__ import annotations

import copy
import json
import random

import pytest

from components.incluster.gpu import plan_gpu
from components.incluster.objects import make, normalise
from config.quantities import SUFFIXES, canonical, quantity
from sandbox.tests.nodes.boot_world import until
from sandbox.tests.program.apiserver import start_apiserver
from sandbox.tests.program.ownership import OURS, contested, others
from tests.unit import incluster_stack as stack

pytestmark = pytest.mark.sandbox


def apply(server, manifests, *options):
    return server.kubectl(
        "apply",
        "--server-side",
        f"--field-manager={OURS}",
        "--validate=strict",
        *options,
        "-f",
        "-",
        manifests=manifests,
    )


@pytest.fixture(scope="module")
def apiserver(tmp_path_factory):
    """One of our own: the objects of a whole stack would be in the way of other tests."""
    with start_apiserver(tmp_path_factory.mktemp("incluster")) as server:
        yield server


@pytest.fixture(scope="module")
def planned(apiserver):
    """Every object; namespaces and CRDs exist, because a dry run of the others needs them."""
    planned = stack.every_object()
    first = [item for item in planned if item["kind"] in ("Namespace", "CustomResourceDefinition")]
    made = apply(apiserver, first)
    assert made.returncode == 0, made.stderr
    crds = [f"crd/{item['metadata']['name']}" for item in first if item["kind"] != "Namespace"]
    waited = apiserver.kubectl("wait", "--for=condition=Established", "--timeout=30s", *crds)
    assert waited.returncode == 0, waited.stderr
    return planned


def test_every_object_passes_strict_validation_and_is_kept_word_for_word(apiserver, planned):
    """A value that the server wrote otherwise ("1000m" for "1") would be a difference at every refresh."""
    applied = apply(apiserver, planned)
    assert applied.returncode == 0, applied.stderr
    assert applied.stderr == ""  # no deprecation warning either
    listed = apiserver.kubectl("get", "-o", "json", "-f", "-", manifests=planned)
    assert listed.returncode == 0, listed.stderr
    live = {identity(item): item for item in json.loads(listed.stdout)["items"]}
    assert len(live) == len(planned) == 43
    differences = [line for item in planned for line in unlike(item, live[identity(item)], item["kind"])]
    assert differences == []


def test_the_plugin_without_sharing_is_kept_word_for_word_too(apiserver, planned):
    daemon_set = plan_gpu(stack.settings())[-1]
    assert daemon_set["kind"] == "DaemonSet"
    applied = apply(apiserver, [daemon_set], "--dry-run=server", "-o", "json")
    assert applied.returncode == 0, applied.stderr
    assert list(unlike(daemon_set, json.loads(applied.stdout), "DaemonSet")) == []


# Selects every role of the product's own, as Kubeflow's roles select each other.
AGGREGATED = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "aggregated"},
    "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"app.kubernetes.io/name": "part"}}]},
    "rules": [],
}
PART = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "part", "labels": {"app.kubernetes.io/name": "part"}},
    "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
}


def test_nobody_else_writes_what_we_write(apiserver, planned):
    """With the real controllers beside it. Who writes a field that we write makes a difference at each refresh."""
    aggregated = normalise([AGGREGATED, PART], "roles", [])
    ours = [*planned, *aggregated]
    for _ in range(2):  # the second time over what controllers have made of the first
        applied = apply(apiserver, ours)
        assert applied.returncode == 0, applied.stderr
        until("the role is filled", lambda: rules_of(apiserver, "aggregated") == PART["rules"], 15)
    shown = ("get", "-o", "json", "--show-managed-fields", "-f", "-")
    items = json.loads(apiserver.kubectl(*shown, manifests=ours).stdout)["items"]
    assert contested(items) == []
    assert others(items)["ClusterRole clusterrole-aggregation-controller"] == {"rules"}


def rules_of(apiserver, role):
    return json.loads(apiserver.kubectl("get", "clusterrole", role, "-o", "json").stdout).get("rules")


# What a quota counts that may be given in parts of one.
_COUNTED = ("requests.cpu", "limits.cpu", "requests.memory", "limits.memory")


def test_the_server_keeps_the_spelling_of_quantities_that_we_give_them(apiserver, planned):
    """Quantities at random in many spellings; what the server writes anew would be a difference for ever."""
    draw = random.Random(18)
    suffixes = [suffix for suffix in SUFFIXES if suffix[:1] not in ("P", "E")] + ["e3", "E1", "e-4", "e2"]
    texts = [
        draw.choice(("{}", "{}.5", "0.{}", ".{}", "{}.")).format(draw.randrange(3000)) + draw.choice(suffixes)
        for _ in range(400)
    ]
    spelled = [canonical(text) for text in texts]
    planned = [
        *_quotas(
            "plain", [dict(zip(_COUNTED, spelled[at : at + 4], strict=True)) for at in range(0, 400, 4)]
        ),
        *_quotas("ana", [dict(zip(_COUNTED, texts[at : at + 4], strict=True)) for at in range(0, 400, 4)]),
    ]
    applied = apply(apiserver, planned)
    assert applied.returncode == 0, applied.stderr
    listed = json.loads(apiserver.kubectl("get", "-o", "json", "-f", "-", manifests=planned).stdout)["items"]
    apiserver.kubectl("delete", "--wait=false", "-f", "-", manifests=planned)
    kept, rewritten = (
        [
            item["spec"]["hard"][key]
            for item in listed
            if item["metadata"]["namespace"] == name
            for key in _COUNTED
        ]
        for name in ("plain", "ana")
    )
    assert kept == spelled
    assert [quantity(text) for text in rewritten] == [quantity(text) for text in spelled]
    assert rewritten != texts, "the server must have something to write otherwise"


def _quotas(namespace, listed):
    return [
        make("v1", "ResourceQuota", f"random-{number:03}", namespace, spec={"hard": hard})
        for number, hard in enumerate(listed)
    ]


def identity(item):
    return item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]


def unlike(planned, live, path):
    """Every place where `live` has not what was planned; what the server adds is no difference."""
    if isinstance(planned, dict) and isinstance(live, dict):
        for key, value in planned.items():
            yield from unlike(value, live.get(key), f"{path}.{key}")
    elif isinstance(planned, list) and isinstance(live, list) and len(planned) == len(live):
        for index, value in enumerate(planned):
            yield from unlike(value, live[index], f"{path}[{index}]")
    elif planned != live:
        yield f"{path}: {planned!r} became {live!r}"


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet", "Installation", "Profile", "NetworkPolicy"])
def test_a_misspelt_field_is_refused(apiserver, planned, kind):
    broken = copy.deepcopy(next(item for item in reversed(planned) if item["kind"] == kind))
    broken["spec"]["mispelt"] = 1
    refused = apply(apiserver, [broken], "--dry-run=server")
    assert refused.returncode != 0
    assert "mispelt" in refused.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda item: item["metadata"].update(name="other"), "must be named default"),
        (lambda item: item["spec"]["calicoNetwork"]["ipPools"][0].update(cidr="300.0.0.0/8"), "cidr"),
        (lambda item: item["spec"]["calicoNetwork"]["ipPools"][0].update(encapsulation="GRE"), "Unsupported"),
    ],
)
def test_the_stand_in_refuses_what_calicos_operator_would(apiserver, planned, change, message):
    installation = copy.deepcopy(next(item for item in planned if item["kind"] == "Installation"))
    change(installation)
    refused = apply(apiserver, [installation], "--dry-run=server")
    assert refused.returncode != 0
    assert message in refused.stderr

"""The Kubernetes stand-in's rules on plain values: types, replacement, drift, readiness."""

from __future__ import annotations

import base64
from typing import Any, cast

import pytest

from sandbox.providers.backend import UNKNOWN, ProviderError
from sandbox.providers.difference import below
from sandbox.providers.kubernetes import kinds, objects, readiness, replacement
from sandbox.providers.kubernetes.api import Api
from sandbox.providers.kubernetes.backend import KubernetesBackend
from sandbox.providers.kubernetes.validation import failures

# -- types and validation --------------------------------------------------------------------------


def manifest(api_version="v1", kind="ConfigMap", **metadata):
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", **metadata}}


@pytest.mark.parametrize(
    ("token", "api_version", "built_in"),
    [
        ("kubernetes:core/v1:ConfigMap", "v1", True),
        ("kubernetes:apps/v1:Deployment", "apps/v1", True),
        ("kubernetes:operator.tigera.io/v1:Installation", "operator.tigera.io/v1", False),
    ],
)
def test_a_token_names_a_kind(token, api_version, built_in):
    kind = kinds.parse(token)
    assert (kind.api_version, kind.built_in) == (api_version, built_in)


@pytest.mark.parametrize(
    ("token", "message"),
    [
        ("kubernetes:apps/v1:Deploymint", "unknown resource type"),
        ("kubernetes:apps/v7:Deployment", "unknown resource type"),
        ("kubernetes:core/v1:NodePatch", "no Patch types"),
        ("kubernetes:core/v1:ConfigMapList", "no List types"),
        ("kubernetes:helm.sh/v3:Release", "no helm.sh types"),
        ("kubernetes:yaml:ConfigFile", "expected kubernetes:GROUP/VERSION:KIND"),
    ],
)
def test_a_token_that_names_no_kind_is_refused(token, message):
    ((property_, reason),) = failures(token, {})
    assert property_ == ""
    assert message in reason


@pytest.mark.parametrize(
    ("inputs", "property_"),
    [
        ({**manifest(), "apiVersion": "apps/v1"}, "apiVersion"),
        ({**manifest(), "kind": "Secret"}, "kind"),
        ({"apiVersion": "v1", "kind": "ConfigMap"}, "metadata"),
        ({**manifest(), "metadata": {}}, "metadata.name"),
        ({**manifest(), "metadata": {"generateName": "x-"}}, "metadata.generateName"),
        (manifest(annotations={"pulumi.com/waitFor": "x"}), 'metadata.annotations["pulumi.com/waitFor"]'),
    ],
)
def test_inputs_that_do_not_fit_the_type_are_refused(inputs, property_):
    assert [path for path, _ in failures("kubernetes:core/v1:ConfigMap", inputs)] == [property_]


def test_fitting_inputs_and_unknowns_pass():
    token = "kubernetes:core/v1:ConfigMap"
    assert failures(token, manifest(annotations={"pulumi.com/skipAwait": "true"})) == []
    assert failures(token, {**manifest(), "metadata": UNKNOWN}) == []


def test_every_function_is_refused():
    with pytest.raises(ProviderError, match="has no functions"):
        KubernetesBackend().invoke("kubernetes:yaml:decode", {}, preview=True)


# -- replacement -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "path", "replaces"),
    [
        ("apps/v1:Deployment", "spec.selector.matchLabels.app", True),
        ("apps/v1:Deployment", "spec.template.spec.containers[0].image", False),
        ("apps/v1:StatefulSet", "spec.volumeClaimTemplates[0].spec", True),
        ("apps/v1:StatefulSet", "spec.replicas", False),
        ("batch/v1:Job", "spec.template.spec.containers[0].image", True),
        ("batch/v1:Job", "spec.suspend", False),
        ("rbac.authorization.k8s.io/v1:RoleBinding", "roleRef.name", True),
        ("rbac.authorization.k8s.io/v1:RoleBinding", "subjects[0].name", False),
        ("core/v1:Service", "spec.clusterIP", True),
        ("core/v1:Service", "spec.ports[0].port", False),
        ("core/v1:PersistentVolumeClaim", "spec.storageClassName", True),
        ("core/v1:PersistentVolumeClaim", "spec.resources.requests.storage", False),
        ("core/v1:Pod", "spec.containers[3].image", True),
        ("core/v1:Namespace", "metadata.name", True),
        ("core/v1:ConfigMap", "metadata.namespace", True),
        ("core/v1:ConfigMap", "metadata.labels.a", False),
        ("core/v1:Secret", "type", True),
        ("operator.tigera.io/v1:Installation", "spec.cni", False),
        ("operator.tigera.io/v1:Installation", "apiVersion", True),
    ],
)
def test_which_changes_replace(token, path, replaces):
    kind = kinds.parse(f"kubernetes:{token}")
    assert below(path, replacement.fixed_paths(kind, {}, {}, mutable=True)) is replaces


@pytest.mark.parametrize(
    ("mutable", "old", "new", "replaces"),
    [
        (True, {}, {}, False),
        (False, {}, {}, True),
        (True, {}, {"immutable": True}, True),
        (True, {"immutable": True}, {}, True),
    ],
)
@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_content_is_replaced_unless_it_is_mutable(kind, mutable, old, new, replaces):
    found = replacement.fixed_paths(kinds.parse(f"kubernetes:core/v1:{kind}"), old, new, mutable=mutable)
    assert below('data["a.yaml"]', found) is replaces


# -- drift -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "live", "recorded", "found"),
    [
        # nothing happened: what the server adds, defaults or spells otherwise is no change
        ({"a": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 2}, {"a": 1}),
        ({"cpu": "0.5"}, {"cpu": "500m"}, {"cpu": "500m"}, {"cpu": "0.5"}),
        ({"empty": {}}, {}, {}, {"empty": {}}),
        ({"x_kubernetes_map_type": "a"}, {"x-kubernetes-map-type": "a"}, {}, {"x_kubernetes_map_type": "a"}),
        # somebody changed it
        ({"a": 1}, {"a": 2}, {"a": 1}, {"a": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}, {"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}),
        ({"cpu": "0.5"}, {"cpu": "2"}, {"cpu": "500m"}, {"cpu": "2"}),
        ({"l": [1, 2]}, {"l": [1]}, {"l": [1, 2]}, {"l": [1]}),
        ({"l": [1]}, {"l": [1, 3]}, {"l": [1]}, {"l": [1, 3]}),
        # somebody changed it and put it back
        ({"a": 1}, {"a": 1}, {"a": 2}, {"a": 1}),
        # elements with names keep theirs wherever they stand
        (
            {"c": [{"name": "a", "i": 1}, {"name": "b", "i": 1}]},
            {"c": [{"name": "b", "i": 1, "d": 0}, {"name": "a", "i": 7}]},
            {"c": [{"name": "a", "i": 1}, {"name": "b", "i": 1, "d": 0}]},
            {"c": [{"name": "a", "i": 7}, {"name": "b", "i": 1}]},
        ),
        (
            {"c": [{"name": "a", "i": 1}]},
            {"c": [{"name": "side"}, {"name": "a", "i": 1, "d": 0}]},
            {"c": [{"name": "a", "i": 1, "d": 0}]},
            {"c": [{"name": "side"}, {"name": "a", "i": 1}]},
        ),
        # never an input
        ({"status": {"x": 1}}, {"status": {"x": 2}}, {}, {"status": {"x": 1}}),
    ],
)
def test_what_counts_as_drift(declared, live, recorded, found):
    assert objects.refreshed(declared, live, recorded) == found


def test_drift_of_a_secret_shows_in_the_strings_that_were_declared():
    declared = {"kind": "Secret", "stringData": {"a": "old", "b": "same"}}
    data = {"a": base64.b64encode(b"new").decode(), "b": base64.b64encode(b"same").decode()}
    recorded = {"kind": "Secret", "data": {"a": base64.b64encode(b"old").decode(), "b": data["b"]}}
    found = objects.refreshed(declared, {"kind": "Secret", "data": data}, recorded)
    assert found["stringData"] == {"a": "new", "b": "same"}


def test_outputs_keep_no_copy_of_the_manifest():
    live = manifest(managedFields=[{}], annotations={objects._LAST_APPLIED: "secret", "kept": "1"})
    outputs = objects.outputs(live, "m")
    assert outputs["metadata"] == {"name": "x", "annotations": {"kept": "1"}}
    assert outputs[objects.MANAGER] == "m"


def test_a_field_manager_is_stable_and_survives_in_the_state():
    made = objects.field_manager("urn:a", {}, {})
    assert made == objects.field_manager("urn:a", {}, {}) != objects.field_manager("urn:b", {}, {})
    assert objects.field_manager("urn:renamed", {objects.MANAGER: made}, {}) == made


# -- readiness -------------------------------------------------------------------------------------


def deployment(replicas=1, generation=2, observed=2, paused=False, conditions=(), **status):
    return {
        "metadata": {"generation": generation},
        "spec": {"replicas": replicas, "paused": paused},
        "status": {"observedGeneration": observed, "conditions": list(conditions), **status},
    }


# For rules that need nothing but the object: they would fail on it if they asked.
NO_API = cast(Api, None)
AVAILABLE = {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "ok"}
ROLLED = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": "ok"}
STUCK = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "late"}
DENIED = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}
FULL = {"updatedReplicas": 1, "availableReplicas": 1}


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (deployment(conditions=[AVAILABLE, ROLLED], **FULL), None),
        (deployment(replicas=0, conditions=[AVAILABLE, ROLLED]), None),
        (deployment(paused=True, conditions=[AVAILABLE], **FULL), None),
        (deployment(observed=1, conditions=[AVAILABLE, ROLLED], **FULL), "has not looked at it"),
        (deployment(conditions=[AVAILABLE, ROLLED], availableReplicas=1), "0 updated"),
        (deployment(conditions=[AVAILABLE], **FULL), "rollout is not complete"),
        (deployment(conditions=[STUCK]), "[ProgressDeadlineExceeded] late"),
        (deployment(conditions=[DENIED]), "[FailedCreate] exceeded quota"),
    ],
)
def test_when_a_deployment_is_ready(item, reason):
    verdict = readiness.deployment(item, NO_API)
    assert verdict.ready is (reason is None)
    assert reason is None or any(reason in text for text in verdict.reasons)


def daemon_set(**status):
    return {"metadata": {"generation": 1}, "status": {"observedGeneration": 1, **status}}


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (daemon_set(desiredNumberScheduled=0), None),
        (
            daemon_set(
                desiredNumberScheduled=2,
                currentNumberScheduled=2,
                updatedNumberScheduled=2,
                numberAvailable=2,
                numberReady=2,
            ),
            None,
        ),
        (daemon_set(desiredNumberScheduled=2, currentNumberScheduled=2), "0 of 2 pods updated"),
        ({"metadata": {"generation": 1}, "status": {}}, "has not looked at it"),
    ],
)
def test_when_a_daemon_set_is_ready(item, reason):
    reasons = readiness.daemon_set(item, NO_API).reasons
    assert list(reasons) == [] if reason is None else reason in reasons[0]


def test_when_a_job_is_ready_or_never_will_be():
    complete = {"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}
    assert readiness.job(complete, NO_API).ready
    verdict = readiness.job({"status": {"conditions": [failed]}}, NO_API)
    assert verdict.final
    assert list(verdict.reasons) == ["[BackoffLimitExceeded] too often"]
    assert not readiness.job({"status": {"active": 1}}, NO_API).final


class Slices:
    def __init__(self, *ready: bool):
        self.items: list[dict[str, Any]] = [
            {"endpoints": [{"conditions": {"ready": value}} for value in ready]}
        ]

    def list(self, path, query):
        assert query == {"labelSelector": "kubernetes.io/service-name=s"}
        return self.items


@pytest.mark.parametrize(
    ("spec", "slices", "ready"),
    [
        ({"selector": {"a": "b"}}, Slices(True, True), True),
        ({"selector": {"a": "b"}}, Slices(True, False), False),
        ({"selector": {"a": "b"}}, Slices(), True),
        ({"selector": {"a": "b"}, "clusterIP": "None"}, None, True),
        ({}, None, True),
        ({"type": "LoadBalancer"}, None, False),
    ],
)
def test_when_a_service_is_ready(spec, slices, ready):
    item = {"metadata": {"name": "s", "namespace": "n"}, "spec": spec}
    assert readiness.service(item, cast(Api, slices)).ready is ready

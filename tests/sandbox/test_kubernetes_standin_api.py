"""The Kubernetes stand-in's verbs on a real API server: create, preview, update, read."""

from __future__ import annotations

import base64
import threading
import time

import pytest

from sandbox.providers.backend import UNKNOWN, ProviderError
from sandbox.providers.kubernetes import objects
from tests.sandbox.kubernetes_verbs import (
    CONFIG_MAP,
    CRD,
    DEPLOYMENT,
    NAMESPACE,
    SECRET,
    config_map,
    configured,
    create,
    definition,
    delete,
    deployment,
    read,
    thing,
    update,
)

pytestmark = pytest.mark.sandbox
pytest_plugins = ("tests.sandbox.apiserver", "tests.sandbox.kubernetes_fixtures")


# -- create ----------------------------------------------------------------------------------------


def test_create_applies_under_a_stable_manager_and_answers_with_the_live_object(
    apiserver, backend, namespace
):
    made = create(backend, CONFIG_MAP, config_map(namespace))
    live = apiserver.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/c")
    (entry,) = live["metadata"]["managedFields"]
    assert made.id == f"{namespace}/c"
    assert made.outputs["metadata"]["uid"] == live["metadata"]["uid"]
    assert (entry["manager"], entry["operation"]) == (made.outputs[objects.MANAGER], "Apply")
    assert "managedFields" not in made.outputs["metadata"]


def test_an_object_that_exists_is_an_error_unless_the_user_takes_it_over(apiserver, backend, namespace):
    create(backend, CONFIG_MAP, config_map(namespace))
    with pytest.raises(ProviderError, match=f"ConfigMap 'c' in the namespace '{namespace}' already exists"):
        create(backend, CONFIG_MAP, config_map(namespace, {"k": "other"}))
    live = apiserver.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/c")
    assert live["data"] == {"k": "v"}
    taking = configured(apiserver, upsertExistingObjects="true")
    assert create(taking, CONFIG_MAP, config_map(namespace, {"k": "other"})).outputs["data"] == {"k": "other"}


@pytest.mark.parametrize("preview", [False, True])
def test_an_unknown_field_is_an_error(backend, namespace, preview):
    with pytest.raises(ProviderError, match="dada"):
        create(backend, CONFIG_MAP, config_map(namespace, dada={"k": "v"}), preview=preview)


@pytest.mark.parametrize("preview", [False, True])
def test_what_the_server_refuses_is_one_line_in_its_words(backend, namespace, preview):
    broken = deployment(namespace)
    broken["spec"]["selector"] = {"matchLabels": {"app": "another"}}
    with pytest.raises(ProviderError) as refusal:
        create(backend, DEPLOYMENT, broken, preview=preview)
    assert "`selector` does not match template `labels`" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_cluster_scoped_object_in_a_namespace_is_refused(backend, namespace):
    inputs = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x", "namespace": namespace}}
    with pytest.raises(ProviderError, match="Namespace is cluster-scoped"):
        create(backend, NAMESPACE, inputs)


def test_a_kind_that_this_server_does_not_serve_is_an_error_at_once(backend, namespace):
    typ = "kubernetes:apps/v1beta1:Deployment"
    inputs = {**deployment(namespace), "apiVersion": "apps/v1beta1"}
    started = time.monotonic()
    for preview in (True, False):
        with pytest.raises(ProviderError, match="apps/v1beta1/Deployment"):
            create(backend, typ, inputs, preview=preview)
    assert time.monotonic() - started < 3


def test_a_namespace_left_out_is_the_default_one(apiserver, namespace):
    backend = configured(apiserver, namespace=namespace)
    inputs = config_map(namespace)
    del inputs["metadata"]["namespace"]
    assert create(backend, CONFIG_MAP, inputs).id == f"{namespace}/c"
    assert not backend.diff(CONFIG_MAP, "", inputs, {}, config_map(namespace)).changes


# -- preview ---------------------------------------------------------------------------------------


def test_a_preview_asks_the_server_and_changes_nothing(apiserver, backend, namespace):
    foretold = create(backend, DEPLOYMENT, deployment(namespace), preview=True).outputs
    assert foretold["spec"]["strategy"]["type"] == "RollingUpdate"
    assert foretold["metadata"]["uid"] is foretold["status"] is UNKNOWN
    assert apiserver.request("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments")["items"] == []


def test_a_preview_of_an_update_shows_the_outcome(apiserver, backend, namespace):
    made = create(backend, CONFIG_MAP, config_map(namespace))
    foretold = update(backend, CONFIG_MAP, made, config_map(namespace, {"k": "new"}), preview=True)
    assert foretold["data"] == {"k": "new"}
    assert foretold["metadata"]["uid"] == made.outputs["metadata"]["uid"]
    live = apiserver.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/c")
    assert live["data"] == {"k": "v"}


def test_a_preview_says_the_inputs_where_it_cannot_know(backend, namespace):
    unknown = config_map(namespace, {"k": UNKNOWN})
    elsewhere = config_map("not-made-yet")
    custom = thing("not-made-yet.example.com", namespace)
    assert create(backend, CONFIG_MAP, unknown, preview=True).outputs is unknown
    assert create(backend, CONFIG_MAP, elsewhere, preview=True).outputs is elsewhere
    typ = "kubernetes:not-made-yet.example.com/v1:Thing"
    assert create(backend, typ, custom, preview=True).outputs is custom
    create(backend, CONFIG_MAP, config_map(namespace))
    again = config_map(namespace)  # as in a replacement: the old one is still there
    assert create(backend, CONFIG_MAP, again, preview=True).outputs is again


# -- custom resources ------------------------------------------------------------------------------


def test_a_custom_resource_right_after_its_definition(backend, namespace):
    group = f"{namespace}.example.com"
    made = create(backend, CRD, definition(group))
    typ = f"kubernetes:{group}/v1:Thing"
    kept = create(backend, typ, thing(group, namespace, size=1))
    assert kept.id == f"{namespace}/t"
    with pytest.raises(ProviderError, match="colour"):
        update(backend, typ, kept, thing(group, namespace, size=1, colour="red"))
    delete(backend, CRD, made.id)
    assert read(backend, typ, kept.id, thing(group, namespace, size=1)) is None
    delete(backend, typ, kept.id)


def test_a_definition_that_is_on_its_way_is_waited_for(apiserver, backend, namespace):
    group = f"{namespace}.example.com"
    late = threading.Timer(1.0, create, [configured(apiserver), CRD, definition(group)])
    late.start()
    assert create(backend, f"kubernetes:{group}/v1:Thing", thing(group, namespace)).id == f"{namespace}/t"
    late.join()


def test_a_kind_without_definition_is_an_error_after_a_bounded_wait(backend, namespace, monkeypatch):
    monkeypatch.setattr(
        type(backend._cluster.waiter), "until_found", lambda self, look: look()
    )  # the wait itself is tested above
    with pytest.raises(ProviderError, match=r"it serves no nobody.example.com/v1/Thing; verify.* CRDs"):
        create(backend, "kubernetes:nobody.example.com/v1:Thing", thing("nobody.example.com", namespace))


# -- update ----------------------------------------------------------------------------------------


def test_an_update_removes_what_is_no_longer_declared(backend, namespace):
    made = create(backend, CONFIG_MAP, config_map(namespace, {"a": "1", "b": "2"}))
    assert update(backend, CONFIG_MAP, made, config_map(namespace, {"b": "3"}))["data"] == {"b": "3"}


def test_an_update_of_a_gone_object_does_not_make_it_again(apiserver, backend, namespace):
    made = create(backend, CONFIG_MAP, config_map(namespace))
    apiserver.request("DELETE", f"/api/v1/namespaces/{namespace}/configmaps/c")
    with pytest.raises(ProviderError, match='configmaps "c" not found'):
        update(backend, CONFIG_MAP, made, config_map(namespace, {"k": "new"}))


def test_fields_of_others_are_not_taken_over_silently(apiserver, backend, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps/c"
    made = create(backend, CONFIG_MAP, config_map(namespace))
    apiserver.edit(path, {"data": {"k": "theirs"}})
    with pytest.raises(ProviderError, match=r'field conflict detected.* "kubectl-edit".*patchForce'):
        update(backend, CONFIG_MAP, made, config_map(namespace, {"k": "ours"}))
    forced = config_map(namespace, {"k": "ours"})
    forced["metadata"]["annotations"] = {"pulumi.com/patchForce": "true"}
    assert update(backend, CONFIG_MAP, made, forced)["data"] == {"k": "ours"}


def test_fields_of_plain_kubectl_apply_are_taken_over(apiserver, backend, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps/c"
    made = create(backend, CONFIG_MAP, config_map(namespace))
    apiserver.apply(path, config_map(namespace, {"k": "theirs"}), manager="kubectl")
    assert update(backend, CONFIG_MAP, made, config_map(namespace, {"k": "ours"}))["data"] == {"k": "ours"}


def test_ignored_paths_keep_their_live_value(apiserver, backend, namespace):
    made = create(backend, CONFIG_MAP, config_map(namespace, {"a.b": "1", "c": "1"}))
    apiserver.edit(f"/api/v1/namespaces/{namespace}/configmaps/c", {"data": {"a.b": "theirs"}})
    wanted = config_map(namespace, {"a.b": "1", "c": "2"})
    changed = update(backend, CONFIG_MAP, made, wanted, ignore=['data["a.b"]'])
    assert changed["data"] == {"a.b": "theirs", "c": "2"}


# -- read ------------------------------------------------------------------------------------------


def test_read_reports_drift_of_declared_fields_only(apiserver, backend, namespace):
    inputs = deployment(namespace, annotations={"pulumi.com/skipAwait": "true"})
    made = create(backend, DEPLOYMENT, inputs)
    assert read(backend, DEPLOYMENT, made.id, inputs, made.outputs).inputs == inputs
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/d"
    apiserver.edit(path, {"spec": {"replicas": 3}, "metadata": {"labels": {"added": "by-others"}}})
    found = read(backend, DEPLOYMENT, made.id, inputs, made.outputs).inputs
    assert found["spec"].pop("replicas") == 3
    inputs["spec"].pop("replicas")
    assert found == inputs


def test_read_of_a_gone_object_is_nothing(backend, namespace):
    assert read(backend, CONFIG_MAP, f"{namespace}/c", config_map(namespace)) is None


def test_an_import_declares_what_is_there(apiserver, backend, namespace):
    apiserver.request("POST", f"/api/v1/namespaces/{namespace}/configmaps", config_map(namespace))
    found = read(backend, CONFIG_MAP, f"{namespace}/c")
    assert found.inputs == config_map(namespace)
    assert read(backend, NAMESPACE, namespace).inputs["metadata"]["name"] == namespace
    with pytest.raises(ProviderError, match="form NAMESPACE/NAME"):
        read(backend, CONFIG_MAP, "c")


def test_a_secret_is_always_secret(backend, namespace):
    assert set(backend.secret_outputs(SECRET)) == {"data", "stringData"}
    inputs = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": namespace},
        "stringData": {"password": "hunter2"},
    }
    made = create(backend, SECRET, inputs)
    assert made.outputs["data"] == {"password": base64.b64encode(b"hunter2").decode()}
    assert read(backend, SECRET, made.id, inputs, made.outputs).inputs == inputs

"""The Kubernetes stand-in under the real Pulumi engine, on a real API server."""

from __future__ import annotations

import base64
import secrets
import signal
import threading
import time

import psutil
import pytest

from tests.sandbox.engine_run import EngineRun
from tests.sandbox.kubernetes_program import Program
from tests.tools import cmdline, engines

pytestmark = pytest.mark.sandbox
pytest_plugins = ("tests.sandbox.apiserver",)


def manifest(api_version, kind, name, namespace=None, **rest):
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, **rest}


def everything(prefix):
    """A little of all that the program registers; names carry the prefix, so that tests do not meet."""
    group = f"{prefix}.example.com"
    labels = {"app": "web"}
    pod = {"containers": [{"name": "main", "image": "example.invalid/web:1"}]}
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
    }
    names = {"kind": "Thing", "plural": "things", "singular": "thing", "listKind": "ThingList"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    rbac = "rbac.authorization.k8s.io"
    role = {"apiGroup": rbac, "kind": "ClusterRole", "name": prefix}
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": prefix}
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
    deployment = manifest("apps/v1", "Deployment", "web", prefix, spec=spec)
    deployment["metadata"]["annotations"] = {"pulumi.com/skipAwait": "true"}
    return {
        "namespace": manifest("v1", "Namespace", prefix),
        "config": manifest("v1", "ConfigMap", "config", prefix, data={"config.yaml": "a: 1\n"}),
        "secret": manifest("v1", "Secret", "secret", prefix),
        "quota": manifest(
            "v1", "ResourceQuota", "quota", prefix, spec={"hard": {"cpu": "0.5", "pods": "10"}}
        ),
        "deployment": deployment,
        "service": manifest("v1", "Service", "web", prefix, spec={"ports": [{"port": 80}]}),
        "role": manifest(f"{rbac}/v1", "ClusterRole", prefix, rules=[rule]),
        "binding": manifest(f"{rbac}/v1", "RoleBinding", "view", prefix, roleRef=role, subjects=[subject]),
        "definition": manifest(
            "apiextensions.k8s.io/v1",
            "CustomResourceDefinition",
            f"things.{group}",
            spec={"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
        ),
        "thing": manifest(f"{group}/v1", "Thing", "thing", prefix, spec={"size": 1}),
    }


@pytest.fixture
def prefix():
    return f"e{secrets.token_hex(4)}"


def make_program(server, prefix):
    provider = {
        "kubeconfig": server.text,
        "cluster_identifier": "test/1",
        "enable_server_side_apply": True,
        "enable_config_map_mutable": True,
        "enable_secret_mutable": True,
    }
    return Program(provider, everything(prefix))


@pytest.fixture
def program(apiserver, prefix):
    return make_program(apiserver, prefix)


@pytest.fixture
def engine(tmp_path, program):
    return EngineRun(tmp_path / "engine", program)


def only(program, *names):
    program.objects = {name: program.objects[name] for name in names}


def test_the_life_of_a_stack(apiserver, engine, program, prefix):
    password = secrets.token_urlsafe(24)
    program.secrets = {"secret": {"password": password}}

    foretold = engine.preview()
    made = engine.up()
    assert not made.failed, made.text
    assert set(foretold.steps.items()) == set(made.steps.items())
    assert set(made.steps.values()) == {"create"}
    assert len(made.steps) == 1 + len(program.objects)

    assert engine.preview().changes == {}
    assert engine.preview_refresh().changes == {}

    assert engine.files_with(prefix)
    for form in (password, base64.b64encode(password.encode()).decode()):
        assert engine.files_with(form) == []
    assert engine.resources()[f"configmap-{prefix}-config"]["id"] == f"{prefix}/config"
    assert engine.resources()[f"namespace-{prefix}"]["id"] == prefix

    _drift_is_shown_exactly(apiserver, engine, prefix)

    gone = engine.destroy()
    assert not gone.failed, gone.text
    assert engine.resources() == {}
    namespaces = apiserver.request("GET", "/api/v1/namespaces")["items"]
    assert prefix not in {item["metadata"]["name"] for item in namespaces}


def _drift_is_shown_exactly(apiserver, engine, prefix):
    """An edit and a deletion behind Pulumi's back are found; the next `up` repairs them."""
    config, deployment = f"configmap-{prefix}-config", f"deployment-{prefix}-web"
    path = f"/apis/apps/v1/namespaces/{prefix}/deployments/web"
    apiserver.edit(f"/api/v1/namespaces/{prefix}/configmaps/config", {"data": {"config.yaml": "a: 2\n"}})
    apiserver.edit(path, {"spec": {"replicas": 3}, "metadata": {"labels": {"of": "others"}}})
    apiserver.request("DELETE", f"/apis/{prefix}.example.com/v1/namespaces/{prefix}/things/thing")
    found = engine.preview_refresh()
    thing = f"thing-{prefix}-thing"
    assert found.changes == {config: "update", deployment: "update", thing: "delete"}
    assert found.diffs[config] == ['data["config.yaml"]']
    assert found.diffs[deployment] == ["spec.replicas"]
    engine.refresh()
    refused = engine.up()
    assert 'conflict with "kubectl-edit"' in refused.text
    engine.program.provider["enable_patch_force"] = True
    repaired = engine.up()
    assert not repaired.failed, repaired.text
    changed = {"cluster": "update", config: "update", deployment: "update", thing: "create"}
    assert repaired.changes == changed
    assert engine.preview_refresh().changes == {}


def test_one_change_is_one_step(engine, program, prefix):
    only(program, "namespace", "config", "role", "binding")
    assert not engine.up().failed
    config, binding = f"configmap-{prefix}-config", f"rolebinding-{prefix}-view"

    program.objects["config"]["data"]["config.yaml"] = "a: 2\n"
    assert engine.up().changes == {config: "update"}

    program.objects["config"]["metadata"]["labels"] = {"a": "b"}
    run = engine.up()
    assert (run.changes, run.diffs) == ({config: "update"}, {config: ["metadata.labels"]})
    del program.objects["config"]["metadata"]["labels"]
    assert engine.up().changes == {config: "update"}

    program.objects["binding"]["roleRef"] = {**program.objects["binding"]["roleRef"], "name": "view"}
    run = engine.preview()
    assert run.changes[binding] in ("replace", "create-replacement", "delete-replaced")
    assert not engine.up().failed
    assert engine.preview().changes == {}

    del program.objects["config"]
    assert engine.up().changes == {config: "delete"}


def test_content_is_replaced_where_it_is_not_mutable(engine, program, prefix):
    only(program, "namespace", "config")
    program.provider["enable_config_map_mutable"] = False
    assert not engine.up().failed
    program.objects["config"]["data"]["config.yaml"] = "a: 2\n"
    config = f"configmap-{prefix}-config"
    assert engine.preview().changes[config] in ("replace", "create-replacement", "delete-replaced")
    assert not engine.up().failed
    assert engine.preview().changes == {}


def test_a_person_leaves_with_everything_in_the_namespace(apiserver, engine, program, prefix):
    person = f"{prefix}-ann"
    program.objects["person"] = manifest("v1", "Namespace", person)
    spec = {"hard": {"pods": "5"}}
    program.objects["person-quota"] = manifest("v1", "ResourceQuota", "quota", person, spec=spec)
    only(program, "namespace", "config", "person", "person-quota")
    assert not engine.up().failed
    body = manifest("v1", "ConfigMap", "own", person, data={})
    apiserver.request("POST", f"/api/v1/namespaces/{person}/configmaps", body)
    only(program, "namespace", "config")
    run = engine.up()
    assert run.changes == {f"namespace-{person}": "delete", f"resourcequota-{person}-quota": "delete"}
    names = {item["metadata"]["name"] for item in apiserver.request("GET", "/api/v1/namespaces")["items"]}
    assert person not in names
    assert prefix in names


def test_an_unknown_type_and_an_unknown_field_stop_the_preview(engine, program):
    only(program, "namespace", "config", "deployment")
    program.objects["namespace"]["metadata"]["name"] = "default-x"
    program.objects["wrong"] = manifest("apps/v1", "Deploymint", "x", "default")
    program.objects["misspelt"] = manifest("v1", "ConfigMap", "x", "default", dota={})
    run = engine.preview()
    assert run.failed
    assert "kubernetes:apps/v1:Deploymint: unknown resource type" in run.text
    assert "Traceback" not in run.text
    del program.objects["wrong"]
    run = engine.preview()
    assert run.failed
    assert "dota" in run.text


def test_what_exists_already_is_not_taken_silently(apiserver, engine, program, prefix):
    only(program, "namespace")
    apiserver.request("POST", "/api/v1/namespaces", program.objects["namespace"])
    run = engine.up()
    assert run.failed
    assert f"Namespace '{prefix}' already exists" in run.text
    engine.environment["PULUMI_K8S_UPSERT_EXISTING_OBJECTS"] = "true"
    assert not engine.up().failed


def test_a_half_made_object_is_recorded_and_repaired(engine, program, prefix):
    only(program, "namespace", "deployment")
    program.objects["deployment"]["metadata"]["annotations"] = {"pulumi.com/timeoutSeconds": "2"}
    deployment = f"deployment-{prefix}-web"
    run = engine.up()
    assert run.failed
    assert f"Deployment {prefix}/web exists, but is not ready: not ready after 2 s" in run.text
    recorded = engine.resources()[deployment]
    assert recorded["id"] == f"{prefix}/web"
    assert recorded["initErrors"]
    found = engine.preview_refresh()
    assert (found.failed, found.changes) == (False, {})
    program.objects["deployment"]["spec"]["replicas"] = 0
    run = engine.up()
    assert not run.failed, run.text
    assert run.changes == {deployment: "update"}
    assert "initErrors" not in engine.resources()[deployment]


def test_ctrl_c_ends_a_wait_and_leaves_no_plugin(apiserver, engine, program, prefix):
    only(program, "namespace", "deployment")
    program.objects["deployment"]["metadata"].pop("annotations")
    path = f"/apis/apps/v1/namespaces/{prefix}/deployments"
    waiter = threading.Thread(target=_interrupt_once_made, args=[apiserver, path], daemon=True)
    waiter.start()
    run = engine.up()
    waiter.join()
    assert run.failed
    assert "the wait was cancelled" in run.text
    assert engine.resources()[f"deployment-{prefix}-web"]["id"] == f"{prefix}/web"
    children = psutil.Process().children(recursive=True)
    assert [child for child in children if "sandbox.providers" in " ".join(cmdline(child))] == []


def _interrupt_once_made(apiserver, path):
    """Ctrl-C for the engine when the Deployment exists, which never gets ready."""
    deadline = time.monotonic() + 120
    while not apiserver.request("GET", path)["items"] and time.monotonic() < deadline:
        time.sleep(0.2)
    for cli in engines(psutil.Process()):
        cli.send_signal(signal.SIGINT)


def test_a_changed_identifier_replaces_and_a_changed_kubeconfig_does_not(engine, program, prefix):
    only(program, "namespace")
    assert not engine.up().failed
    program.provider["kubeconfig"] += "\n# another text of the same\n"
    run = engine.preview()
    assert run.changes == {"cluster": "update"}
    program.provider["cluster_identifier"] = "test/2"
    run = engine.preview()
    assert f"namespace-{prefix}" in run.changes


def test_a_cluster_that_is_gone(tmp_path, running_apiserver, prefix):
    program = make_program(running_apiserver, prefix)
    only(program, "namespace", "config")
    engine = EngineRun(tmp_path / "engine", program)
    assert not engine.up().failed
    running_apiserver.stop()
    assert engine.preview().changes == {}
    for run in (engine.refresh(), engine.destroy()):
        assert run.failed
        assert "configured Kubernetes cluster is unreachable: nothing listens on 127.0.0.1:" in run.text
        assert "Traceback" not in run.text
    engine.environment["PULUMI_K8S_DELETE_UNREACHABLE"] = "true"
    assert not engine.destroy().failed
    assert engine.resources() == {}

"""The components register every planned object, under themselves and in an order that works."""

from __future__ import annotations

from dataclasses import replace

import pulumi
import pulumi_kubernetes as kubernetes
import pytest

from components.incluster.components import Calico, Dex, Gpu, Profiles
from components.incluster.manifest import Manifest
from components.incluster.sources import load_all
from tests.engine import deploy
from tests.unit import incluster_stack as stack


def program(settings):
    def run():
        provider = kubernetes.Provider("cluster", kubeconfig="{}")
        opts = pulumi.ResourceOptions(providers=[provider])
        loaded = load_all(settings.manifests)
        Calico("calico", settings, loaded["calico"], opts)
        Gpu("gpu", settings, (), opts)
        Dex("dex", settings, opts)
        kubeflow = Manifest("kubeflow", loaded["kubeflow"], opts)
        Profiles(
            "profiles",
            settings,
            pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=kubeflow.objects)),
        )

    return run


def record(settings, preview=False):
    return deploy(program(settings), config={}, preview=preview)


def test_preview_and_update_register_the_same_objects():
    settings = stack.settings()
    preview, update = record(settings, preview=True), record(settings)
    assert preview.urns == update.urns
    objects = [item for item in update.resources.values() if item.custom and item.package == "kubernetes"]
    assert {item.parent for item in objects} == {
        next(urn for urn in update.urns if urn.endswith(f"::{name}"))
        for name in ("calico", "calico-operator", "gpu", "dex", "kubeflow", "profiles")
    }


def test_secret_data_is_secret_and_nothing_of_it_is_plain():
    settings = stack.settings()
    recording = record(settings)
    for name in ("secret-auth-dex-passwords", "secret-auth-dex-oidc-client"):
        secret = recording.one("kubernetes:core/v1:Secret", name)
        assert "data" in secret.secret_paths
        assert set(secret.additional_secret_outputs) == {"data", "stringData"}
    text = recording.plain_text()
    for value in (*settings.password_hashes.values(), settings.oidc_client_secret):
        assert value not in text
    encoded = recording.one("kubernetes:core/v1:Secret", "secret-auth-dex-passwords").inputs["data"]
    assert all(value not in text for value in encoded.values())
    assert len(encoded) == 2


def test_the_installation_waits_for_the_operator():
    recording = record(stack.settings())
    installation = recording.one("kubernetes:operator.tigera.io/v1:Installation")
    operator = recording.one("kubernetes:apps/v1:Deployment", "deployment-tigera-operator-tigera-operator")
    crd = recording.one(
        "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition",
        "customresourcedefinition-installations.operator.tigera.io",
    )
    assert {operator.urn, crd.urn} <= set(installation.depends_on)


def test_dex_waits_for_what_its_pods_read():
    recording = record(stack.settings())
    deployment = recording.one("kubernetes:apps/v1:Deployment", "deployment-auth-dex")
    names = {recording.resources[urn].name for urn in deployment.depends_on}
    stored = {name for name in names if name.endswith(".dex.coreos.com")}
    assert len(stored) == 10
    assert names - stored == {
        "namespace-auth",
        "configmap-auth-dex",
        "secret-auth-dex-passwords",
        "secret-auth-dex-oidc-client",
        "serviceaccount-auth-dex",
        "role-auth-dex",
        "rolebinding-auth-dex",
    }


def test_a_profile_waits_for_its_namespace_and_its_kind():
    recording = record(stack.settings())
    profile = recording.one("kubernetes:kubeflow.org/v1:Profile", "profile-ana")
    names = {recording.resources[urn].name for urn in profile.depends_on}
    assert names == {"namespace-ana"}
    profiles = recording.one("kubepark:index:Profiles")
    crd = recording.one(
        "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition",
        "customresourcedefinition-profiles.kubeflow.org",
    )
    assert crd.urn in profiles.depends_on  # children are registered after their parent


def test_without_a_gpu_only_the_empty_component_is_left():
    without = record(stack.settings(gpu=stack.no_gpu()))
    gpu = without.one("kubepark:index:Gpu")
    assert without.children(gpu) == []
    settings = stack.settings()
    gone = {urn.rpartition("::")[2] for urn in record(settings).urns - without.urns}
    assert gone == {"runtimeclass-nvidia", "daemonset-kube-system-nvidia-device-plugin"}


def test_a_changed_hash_touches_the_secret_and_the_pods_only():
    base = stack.settings()
    other = replace(base, password_hashes={**base.password_hashes, "ana": stack.make_hash()})
    before, after = record(base), record(other)
    assert before.urns == after.urns
    changed = {
        item.name for urn, item in before.resources.items() if item.inputs != after.resources[urn].inputs
    }
    assert changed == {"secret-auth-dex-passwords", "deployment-auth-dex"}


@pytest.mark.parametrize("preview", [True, False])
def test_outputs_are_plain(preview):
    recording = record(stack.settings(), preview)
    assert recording.one("kubepark:index:Dex").outputs == {
        "issuer": "http://dex.auth.svc.cluster.local:5556/dex"
    }
    assert recording.one("kubepark:index:Profiles").outputs == {"namespaces": ["ana", "bob-lee"]}

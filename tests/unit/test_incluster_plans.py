"""What Calico, the GPU, Dex and the people get in the cluster, as plain manifests."""

from __future__ import annotations

import base64
from dataclasses import replace
from ipaddress import IPv4Network

import pytest
import yaml

from components.incluster.calico import plan_calico
from components.incluster.dex import plan_dex
from components.incluster.dex_config import ISSUER, dex_config, password_variable
from components.incluster.gpu import plan_gpu
from components.incluster.profiles import plan_profiles
from config.model import KubeflowSettings
from config.naming import CHECKSUM
from config.people import user_id
from tests.unit import incluster_stack as stack


def one(planned, kind, name=None):
    found = [
        item
        for item in planned
        if item["kind"] == kind and (name is None or item["metadata"]["name"] == name)
    ]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def pod_of(planned, kind):
    return one(planned, kind)["spec"]["template"]


def test_calicos_pool_is_the_stacks_pod_network():
    base = stack.settings()
    settings = replace(base, network=replace(base.network, pod_cidr=IPv4Network("172.16.0.0/16")))
    (installation,) = plan_calico(settings)
    assert installation["metadata"]["name"] == "default"
    network = installation["spec"]["calicoNetwork"]
    assert network["bgp"] == "Disabled"
    assert network["nodeAddressAutodetectionV4"] == {"kubernetes": "NodeInternalIP"}
    (pool,) = network["ipPools"]
    assert (pool["cidr"], pool["encapsulation"]) == ("172.16.0.0/16", "VXLAN")


def test_without_a_gpu_node_nothing_of_the_gpu_is_planned():
    assert plan_gpu(stack.settings(gpu=stack.no_gpu())) == ()


def test_the_device_plugin_runs_on_gpu_nodes_only_and_stays_there():
    planned = plan_gpu(stack.settings())
    assert [item["kind"] for item in planned] == ["RuntimeClass", "DaemonSet"]
    runtime, pod = planned[0], pod_of(planned, "DaemonSet")["spec"]
    assert runtime["handler"] == "nvidia"
    assert pod["runtimeClassName"] == runtime["metadata"]["name"]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert pod["priorityClassName"] == "system-node-critical"
    assert pod["volumes"][0]["hostPath"]["path"] == "/var/lib/kubelet/device-plugins"
    assert "annotations" not in pod_of(planned, "DaemonSet")["metadata"]


def test_time_slicing_configures_the_plugin_and_another_count_rolls_it():
    planned, again, other = (plan_gpu(stack.settings(gpu=stack.gpu(count))) for count in (4, 4, 8))
    config = yaml.safe_load(one(planned, "ConfigMap")["data"]["config.yaml"])
    assert config["sharing"]["timeSlicing"]["resources"] == [{"name": "nvidia.com/gpu", "replicas": 4}]
    container = pod_of(planned, "DaemonSet")["spec"]["containers"][0]
    assert {"name": "CONFIG_FILE", "value": "/etc/nvidia-device-plugin/config.yaml"} in container["env"]
    annotations = [pod_of(each, "DaemonSet")["metadata"]["annotations"] for each in (planned, again, other)]
    assert annotations[0] == annotations[1] != annotations[2]


def test_dex_accounts_name_a_variable_each_and_never_a_hash():
    settings = stack.settings()
    planned = plan_dex(settings)
    text = one(planned, "ConfigMap")["data"]["config.yaml"]
    config = yaml.safe_load(text)
    assert config["issuer"] == ISSUER == "http://dex.auth.svc.cluster.local:5556/dex"
    assert config["staticClients"][0]["redirectURIs"] == ["/oauth2/callback"]
    assert [account["email"] for account in config["staticPasswords"]] == [
        "ana@example.org",
        "bob-lee@example.org",
    ]
    secret = one(planned, "Secret", "dex-passwords")["data"]
    for account, person in zip(config["staticPasswords"], settings.people, strict=True):
        decoded = base64.b64decode(secret[account["hashFromEnv"]]).decode()
        assert decoded == settings.password_hashes[person.key]
        assert "hash" not in account
        assert decoded not in text
    assert settings.oidc_client_secret not in text


def test_dex_grants_what_a_browser_needs_at_the_address_that_browsers_have():
    inside, outside = (
        yaml.safe_load(one(plan_dex(stack.settings(oidc_issuer=each)), "ConfigMap")["data"]["config.yaml"])
        for each in (None, "https://kubeflow.acme.org/dex")
    )
    assert (inside["issuer"], outside["issuer"]) == (ISSUER, "https://kubeflow.acme.org/dex")
    assert inside["oauth2"]["grantTypes"] == ["authorization_code", "refresh_token"]


def test_dex_finds_its_definitions_and_may_make_none():
    """Two of it that start together on an empty cluster: one makes them, the other ends without."""
    planned = plan_dex(stack.settings())
    stored = [item for item in planned if item["kind"] == "CustomResourceDefinition"]
    assert {item["metadata"]["name"] for item in stored} >= {
        "authrequests.dex.coreos.com",
        "signingkeies.dex.coreos.com",
    }
    assert len(stored) == 10
    for item in stored:
        names = item["spec"]["names"]
        assert item["metadata"]["name"] == f"{names['plural']}.{item['spec']['group']}"
        assert item["metadata"]["annotations"]["pulumi.com/waitFor"] == "condition=Established"
    config = yaml.safe_load(one(planned, "ConfigMap")["data"]["config.yaml"])
    assert config["storage"]["config"]["crdHandling"] == "check"
    rules = [rule for item in planned if item["kind"] in ("Role", "ClusterRole") for rule in item["rules"]]
    assert [rule["apiGroups"] for rule in rules] == [["dex.coreos.com"]]


def test_the_secrets_of_dex_hold_what_the_pods_environment_needs():
    settings = stack.settings()
    planned = plan_dex(settings)
    client = one(planned, "Secret", "dex-oidc-client")["data"]
    assert {key: base64.b64decode(value).decode() for key, value in client.items()} == {
        "OIDC_CLIENT_ID": settings.oidc_client_id,
        "OIDC_CLIENT_SECRET": settings.oidc_client_secret,
    }
    container = pod_of(planned, "Deployment")["spec"]["containers"][0]
    assert {each["secretRef"]["name"] for each in container["envFrom"]} == {
        "dex-oidc-client",
        "dex-passwords",
    }


def digest(settings):
    return pod_of(plan_dex(settings), "Deployment")["metadata"]["annotations"][CHECKSUM]


def test_dex_rolls_when_what_it_reads_changed():
    base = stack.settings()
    ana, bob = base.people
    changed = {
        "a hash": replace(base, password_hashes={**base.password_hashes, "ana": stack.make_hash()}),
        "a person less": replace(base, people=(ana,)),
        "an e-mail": replace(base, people=(replace(ana, email="new@example.org"), bob)),
        "the client secret": replace(base, oidc_client_secret="another"),
        "the client id": replace(base, oidc_client_id="another"),
    }
    digests = {what: digest(settings) for what, settings in changed.items()}
    assert digest(base) not in digests.values()
    assert len(set(digests.values())) == len(digests)


def test_dex_does_not_roll_for_anything_else():
    base = stack.settings()
    ana, bob = base.people
    same = {
        "order": replace(base, people=(bob, ana)),
        "tier": replace(base, people=(replace(ana, tier=replace(ana.tier, name="small", quota={})), bob)),
        "namespace": replace(base, people=(replace(ana, namespace="elsewhere"), bob)),
        "gpu": replace(base, gpu=stack.no_gpu()),
        "order of hashes": replace(base, password_hashes=dict(reversed(list(base.password_hashes.items())))),
    }
    assert {what: digest(settings) for what, settings in same.items()} == dict.fromkeys(same, digest(base))


def test_user_ids_are_for_life():
    """Fixed values: another id would be another account, with nothing of the old one."""
    assert user_id("ana") == "8cf8c262-2c6d-5a06-9e38-b09d8869fbbb"
    assert user_id("ana") != user_id("bob")
    renamed = stack.person("ana", "other@example.org")
    assert yaml.safe_load(dex_config((renamed,)))["staticPasswords"][0]["userID"] == user_id("ana")


def test_password_variables_are_environment_names_and_differ():
    keys = ["ana", "ana-b", "anab", "a-nab", "a1"]
    names = [password_variable(key) for key in keys]
    assert names[1] == "DEX_PW_ANA_B"
    assert len(set(names)) == len(keys)


def test_a_name_that_yaml_could_read_otherwise_stays_text():
    odd = replace(stack.person("on"), display_name="no: # 'x'\n- y")
    account = yaml.safe_load(dex_config((odd,)))["staticPasswords"][0]
    assert account["username"] == "on"
    assert account["name"] == "no: # 'x'\n- y"


def test_dex_keeps_one_pod_serving_through_a_roll():
    deployment = one(plan_dex(stack.settings()), "Deployment")["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    pod = deployment["template"]["spec"]
    assert pod["securityContext"]["runAsUser"] == 1001
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["containers"][0]["readinessProbe"]["httpGet"]["path"] == "/dex/healthz"


def test_each_person_has_a_namespace_a_profile_and_defaults():
    planned = plan_profiles(stack.settings())
    assert [item["kind"] for item in planned] == ["Namespace", "Profile", "LimitRange"] * 2
    namespace, profile, limits = planned[:3]
    assert namespace["metadata"]["annotations"] == {"owner": "ana@example.org"}
    assert namespace["metadata"]["labels"]["app.kubernetes.io/part-of"] == "kubeflow-profile"
    assert profile["spec"]["owner"] == {"kind": "User", "name": "ana@example.org"}
    assert profile["spec"]["resourceQuotaSpec"]["hard"]["requests.nvidia.com/gpu"] == "1"
    assert limits["metadata"]["namespace"] == "ana"
    (container,) = limits["spec"]["limits"]
    assert container["default"] == {"cpu": "1", "memory": "1Gi"}
    assert container["defaultRequest"] == {"cpu": "100m", "memory": "256Mi"}


def test_without_kubeflow_the_quota_is_ours_and_no_profile_is_registered():
    planned = plan_profiles(stack.settings(kubeflow=KubeflowSettings(profiles="none")))
    own = ["Namespace", "ResourceQuota", "LimitRange"]
    assert [item["kind"] for item in planned] == [*own, *own, "RoleBinding", "RoleBinding"]
    assert planned[1]["spec"]["hard"] == stack.TIER.quota
    assert "istio-injection" not in planned[0]["metadata"]["labels"]


@pytest.mark.parametrize("profiles", ["controller", "none"])
def test_the_gpu_is_limited_by_the_only_key_that_counts_and_has_no_default(profiles):
    planned = plan_profiles(stack.settings(kubeflow=KubeflowSettings(profiles=profiles)))
    hard = [
        item["spec"].get("hard") or item["spec"]["resourceQuotaSpec"]["hard"]
        for item in planned
        if item["kind"] in ("Profile", "ResourceQuota")
    ]
    assert [[key for key in each if "gpu" in key] for each in hard] == [["requests.nvidia.com/gpu"]] * 2
    limits = [item for item in planned if item["kind"] == "LimitRange"]
    assert "gpu" not in str(limits)
    assert len(limits) == 2


def test_nobody_waits_for_the_endpoints_of_a_service_that_its_deployment_answers_for():
    """The provider would let them settle for ten seconds in every update that touches Dex."""
    services = [item for item in stack.every_object() if item["kind"] == "Service"]
    assert len(services) >= 1
    for service in services:
        assert service["metadata"]["annotations"]["pulumi.com/skipAwait"] == "true"

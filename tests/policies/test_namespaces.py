"""The rules about Roles, quotas and Dex's NetworkPolicy."""

from __future__ import annotations

import pytest

from policies import namespaces
from policies.common import dig
from policies.namespaces import (
    DEX_IS_CLOSED,
    NETWORK_POLICY,
    NO_STAR_ROLE,
    PROFILE,
    QUOTA,
    QUOTA_HAS_DEFAULTS,
    ROLES,
)
from policies.pods import LIMIT_RANGE
from tests.policies.support import UNKNOWN, evaluate, evaluate_stack, resource

DEPLOYMENT = "kubernetes:apps/v1:Deployment"
IMAGE = "ghcr.io/dexidp/dex:v2.45.1"


def rule(verbs, resources, groups=("",)):
    return {"verbs": list(verbs), "resources": list(resources), "apiGroups": list(groups)}


@pytest.mark.parametrize("type_", sorted(ROLES))
@pytest.mark.parametrize(
    "rules",
    [
        None,
        [],
        [rule(["get", "list"], ["*"])],
        [rule(["*"], ["pods"])],
        [{"verbs": ["*"], "nonResourceURLs": ["/healthz"]}],
    ],
)
def test_a_role_with_named_verbs_or_resources_is_compliant(type_, rules):
    assert evaluate(NO_STAR_ROLE, type_, {"rules": rules}).violations == ()


@pytest.mark.parametrize("type_", sorted(ROLES))
def test_every_verb_on_every_resource_is_a_violation(type_):
    rules = [rule(["*"], ["*"], ["apps", "batch"]), rule(["get", "*"], ["pods", "*"])]
    assert evaluate(NO_STAR_ROLE, type_, {"rules": rules}).violations == (
        "Every verb is allowed on every resource of apps, batch.",
        "Every verb is allowed on every resource of the core group.",
    )


def test_an_unknown_rule_does_not_hide_another():
    result = evaluate(NO_STAR_ROLE, min(ROLES), {"rules": [UNKNOWN, rule(["*"], ["*"])]})
    assert len(result.violations) == 1
    assert result.unknown == "rules.0"


def quota(*keys, namespace="ana", name="quota"):
    props = {"metadata": {"namespace": namespace}, "spec": {"hard": dict.fromkeys(keys, "1")}}
    return resource(QUOTA, props, name)


def profile(*keys):
    spec = {"resourceQuotaSpec": {"hard": dict.fromkeys(keys, "1")}}
    return resource(PROFILE, {"metadata": {"name": "ana"}, "spec": spec}, "profile")


def limit_range(namespace="ana", kind="Container", **fields):
    entry = {"type": kind, **{field: dict.fromkeys(keys, "1") for field, keys in fields.items()}}
    return resource(
        LIMIT_RANGE, {"metadata": {"namespace": namespace}, "spec": {"limits": [entry]}}, "defaults"
    )


@pytest.mark.parametrize("make", [quota, profile])
@pytest.mark.parametrize(
    ("keys", "fields"),
    [
        (("requests.cpu", "limits.memory"), {"defaultRequest": ["cpu"], "default": ["memory"]}),
        (("requests.cpu", "limits.cpu"), {"default": ["cpu"]}),
        (("requests.nvidia.com/gpu", "pods"), {}),
    ],
)
def test_a_quota_with_defaults_for_what_it_counts_is_compliant(make, keys, fields):
    assert evaluate_stack(QUOTA_HAS_DEFAULTS, [make(*keys), limit_range(**fields)]).violations == ()


@pytest.mark.parametrize(
    "ranges",
    [
        [],
        [limit_range(namespace="bo", default=["cpu"])],
        [limit_range(kind="Pod", default=["cpu"])],
        [limit_range(defaultRequest=["cpu"], default=["memory"])],
    ],
)
def test_a_quota_without_a_default_is_a_violation(ranges):
    expected = "ana has a quota of limits.cpu and no LimitRange with default cpu."
    found = evaluate_stack(QUOTA_HAS_DEFAULTS, [quota("limits.cpu"), profile("limits.cpu"), *ranges])
    assert found.violations == (f"profile: {expected}", f"quota: {expected}")


def test_an_unknown_quota_does_not_hide_another():
    unknown = resource(QUOTA, {"metadata": {"namespace": "bo"}, "spec": UNKNOWN})
    result = evaluate_stack(QUOTA_HAS_DEFAULTS, [unknown, quota("cpu")])
    assert len(result.violations) == 1
    assert result.unknown == "spec"


def test_a_limit_range_of_an_unknown_namespace_may_be_the_one_that_is_missing():
    unknown = resource(LIMIT_RANGE, {"metadata": {"namespace": UNKNOWN}, "spec": {"limits": []}})
    given = [unknown, quota("cpu"), limit_range("bo", default=["cpu"]), quota("cpu", namespace="bo")]
    result = evaluate_stack(QUOTA_HAS_DEFAULTS, given)
    assert (result.violations, result.unknown) == ((), "metadata.namespace")


def test_each_limit_range_is_read_once_however_many_namespaces_there_are(monkeypatch):
    read = []
    monkeypatch.setattr(namespaces, "dig", lambda value, *path: read.append(path) or dig(value, *path))
    count = 50
    given = [made for n in range(count) for made in (quota("cpu", namespace=f"p{n}"), limit_range(f"p{n}"))]
    assert len(evaluate_stack(QUOTA_HAS_DEFAULTS, given).violations) == count
    assert len(read) < 10 * count


def dex(image=IMAGE, namespace="auth", name="dex"):
    pod = {
        "metadata": {"labels": {"app": "dex", "tier": "login"}},
        "spec": {"containers": [{"image": image}]},
    }
    return resource(DEPLOYMENT, {"metadata": {"namespace": namespace}, "spec": {"template": pod}}, name)


def closed(labels=None, namespace="auth", **more):
    spec = {"podSelector": {"matchLabels": labels} if labels else {}, **more}
    return resource(NETWORK_POLICY, {"metadata": {"namespace": namespace}, "spec": spec}, "policy")


@pytest.mark.parametrize(
    "policy",
    [closed({"app": "dex"}), closed(), closed({"app": "dex"}, policyTypes=["Egress", "Ingress"])],
)
def test_dex_behind_a_network_policy_is_compliant(policy):
    assert evaluate_stack(DEX_IS_CLOSED, [dex(), policy]).violations == ()


@pytest.mark.parametrize(
    "policies",
    [
        [],
        [closed({"app": "other"})],
        [closed({"app": "dex"}, namespace="kubeflow")],
        [closed({"app": "dex"}, policyTypes=["Egress"])],
        [closed(podSelector={"matchExpressions": [{"key": "app", "operator": "Exists"}]})],
    ],
)
def test_dex_that_everybody_reaches_is_a_violation(policies):
    assert evaluate_stack(DEX_IS_CLOSED, [dex(), *policies]).violations == (
        "dex: No NetworkPolicy of auth says who may reach Dex.",
    )


@pytest.mark.parametrize("image", ["registry:5000/mirror/dex", f"dex@sha256:{'0' * 64}", "dex:v2"])
def test_dex_is_known_by_its_image_wherever_it_comes_from(image):
    assert len(evaluate_stack(DEX_IS_CLOSED, [dex(image)]).violations) == 1
    assert (
        evaluate_stack(DEX_IS_CLOSED, [dex(image.replace("dex", "dex-k8s-authenticator"))]).violations == ()
    )


def test_an_unknown_workload_does_not_hide_dex():
    other = resource(DEPLOYMENT, {"metadata": {}, "spec": UNKNOWN})
    result = evaluate_stack(DEX_IS_CLOSED, [other, dex()])
    assert len(result.violations) == 1
    assert result.unknown == "spec"

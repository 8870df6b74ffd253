"""What a list of people becomes: accounts, namespaces, bindings, policies, and who can do what."""

from __future__ import annotations

import base64
import secrets
from dataclasses import replace

import bcrypt
import pytest
import yaml

from components.incluster.dex import plan_dex
from components.incluster.profiles import plan_profiles
from config import last_update
from config.people import grants, matrix
from tests import dex_schema
from tests.unit.people_settings import load, person

PUBLIC = "https://kubeflow.acme.org/dex"
PAIR = "user-bo-example-org-clusterrole-edit"
TEAM = [
    person("ana", tier="gpu", role="admin"),
    person("bo", groups=["research"], access={"ana": "edit"}),
    person("chris", state="suspended", access={"bo": "edit"}),
    person("vi", role="viewer", access={"bo": "view"}),
    person("kept", state="removed", data="keep"),
    person("purged", state="removed", data="purge"),
]
GROUPS = {"research": {"access": {"ana": "view", "chris": "view"}}}


@pytest.fixture(scope="module")
def team():
    return load(TEAM, groups=GROUPS)


def of(planned, kind, namespace=None):
    return [
        item
        for item in planned
        if item["kind"] == kind
        and namespace in (None, item["metadata"].get("namespace", item["metadata"]["name"]))
    ]


def test_who_can_do_what(team):
    rows = [
        (row["person"], row["namespace"], row["role"], row["why"]) for row in matrix(team.people, team.groups)
    ]
    assert rows == [
        ("ana", "ana", "owner", "own"),
        ("bo", "ana", "edit", "access"),  # stronger than the group's
        ("ana", "bo", "edit", "admin"),
        ("bo", "bo", "owner", "own"),
        ("vi", "bo", "view", "access"),
        ("ana", "chris", "edit", "admin"),
        ("bo", "chris", "view", "group research"),
    ]
    assert {grant.person for grant in grants(team.people, team.groups)} == {"ana", "bo", "vi"}


@pytest.mark.parametrize("profiles", ["controller", "none"])
@pytest.mark.parametrize("level", [None, "privileged", "restricted"])
def test_every_namespace_of_a_person_says_what_pods_may_be(profiles, level):
    found = load(TEAM, groups=GROUPS, kubeflow={"profiles": profiles}, podSecurity=level)
    namespaces = of(plan_profiles(found), "Namespace")
    assert [item["metadata"]["name"] for item in namespaces] == ["ana", "bo", "chris", "kept"]
    label = "pod-security.kubernetes.io/enforce"
    assert {item["metadata"]["labels"][label] for item in namespaces} == {level or "baseline"}


def test_everything_that_kubeflow_compares_has_the_e_mail_as_the_provider_spells_it():
    """It compares the text of a header with the owner, the subject and the values: case counts."""
    google = {"type": "google", "id": "g", "clientId": "x", "hostedDomains": ["example.org"]}
    settings = load(
        [
            person("ana") | {"email": "Ana@Example.org"},
            person("bo", access={"ana": "edit"}) | {"email": "Bo@Example.org"},
            person("chris", state="suspended") | {"email": "Chris@Example.org"},
        ],
        connectors=[google],
        oidcIssuer=PUBLIC,
        connectorSecrets={"g": "x"},
        passwordHashes={},
    )
    planned = plan_profiles(settings)
    owners = {item["spec"]["owner"]["name"] for item in of(planned, "Profile")}
    annotated = {item["metadata"]["annotations"]["owner"] for item in of(planned, "Namespace")}
    assert owners == annotated == {"Ana@Example.org", "Bo@Example.org", "Chris@Example.org"}
    (binding,) = of(planned, "RoleBinding")
    assert (binding["metadata"]["name"], binding["subjects"][0]["name"]) == (PAIR, "Bo@Example.org")
    values = {
        item["metadata"]["namespace"]: item["spec"]["rules"][0]["when"]
        for item in of(planned, "AuthorizationPolicy")
    }
    assert {name: when[0]["values"] for name, when in values.items()} == {
        "ana": ["Bo@Example.org"],
        "chris": ["Chris@Example.org"],
    }
    assert "bo@example.org" not in repr(planned)


def test_a_contributor_is_a_pair_in_the_form_of_kubeflows_access_api(team):
    planned = [item for item in plan_profiles(team) if item["metadata"]["name"] == PAIR]
    binding, policy = planned
    assert [item["kind"] for item in planned] == ["RoleBinding", "AuthorizationPolicy"]
    for item in planned:
        assert item["metadata"]["namespace"] == "ana"
        assert item["metadata"]["annotations"] == {"user": "bo@example.org", "role": "edit"}
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": "kubeflow-edit",
    }
    assert binding["subjects"] == [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bo@example.org"}
    ]
    assert policy["spec"] == {
        "rules": [
            {
                "from": [
                    {
                        "source": {
                            "principals": [
                                "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account",
                                "cluster.local/ns/kubeflow/sa/ml-pipeline-ui",
                            ]
                        }
                    }
                ],
                "when": [{"key": "request.headers[kubeflow-userid]", "values": ["bo@example.org"]}],
            }
        ]
    }


def test_every_namespace_has_what_its_state_asks_for(team):
    planned = plan_profiles(team)
    kinds = {
        name: sorted(
            item["kind"]
            for item in planned
            if name == item["metadata"].get("namespace", item["metadata"]["name"])
            and "clusterrole" not in item["metadata"]["name"]
        )
        for name in ("ana", "chris", "vi", "kept", "purged")
    }
    assert kinds == {
        "ana": ["LimitRange", "Namespace", "Profile"],
        "chris": ["AuthorizationPolicy", "LimitRange", "Namespace", "Profile"],
        "vi": [],
        "kept": ["AuthorizationPolicy", "Namespace"],
        "purged": [],
    }
    (denied,) = of(planned, "AuthorizationPolicy", "kept")
    assert denied["spec"] == {
        "action": "DENY",
        "rules": [{"when": [{"key": "request.headers[kubeflow-userid]", "values": ["kept@example.org"]}]}],
    }


def test_nobody_who_left_is_named_in_a_binding(team):
    text = str([item for item in plan_profiles(team) if "clusterrole" in item["metadata"]["name"]])
    for email in ("chris@", "kept@", "purged@"):
        assert email not in text
    assert "bo@example.org" in text, "the search must find what is there"


def test_without_kubeflow_plain_roles_do_the_same(team):
    plain = load(TEAM, groups=GROUPS, kubeflow__profiles="none")
    planned = plan_profiles(plain)
    assert {item["kind"] for item in planned} == {"Namespace", "ResourceQuota", "LimitRange", "RoleBinding"}
    roles = {
        (item["subjects"][0]["name"].partition("@")[0], item["metadata"]["namespace"]): item["roleRef"][
            "name"
        ]
        for item in of(planned, "RoleBinding")
    }
    assert roles == {
        ("ana", "ana"): "admin",
        ("bo", "bo"): "admin",
        ("bo", "ana"): "edit",
        ("ana", "bo"): "edit",
        ("ana", "chris"): "edit",
        ("vi", "bo"): "view",
        ("bo", "chris"): "view",
    }


@pytest.mark.parametrize(
    ("quota", "limits"),
    [
        ({"requests.cpu": "2"}, {"type": "Container", "defaultRequest": {"cpu": "100m"}}),
        ({"limits.memory": "4Gi"}, {"type": "Container", "default": {"memory": "1Gi"}}),
        ({"requests.nvidia.com/gpu": 1, "pods": 9}, None),
    ],
)
def test_defaults_are_given_for_what_the_quota_counts_and_for_nothing_else(quota, limits):
    found = of(plan_profiles(load([person("ana", quota=quota)])), "LimitRange")
    assert [item["spec"]["limits"] for item in found] == ([[limits]] if limits else [])


def test_what_the_next_update_is_told(team):
    rows = {row["name"]: row for row in last_update.outputs(team)["people"]}
    assert list(rows) == sorted(rows)
    assert rows["kept"] == {
        "name": "kept",
        "email": "kept@example.org",
        "namespace": "kept",
        "state": "removed",
        "purged": False,
        "profile": False,
    }
    assert (rows["purged"]["purged"], rows["vi"]["namespace"], rows["ana"]["profile"]) == (True, "", True)


# -- Dex -------------------------------------------------------------------------------------------


def dex_of(settings):
    """Dex's file and the environment that its Secrets give."""
    planned = plan_dex(settings)
    (text,) = [item["data"]["config.yaml"] for item in planned if item["kind"] == "ConfigMap"]
    environment = {
        name: base64.b64decode(value).decode()
        for item in planned
        if item["kind"] == "Secret"
        for name, value in item["data"].items()
    }
    return text, environment


def test_dex_gets_only_those_who_may_log_in_with_their_groups(team):
    text, environment = dex_of(team)
    accounts = {account["username"]: account for account in yaml.safe_load(text)["staticPasswords"]}
    assert list(accounts) == ["ana", "bo", "vi"]
    assert (accounts["bo"]["groups"], "groups" in accounts["ana"]) == (["research"], False)
    assert {name for name in environment if name.startswith("DEX_PW_")} == {
        "DEX_PW_ANA",
        "DEX_PW_BO",
        "DEX_PW_VI",
    }
    assert dex_schema.faults(text, environment) == []


def test_each_person_logs_in_with_the_own_password_and_no_other(team):
    passwords = {each.key: secrets.token_urlsafe(16) for each in team.people}
    hashes = {
        key: bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=10)).decode()
        for key, password in passwords.items()
        if key in team.password_hashes
    }
    text, environment = dex_of(replace(team, password_hashes=hashes))
    assert dex_schema.faults(text, environment) == []
    for account in yaml.safe_load(text)["staticPasswords"]:
        known = environment[account["hashFromEnv"]].encode()
        fits = [key for key, password in passwords.items() if bcrypt.checkpw(password.encode(), known)]
        assert fits == [account["username"]]


def test_connectors_refer_to_secrets_and_roll_dex_when_one_changes():
    corp = {
        "type": "oidc",
        "id": "corp",
        "clientId": "kubepark",
        "issuer": "https://login.acme.org",
    }
    one, other = (
        load([person("ana")], connectors=[corp], connectorSecrets={"corp": secret}, oidcIssuer=PUBLIC)
        for secret in ("planted-1", "planted-2")
    )
    text, environment = dex_of(one)
    assert "planted" not in text
    assert yaml.safe_load(text)["connectors"] == [
        {
            "type": "oidc",
            "id": "corp",
            "name": "corp",
            "config": {
                "clientID": "kubepark",
                "issuer": "https://login.acme.org",
                "clientSecret": "$DEX_CONNECTOR_CORP",
                "redirectURI": f"{PUBLIC}/callback",
            },
        }
    ]
    assert dex_schema.faults(text, environment) == []
    moved = text.replace(f"issuer: {PUBLIC}", "issuer: https://other.acme.org/dex")
    assert dex_schema.faults(moved, environment) == [
        "connectors[0]: redirectURI is not the issuer's callback"
    ]
    sums = {
        str(item["spec"]["template"]["metadata"]["annotations"])
        for found in (one, other)
        for item in plan_dex(found)
        if item["kind"] == "Deployment"
    }
    assert len(sums) == 2


def test_a_connector_gives_whoever_is_suspended_a_token_and_nothing_to_do_with_it():
    """The provider knows nothing of the list. What keeps them out is in the cluster."""
    corp = {"type": "oidc", "id": "corp", "clientId": "kubepark", "issuer": "https://login.acme.org"}
    given = {
        "connectors": [corp],
        "connectorSecrets": {"corp": "x"},
        "oidcIssuer": PUBLIC,
        "passwordHashes": {},
    }
    bo, vi = person("bo", access={"ana": "edit"}), person("vi", role="viewer", access={"ana": "view"})
    people = [person("ana"), bo, vi]
    states = [{"state": "suspended"}, {"state": "removed", "data": "keep"}]
    for state in states:
        planned = plan_profiles(load([people[0], {**bo, **state}, {**vi, "state": "suspended"}], **given))
        (denied,) = [item for item in planned if item["metadata"]["name"] == "kubepark-denied"]
        assert denied["metadata"]["namespace"] == "bo"
        assert denied["spec"] == {
            "action": "DENY",
            "rules": [{"when": [{"key": "request.headers[kubeflow-userid]", "values": ["bo@example.org"]}]}],
        }
        others = [item for item in planned if item is not denied and item["kind"] != "Namespace"]
        owned = [item for item in others if item["kind"] != "Profile"]
        assert "bo@example.org" not in str(owned)
        assert "vi@example.org" not in str(others)
    assert "bo@example.org" in str(plan_profiles(load(people, **given))[3:]), "it had access before"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("enablePasswordDB: true", "enablePasswordDB: false", "static passwords need enablePasswordDB"),
        ("username: bo", "username: ana", "two accounts have the username ana"),
        ("ana@example.org", "Ana@example.org", "staticPasswords[0]: e-mail not in lower case"),
        (
            "hashFromEnv: DEX_PW_BO",
            "hashFromEnv: DEX_PW_OB",
            "staticPasswords[1]: no bcrypt hash in the environment",
        ),
        ("expiry:", "expires:", ": unknown key expires"),
        ("grantTypes:", "grantType:", "oauth2: unknown key grantType"),
        (
            "- refresh_token",
            "- urn:ietf:params:oauth:grant-type:device_code",
            "oauth2: grant urn:ietf:params:oauth:grant-type:device_code",
        ),
        ("crdHandling: check", "crdHandlings: check", "storage.config: unknown key crdHandlings"),
        ("redirectURIs:", "redirectUris:", "staticClients[0]: unknown key redirectUris"),
    ],
)
def test_the_schema_sees_what_dex_would_stop_at_or_ignore(old, new, fault, team):
    text, environment = dex_of(team)
    assert old in text
    assert fault in dex_schema.faults(text.replace(old, new), environment)

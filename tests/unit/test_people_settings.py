"""Every rule of the list of people that can be checked before the API, with its message."""

from __future__ import annotations

import json

import pytest

from config import settings
from config.model import AccessLevel, PersonRole, PersonState
from config.problems import SettingsError
from config.sections import people as settings_people
from tests.configuration import HASH
from tests.unit.people_settings import load, people_config, person, problems

QUOTA = 'kubepark:people[0].quota["{}"]'
GROUPS = {"research": {"access": {"bo": "edit"}}}
PUBLIC = "https://kubeflow.acme.org/dex"
OIDC = {
    "type": "oidc",
    "id": "corp",
    "clientId": "kubepark",
    "issuer": "https://login.acme.org",
}


def test_a_full_entry_is_read():
    ana = person(
        "ana",
        displayName="Ana",
        role="admin",
        groups=["research"],
        quota={"requests.cpu": "4", "requests.memory": "16Gi", "requests.nvidia.com/gpu": 1},
        access={"bo": "view"},
        state="suspended",
        namespace="ana-lab",
    )
    found, _ = load([ana, person("bo")], groups=GROUPS).people
    assert (found.role, found.state, found.groups) == (PersonRole.ADMIN, PersonState.SUSPENDED, ("research",))
    assert dict(found.access) == {"bo": AccessLevel.VIEW}
    assert found.namespace == "ana-lab"
    assert dict(found.tier.quota) == {
        "requests.cpu": "4",
        "requests.memory": "16Gi",
        "requests.nvidia.com/gpu": "1",
    }
    assert dict(found.tier.default_request) == {"cpu": "100m", "memory": "256Mi"}
    assert dict(found.tier.default_limit) == {}, "limits are not counted, so no container has to name one"


@pytest.mark.parametrize(
    ("email", "namespace"),
    [
        ("first.last+tag@example.org", "first-last-tag"),
        ("O'Neil@example.org", "o-neil"),
        ("_x_@example.org", "x"),
        ("ana@example.org", "ana"),
    ],
)
def test_the_namespace_is_the_local_part_made_a_label(email, namespace):
    (found,) = load([person("x", email=email)]).people
    assert (found.namespace, found.email) == (namespace, email.lower())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"role": "boss"}, 'role: "boss" is not one of admin, member, viewer; accepted: admin, member, viewer'),
        ({"state": "gone"}, 'state: "gone" is not one of active, suspended, removed; accepted: active, suspended, removed'),
        ({"state": "removed"}, "data: is missing for somebody who is removed; accepted: keep, purge (deletes the namespace)"),
        ({"data": "keep"}, "data: is given for somebody who is active; accepted: none"),
        ({"tier": "huge"}, 'tier: "huge" is not one of small, medium, gpu; accepted: small, medium, gpu'),
        ({"tier": "small", "quota": {"pods": 4}}, "quota: is given beside a tier; accepted: one of tier and quota"),
        ({"groups": ["none"]}, "groups[0]: none is no group; accepted: research"),
        ({"groups": ["No!"]}, 'groups[0]: "No!" is not a DNS-1123 label; accepted: a group\'s name'),
        ({"access": {"eve": "view"}}, "access.eve: eve is nobody in the list; accepted: somebody else who has a namespace"),
        ({"access": {"ana": "view"}}, "access.ana: is for the own namespace; accepted: somebody else who has a namespace"),
        ({"access": {"vi": "view"}}, "access.vi: vi is a viewer, who has no namespace; accepted: somebody else who has a namespace"),
        ({"access": {"old": "view"}}, "access.old: old is removed; accepted: somebody else who has a namespace"),
        ({"access": {"bo": "own"}}, 'access.bo: "own" is not one of view, edit; accepted: view, edit'),
        ({"namespace": "kube-x"}, 'namespace: "kube-x" is reserved; accepted: a DNS-1123 label that is not reserved'),
        ({"namespace": "Ana"}, 'namespace: "Ana" is not a DNS-1123 label; accepted: a DNS-1123 label that is not reserved'),
        ({"emial": "x"}, "emial: is not a known key (did you mean email?); accepted: access, data, displayName, email, formerEmail, groups, name, namespace, quota, role, state, tier"),
        ({"role": "viewer", "tier": "small"}, "tier: is given for a viewer, who has no namespace; accepted: none"),
        ({"role": "viewer", "access": {"bo": "edit"}}, "access.bo: ana is a viewer and would edit the namespace of bo; accepted: view, or role: member"),
        ({"role": "viewer", "groups": ["research"]}, "role: ana is a viewer and would edit the namespace of bo by group research; accepted: member, or a group that only views"),
        ({"email": "*@example.org", "namespace": "ana"}, 'email: "*@example.org" has `*`, which means any text where access is decided; accepted: local-part@domain'),
        ({"formerEmail": "a*@example.org"}, 'formerEmail: "a*@example.org" has `*`, which means any text where access is decided; accepted: the e-mail of the last update'),
        ({"email": "\u212aim@example.org", "namespace": "ana"}, 'email: "\u212aim@example.org" is not an e-mail address; accepted: local-part@domain'),
        ({"email": "ana@example.org\n", "namespace": "ana"}, 'email: "ana@example.org\\n" is not an e-mail address; accepted: local-part@domain'),
        ({"displayName": "Ana\nBo"}, "displayName: \"Ana\\nBo\" has '\\n', which nobody sees; accepted: a text"),
        ({"displayName": "Ana\u202egro"}, "displayName: \"Ana\\u202egro\" has '\\u202e', which nobody sees; accepted: a text"),
        ({"formerEmail": "x"}, 'formerEmail: "x" is not an e-mail address; accepted: the e-mail of the last update'),
        ({"email": "a" * 60 + "@" + "b" * 60 + "." + "c" * 60 + ".org"}, f'email: "{"a" * 60}@{"b" * 60}.{"c" * 60}.org" has more than 150 characters; accepted: local-part@domain'),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_entry(change, message):
    others = [person("bo"), person("vi", role="viewer"), person("old", state="removed", data="keep")]
    assert problems([person("ana", **change), *others], groups=GROUPS) == [f"kubepark:people[0].{message}"]


@pytest.mark.parametrize(
    ("quota", "key", "message"),
    [
        ({"requests.cpu": "4x"}, "requests.cpu", '"4x" ends in x, which is no suffix; accepted: cores such as "2", "0.5" or "500m"'),
        ({"requests.memory": "16gi"}, "requests.memory", '"16gi" ends in gi, which is no suffix (did you mean 16Gi?); accepted: bytes such as "16Gi", "512Mi" or "2G"'),
        ({"limits.memory": "400m"}, "limits.memory", '"400m" is not a whole number of bytes; accepted: bytes such as "16Gi", "512Mi" or "2G"'),
        ({"requests.nvidia.com/gpu": 0.5}, "requests.nvidia.com/gpu", "0.5 is not a whole number; accepted: a whole number such as 4"),
        ({"requests.nvidia.com/gpu": 2}, "requests.nvidia.com/gpu", '"2" is more than the 1 that pods can ask for (cards: 1, pods per card: 1); accepted: at most 1'),
        ({"requests.cpu": "5", "limits.cpu": "4"}, "requests.cpu", "5 is more than limits.cpu 4; accepted: at most 4"),
        ({"requests.memory": "1Gi", "limits.memory": "1000M"}, "limits.memory", "1000M is less than what one container gets by default (1Gi); accepted: at least 1Gi"),
        ({"nvidia.com/gpu": 1}, "nvidia.com/gpu", "is not a known key (did you mean requests.nvidia.com/gpu?); accepted: requests.cpu, requests.memory, limits.cpu, limits.memory, requests.nvidia.com/gpu, requests.storage, persistentvolumeclaims, pods"),
        ({"limits.nvidia.com/gpu": 1}, "limits.nvidia.com/gpu", "is not a known key (did you mean requests.nvidia.com/gpu?); accepted: requests.cpu, requests.memory, limits.cpu, limits.memory, requests.nvidia.com/gpu, requests.storage, persistentvolumeclaims, pods"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_quota(quota, key, message):
    found = problems([person("ana", quota=quota)])
    assert f"{QUOTA.format(key)}: {message}" in found


def test_a_quota_is_kept_as_the_api_spells_it_and_quoted_as_it_is_written():
    quota = {"requests.cpu": "0.5", "requests.memory": "2048Mi", "requests.storage": "1.5Gi", "pods": "1e1"}
    (ana,) = load([person("ana", quota=quota)]).people
    assert dict(ana.tier.quota) == {
        "requests.cpu": "500m",
        "requests.memory": "2Gi",
        "requests.storage": "1536Mi",
        "pods": "10",
    }
    (wrong,) = problems([person("ana", quota={"requests.cpu": "1000m", "limits.cpu": "0.5"})])[:1]
    assert "1000m is more than limits.cpu 0.5" in wrong


def test_slices_count_as_gpus_in_a_quota():
    four = person("ana", quota={"requests.nvidia.com/gpu": 4})
    assert problems([four], gpu__timeSlicing={"replicas": 4}) == []
    five = person("ana", quota={"requests.nvidia.com/gpu": 5})
    (found,) = problems([five], gpu__timeSlicing={"replicas": 4})
    assert "more than the 4 that pods can ask for (cards: 1, pods per card: 4)" in found
    assert problems([five], gpu__power="absent") == [], "nothing is known of a pool that is not there"


def test_two_people_with_one_name_of_bindings_are_refused():
    found = problems(
        [person("a", email="a.b@example.org"), person("b", email="a-b@example.org", namespace="b")]
    )
    assert found == [
        "kubepark:people[1].email: a-b@example.org gives the same names of bindings as a.b@example.org; "
        "accepted: an e-mail that differs in more than punctuation"
    ]


def test_one_local_part_in_two_domains_needs_another_namespace():
    found = problems([person("a", email="ana@example.org"), person("b", email="ana@example.com")])
    assert found == [
        "kubepark:people[1].namespace: ana is a duplicate of kubepark:people[0]; accepted: one that nobody else has"
    ]


def test_groups_are_checked_like_people():
    found = problems([person("bo")], groups={"Res": {"access": {"eve": "edit"}, "color": "red"}})
    assert found == [
        'kubepark:groups.Res: "Res" is not a DNS-1123 label; accepted: a DNS-1123 label as the group\'s name',
        "kubepark:groups.Res.color: is not a known key; accepted: access",
        "kubepark:groups.Res.access.eve: eve is nobody in the list; accepted: somebody else who has a namespace",
    ]


def test_whoever_cannot_log_in_needs_no_hash_and_may_keep_one():
    suspended = person("ana", state="suspended")
    assert load([suspended], passwordHashes={}).password_hashes == {}
    assert load([suspended]).password_hashes == {}


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(settings_people, "ROOT", tmp_path)
    return tmp_path


def test_the_list_may_be_a_file(root):
    (root / "people.yaml").write_text("# our team\n- {name: ana, email: ana@example.org}\n")
    config = people_config([person("ana")], people=None, peopleFile="people.yaml")
    found = settings.parse("dev", config)
    assert ([each.key for each in found.people], found.people_path) == (["ana"], "people.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "kubepark:peopleFile: people.yaml cannot be read: FileNotFoundError"),
        ("- {name: [", "kubepark:peopleFile: people.yaml is not valid YAML: line 1, column 11: expected the"),
        (
            "- {name: a, name: b}",
            "kubepark:peopleFile: people.yaml is not valid YAML: line 1, column 13: found",
        ),
        (
            "- {name: 2024-01-01}",
            "kubepark:peopleFile: people.yaml is not valid YAML: line 1, column 10: a date",
        ),
        ("name: ana", "kubepark:peopleFile: people.yaml holds no list"),
    ],
)
def test_a_file_that_is_no_list(text, message, root):
    if text is not None:
        (root / "people.yaml").write_text(text)
    config = people_config([], people=None, peopleFile="people.yaml")
    with pytest.raises(SettingsError) as refused:
        settings.parse("dev", config)
    (problem,) = refused.value.problems
    assert f"{problem.key}: {problem.wrong}".startswith(message)


def test_an_empty_file_is_an_empty_list_and_no_is_a_name(root):
    (root / "people.yaml").write_text("# nobody yet\n")
    config = people_config([], people=None, peopleFile="people.yaml")
    assert settings.parse("dev", config).people == ()
    (root / "people.yaml").write_text("- {name: no, email: no@example.org}\r\n")
    config = people_config([person("no")], people=None, peopleFile="people.yaml")
    assert [each.key for each in settings.parse("dev", config).people] == ["no"]


def test_what_is_wrong_in_a_file_is_fixed_in_the_file(root):
    (root / "people.yaml").write_text("- {name: ana, email: ana(at)example.org, namespace: ana, rôle: x}\n")
    config = people_config([person("ana")], people=None, peopleFile="people.yaml")
    with pytest.raises(SettingsError) as refused:
        settings.parse("dev", config)
    lines = [str(problem) for problem in refused.value.problems]
    assert lines[0].startswith('people.yaml[0].email: "ana(at)example.org" is not an e-mail address; ')
    assert lines[0].endswith("fix: write ana@example.org there")
    assert lines[1].endswith("fix: remove it there")


def test_a_list_and_a_file_are_too_much(root):
    (root / "people.yaml").write_text("[]")
    assert problems([person("ana")], peopleFile="people.yaml", passwordHashes={}) == [
        "kubepark:people: is given beside peopleFile; accepted: one of the two"
    ]


def test_connectors_are_read():
    github = {"type": "github", "id": "gh", "name": "GitHub", "clientId": "Iv1", "orgs": ["acme"]}
    google = {"type": "google", "id": "g", "clientId": "x", "hostedDomains": ["acme.org"]}
    secrets = {"corp": "planted-1", "gh": "planted-2", "g": "planted-3"}
    listed = [OIDC, github, google]
    found = load(
        [person("ana")], connectors=listed, connectorSecrets=secrets, passwordHashes={}, oidcIssuer=PUBLIC
    )
    assert found.oidc_issuer == PUBLIC
    assert [(each.type, each.id, each.name) for each in found.connectors] == [
        ("oidc", "corp", "corp"),
        ("github", "gh", "GitHub"),
        ("google", "g", "g"),
    ]
    assert found.connectors[1].config["orgs"] == [{"name": "acme"}]
    assert found.connector_secrets == secrets
    assert found.password_hashes == {}, "who logs in elsewhere needs no password here"
    assert "planted" not in repr(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "saml"}, 'type: "saml" is not one of github, google, oidc; accepted: github, google, oidc'),
        ({"issuer": "http://login.acme.org"}, 'issuer: "http://login.acme.org" is not an https URL; accepted: an https URL'),
        ({"redirectUri": "https://x.org/cb"}, "redirectUri: is not a known key; accepted: clientId, id, issuer, name, type"),
        ({"clientId": "$OIDC_CLIENT_SECRET"}, 'clientId: "$OIDC_CLIENT_SECRET" has `$`, a space or a character beyond ASCII; accepted: the client\'s id'),
        ({"issuer": "https://login.acme.org/${DEX_PW_ANA}"}, 'issuer: "https://login.acme.org/${DEX_PW_ANA}" has `$`, a space or a character beyond ASCII; accepted: an https URL'),
        ({"issuer": "https://login.\u0430cme.org"}, 'issuer: "https://login.\u0430cme.org" has a space, or a character that a URL has not; accepted: an https URL'),
        ({"name": "Company\t"}, "name: \"Company\\t\" has '\\t', which nobody sees; accepted: a text"),
        ({"clientSecret": "planted"}, "clientSecret: is not a known key (did you mean clientId?); accepted: clientId, id, issuer, name, type"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_connector(change, message):
    found = problems(
        [person("ana")], connectors=[OIDC | change], connectorSecrets={"corp": "x"}, oidcIssuer=PUBLIC
    )
    assert f"kubepark:connectors[0].{message}" in found
    assert "planted" not in str(found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "github", "orgs": ["acme", "../x"]}, 'orgs[1]: "../x" is not an organisation\'s name'),
        ({"type": "github", "orgs": ["$DEX_PW_ANA"]}, 'orgs[0]: "$DEX_PW_ANA" is not an organisation\'s name'),
        ({"type": "google", "hostedDomains": ["\u0430cme.org"]}, 'hostedDomains[0]: "\u0430cme.org" is not a domain'),
        ({"type": "google", "hostedDomains": ["Acme.org"]}, 'hostedDomains[0]: "Acme.org" is not a domain'),
    ],
)  # fmt: skip
def test_who_may_come_through_a_connector_is_spelled_as_the_provider_does(change, message):
    connector = {key: value for key, value in OIDC.items() if key != "issuer"} | change
    (found,) = problems(
        [person("ana")], connectors=[connector], connectorSecrets={"corp": "x"}, oidcIssuer=PUBLIC
    )
    assert found.startswith(f"kubepark:connectors[0].{message}")


def test_digits_are_those_of_ascii():
    found = problems([person("ana")], gpu__volumeGb="\u0663\u0660", workers__volumeGb="\u00b2")
    assert [line.partition(";")[0] for line in found] == [
        'kubepark:workers.volumeGb: "\u00b2" is not a whole number',
        'kubepark:gpu.volumeGb: "\u0663\u0660" is not a whole number',
    ]


def test_with_a_connector_an_e_mail_stays_as_the_provider_spells_it():
    ana = {**person("ana"), "email": "Ana@Example.ORG", "formerEmail": "Ana@example.org"}
    logins = {
        "connectors": [OIDC],
        "connectorSecrets": {"corp": "x"},
        "passwordHashes": {},
        "oidcIssuer": PUBLIC,
    }
    (found,) = load([ana], **logins).people
    assert (found.email, found.former_email, found.namespace) == ("Ana@Example.ORG", "Ana@example.org", "ana")
    (found,) = load([ana]).people
    assert (found.email, found.former_email) == ("ana@example.org", "ana@example.org")
    twice = problems([ana, person("bo", email="ana@example.org", namespace="bo")], **logins)
    assert twice == [
        "kubepark:people[1].email: ana@example.org is a duplicate of kubepark:people[0]; "
        "accepted: one that nobody else has"
    ]
    assert problems([ana], **{**logins, "passwordHashes": {"ana": HASH}}) == [
        "kubepark:passwordHashes.ana: makes ana@example.org of Ana@Example.ORG, who is somebody else to Kubeflow; "
        "accepted: no password, or ana@example.org in the list"
    ]


def test_a_connector_without_secret_and_a_secret_without_connector():
    given = {"connectors": [OIDC, OIDC], "connectorSecrets": {"other": "planted"}, "oidcIssuer": PUBLIC}
    assert problems([person("ana")], **given) == [
        "kubepark:connectors[1].id: corp is a duplicate of kubepark:connectors[0]; accepted: an id of its own",
        "kubepark:connectorSecrets.other: is no connector's id; accepted: corp",
        "kubepark:connectorSecrets.corp: is missing; accepted: the client's secret, as the provider gave it",
    ]


@pytest.mark.parametrize(
    "name", ["knative-eventing", "kubeflow-system", "cert-manager", "istio-x", "calico-system", "kube-x"]
)
def test_namespaces_of_the_parts_of_kubeflow_and_calico_are_reserved(name):
    (found,) = problems([person("ana", namespace=name)])
    assert found.startswith(f'kubepark:people[0].namespace: "{name}" is reserved')
    (found,) = problems([{"name": "ana", "email": f"{name}@example.org"}])
    assert f'the e-mail\'s local part gives no namespace: "{name}" is reserved' in found


ISSUER_FORM = "accepted: https://HOST/dex, in lower case, where Kubeflow's gateway answers"


def test_a_connector_needs_an_issuer_that_browsers_reach():
    given = {"connectors": [OIDC], "connectorSecrets": {"corp": "x"}}
    assert problems([person("ana")], **given) == [f"kubepark:oidcIssuer: is missing; {ISSUER_FORM}"]
    assert load([person("ana")]).oidc_issuer is None, "within the cluster there is always one"
    assert load([person("ana")], oidcIssuer="https://kf.acme.org:8443/dex").oidc_issuer


@pytest.mark.parametrize(
    "issuer",
    [
        "http://kf.acme.org/dex",
        "https://kf.acme.org",
        "https://kf.acme.org/dex/",
        "https://kf.acme.org/dex/callback",
        "https://KF.acme.org/dex",
        "https://kf_1.acme.org/dex",
        "https://ana@kf.acme.org/dex",
        "https://kf.acme.org:70000/dex",
        "https://kf.acme.org:0/dex",
        "https://$HOST/dex",
        "https://kf.acme.org/dex?x=1",
        "https://kf.acme.org/dex\n",
        ["https://kf.acme.org/dex"],
    ],
)
def test_another_address_is_no_issuer(issuer):
    (found,) = problems([person("ana")], oidcIssuer=issuer)
    assert found == f"kubepark:oidcIssuer: {json.dumps(issuer)} is not the address of Dex; {ISSUER_FORM}"

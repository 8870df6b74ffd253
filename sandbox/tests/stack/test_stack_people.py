"""People come, change and go: each change previewed step by step, carried out, and looked at in the cluster.

The steps of each preview are compared whole. Declared are the three of the sandbox's stack file, and that
bo may edit in ana's namespace.
"""

from __future__ import annotations

import base64
import json
import secrets
from typing import Any

import bcrypt
import pytest
import yaml

from components.incluster.manifest import FIELD_MANAGER
from sandbox.tests.stack.project import QUICK, Project
from sandbox.tests.stack.refusals import refused
from sandbox.tests.stack.test_stack_life import dex_generation
from tests.unit.test_people_dex_sync import FOREIGN

pytestmark = pytest.mark.sandbox

DEX = ["configmap-auth-dex", "deployment-auth-dex", "secret-auth-dex-passwords"]
SHARED = "user-bo-example-org-clusterrole-edit"
PAIR = [f"authorizationpolicy-ana-{SHARED}", f"rolebinding-ana-{SHARED}"]


@pytest.fixture(scope="module")
def checkout(checkout: Project) -> Project:
    people(checkout, "share", "ana", "--with", "bo", "--role", "edit")
    return checkout


def people(project: Project, *words: str, given: str = "") -> str:
    """`kubepark people WORDS` without questions; `given` is its standard input."""
    flags = ("--no-preview",) if words[0] == "passwd" else ("--yes", "--no-preview")
    return project.ok("people", *words, *flags, given=given, timeout=60)


def without(project: Project, person: str) -> list[Any]:
    config = yaml.safe_load(project.stack_file.read_text(encoding="utf-8"))["config"]
    return [each for each in config["kubepark:people"] if each["name"] != person]


def accounts(project: Project) -> dict[str, dict[str, Any]]:
    """Dex's accounts by name, with the hashes that its pods get."""
    text = project.get("configmap", "dex", "-n", "auth")["data"]["config.yaml"]
    return {each["username"]: each for each in yaml.safe_load(text)["staticPasswords"]}


def hash_of(project: Project, name: str) -> bytes:
    data = project.get("secret", "dex-passwords", "-n", "auth")["data"]
    return base64.b64decode(data[accounts(project)[name]["hashFromEnv"]])


def names(project: Project, kind: str, namespace: str) -> list[str]:
    found = project.get(kind, "-n", namespace)["items"]
    return sorted(item["metadata"]["name"] for item in found)


def policies(project: Project, namespace: str) -> list[str]:
    return names(project, "authorizationpolicies.security.istio.io", namespace)


def test_whoever_is_suspended_has_no_login_and_no_access_and_is_back_with_both_once_resumed(
    project: Project,
) -> None:
    before, known = dex_generation(project), project.config("kubepark:passwordHashes")["bo"]
    assert names(project, "rolebindings", "ana") == [SHARED]
    (policy,) = project.get("authorizationpolicies.security.istio.io", "-n", "ana")["items"]
    # What Kubeflow's access API reads, and whose fields they are.
    expected = {"user": "bo@example.org", "role": "edit", **FIELD_MANAGER}
    assert policy["metadata"]["annotations"] == expected
    project.kubectl("create", "configmap", "work", "-n", "bo", "--from-literal=result=42")

    people(project, "suspend", "bo")
    assert project.applied() == {
        "create": ["authorizationpolicy-bo-kubepark-denied"],
        "delete": PAIR,
        "update": DEX,
    }
    assert "bo" not in accounts(project)
    assert "DEX_PW_BO" not in project.get("secret", "dex-passwords", "-n", "auth")["data"]
    assert (names(project, "rolebindings", "ana"), policies(project, "ana")) == ([], [])
    (denied,) = project.get("authorizationpolicies.security.istio.io", "-n", "bo")["items"]
    assert denied["spec"]["action"] == "DENY"
    assert project.get("profiles.kubeflow.org", "bo")["spec"]["owner"]["name"] == "bo@example.org"
    assert project.get("configmap", "work", "-n", "bo")["data"] == {"result": "42"}
    assert dex_generation(project) == before + 1

    people(project, "resume", "bo")
    assert project.applied() == {
        "create": PAIR,
        "delete": ["authorizationpolicy-bo-kubepark-denied"],
        "update": DEX,
    }
    assert names(project, "rolebindings", "ana") == [SHARED]
    assert hash_of(project, "bo").decode() == known
    assert policies(project, "bo") == []


def test_whoever_vanishes_from_the_list_is_refused_with_the_way(project: Project) -> None:
    with project.changed("kubepark:people", without(project, "bo")):
        said = "\n".join(refused(project))
    assert "kubepark:people: bo is gone from the list and has the namespace bo" in said
    assert "bin/kubepark people remove bo --data keep" in said


def test_a_connector_is_exactly_its_steps_and_its_secret_is_encrypted(project: Project) -> None:
    corp = {
        "type": "oidc",
        "id": "corp",
        "clientId": "kubepark",
        "issuer": "https://login.acme.org",
    }
    with project.changed("kubepark:connectors", [corp]):
        project.set("kubepark:oidcIssuer", "https://kubeflow.acme.org/dex")
        assert project.steps() == {"update": [*DEX[:2], "secret-auth-dex-oidc-client"]}
        kept = project.config("kubepark:connectorSecrets")["corp"]
        assert len(kept) >= 32
        copy = (project.state / "work" / project.stack_file.name).read_text(encoding="utf-8")
        assert "kubepark:connectorSecrets" in copy
        assert kept not in copy


def test_the_matrix_of_the_command_is_the_one_of_the_outputs(project: Project) -> None:
    shown = project.json_of("people", "access", "--json")
    assert shown == project.outputs()["access"]
    assert sorted((row["person"], row["role"]) for row in shown) == [
        ("ana", "owner"),
        ("bo", "edit"),
        ("bo", "owner"),
        ("chris", "owner"),
    ]
    listed = project.json_of("people", "list", "--json")
    assert [row["name"] for row in listed] == ["ana", "bo", "chris"]


def test_somebody_new_a_share_and_a_new_password_are_exactly_their_steps_and_so_is_a_removal(
    project: Project,
) -> None:
    before = dex_generation(project)
    share = ("chris", "--with", "bo")
    pair = [each.replace("-ana-", "-chris-") for each in PAIR]
    people(project, "share", *share, "--role", "edit")
    assert project.steps() == {"create": pair}, "access is none of Dex's business"
    assert "says so already" in people(project, "share", *share, "--role", "edit")
    password = secrets.token_urlsafe(16)
    people(project, "passwd", "bo", given=f"{password}\n")
    people(project, "add", "dana", "--email", "Dana@Example.org", "--tier", "medium", given=f"{password}-d\n")
    new = ["limitrange-dana-kubepark-defaults", "namespace-dana", "profile-dana"]
    assert project.applied() == {"create": sorted([*pair, *new]), "update": DEX}
    assert dex_generation(project) == before + 1, "one roll for all of it"
    assert names(project, "rolebindings", "chris") == [SHARED]
    assert bcrypt.checkpw(password.encode(), hash_of(project, "bo"))
    assert bcrypt.checkpw(f"{password}-d".encode(), hash_of(project, "dana"))
    assert accounts(project)["dana"]["email"] == "dana@example.org"
    listed = (project.state / "passwords.txt").read_text(encoding="utf-8")
    assert password not in listed
    assert " bo " not in listed, "the made-up password is no longer right"
    assert " chris " in listed

    for namespace in ("ana", "dana"):
        project.kubectl("create", "configmap", "data", "-n", namespace, "--from-literal=result=7")
    people(project, "unshare", *share)
    people(project, "remove", "dana", "--data", "keep")
    assert project.applied() == {
        "create": ["authorizationpolicy-dana-kubepark-denied"],
        "delete": sorted([*pair, "limitrange-dana-kubepark-defaults", "profile-dana"]),
        "update": DEX,
    }
    assert "dana" not in accounts(project)
    assert project.get("configmap", "data", "-n", "dana")["data"] == {"result": "7"}
    before = dex_generation(project)

    people(project, "remove", "dana", "--data", "purge")
    assert project.applied() == {"delete": ["authorizationpolicy-dana-kubepark-denied", "namespace-dana"]}
    assert "dana" not in [item["metadata"]["name"] for item in project.get("namespaces")["items"]]
    assert project.get("configmap", "data", "-n", "ana")["data"] == {"result": "7"}, "nobody else's"
    assert dex_generation(project) == before
    project.set("kubepark:people", without(project, "dana"))
    project.ok("up", *QUICK, "--expect-no-changes")


def foreign_dex(project: Project) -> None:
    """A Dex that others installed, in a namespace of its own."""
    labels = {"app": "dex"}
    container = {"name": "dex", "image": "kubepark.local/probe:1", "command": ["/bin/probe", "sleep", "900"]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "foreign"}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "dex", "namespace": "foreign"},
            "data": {"config.yaml": FOREIGN, "other": "kept"},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "dex", "namespace": "foreign"},
            "spec": spec,
        },
    ]
    path = project.root / "foreign.json"
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}), encoding="utf-8")
    project.kubectl("apply", "-f", str(path))
    project.kubectl("rollout", "status", "deployment/dex", "-n", "foreign", "--timeout=60s")


def sync(project: Project, *words: str) -> tuple[int, str]:
    done = project.run("people", "sync", "--external", "--namespace", "foreign", *words)
    assert "Traceback" not in done.stdout
    return done.returncode, done.stdout


def foreign(project: Project) -> tuple[str, int]:
    """The file of that Dex, and the generation of its Deployment."""
    data = project.get("configmap", "dex", "-n", "foreign")["data"]
    assert data["other"] == "kept"
    return data["config.yaml"], project.get("deployment", "dex", "-n", "foreign")["metadata"]["generation"]


def test_the_dex_of_others_gets_our_people_keeps_its_own_and_can_be_rid_of_ours(project: Project) -> None:
    foreign_dex(project)
    ours = list(accounts(project))
    code, said = sync(project, "--dry-run")
    assert code == 0, said
    assert "+- email: ana@example.org" in said
    assert "$2b$" not in said
    assert foreign(project) == (FOREIGN, 1), "a dry run changes nothing"

    code, said = sync(project)
    assert code == 0, said
    assert "3 accounts of ours in ConfigMap foreign/dex" in said
    text, generation = foreign(project)
    found = yaml.safe_load(text)["staticPasswords"]
    assert [each["username"] for each in found] == ["root", *ours]
    assert found[1]["userID"] == accounts(project)["ana"]["userID"]
    assert found[1]["hash"].encode() == hash_of(project, "ana")
    assert generation == 2
    assert "# the first account" in text

    code, said = sync(project)
    assert (code, foreign(project)) == (0, (text, 2)), "twice: no change, no roll"
    assert "no change" in said

    refuses_what_is_wrong_there(project, text)

    code, said = sync(project, "--remove")
    assert code == 0, said
    assert foreign(project) == (FOREIGN, 3)
    annotations = project.get("configmap", "dex", "-n", "foreign")["metadata"].get("annotations", {})
    assert "kubepark/user-ids" not in annotations
    assert sync(project, "--remove")[0] == 0
    assert foreign(project) == (FOREIGN, 3)


def refuses_what_is_wrong_there(project: Project, text: str) -> None:
    """And touches nothing; `text` is what is there, and what is put back."""
    for broken, words in (
        (text + "broken: [\n", "it is not YAML"),
        (text.replace("enablePasswordDB: true", "enablePasswordDB: false"), "enablePasswordDB is not true"),
        (
            text.replace("root@example.org", "chris@example.org"),
            "chris@example.org (chris) is an account there",
        ),
        (text, ""),
    ):
        patch = json.dumps({"data": {"config.yaml": broken}})
        project.kubectl("patch", "configmap", "dex", "-n", "foreign", "--type=merge", "-p", patch)
        if words:
            code, said = sync(project)
            assert (code, foreign(project)) == (1, (broken, 2))
            assert words in said
    code, said = sync(project, "--config-map", "nothing")
    assert (code, "ConfigMap foreign/nothing does not exist" in said) == (1, True)

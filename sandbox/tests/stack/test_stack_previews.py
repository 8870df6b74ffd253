"""What a preview shows to those who may look and no more: the same, without any way to the cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from config.kubeconfig import NOWHERE, file_of
from config.model import AwsSettings
from foundation import documents
from foundation.settings import Environment
from sandbox.aws.statements import Call, Statement, applies, listed, statements
from sandbox.config import ACCESS_KEY_ID, ACCOUNT_ID
from sandbox.tests.program.operator_calls import Replay, operators
from sandbox.tests.stack import leaks
from sandbox.tests.stack.injection import refuse
from sandbox.tests.stack.leaks import Document, Secret, search
from sandbox.tests.stack.project import QUICK, Project
from sandbox.tests.stack.refusals import program_error

pytestmark = pytest.mark.sandbox

PARAMETER = "/kubepark-sandbox/kubeconfig"
DENIED = {
    "operation": "ssm:GetParameter",
    "arguments": {"Name": PARAMETER},
    "code": "AccessDeniedException",
    "message": "not authorized to perform: ssm:GetParameter",
}


@pytest.fixture(autouse=True)
def _nothing_refused(checkout: Project) -> Iterator[None]:
    yield
    refuse(checkout)


def steps(project: Project) -> list[tuple[str, str]]:
    """Every step of a preview, those that change nothing too."""
    document = project.json_of("preview", "--json")
    return sorted((step["op"], step["urn"]) for step in document["steps"])


def test_a_role_that_may_not_read_the_kubeconfig_previews_the_same_and_cannot_update(
    project: Project,
) -> None:
    file = project.root / file_of("kubepark-sandbox", 1)
    unchanged = steps(project)
    assert {operation for operation, _ in unchanged} == {"same"}
    assert "client-key-data" in file.read_text(encoding="utf-8")
    file.unlink()
    refuse(project, DENIED)
    assert "cannot be read" in project.ok("preview", "--expect-no-changes")
    assert steps(project) == unchanged
    assert file.read_text(encoding="utf-8") == NOWHERE

    with project.changed("kubepark:gpu.timeSlicing", {"replicas": 2}):
        project.ok("people", "share", "ana", "--with", "bo", "--role", "edit", "--yes", "--no-preview")
        blind = steps(project)
        refuse(project)
        assert steps(project) == blind, "and so does a change of what is in the cluster"
        assert {operation for operation, _ in blind} == {"same", "create", "update"}
        refuse(project, DENIED)
        file.unlink()
        before = {item["urn"] for item in project.resources()}
        done = project.run("up", *QUICK)
        assert done.returncode == 1
        (line,) = program_error(done.stdout)
        assert line.startswith(f"error: the kubeconfig ({PARAMETER}) cannot be read: ")
        assert "Traceback" not in done.stdout
        assert {item["urn"] for item in project.resources()} == before


def preview_role() -> list[Statement]:
    """What foundation/ gives it beside the state, for the sandbox's account and cluster."""
    aws = AwsSettings(region="us-east-1", account_id=ACCOUNT_ID, endpoint=None)
    environment = Environment(name="sandbox", cluster="kubepark-sandbox")
    return statements("preview", documents.preview(aws, environment))


def test_the_documented_role_may_do_what_a_preview_does_and_read_no_secret_and_change_nothing(
    project: Project,
) -> None:
    role, log = preview_role(), project.state / "logs" / "requests.jsonl"
    arn = f"arn:aws:ssm:us-east-1:{ACCOUNT_ID}:parameter"

    def allowed(action: str, resource: str) -> bool:
        return any(applies(each.body, Call(action, resource, {})) for each in role)

    before = len(log.read_text(encoding="utf-8").splitlines())
    project.ok("preview", "--expect-no-changes")
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()[before:]]
    # The sandbox's own processes have a name, its nodes have keys of their own.
    calls = [
        line
        for line in lines
        if line["accessKey"] == ACCESS_KEY_ID and "kubepark-boot" not in line["userAgent"]
    ]
    done = {f"{call['service']}:{call['action']}": call["params"] for call in calls}
    assert done.pop("ssm:GetParameter")["Name"] == PARAMETER
    del done["sts:GetCallerIdentity"]  # needs no permission
    assert {action for action in done if not allowed(action, f"{arn}{done[action]['Path']}")} == set()
    assert set(done) == {"ssm:GetParametersByPath"}

    for name in ("kubeconfig", "join", "encryption-key"):
        for action in ("ssm:GetParameter", "ssm:GetParameters", "ssm:GetParameterHistory"):
            assert not allowed(action, f"{arn}/kubepark-sandbox/{name}")
    assert not allowed("ssm:GetParametersByPath", f"{arn}/kubepark-sandbox")
    assert not allowed("kms:Decrypt", f"arn:aws:kms:us-east-1:{ACCOUNT_ID}:key/of-the-cluster")
    verbs = {action.partition(":")[2] for each in role for action in listed(each.body["Action"])}
    assert all(verb.startswith(("Get", "List", "Describe", "Decrypt")) for verb in verbs)


def test_the_drift_role_may_do_what_drift_asks(project: Project) -> None:
    """That it reads no secret: sandbox/tests/program/test_foundation_roles.py."""
    log = project.state / "logs" / "requests.jsonl"
    before = len(log.read_text(encoding="utf-8").splitlines())
    project.ok("drift")
    role, replay, denied, asked = drift_role(), Replay(), [], 0
    for number, text in enumerate(log.read_text(encoding="utf-8").splitlines()):
        line = json.loads(text)
        if not list(operators([text])):
            replay.planted(line)
            continue
        calls = replay.calls(line)
        if number >= before:
            asked += len(calls)
            denied += [call for call in calls if not any(applies(each.body, call) for each in role)]
    assert (asked > 50, denied) == (True, [])


def drift_role() -> list[Statement]:
    aws = AwsSettings(region="us-east-1", account_id=ACCOUNT_ID, endpoint=None)
    environment = Environment(name="sandbox", cluster="kubepark-sandbox")
    return statements("drift", documents.drift(aws, environment))


def test_the_decrypted_state_makes_nobody_an_administrator(project: Project) -> None:
    """A preview needs the key of the stack's secrets, and with it everything in the state can be read."""
    decrypted = project.pulumi("stack", "export", "--show-secrets")
    stored = project.pulumi("stack", "export")
    documents = [
        Document("state", name, text.encode()) for name, text in (("plain", stored), ("all", decrypted))
    ]
    known = Secret("hash of ana", project.config("kubepark:passwordHashes")["ana"])
    assert [leak.document for leak in search(documents, [known])] == ["all"], "it is decrypted"
    assert search(documents, list(secrets(project))) == []
    provider = next(item for item in project.resources() if item["type"] == "pulumi:providers:kubernetes")
    assert provider["inputs"]["kubeconfig"] == file_of("kubepark-sandbox", 1)


def secrets(project: Project) -> Iterator[Secret]:
    def parameter(name: str) -> Any:
        found = project.aws("ssm").get_parameter(Name=f"/kubepark-sandbox/{name}", WithDecryption=True)
        return found["Parameter"]["Value"]

    yield Secret("key of the operator", leaks.client_key(parameter("kubeconfig")))
    yield Secret("join token", json.loads(parameter("join"))["token"].partition(".")[2])
    yield Secret("encryption key", parameter("encryption-key"))


def test_another_machine_refreshes_and_updates_with_the_kubeconfig_that_it_fetches(project: Project) -> None:
    file = project.root / file_of("kubepark-sandbox", 1)
    file.unlink()
    assert project.drift() == {}
    assert file.stat().st_mode & 0o777 == 0o600
    # The device plugin is looked at before the provider is registered, as soon as the GPU node's turn comes.
    file.unlink()
    project.set("kubepark:gpu.nodes", {"gpu01": {"generation": 2}})
    project.ok("up", *QUICK)
    assert "client-key-data" in file.read_text(encoding="utf-8")

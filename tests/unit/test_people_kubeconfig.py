"""`kubepark people kubeconfig`: what the cluster is asked for, and what a person gets of it."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from cryptography import x509
from kubernetes.client.exceptions import ApiException

from cli import people_kubeconfig
from cli.errors import CommandError
from cli.people_kubeconfig import SIGN_SECONDS, issue
from config import ROOT
from tests.unit.people_settings import load, person

BO = load([person("bo")]).people[0]
SIGNED = b"-----BEGIN CERTIFICATE-----"


class Cluster:
    """The API of certificate requests. `polls`: how often one looks until it is signed; None: never."""

    def __init__(self, polls: int | None = 0, refuses: ApiException | None = None) -> None:
        self.polls, self.refuses = polls, refuses
        self.asked: dict[str, Any] = {}
        self.slept = 0.0

    def create_certificate_signing_request(self, body: dict[str, Any]) -> Any:
        if self.refuses:
            raise self.refuses
        self.asked = body
        return SimpleNamespace(
            metadata=SimpleNamespace(name="kubepark-bo-x1"), status=SimpleNamespace(conditions=None)
        )

    def replace_certificate_signing_request_approval(self, name: str, body: Any) -> None:
        assert name == "kubepark-bo-x1"
        (self.condition,) = body.status.conditions

    def read_certificate_signing_request_status(self, name: str) -> Any:
        ready = self.polls == 0
        self.polls = None if self.polls is None else self.polls - 1
        return SimpleNamespace(
            status=SimpleNamespace(certificate=base64.b64encode(SIGNED).decode() if ready else None)
        )

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


def test_a_request_names_the_signer_the_use_and_the_end_and_is_approved() -> None:
    cluster = Cluster(polls=3)
    key, request = people_kubeconfig._key_and_request(BO.email)
    assert issue(cluster, BO, request, 12, sleep=cluster.sleep) == SIGNED
    assert cluster.asked["metadata"] == {"generateName": "kubepark-bo-"}
    spec = cluster.asked["spec"]
    assert spec["signerName"] == "kubernetes.io/kube-apiserver-client"
    assert (spec["expirationSeconds"], spec["usages"]) == (12 * 3600, ["client auth"])
    asked = x509.load_pem_x509_csr(base64.b64decode(spec["request"]))
    assert asked.subject.rfc4514_string() == "CN=bo@example.org", (
        "no group, and so no rights but the bindings'"
    )
    assert asked.is_signature_valid
    assert (cluster.condition.type, cluster.condition.status) == ("Approved", "True")
    secret = key.decode().splitlines()[1]
    assert secret not in json.dumps(cluster.asked) + base64.b64decode(spec["request"]).decode()


def test_an_email_that_no_certificate_takes_is_said_before_the_cluster_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(ROOT / "Pulumi.sandbox.yaml", tmp_path)
    monkeypatch.setattr(people_kubeconfig, "ROOT", tmp_path)
    email = "b" * 50 + "@research.example.org"
    file = tmp_path / "Pulumi.sandbox.yaml"
    file.write_text(file.read_text().replace("bo@example.org", email))
    with pytest.raises(
        CommandError, match="bo's e-mail has 71 characters, and the name in a certificate takes 64"
    ):
        people_kubeconfig.kubeconfig("sandbox", "bo", 1, None)


def test_what_a_person_gets_is_for_one_context() -> None:
    text = people_kubeconfig._document("bo@lab", "bo", "https://a:6443", b"CA", SIGNED, b"KEY")
    document = yaml.safe_load(text)
    assert document["contexts"] == [
        {"name": "bo@lab", "context": {"cluster": "lab", "user": "bo", "namespace": "bo"}}
    ]
    assert document["clusters"][0]["cluster"]["server"] == "https://a:6443"
    without = people_kubeconfig._document("vi@lab", "", "https://a:6443", b"CA", SIGNED, b"KEY")
    assert "namespace" not in yaml.safe_load(without)["contexts"][0]["context"]


def test_a_cluster_that_does_not_sign_and_one_that_refuses_are_clean_errors() -> None:
    cluster = Cluster(polls=None)
    with pytest.raises(CommandError, match=r"approved kubepark-bo-x1 and signed nothing in 30 s"):
        issue(cluster, BO, b"", 1, sleep=cluster.sleep)
    assert cluster.slept == pytest.approx(SIGN_SECONDS)
    forbidden = ApiException(status=403, reason="Forbidden")
    forbidden.body = json.dumps({"message": 'signers "kubernetes.io/kube-apiserver-client" is forbidden'})
    for error, said in ((forbidden, "is forbidden"), (ApiException(status=500, reason="Oh"), "for bo: Oh")):
        with pytest.raises(CommandError, match=said):
            issue(Cluster(refuses=error), BO, b"", 1)

"""`kubepark review --base`: a pull request of a real account's stack, reviewed with no account and no credentials."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from sandbox.processes import MARK
from sandbox.tests.stack.project import Project

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

STACK = "team"
STACK_FILE = """\
secretsprovider: awskms://alias/pulumi
encryptedkey: AQICAHh
config:
  pulumi:disable-default-providers: [aws, kubernetes]
  kubepark:aws: {region: us-east-1, accountId: "999999999999"}
  kubepark:platform: {kubernetes: "1.36", os: ubuntu-24.04, ami: ami-0123456789abcdef0}
  kubepark:network:
    availabilityZone: us-east-1a
    secondAvailabilityZone: us-east-1b
    adminCidrs: [203.0.113.7/32]
  kubepark:controlPlane: {protected: true, apiEndpoint: "https://127.0.0.1:6443"}
  kubepark:people:
    - {name: ana, email: ana@example.org}
    - {name: bo, email: bo@example.org}
  kubepark:kubeflow: {profiles: none}
  kubepark:passwordHashes:
    ana: {secure: "v1:ciphertext-of-ana"}
    bo: {secure: "v1:ciphertext-of-bo"}
  kubepark:oidcClientSecret: {secure: "v1:ciphertext-of-the-client"}
"""


@pytest.fixture
def repository(checkout: Project, tmp_path: Path) -> Project:
    """The copy with a commit, and a working tree that differs from it."""
    file = checkout.root / f"Pulumi.{STACK}.yaml"
    file.write_text(STACK_FILE, encoding="utf-8")
    (checkout.root / ".gitignore").write_text(
        ".venv\n.sandbox/\n.kubepark/\n__pycache__/\n", encoding="utf-8"
    )
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for words in (
        ("init", "--quiet"),
        ("add", "--all"),
        ("commit", "--quiet", "--message", "base", "--allow-empty"),
    ):
        subprocess.run(["git", *identity, *words], cwd=checkout.root, check=True, capture_output=True)
    changed = STACK_FILE.replace("ciphertext-of-bo", "another")
    changed = changed.replace("127.0.0.1:6443", "127.0.0.1:7443")
    changed += (
        "  kubepark:workers: {nodes: {worker01: {instanceType: m6i.2xlarge}, worker02: {}, worker03: {}}}\n"
    )
    file.write_text(changed, encoding="utf-8")
    return checkout


def left(folder: Path) -> list[str]:
    """Files below a folder for temporary ones, and processes of sandboxes there."""
    found = [str(path) for path in folder.iterdir()]
    for process in psutil.process_iter():
        try:
            if str(folder) in process.environ().get(MARK, ""):
                found.append(str(process.cmdline()))
        except psutil.Error:
            continue
    return found


def test_a_pull_request_is_reviewed_without_an_account(repository: Project, tmp_path: Path) -> None:
    words = ("review", "--base", "HEAD", "--stack", STACK)
    script = repository.root / "userdata" / "node" / "refresh_hosts.py"
    began = time.monotonic()
    with repository.edited(
        script, script.read_text(encoding="utf-8").replace("after != before", "before != after")
    ):
        document = json.loads(repository.printed(*words, "--json", TMPDIR=str(tmp_path)))
    assert time.monotonic() - began < 180
    changes = {change["resource"]: (change["effect"], change["operation"]) for change in document["changes"]}
    assert changes == {
        "Instance worker01": ("node", "update"),
        "Secret auth/dex-passwords": ("access", "update"),
        "Deployment auth/dex": ("pod", "update"),
    }
    (secret,) = (each for each in document["changes"] if each["effect"] == "access")
    assert [each["path"] for each in secret["properties"]] == ["data.DEX_PW_BO"]
    assert document["outdatedNodes"] == ["gpu01", "master1", "worker01", "worker02", "worker03"]
    assert (document["exitCode"], document["errors"], document["policies"]) == (13, [], [])
    assert document["usdMonthly"] == pytest.approx(133.15)
    assert document["notes"][0].startswith("compared with HEAD (")
    assert document["notes"][1].endswith("a sandbox has its own: kubepark:controlPlane.apiEndpoint")
    assert left(tmp_path) == []
    assert not repository.state.exists(), "the checkout's own sandbox takes no part"
    assert not list(repository.root.glob(".kubepark/*.kubeconfig"))
    assert "ciphertext" not in json.dumps(document)


def test_ctrl_c_takes_everything_down(repository: Project, tmp_path: Path) -> None:
    process = repository.start("review", "--base", "HEAD", "--stack", STACK, TMPDIR=str(tmp_path))
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any(line.startswith("deploying HEAD") for line in lines)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("kubepark-review-*/sandbox/backend/.pulumi/stacks/**/*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    (running,) = tmp_path.iterdir()
    assert len(left(tmp_path)) > 1, "the search must find them"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does to all of its foreground
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert left(tmp_path) == [], running

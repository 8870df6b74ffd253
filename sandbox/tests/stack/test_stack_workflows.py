"""Every job of every workflow runs against the sandbox, its commands as they are written, in their order."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.tests.stack import workflow_jobs
from sandbox.tests.stack.project import ROOT, Project
from sandbox.tests.stack.workflow_jobs import FOLDER, Job, Runner

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

STACK = {"matrix.stack": "sandbox", "inputs.stack": "sandbox"}
NO_LABELS = {"join(github.event.pull_request.labels.*.name, ',')": "bug,acknowledge/node"}
CI = Job("ci.yml", "test")
REVIEW = Job("preview.yml", "review", STACK | NO_LABELS)
PREVIEW = Job("preview.yml", "preview", STACK | NO_LABELS)
DEPLOY = Job("deploy-stack.yml", "up", STACK)
DRIFT = Job("drift.yml", "drift", STACK)
REVIEW_UP = Job("review-stack.yml", "up")
REVIEW_CLOSE = Job("review-stack.yml", "close")
REVIEW_SWEEP = Job("review-stack.yml", "sweep")


def park(verb: str) -> Job:
    return Job("park.yml", "park", STACK | {"inputs.verb || 'park'": verb, "inputs.target || 'gpu'": "gpu"})


ALL = [CI, REVIEW, PREVIEW, DEPLOY, DRIFT, park("park"), REVIEW_UP, REVIEW_CLOSE, REVIEW_SWEEP]


def test_every_job_is_run_here_or_is_one_that_calls_another_file() -> None:
    jobs = {
        (path.name, name): body
        for path in FOLDER.iterdir()
        for name, body in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].items()
    }
    calling = {
        key for key, body in jobs.items() if body.get("uses") == "./.github/workflows/deploy-stack.yml"
    }
    assert calling == {("deploy.yml", "dev"), ("deploy.yml", "prod")}
    assert {(job.file, job.name) for job in ALL} == jobs.keys() - calling


@pytest.mark.parametrize(
    "step",
    [
        {"uses": "somebody/action@0123"},
        {"uses": "actions/checkout@0123", "with": {"token": "${{ secrets.OTHER }}"}},
        {"run": "true", "env": {"A": "${{ github.actor }}"}},
    ],
)
def test_what_the_table_does_not_know_is_an_error(
    step: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new.yml").write_text(yaml.safe_dump({"jobs": {"new": {"steps": [step]}}}), encoding="utf-8")
    monkeypatch.setattr(workflow_jobs, "FOLDER", tmp_path)
    with pytest.raises(KeyError):
        list(workflow_jobs.steps(Job("new.yml", "new")))


@pytest.fixture
def runner(checkout: Project, tmp_path: Path) -> Runner:
    """The copy with everything that a checkout has, as a repository with two commits."""
    for name in ("Makefile", "requirements-dev.txt", "requirements-uv.txt", ".ci"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        if not (checkout.root / name).exists():
            copy(ROOT / name, checkout.root / name)
    template = yaml.safe_load((ROOT / "Pulumi.review.yaml").read_text(encoding="utf-8"))
    own = yaml.safe_load(checkout.stack_file.read_text(encoding="utf-8"))["config"]
    for key in (
        "kubepark:aws",
        "kubepark:platform",
        "kubepark:network",
        "kubepark:controlPlane",
        "sandbox:nodes",
    ):
        template["config"][key] = own[key]
    template["config"]["kubepark:manifests"] = own["kubepark:manifests"]
    (checkout.root / "Pulumi.review.yaml").write_text(yaml.safe_dump(template), encoding="utf-8")
    return Runner(checkout, tmp_path)


def test_ci_runs_every_kind_of_test(runner: Runner, tmp_path: Path) -> None:
    """A make that notes its targets stands in: the tests are what runs here already."""
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "made $1"\n', encoding="utf-8")
    make.chmod(0o755)
    code, said = runner.run(CI)
    assert code == 0, said
    assert said.splitlines() == ["made test-real", "made test-slow", "made test"]


def test_a_deployment_its_review_its_drift_and_its_park(runner: Runner, checkout: Project) -> None:
    code, said = runner.run(DEPLOY)
    assert code == 0, said
    assert runner.ran == [
        "make venv",
        "bin/kubepark tunnel -- make preview",
        "bin/kubepark tunnel -- make up",
    ]
    assert checkout.instance("gpu01")["State"]["Name"] == "running"

    code, said = runner.run(PREVIEW)
    assert code == 0, said
    (comment,) = runner.github["comments"]
    assert "### Review of sandbox: nothing changes" in comment["body"]
    assert runner.run(PREVIEW)[0] == 0
    assert len(runner.github["comments"]) == 1, "the comment is edited"

    assert runner.run(DRIFT)[0] == 0
    assert runner.github["issues"] == []
    worker = [checkout.instance("worker02")["InstanceId"]]
    for name, code, states in (
        ("renamed", 10, ["open"]),
        ("again", 10, ["open"]),
        ("worker02", 0, ["closed"]),
    ):
        checkout.aws("ec2").create_tags(Resources=worker, Tags=[{"Key": "Name", "Value": name}])
        found, said = runner.run(DRIFT)
        assert (found, [each["state"] for each in runner.github["issues"]]) == (code, states), said
    (issue,) = runner.github["issues"]
    assert (issue["title"], "no drift" in issue["body"]) == ("Drift of sandbox", True)

    for verb, state in (("park", "stopped"), ("unpark", "running")):
        code, said = runner.run(park(verb))
        assert code == 0, said
        assert checkout.instance("gpu01")["State"]["Name"] == state


def test_a_pull_request_is_reviewed_against_its_base(runner: Runner, checkout: Project) -> None:
    (checkout.root / ".gitignore").write_text(
        ".venv\n.sandbox/\n.kubepark/\n__pycache__/\n", encoding="utf-8"
    )
    commit(checkout, "base")
    with checkout.changed("kubepark:workers.nodes", {"worker01": {}, "worker02": {}}):
        commit(checkout, "change")
        code, said = runner.run(REVIEW)
    assert code == 0, f"the label acknowledges it: {said}"
    (comment,) = runner.github["comments"]
    assert comment["body"].startswith("<!-- kubepark review sandbox base -->\n")
    assert "Instance worker03" in comment["body"]


def commit(project: Project, message: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for words in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "--message", message)):
        subprocess.run(["git", *identity, *words], cwd=project.root, check=True, capture_output=True)


def test_a_review_stack_comes_by_label_and_goes_when_its_pull_request_is_closed(
    runner: Runner, checkout: Project
) -> None:
    checkout.emptied()
    code, said = runner.run(REVIEW_UP)
    assert code == 0, said
    assert checkout.instance("worker01")["State"]["Name"] == "running"
    assert runner.run(REVIEW_SWEEP)[0] == 0
    assert checkout.instance("worker01")["State"]["Name"] == "running", "it is open"
    runner.github = {**runner.github, "pulls": {"12": "closed"}}
    assert runner.run(REVIEW_CLOSE)[0] == 0
    assert runner.github["runs"] == ["review-stack.yml"]
    code, said = runner.run(REVIEW_SWEEP)
    assert code == 0, said
    assert "pr-12: its pull request is closed\n" in said
    assert "pr-12 is gone\n" in said

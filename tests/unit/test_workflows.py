"""The GitHub workflows: permissions, pins, and what meets which credentials."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from foundation import documents
from foundation.settings import parse
from tests.foundation import configuration

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
NAMES = {
    "ci.yml",
    "preview.yml",
    "deploy.yml",
    "deploy-stack.yml",
    "park.yml",
    "drift.yml",
    "review-stack.yml",
}
PIN = re.compile(
    r"^\s*-? ?uses: (?P<action>[\w./-]+)@(?P<commit>[0-9a-f]{40}) # (?P<version>v[\d.]+)\b", re.M
)
OWN_BRANCH = "github.event.pull_request.head.repo.full_name == github.repository"


def workflow(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return loaded


def jobs() -> list[tuple[str, str, dict[str, Any]]]:
    return [(name, job, body) for name in sorted(NAMES) for job, body in workflow(name)["jobs"].items()]


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job.get("steps", [])]


def test_these_are_all():
    assert {path.name for path in FOLDER.iterdir()} == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_nothing_is_permitted_by_default(name):
    assert workflow(name)["permissions"] == {}


@pytest.mark.parametrize(("name", "job", "body"), jobs())
def test_each_job_asks_for_permissions_and_ends(name, job, body):
    assert body["permissions"]["contents"] == "read"
    assert {key for key, value in body["permissions"].items() if value == "write"} <= {
        "actions",
        "id-token",
        "issues",
        "pull-requests",
    }
    assert "uses" in body or 0 < body["timeout-minutes"] <= 90


def test_ci_has_no_credentials():
    text = (FOLDER / "ci.yml").read_text()
    assert "secrets." not in text
    assert "id-token" not in text
    assert "write" not in workflow("ci.yml")["jobs"]["test"]["permissions"].values()
    assert steps("ci.yml")[-1]["run"] == ".ci/run"


def test_code_of_forks_meets_no_credentials():
    for name in NAMES:
        assert "pull_request_target" not in (FOLDER / name).read_text()
    guarded = set()
    for name, job, body in jobs():
        given = set(body["permissions"].values()) != {"read"} or "secrets" in json.dumps(body)
        if given and "pull_request" in workflow(name)[True]:  # `on`, as YAML 1.1 reads it
            if (name, job) == ("preview.yml", "review"):
                continue  # gets no token for a fork's code, below
            conditions = [each.strip() for each in body["if"].split("&&")]
            assert conditions[0] in (OWN_BRANCH, "github.event_name != 'pull_request'")
            guarded.add((name, job))
    assert guarded == {
        ("preview.yml", "preview"),
        *(("review-stack.yml", job) for job in ("up", "close", "sweep")),
    }
    review = workflow("preview.yml")["jobs"]["review"]
    assert "if" not in review, "it is for every pull request"
    assert review["permissions"] == {"contents": "read", "pull-requests": "write"}
    given = {name: value for step in review["steps"] for name, value in step.get("env", {}).items()}
    assert given.pop("GH_TOKEN") == f"${{{{ {OWN_BRANCH} && github.token || '' }}}}"
    assert given.pop("KUBEPARK_COMMENT") == f"${{{{ {OWN_BRANCH} }}}}"
    assert not re.search(r"secrets\.|token", str(given) + str(review["env"]))
    assert "aws-actions" not in str(review)


def test_real_stacks_are_previewed_when_a_reviewer_has_agreed_and_none_is_updated():
    jobs = workflow("preview.yml")["jobs"]
    assert jobs["preview"]["environment"] == "${{ matrix.stack }}-preview"
    assert jobs["preview"]["strategy"]["matrix"]["stack"] == ["dev", "prod"]
    stacks = jobs["review"]["strategy"]["matrix"]["stack"]
    assert stacks == """${{ fromJSON(vars.REVIEW_STACKS || '["sandbox"]') }}"""
    commands = [step["run"] for step in steps("preview.yml") if "run" in step]
    assert commands == [
        "make venv",
        'bin/kubepark review --base HEAD^1 --labels "$LABELS"',
        "make venv",
        'bin/kubepark review --comment --labels "$LABELS"',
    ]


def test_the_base_of_a_pull_request_is_there():
    """What is checked out is the merge, whose first parent is the base."""
    (checkout, *_) = workflow("preview.yml")["jobs"]["review"]["steps"]
    assert checkout["with"]["fetch-depth"] == 2


def test_text_of_a_pull_request_is_no_part_of_a_command():
    for name in NAMES:
        assert not [step["run"] for step in steps(name) if "${{" in step.get("run", "")]


def test_labels_trigger_a_new_review():
    types = workflow("preview.yml")[True]["pull_request"]["types"]  # YAML 1.1 takes `on` for true
    assert {"opened", "synchronize", "labeled", "unlabeled"} <= set(types)


def test_each_job_with_credentials_runs_in_an_environment_that_one_role_trusts():
    """Of foundation/: the environment's settings say who becomes the role, so no job may go without one."""
    in_their_own_account = parse("review", configuration(environments=[], reviewStacks=True))
    roles = [*documents.roles(parse("prod", configuration())), *documents.roles(in_their_own_account)]
    trusted = {role.subject.partition(":environment:")[2]: role.use for role in roles}
    names = [stack for job in workflow("deploy.yml")["jobs"].values() for stack in [job["with"]["stack"]]]
    used = set()
    for name, _, body in jobs():
        if body["permissions"].get("id-token") != "write":
            assert "environment" not in body
            assert not any(
                "configure-aws-credentials" in step.get("uses", "") for step in body.get("steps", [])
            )
            continue
        if "uses" in body:  # another of these files, which has the environment
            assert body["uses"] == "./.github/workflows/deploy-stack.yml"
            continue
        (role,) = [
            step["with"]["role-to-assume"]
            for step in body["steps"]
            if "configure-aws-credentials" in step.get("uses", "")
        ]
        (use,) = re.findall(r"^\$\{\{ vars\.AWS_(PREVIEW|DEPLOY|PARK|DRIFT|REVIEW)_ROLE \}\}$", role)
        for stack in names:
            environment = re.sub(r"\$\{\{ (matrix|inputs)\.stack \}\}", stack, body["environment"])
            for_review = use == "REVIEW" and environment in documents.REVIEW_ROLES
            assert trusted[environment] == (environment if for_review else f"{use.lower()}-{stack}"), name
            used.add(environment)
    assert used == trusted.keys()


def test_a_review_stack_is_made_by_label_after_a_review_and_ended_by_code_of_main():
    on, jobs = workflow("review-stack.yml")[True], workflow("review-stack.yml")["jobs"]
    assert set(on) == {"pull_request", "schedule", "workflow_dispatch"}
    labeled = "contains(github.event.pull_request.labels.*.name, 'review-stack')"
    for job, action in (("up", "!="), ("close", "==")):
        conditions = [each.strip() for each in jobs[job]["if"].split("&&")]
        assert conditions == [OWN_BRANCH, f"github.event.action {action} 'closed'", labeled]
    assert jobs["up"]["environment"] == "review-stack"
    assert jobs["up"]["concurrency"]["cancel-in-progress"] is False
    assert jobs["sweep"]["environment"] == "review-sweep"
    assert "secrets." not in (FOLDER / "review-stack.yml").read_text()
    commands = [step["run"] for step in steps("review-stack.yml") if "run" in step]
    assert [command for command in commands if command != "make venv"] == [
        'bin/kubepark review-stack file "$NUMBER"',
        'bin/kubepark tunnel --stack "pr-$NUMBER" -- bin/kubepark review-stack up "$NUMBER"',
        "gh workflow run review-stack.yml --ref main",
        "bin/kubepark review-stack sweep --closed",
    ]
    assert not [step for step in jobs["close"]["steps"] if "uses" in step], "nothing of it is checked out"


def test_updates_of_one_stack_wait_for_each_other():
    concurrency = workflow("deploy-stack.yml")["jobs"]["up"]["concurrency"]
    assert concurrency == {"group": "pulumi-${{ inputs.stack }}", "cancel-in-progress": False}
    assert [target for step in steps("deploy-stack.yml") for target in made(step)] == [
        "venv",
        "preview",
        "up",
    ]


def test_a_runner_reaches_the_api_through_a_tunnel():
    """Its address is in no adminCidrs; without a tunnel the first object of an update fails."""
    touching = [step["run"] for step in steps("deploy-stack.yml") if set(made(step)) - {"venv"}]
    assert touching == ["bin/kubepark tunnel -- make preview", "bin/kubepark tunnel -- make up"]
    assert workflow("deploy-stack.yml")["jobs"]["up"]["env"]["STACK"] == "${{ inputs.stack }}"


def test_a_park_by_schedule_or_by_hand_is_of_what_a_runner_can_reach():
    """Through the control plane, which it therefore leaves running; a schedule only where somebody asked for it."""
    on = workflow("park.yml")[True]
    inputs = on["workflow_dispatch"]["inputs"]
    assert (inputs["verb"]["options"], inputs["target"]["options"]) == (
        ["park", "unpark"],
        ["gpu", "workers"],
    )
    job = workflow("park.yml")["jobs"]["park"]
    assert job["if"] == "inputs.stack != '' || vars.PARK_STACKS != ''"
    assert job["concurrency"] == {"group": "pulumi-${{ matrix.stack }}", "cancel-in-progress": False}
    assert [(step["if"], step["run"]) for step in steps("park.yml") if "if" in step] == [
        ("env.VERB == 'park'", 'bin/kubepark tunnel -- bin/kubepark park "$TARGET" --yes'),
        ("env.VERB == 'unpark'", 'bin/kubepark tunnel -- bin/kubepark unpark "$TARGET"'),
    ]


def test_drift_is_compared_without_any_secret_and_never_beside_an_update():
    job = workflow("drift.yml")["jobs"]["drift"]
    assert set(workflow("drift.yml")[True]) == {"schedule", "workflow_dispatch"}, "code of main alone"
    assert job["if"] == "inputs.stack != '' || vars.DRIFT_STACKS != ''"
    assert job["concurrency"] == {"group": "pulumi-${{ matrix.stack }}", "cancel-in-progress": False}
    assert job["permissions"] == {"contents": "read", "id-token": "write", "issues": "write"}
    assert "secrets." not in (FOLDER / "drift.yml").read_text()
    assert steps("drift.yml")[-1]["run"] == "bin/kubepark drift --issue"


def made(step: dict[str, Any]) -> list[str]:
    """The make targets that a step calls."""
    return re.findall(r"\bmake (?:--\S+ )*([\w-]+)", step.get("run", ""))


def test_every_step_calls_something_of_ours_that_exists():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    commands = [step["run"] for name in sorted(NAMES) for step in steps(name) if "run" in step]
    assert len(commands) == 19
    for name in NAMES:
        for step in steps(name):
            if "run" not in step:
                continue
            wanted = made(step)
            assert set(wanted) <= targets
            if not wanted and not step["run"].startswith("gh "):  # which GitHub's images have
                assert os.access(ROOT / step["run"].split()[0], os.X_OK), step["run"]


def test_every_action_is_pinned_by_the_commit_that_the_docs_name():
    page = (ROOT / "docs" / "workflows.md").read_text()
    listed = set(re.findall(r"^\| `([\w./-]+)` \| (v[\d.]+) \| `([0-9a-f]{40})` \|", page, re.M))
    used = set()
    for name in NAMES:
        text = (FOLDER / name).read_text()
        pins = [match.group("action", "version", "commit") for match in PIN.finditer(text)]
        foreign = [line for line in re.findall(r"uses: (\S+)", text) if not line.startswith("./")]
        assert len(pins) == len(foreign), f"{name}: an action is not pinned by commit: {foreign}"
        used.update(pins)
    assert used == listed
    assert len(used) == 5


def test_the_cli_version_is_the_one_that_the_project_requires():
    required = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["requiredPulumiVersion"]
    versions = {
        step["with"]["pulumi-version"]
        for name in NAMES
        for step in steps(name)
        if "pulumi/" in step.get("uses", "")
    }
    assert versions == {required.removeprefix(">=")}

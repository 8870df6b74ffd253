"""The GitHub workflows: permissions, pins, and the comment script against a stand-in for gh."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
NAMES = {"ci.yml", "preview.yml", "deploy.yml", "deploy-stack.yml"}
PIN = re.compile(
    r"^\s*-? ?uses: (?P<action>[\w./-]+)@(?P<commit>[0-9a-f]{40}) # (?P<version>v[\d.]+)\b", re.M
)
COMMENT = ROOT / ".github" / "scripts" / "comment"


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
        "id-token",
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
    guard = workflow("preview.yml")["jobs"]["preview"]["if"]
    assert guard == "github.event.pull_request.head.repo.full_name == github.repository"


def test_a_preview_for_each_stack_and_no_update():
    preview = workflow("preview.yml")["jobs"]["preview"]
    assert [entry["stack"] for entry in preview["strategy"]["matrix"]["include"]] == ["dev", "prod"]
    assert {match for step in steps("preview.yml") for match in made(step)} == {"venv", "preview"}


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


def made(step: dict[str, Any]) -> list[str]:
    """The make targets that a step calls."""
    return re.findall(r"\bmake (?:--\S+ )*([\w-]+)", step.get("run", ""))


def test_every_step_calls_something_of_ours_that_exists():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    commands = [step["run"] for name in sorted(NAMES) for step in steps(name) if "run" in step]
    assert len(commands) == 7
    for name in NAMES:
        for step in steps(name):
            if "run" not in step:
                continue
            wanted = made(step)
            assert set(wanted) <= targets
            if not wanted:
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


GH = """#!/bin/sh
# Stands in for gh: notes its arguments and the body, answers a list of comments from $COMMENTS.
echo "$*" >>"$CALLS"
case "$*" in
    *--paginate*) cat "$COMMENTS" ;;
    *) cat >"$BODY" ;;
esac
"""


@pytest.fixture
def comment(tmp_path):
    """Runs the script; returns gh's calls and the body it was given."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "gh").write_text(GH)
    (binaries / "gh").chmod(0o755)
    paths = {"CALLS": tmp_path / "calls", "COMMENTS": tmp_path / "comments", "BODY": tmp_path / "body"}

    def run(output: str | None, existing: str = "", outcome: str = "success") -> tuple[list[str], str]:
        paths["CALLS"].write_text("")
        paths["COMMENTS"].write_text(existing)
        file = tmp_path / "preview.txt"
        file.unlink(missing_ok=True)
        if output is not None:
            file.write_text(output)
        environment = {name: str(path) for name, path in paths.items()} | {
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "GITHUB_REPOSITORY": "team/cluster",
            "PULL_REQUEST": "7",
        }
        subprocess.run([COMMENT, "dev", outcome, file], env=environment, check=True, timeout=60)
        return paths["CALLS"].read_text().splitlines(), paths["BODY"].read_text()

    return run


def test_the_first_preview_makes_a_comment(comment):
    calls, body = comment("+ aws:ec2:Vpc network-vpc create\n")
    assert calls[1] == "api --silent --method POST repos/team/cluster/issues/7/comments --field body=@-"
    assert body.startswith("<!-- kubepark preview dev -->\n### Preview of dev: success\n")
    assert "\n```\n+ aws:ec2:Vpc network-vpc create\n```\n" in body


def test_the_next_preview_edits_it(comment):
    calls, body = comment("later\n", existing="4711\n4712\n", outcome="failure")
    assert calls[1] == "api --silent --method PATCH repos/team/cluster/issues/comments/4711 --field body=@-"
    assert "### Preview of dev: failure" in body
    assert len(calls) == 2
    # Only comments of a bot that begin with this stack's marker are ours.
    assert '.user.type == "Bot" and (.body | startswith("<!-- kubepark preview dev -->"))' in calls[0]


def test_a_long_output_is_cut_at_a_character_and_says_so(comment):
    _, body = comment("ä" * 50_000)
    assert len(json.dumps(body)) > 0
    assert len(body) < 65_536
    assert "... cut here; the job log has all of it" in body


def test_an_output_cannot_close_its_fence(comment):
    _, body = comment("```\n# injected\n````\n")
    assert body.count("\n`````\n") == 2


def test_without_output_the_outcome_is_still_told(comment):
    _, body = comment(None, outcome="skipped")
    assert "### Preview of dev: skipped" in body


def test_the_script_is_clean():
    shellcheck = shutil.which("shellcheck") or str(ROOT / ".venv" / "bin" / "shellcheck")
    done = subprocess.run([shellcheck, str(COMMENT)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")

"""Runs the jobs of the workflows as GitHub does: each step's command as it is written, in its order.

What GitHub and its actions provide is a table: an expression or an action that is not in it is an error, so no
workflow can begin to use one that no test knows.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sandbox.tests.stack.project import ROOT, Project

FOLDER = ROOT / ".github" / "workflows"
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
# What `shell: bash` is. Source: GitHub's documentation, "Workflow syntax", jobs.<job_id>.steps[*].shell.
_BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]
# What stands for each action: the tests' own copy, Python, tools and credentials are there already.
ACTIONS = {
    "actions/checkout": "the copy of the project",
    "actions/setup-python": "the Python of the tests",
    "actions/cache": "the tools that are built",
    "pulumi/actions": "the sandbox's own CLI",
    "aws-actions/configure-aws-credentials": "the sandbox's own credentials",
}
REPOSITORY, PULL_REQUEST = "octo-org/octo-repo", "12"

# Stands in for gh. `state.json` is what GitHub has: comments, issues, pull requests, and runs that were asked for.
GH = """#!{python}
import json, os, sys
from pathlib import Path
words, file = sys.argv[1:], Path(os.environ["GH_STATE"])
state = json.loads(file.read_text())
if not os.environ.get("GH_TOKEN"):
    sys.exit("gh: no token")
base = "repos/{repository}/"
def fields(words):
    found = {{}}
    while words:
        option, pair, *words = words
        name, _, value = pair.partition("=")
        assert option in ("--field", "--raw-field"), option
        found[name] = sys.stdin.read() if option == "--field" and value == "@-" else value
    return found
def listed(kind, marker):
    return [each["id"] for each in state[kind] if each["body"].startswith(marker) and each.get("state") != "closed"]
match words:
    case ["workflow", "run", name, "--ref", "main"] if os.environ.get("GH_REPO") == "{repository}":
        state["runs"].append(name)
    case ["api", path, "--jq", ".state"] if path.startswith(base + "pulls/"):
        print(state["pulls"][path.rpartition("/")[2]])
    case ["api", "--paginate", path, "--jq", query]:
        kind = {{"issues/{number}/comments": "comments", "issues?state=open&per_page=100": "issues"}}[path.removeprefix(base)]
        marker = json.loads(query.partition("startswith(")[2].partition(")")[0])
        print("\\n".join(map(str, listed(kind, marker))))
    case ["api", "--silent", "--method", "POST", path, *rest]:
        kind = {{"issues/{number}/comments": "comments", "issues": "issues"}}[path.removeprefix(base)]
        state[kind].append({{"id": 100 + len(state[kind]), "state": "open", **fields(rest)}})
    case ["api", "--silent", "--method", "PATCH", path, *rest]:
        kind, _, number = path.removeprefix(base).rpartition("/")
        kind = {{"issues/comments": "comments", "issues": "issues"}}[kind]
        (found,) = [each for each in state[kind] if each["id"] == int(number)]
        found.update(fields(rest))
    case _:
        sys.exit(f"gh: what is not known here: {{words}}")
file.write_text(json.dumps(state))
"""


@dataclass(frozen=True)
class Job:
    """One job of a workflow file. `given`: expressions and what GitHub makes of them, besides `EVERYWHERE`."""

    file: str
    name: str
    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load((FOLDER / self.file).read_text(encoding="utf-8"))
        return dict(found["jobs"][self.name])


# Variables and tokens. The sandbox has its own backend and key, whatever these say.
EVERYWHERE = {
    "github.token": "token",
    "github.repository": REPOSITORY,
    "github.event.pull_request.number": PULL_REQUEST,
    "github.event.pull_request.head.repo.full_name == github.repository": "true",
    "github.event.pull_request.head.repo.full_name == github.repository && github.token || ''": "token",
    "vars.PULUMI_BACKEND_URL": "s3://nowhere",
    "secrets.PULUMI_CONFIG_PASSPHRASE": "",
    "vars.AWS_REGION": "us-east-1",
    **{f"vars.AWS_{use}_ROLE": f"arn:{use}" for use in ("DEPLOY", "PREVIEW", "PARK", "DRIFT", "REVIEW")},
    "hashFiles('sandbox/build/tools/*/go.mod', 'sandbox/build/tools/*/go.sum')": "digest",
    "runner.os": "Linux",
    "runner.arch": "X64",
}


class Runner:
    """A machine of GitHub's with the project checked out."""

    def __init__(self, project: Project, folder: Path) -> None:
        self._project, self._folder = project, folder
        self._state = folder / "github.json"
        gh = folder / "gh"
        gh.write_text(GH.format(python=sys.executable, repository=REPOSITORY, number=PULL_REQUEST))
        gh.chmod(0o755)
        self.github = {"comments": [], "issues": [], "runs": [], "pulls": {PULL_REQUEST: "open"}}
        self.ran: list[str] = []

    @property
    def github(self) -> dict[str, Any]:
        """What GitHub has."""
        found: dict[str, Any] = json.loads(self._state.read_text(encoding="utf-8"))
        return found

    @github.setter
    def github(self, value: Mapping[str, Any]) -> None:
        self._state.write_text(json.dumps(value), encoding="utf-8")

    def run(self, job: Job) -> tuple[int, str]:
        """Run a job's steps until one fails: its exit code, and all that was said."""
        said: list[str] = []
        for command, variables in steps(job):
            self.ran.append(command)
            code, output = self._step(command, variables)
            said.append(output)
            if code != 0:
                return code, "".join(said)
        return 0, "".join(said)

    def _step(self, command: str, variables: Mapping[str, str]) -> tuple[int, str]:
        script = self._folder / "step.sh"
        script.write_text(command, encoding="utf-8")
        own = self._project.environment
        paths = f"{self._folder}:{self._project.root / '.venv' / 'bin'}:{own['PATH']}"
        done = subprocess.run(
            [*_BASH, str(script)],
            cwd=self._project.root,
            env={**own, **variables, "PATH": paths, "GH_STATE": str(self._state)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=400,
            check=False,
        )
        return done.returncode, done.stdout


def steps(job: Job) -> Iterator[tuple[str, dict[str, str]]]:
    """Each command with the variables that GitHub gives to it. Raises: KeyError for what is not known."""
    body, known = job.body, {**EVERYWHERE, **job.given}
    base = {name: _filled(value, known) for name, value in body.get("env", {}).items()}
    base |= {"GITHUB_REPOSITORY": REPOSITORY, "CI": "true", "GITHUB_ACTIONS": "true"}
    for step in body["steps"]:
        assert set(step) <= {"uses", "with", "run", "env", "if"}, step
        if "uses" in step:
            assert ACTIONS[step["uses"].partition("@")[0]]
            for value in step.get("with", {}).values():
                _filled(value, known)
            continue
        variables = base | {name: _filled(value, known) for name, value in step.get("env", {}).items()}
        if "if" not in step or _holds(step["if"], variables):
            yield step["run"], variables


def _filled(value: Any, known: Mapping[str, str]) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return _EXPRESSION.sub(lambda match: known[match[1]], text)


def _holds(condition: str, variables: Mapping[str, str]) -> bool:
    """`env.NAME == 'value'`, which is all that steps ask for."""
    match = re.fullmatch(r"env\.(\w+) == '(\w*)'", condition)
    assert match is not None, condition
    return variables[match[1]] == match[2]

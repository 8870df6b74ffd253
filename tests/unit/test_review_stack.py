"""Review stacks: their file, when they have to go, and what is asked of whom. (They run in the stack tests.)"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli import main, review_stack, stackfile
from cli.errors import CommandError
from config import documents, settings
from tests.configuration import configuration

ROOT = Path(__file__).parents[2]
NOW = datetime.now(UTC).replace(second=0, microsecond=0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's root with the template."""
    (tmp_path / "Pulumi.review.yaml").write_bytes((ROOT / "Pulumi.review.yaml").read_bytes())
    monkeypatch.setattr(stackfile, "ROOT", tmp_path)
    monkeypatch.setattr(review_stack, "ROOT", tmp_path)
    return tmp_path


def test_the_file_is_the_template_with_two_tags_that_aws_takes(folder: Path) -> None:
    review_stack.write(12, datetime(2026, 11, 29, 8, 5, 59, tzinfo=UTC))
    text = (folder / "Pulumi.pr-12.yaml").read_text(encoding="utf-8")
    template = documents.load((ROOT / "Pulumi.review.yaml").read_text(encoding="utf-8"))
    tags = {"pull-request": "12", "expires": "2026-11-29T08:05Z"}
    assert documents.load(text) == {
        **template,
        "config": {**template["config"], "kubepark:tags": tags},
    }
    found = settings.parse("pr-12", configuration(tags=tags) | {"clusterName": ""})
    assert (found.cluster, found.tags) == ("kubepark-pr-12", tags)
    assert review_stack.expiry([provider("2026-11-29T08:05Z")]) == datetime(2026, 11, 29, 8, 5, tzinfo=UTC)


def provider(expires: str) -> dict[str, Any]:
    """The AWS provider as the state has it."""
    tags = {"expires": expires, "pull-request": "12", "kubepark:cluster": "kubepark-pr-12"}
    return {"type": "pulumi:providers:aws", "inputs": {"defaultTags": json.dumps({"tags": tags})}}


def test_what_has_expired_is_due_and_what_has_nothing_yet_is_not() -> None:
    assert review_stack.due(NOW, NOW) == f"expired at {NOW:%Y-%m-%dT%H:%MZ}"
    assert review_stack.due(NOW + timedelta(minutes=1), NOW) == ""
    assert review_stack.expiry([{"type": "pulumi:pulumi:Stack", "inputs": {}}]) is None
    assert review_stack.due(None, NOW) == ""


class Backend:
    """Stands in for the CLI: stacks by name, each with its expiry, None where it has nothing."""

    def __init__(self, stacks: Mapping[str, datetime | None]) -> None:
        self.stacks = dict(stacks)
        self.destroyed: list[str] = []

    def cli(self, stack: str, variables: Mapping[str, str] | None = None) -> Any:
        backend = self

        class Cli:
            variables: Mapping[str, str] = {}

            def read(self, *words: str, given: str | None = None) -> str:
                if words == ("stack", "ls", "--json"):
                    return json.dumps([{"name": name} for name in backend.stacks])
                if words == ("stack", "export"):
                    until = backend.stacks[stack]
                    resources = [provider(f"{until:%Y-%m-%dT%H:%MZ}")] if until else None
                    return json.dumps({"deployment": {"resources": resources}})
                assert words == ("stack", "rm", "--yes"), words
                del backend.stacks[stack]
                return ""

        return Cli()

    @contextmanager
    def on(self, stack: str, verb: str) -> Iterator[Any]:
        yield self.cli(stack)

    def destroy(self, stack: str, options: list[str], request: Any) -> int:
        assert (request.yes, request.purge, request.volumes) == (True, True, "delete")
        self.destroyed.append(stack)
        return 0 if stack != "pr-9" else 1


@pytest.fixture
def backend(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Backend:
    hour = timedelta(hours=1)
    made = Backend(
        {
            "dev": None,
            "pr-7": NOW - hour,
            "organization/kubepark/pr-8": NOW + hour,
            "pr-10": None,
            "pr-x": None,
        }
    )
    made.stacks["pr-8"] = made.stacks.pop("organization/kubepark/pr-8")
    monkeypatch.setattr(review_stack.pulumi, "on", made.on)
    monkeypatch.setattr(review_stack, "Pulumi", made.cli)
    monkeypatch.setattr(review_stack.operations, "destroy", made.destroy)
    return made


def test_a_sweep_ends_those_that_have_expired_and_no_other(
    backend: Backend, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["review-stack", "sweep"]) == 0
    assert backend.destroyed == ["pr-7"]
    assert set(backend.stacks) == {"dev", "pr-8", "pr-10", "pr-x"}
    assert capsys.readouterr().out.splitlines() == [
        f"pr-7: expired at {NOW - timedelta(hours=1):%Y-%m-%dT%H:%MZ}",
        "pr-7 is gone",
        f"pr-8: stays until {NOW + timedelta(hours=1):%Y-%m-%dT%H:%MZ}",
        "pr-10: has nothing yet, and stays",
    ]
    assert [path.name for path in folder.iterdir()] == ["Pulumi.review.yaml"], "no file is left"


def test_and_those_whose_pull_request_is_closed(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []

    def api(what: str, arguments: list[str]) -> str:
        asked.append(arguments)
        return "closed\n" if "/8" in arguments[0] else "open\n"

    monkeypatch.delenv("GH_TOKEN", raising=False)
    assert main.main(["review-stack", "sweep", "--closed"]) == 1
    assert "--closed needs GITHUB_REPOSITORY, GH_TOKEN in the environment" in capsys.readouterr().err
    monkeypatch.setenv("GH_TOKEN", "t")
    monkeypatch.setenv("GITHUB_REPOSITORY", "team/cluster")
    monkeypatch.setattr(review_stack.github, "api", api)
    assert main.main(["review-stack", "sweep", "--closed"]) == 0
    assert backend.destroyed == ["pr-7", "pr-8"]
    assert [words[0] for words in asked] == ["repos/team/cluster/pulls/8", "repos/team/cluster/pulls/10"]
    monkeypatch.setattr(review_stack.github, "api", lambda what, arguments: "")
    with pytest.raises(CommandError, match="neither open nor closed"):
        review_stack._is_closed(8)


def test_one_that_is_not_there_is_gone_already(
    backend: Backend, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["review-stack", "down", "3"]) == 0
    assert (backend.destroyed, capsys.readouterr().out) == ([], "there is no stack pr-3\n")
    assert not (folder / "Pulumi.pr-3.yaml").exists()


def test_one_that_cannot_be_destroyed_is_no_reason_to_leave_the_others(
    backend: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    backend.stacks = {"pr-9": NOW, "pr-11": NOW}
    assert main.main(["review-stack", "sweep"]) == 1
    assert backend.destroyed == ["pr-9", "pr-11"]
    assert set(backend.stacks) == {"pr-9"}
    assert "not destroyed: pr-9" in capsys.readouterr().err

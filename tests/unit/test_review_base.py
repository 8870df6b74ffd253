"""`kubepark review --base`: which files are compared, what is said of the comparison, and that all ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli import environments, review_base
from cli.errors import CommandError
from cli.review_preview import Preview

STACK_FILE = "Pulumi.dev.yaml"


class Sandbox:
    """Stands in for the sandbox's side: notes what is deployed and previewed, and whether it was taken down."""

    def __init__(self) -> None:
        self.replaced: dict[Path, dict[str, Any]] = {}
        self.ended = False
        self.resources = False
        self.folders: list[Path] = []

    @contextmanager
    def fresh(self, stack: str, program: Path, state_dir: Path, root: Path) -> Iterator[Sandbox]:
        try:
            yield self
        finally:
            self.ended = True

    def environment(self, root: Path) -> Mapping[str, str]:
        self.folders.append(root)
        self.replaced[root] = {"kubepark:aws.accountId": (root / STACK_FILE).read_text()}
        return {"PATH": os.defpath}

    def sweep(self, state_dirs: Any) -> list[str]:
        return []

    def has_resources(self) -> bool:
        return self.resources


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit on `main`."""
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch", "main")
    for name, text in (
        (STACK_FILE, "one"),
        ("__main__.py", "old"),
        ("gone.py", ""),
        (".gitignore", "*.secret\n.venv\n"),
    ):
        (root / name).write_text(text)
    (root / ".venv").mkdir()
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "first")
    monkeypatch.setattr(review_base, "ROOT", root)
    return root


def git(root: Path, *words: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", "-C", str(root), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """With a CLI that deploys whatever it is given, and previews nothing."""
    found = Sandbox()
    monkeypatch.setattr(environments, "sandbox", lambda: found)
    monkeypatch.setattr(review_base.Pulumi, "collect", lambda self, *words, **variables: (0, ""))
    monkeypatch.setattr(review_base, "previewed", lambda cli, options, root: files(root))
    return found


def files(root: Path) -> Any:
    """In place of a preview: what the program in a folder consists of."""
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_the_working_tree_is_compared_as_it_is(repository: Path, sandbox: Sandbox) -> None:
    (repository / "__main__.py").write_text("new")
    (repository / "more").mkdir()
    (repository / "more" / "added.py").write_text("not in git yet")
    (repository / "password.secret").write_text("x")
    (repository / "gone.py").unlink()
    found, notes = review_base.compared("dev", "main", ())
    assert found == {
        STACK_FILE: "one",
        "__main__.py": "new",
        "more/added.py": "not in git yet",
        ".gitignore": "*.secret\n.venv\n",
    }
    assert len(notes) == 1
    assert notes[0].startswith("compared with main (")
    assert [folder.name for folder in sandbox.folders] == ["base", "head"]


def test_the_base_is_that_of_the_commit(
    repository: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repository / "__main__.py").write_text("new")
    seen = []

    def collect(self: Any, *words: str, **variables: str) -> tuple[int, str]:
        seen.append((words[0], files(self._cwd)["__main__.py"], (self._cwd / ".venv").resolve()))
        return 0, ""

    monkeypatch.setattr(review_base.Pulumi, "collect", collect)
    review_base.compared("dev", "main", ())
    assert seen == [("up", "old", (repository / ".venv").resolve())]


def test_nothing_is_left_whatever_happens(
    repository: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(cli: Any, options: Any, root: Path) -> Preview:
        raise KeyboardInterrupt

    monkeypatch.setattr(review_base, "previewed", fail)
    with pytest.raises(KeyboardInterrupt):
        review_base.compared("dev", "main", ())
    assert sandbox.ended
    assert not any(folder.exists() for folder in sandbox.folders)
    listed = subprocess.run(
        ["git", "-C", str(repository), "worktree", "list"], capture_output=True, text=True, check=True
    )
    assert len(listed.stdout.splitlines()) == 1


def test_sigterm_takes_it_down_too(
    repository: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review_base, "previewed", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        review_base.compared("dev", "main", ())
    assert sandbox.ended
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_no_sandbox_shows_is_told(repository: Path, sandbox: Sandbox) -> None:
    (repository / STACK_FILE).write_text("two")
    (repository / "manifests.lock.yaml").write_text("sha256: {}")
    _, notes = review_base.compared("dev", "main", ())
    assert notes[1] == (
        "changed, and not compared, because a sandbox has its own: kubepark:aws.accountId, manifests.lock.yaml"
    )


def test_who_changes_the_review_itself_is_told_of(repository: Path, sandbox: Sandbox) -> None:
    for name in ("cli/review.py", "cli/other.py", "policies/rules.py", "components/x.py"):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text("")
    git(repository, "add", "--all")
    _, notes = review_base.compared("dev", "main", ())
    assert (
        notes[1] == "files of what reviews it change as well, so read those yourself: cli (2), policies (1)"
    )


def test_a_base_without_the_stack_is_nothing(repository: Path, sandbox: Sandbox) -> None:
    (repository / "Pulumi.new.yaml").write_text("three")
    (repository / STACK_FILE).write_text("two")
    _, notes = review_base.compared("new", "main", ())
    assert notes[1:] == ["main has no Pulumi.new.yaml: compared with nothing"]
    assert [folder.name for folder in sandbox.folders] == ["head"]


def test_a_base_that_is_refused_is_nothing_and_one_that_fails_is_an_error(
    repository: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(review_base.Pulumi, "collect", lambda self, *words, **variables: (1, "error: no ami"))
    _, notes = review_base.compared("dev", "main", ())
    assert notes[1] == "main is refused by its own checks: compared with nothing"
    assert "error: no ami" in capsys.readouterr().err
    sandbox.resources = True
    with pytest.raises(
        CommandError, match="main cannot be deployed to a sandbox, so nothing is compared:\nerror: no ami"
    ):
        review_base.compared("dev", "main", ())


@pytest.mark.parametrize(
    ("stack", "base", "said"),
    [
        ("dev", "nosuch", r"`git rev-parse .*accepted: a commit that is here; fix: git fetch"),
        ("dev", "--output=/tmp/x", r"`git rev-parse .*accepted: a commit that is here"),
        ("nosuch", "main", r"Pulumi\.nosuch\.yaml is not in the working tree"),
    ],
)
def test_wrong_words(repository: Path, sandbox: Sandbox, stack: str, base: str, said: str) -> None:
    with pytest.raises(CommandError, match=said):
        review_base.compared(stack, base, ())
    assert not sandbox.folders

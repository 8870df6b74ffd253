"""`kubepark review --base REF`: what the working tree changes of another commit, with no cloud account.

The base's program and the stack's configuration there are deployed to a sandbox of its own; the working tree
is previewed against that. Both are copies in a temporary folder, so nothing of the checkout takes part: not
its sandbox, not the operator's kubeconfig. All of it is taken down again, however the review ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from cli import environments
from cli.errors import CommandError
from cli.pulumi import Pulumi
from cli.review_preview import Preview
from cli.review_run import previewed
from config import ROOT
from config.kubeconfig import FOLDER

_DEPLOY = (
    "up",
    "--yes",
    "--skip-preview",
    "--skip-config-validation",
    "--non-interactive",
    "--color",
    "never",
)
_PREFIX = "kubepark-review-"
_TAIL = 30  # lines of what the CLI says when the base cannot be deployed
_DECIDES = (".github", "cli", "policies", "sandbox")  # what a review says and whether anybody sees it
_LOCK = "manifests.lock.yaml"


def compared(stack: str, base: str, options: Sequence[str]) -> tuple[Preview, Sequence[str]]:
    """The preview of the working tree against `base`, and what is to be said of the comparison.

    Raises: CommandError; KeyboardInterrupt.
    """
    commit = _git("rev-parse", "--verify", "--end-of-options", f"{base}^{{commit}}").decode().strip()
    for line in environments.sandbox().sweep(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/sandbox")):
        _say(line)
    with _sigterm_interrupts(), tempfile.TemporaryDirectory(prefix=_PREFIX) as folder:
        before, after = Path(folder) / "base", Path(folder) / "head"
        _extract(commit, before)
        _copy_working_tree(after)
        file = f"Pulumi.{stack}.yaml"
        if not (after / file).exists():
            raise CommandError(f"{file} is not in the working tree, or git ignores it")
        exists = (before / file).exists()
        first = before if exists else after
        _say(f"starting a sandbox for {stack} ...")
        with environments.sandbox().fresh(stack, first, Path(folder) / "sandbox", ROOT) as sandbox:
            notes = [f"compared with {base} ({commit[:12]}) in a sandbox: nothing real was asked or changed"]
            if exists:
                _say(f"deploying {base} ({commit[:12]}) ...")
                notes += _deploy(stack, base, sandbox, before)
            else:
                notes.append(f"{base} has no {file}: compared with nothing")
            _say("previewing the working tree ...")
            if (before / FOLDER).exists():
                shutil.copytree(before / FOLDER, after / FOLDER)
            cli = Pulumi(stack, sandbox.environment(after), cwd=after)
            found = previewed(cli, options, after)
            notes += _not_compared(sandbox.replaced, before, after)
            return found, [*notes, *_of_the_review_itself(commit)]


def _deploy(stack: str, base: str, sandbox: Any, root: Path) -> list[str]:
    """Deploy the base. One that its own checks refuse is nothing; any other failure is an error."""
    code, said = Pulumi(stack, sandbox.environment(root), cwd=root).collect(*_DEPLOY)
    if code == 0:
        return []
    tail = "\n".join(said.strip().splitlines()[-_TAIL:])
    if sandbox.has_resources():
        raise CommandError(f"{base} cannot be deployed to a sandbox, so nothing is compared:\n{tail}")
    print(tail, file=sys.stderr, flush=True)
    return [f"{base} is refused by its own checks: compared with nothing"]


def _not_compared(replaced: dict[Path, dict[str, Any]], before: Path, after: Path) -> list[str]:
    """What differs and shows in no sandbox."""
    old, new = replaced.get(before, {}), replaced.get(after, {})
    keys = [key for key in new if before in replaced and old.get(key) != new[key]]
    if new and _read(before / _LOCK) != _read(after / _LOCK):
        keys.append(_LOCK)
    return [f"changed, and not compared, because a sandbox has its own: {', '.join(keys)}"] if keys else []


def _of_the_review_itself(commit: str) -> list[str]:
    """Who changes what decides about a change is to be read with care: this line, too, may be gone then."""
    changed = _git("diff", "--name-only", "-z", commit, "--", *_DECIDES).decode().split("\0")
    counts = Counter(name.partition("/")[0] for name in changed if name)
    listed = ", ".join(f"{folder} ({count})" for folder, count in sorted(counts.items()))
    return [f"files of what reviews it change as well, so read those yourself: {listed}"] if listed else []


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _extract(commit: str, folder: Path) -> None:
    """The files of a commit, without a worktree that git would have to forget again."""
    index = str(folder.with_suffix(".index"))
    _git("read-tree", commit, GIT_INDEX_FILE=index)
    _git("checkout-index", "--all", f"--prefix={folder}/", GIT_INDEX_FILE=index)
    _link_virtualenv(folder)


def _copy_working_tree(folder: Path) -> None:
    """The files as they are now, those that git does not know yet as well, and none that it ignores."""
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard").decode()
    for name in listed.split("\0"):
        source, copy = ROOT / name, folder / name
        if name and (source.is_file() or source.is_symlink()):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)
    _link_virtualenv(folder)


def _link_virtualenv(folder: Path) -> None:
    """Both programs run with the packages of the working tree."""
    link = folder / ".venv"
    link.unlink(missing_ok=True)
    link.symlink_to((ROOT / ".venv").resolve())


def _git(*words: str, **variables: str) -> bytes:
    """What git prints. Raises: CommandError."""
    command, env = ["git", "-C", str(ROOT), *words], {**os.environ, **variables}
    try:
        done = subprocess.run(command, env=env, capture_output=True, check=False)
    except FileNotFoundError:
        raise CommandError("--base needs git on PATH") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise CommandError(
            f"`git {' '.join(words)}` failed: {said}; accepted: a commit that is here; "
            "fix: git fetch --unshallow, or git fetch origin BRANCH and --base origin/BRANCH"
        )
    return done.stdout


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """So that a job that is cancelled takes down what it started, as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

"""Interruptions of a real `up`: Ctrl-C, kill -9 in the middle of a create, two at once, a dead emulator.

After each, the plain command must finish the work, with exactly one of everything.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from sandbox.tests.soak.observe import creating, locks
from sandbox.tests.stack.project import QUICK, ROOT, Project
from sandbox.tests.tools import engines, kill

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

PATIENCE = 120.0
ATTEMPTS = 3


@pytest.fixture(scope="module")
def checkout(checkout: Project) -> Project:
    shutil.copy2(ROOT / ".gitignore", checkout.root / ".gitignore")
    # The link that stands for the virtualenv here is not the folder that the ignore file names.
    git(checkout, "init", "--quiet")
    (checkout.root / ".git" / "info" / "exclude").write_text("/.venv\n", encoding="utf-8")
    git(checkout, "add", "--all")
    git(checkout, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "copy")
    return checkout


@pytest.fixture(autouse=True)
def _clean_work_tree(checkout: Project) -> Iterator[None]:
    yield
    assert git(checkout, "status", "--porcelain") == ""


def git(project: Project, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=project.root, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def until(what: str, happened: Callable[[], bool], driver: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, f"{what} did not happen"
        assert driver.poll() is None, f"{what} did not happen: {driver.communicate()[0]}"
        time.sleep(0.002)


def requests(project: Project, action: str) -> int:
    """How often the emulator was asked for this."""
    log = project.state / "logs" / "requests.jsonl"
    return log.read_text(encoding="utf-8").count(f'"action": "{action}"') if log.exists() else 0


def engine(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    """The engine's CLI and the driver; the local cloud is not theirs to take along. Empty before the CLI runs,
    which is not the one of the refresh that settles what an earlier run left.
    """
    own = psutil.Process(driver.pid)
    cli = engines(own, "up")
    return [*cli, own] if cli else []


def creating_of(project: Project) -> Callable[[], set[str]]:
    """What is being created now; the state is read when it was written, as often as one may ask."""
    last: tuple[tuple[int, int], set[str]] = ((0, 0), set())

    def look() -> set[str]:
        nonlocal last
        with contextlib.suppress(FileNotFoundError):
            status = project.checkpoint_file.stat()
            written = (status.st_mtime_ns, status.st_size)
            if written != last[0]:
                last = (written, creating(project))
        return last[1]

    return look


def struck(project: Project, kind: str, action: str) -> bool:
    """kill -9 of the driver and its engine in the middle of a create; False when it came too late."""
    before = requests(project, action)
    driver = project.start("up", *QUICK)
    # Looked up beforehand: it takes as long as many a create.
    until("the start of the engine", lambda: bool(engine(driver)), driver)
    victims, now = engine(driver), creating_of(project)

    def under_way() -> bool:
        return kind in now() and (not action or requests(project, action) > before)

    until(f"the create of {kind}", lambda: under_way() or driver.poll() is not None, driver)
    for process in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    driver.communicate(timeout=30)
    return kind in creating(project)


def kill_while_creating(project: Project, kind: str, action: str = "") -> None:
    """When `action`, a call of the create, was made, and its result is not in the state.

    On a busy machine the strike may come too late: then all is removed and tried again.
    """
    for _ in range(ATTEMPTS):
        if struck(project, kind, action):
            return
        project.ok("destroy", "--yes", "--purge")
    raise AssertionError(f"{ATTEMPTS} times the create of {kind} had ended before the engine was killed")


def orphans(project: Project) -> list[str]:
    """Engine and provider processes of this project that still run."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            words = " ".join(process.cmdline())
            of_engine = "/pulumi" in words or "pulumi.policy" in words
            if of_engine and str(project.root) in words + process.environ().get("PULUMI_HOME", ""):
                found.append(words)
    return found


def test_an_up_that_is_cancelled_and_killed_again_and_again_ends_in_exactly_one_of_each(
    empty: Project,
) -> None:
    project = empty
    driver = project.start("up", "--skip-verify")
    until("the first create", lambda: bool(creating(project)), driver)
    second = project.run("up")
    assert second.returncode == 1
    assert "another kubepark run" in second.stdout
    assert f"pid {driver.pid}" in second.stdout
    os.killpg(driver.pid, signal.SIGINT)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 1, output  # the CLI's own
    assert "cancelling" in output
    assert "Traceback" not in output
    assert locks(project) == []
    assert orphans(project) == []

    kill_while_creating(project, "aws:ec2/eip:Eip", "AllocateAddress")
    kill_while_creating(project, "aws:ec2/instance:Instance", "RunInstances")
    kill_while_creating(project, "kubernetes:core/v1:ConfigMap")
    kill_while_creating(project, "kubernetes:apps/v1:Deployment")
    output = project.ok("up", *QUICK, timeout=400)
    assert "Traceback" not in output
    assert requests(project, "ModifyInstanceAttribute") == 0, "user data of what was adopted stays as it is"
    assert len(project.aws("ec2").describe_addresses()["Addresses"]) == 1
    for node in ("master1", "worker01", "worker02", "worker03", "gpu01"):
        project.instance(node)  # fails unless there is exactly one
    assert len(project.get("configmap", "-n", "auth", "--field-selector", "metadata.name=dex")["items"]) == 1
    project.ok("preview", "--expect-no-changes")
    assert orphans(project) == []
    assert locks(project) == []


def test_kill_9_of_the_emulator_is_explained_and_up_builds_it_again(project: Project) -> None:
    (emulator,) = emulators(project)
    kill(emulator)
    refused = project.run("preview")
    assert refused.returncode == 1
    assert "make down" in refused.stdout or "kubepark reset" in refused.stdout
    assert "Traceback" not in refused.stdout
    output = project.ok("up", "--skip-preview", timeout=400)
    assert project.verified in output


def emulators(project: Project) -> list[psutil.Process]:
    found: list[Any] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            words = process.cmdline()
            if "sandbox.aws.emulator" in words and str(project.aws_port) in words:
                found.append(process)
    return found

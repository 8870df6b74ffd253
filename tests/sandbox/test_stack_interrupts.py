"""Interruptions of a real `up`: Ctrl-C, kill -9 in the middle of a create, two at once, a dead emulator.

After each, the plain command must finish the work, with exactly one of everything.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from tests.sandbox.project import ROOT, Project
from tests.soak.observe import creating, locks

pytestmark = pytest.mark.sandbox

PATIENCE = 120.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made = Project(tmp_path_factory.mktemp("interrupts") / "project")
    shutil.copy2(ROOT / ".gitignore", made.root / ".gitignore")
    # The link that stands for the virtualenv here is not the folder that the ignore file names.
    git(made, "init", "--quiet")
    (made.root / ".git" / "info" / "exclude").write_text("/.venv\n", encoding="utf-8")
    git(made, "add", "--all")
    git(made, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", "copy")
    try:
        yield made
    finally:
        made.stop()


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
        time.sleep(0.005)


def requested(project: Project, action: str) -> bool:
    log = project.state / "logs" / "requests.jsonl"
    return log.exists() and f'"action": "{action}"' in log.read_text(encoding="utf-8")


def engine(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    """The driver and the engine's CLI; the local cloud is not theirs to take along."""
    own = psutil.Process(driver.pid)
    cli = [child for child in own.children(recursive=True) if child.name() == "pulumi"]
    return [*cli, own]


def killed_while_creating(project: Project, kind: str, happened: Callable[[], bool]) -> None:
    driver = project.start("up", "--skip-verify", "--skip-preview")
    until(f"the create of {kind}", lambda: kind in creating(project) and happened(), driver)
    for process in engine(driver):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    driver.wait(30)
    assert kind in creating(project), "the kill must have come before the engine knew the result"


def orphans(project: Project) -> list[str]:
    """Engine and provider processes of this project that still run."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            words = " ".join(process.cmdline())
            of_engine = "sandbox.providers" in words or "/pulumi" in words or "pulumi.policy" in words
            if of_engine and str(project.root) in words + process.environ().get("PULUMI_HOME", ""):
                found.append(words)
    return found


def test_a_port_in_use_is_named_with_a_way_out(project: Project) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", project.aws_port))
        holder.listen()
        done = project.run("up")
    assert done.returncode == 1
    assert str(project.aws_port) in done.stdout
    assert "kubepark:aws.endpoint" in done.stdout
    assert "Traceback" not in done.stdout


def test_ctrl_c_ends_cleanly_and_the_next_up_goes_on(project: Project) -> None:
    driver = project.start("up", "--skip-verify")
    until("the first create", lambda: requested(project, "CreateVpc"), driver)
    second = project.run("up")
    assert second.returncode == 1
    assert "another kubepark run" in second.stdout
    assert f"pid {driver.pid}" in second.stdout
    os.killpg(driver.pid, signal.SIGINT)
    output, _ = driver.communicate(timeout=60)
    assert driver.returncode == 130, output
    assert "interrupted" in output
    assert "Traceback" not in output
    assert locks(project) == []
    assert orphans(project) == []


def test_kill_9_while_creating_leaves_exactly_one_of_each(project: Project) -> None:
    killed_while_creating(project, "aws:ec2/eip:Eip", lambda: requested(project, "AllocateAddress"))
    killed_while_creating(project, "aws:ec2/instance:Instance", lambda: requested(project, "RunInstances"))
    killed_while_creating(project, "kubernetes:core/v1:ConfigMap", lambda: True)
    output = project.ok("up", "--skip-verify", "--skip-preview", timeout=400)
    assert "Traceback" not in output
    assert len(project.aws("ec2").describe_addresses()["Addresses"]) == 1
    for node in ("master1", "worker01", "worker02", "worker03", "gpu01"):
        project.instance(node)  # fails unless there is exactly one
    assert len(project.get("configmap", "-n", "auth", "--field-selector", "metadata.name=dex")["items"]) == 1
    project.ok("preview", "--expect-no-changes")
    assert orphans(project) == []
    assert locks(project) == []


def test_kill_9_of_the_emulator_is_explained_and_up_builds_it_again(project: Project) -> None:
    (emulator,) = emulators(project)
    emulator.kill()
    emulator.wait(10)
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
            if "sandbox.emulator" in words and str(project.aws_port) in words:
                found.append(process)
    return found


def test_the_work_tree_is_clean_after_all_of_it(project: Project) -> None:
    assert git(project, "status", "--porcelain") == ""

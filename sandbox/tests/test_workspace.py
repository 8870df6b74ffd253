"""The environment of a sandbox stack's CLI: generated secrets, the copy of the stack file, locks."""

from __future__ import annotations

import json
import os
import shlex
import signal
import stat
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bcrypt
import pytest
from typer.testing import CliRunner

from sandbox import checkpoint, config, stackfile
from sandbox.cli import app
from sandbox.errors import SandboxError
from sandbox.foreign import adapted
from sandbox.plugins import install_cli
from sandbox.processes import output
from sandbox.tests.test_foreign import TEXT
from sandbox.tests.tools import executable, tool
from sandbox.workspace import Workspace

pytestmark = pytest.mark.sandbox

ROOT = Path(__file__).resolve().parents[2]


class Project:
    """A folder with a stack file; every call of the CLI is noted with its arguments."""

    def __init__(self, folder: Path) -> None:
        self.root, self.calls = folder, folder / "calls.log"
        (folder / "Pulumi.yaml").write_text("name: tiny\nruntime: python\n")
        self.people("ana", "bo")
        bin_dir = folder / ".sandbox" / "bin"
        install_cli(bin_dir.parent / "cli", tool("pulumi"), ROOT)
        calls, cli = (shlex.quote(str(path)) for path in (self.calls, bin_dir.parent / "cli"))
        script = f'#!/bin/sh\nprintf "%s\\n" "$*" >> {calls}\nexec {cli}/pulumi "$@"\n'
        executable(bin_dir / "pulumi", script)
        self.workspace = Workspace(config.load(folder))

    def people(self, *names: str) -> None:
        lines = [f"    - {{name: {name}, email: {name}@example.org}}\n" for name in names]
        (self.root / "Pulumi.sandbox.yaml").write_text(
            'config:\n  kubepark:aws: {endpoint: "http://127.0.0.1:1"}  # a comment\n'
            '  kubepark:controlPlane: {apiEndpoint: "https://127.0.0.1:1"}\n'
            f"  kubepark:people:\n{''.join(lines)}"
        )

    def prepare(self) -> list[str]:
        """Prepare; gives the verbs of the CLI calls that it took."""
        self.calls.write_text("")
        self.workspace.prepare()
        return [line.partition("never ")[2].split()[0] for line in self.calls.read_text().splitlines()]

    def pulumi(self, *words: str, given: str | None = None) -> str:
        """As `kubepark` calls the CLI: in the project's own folder, in the environment."""
        return output(["pulumi", *words], cwd=self.root, env=self.workspace.environment(), input=given)

    def config(self, key: str) -> Any:
        found = json.loads(self.pulumi("config", "get", "--json", "--path", f"kubepark:{key}"))
        return found.get("objectValue") or found["value"]

    def passwords(self) -> dict[str, str]:
        lines = self.workspace.passwords_file.read_text().splitlines()
        return {line.split()[1]: line.split()[2] for line in lines}

    def ciphers(self) -> dict[str, str]:
        return dict(json.loads(self.workspace.config.secrets_file.read_text())["sandbox"]["values"])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("KUBEPARK_SANDBOX_DIR", raising=False)
    return Project(tmp_path)


def test_each_person_gets_a_password_that_fits_the_hash_and_no_secret_is_anywhere_else(
    project: Project,
) -> None:
    project.prepare()
    passwords, hashes = project.passwords(), project.config("passwordHashes")
    client = project.config("oidcClientSecret")
    assert set(passwords) == set(hashes) == {"ana", "bo"}
    for person, password in passwords.items():
        assert bcrypt.checkpw(password.encode(), hashes[person].encode())
    state = project.workspace.config.state_dir
    for name in ("passwords.txt", "ciphers.json", "passphrase"):
        assert stat.S_IMODE((state / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    files = [path for path in project.root.rglob("*") if path.is_file() and path.name != "passwords.txt"]
    assert project.calls in files
    secrets = [*passwords.values(), *hashes.values(), client]
    assert [path for path in files for secret in secrets if secret.encode() in path.read_bytes()] == []


def test_a_prepared_copy_costs_no_call_and_secrets_and_the_projects_files_stay(project: Project) -> None:
    before = {name: (project.root / name).read_bytes() for name in ("Pulumi.yaml", "Pulumi.sandbox.yaml")}
    assert project.prepare() == ["stack", "config"]
    passwords, ciphers = project.passwords(), project.ciphers()
    assert project.prepare() == []
    checkpoint.forget(project.workspace)
    assert project.prepare() == ["stack"]
    assert (project.passwords(), project.ciphers()) == (passwords, ciphers)
    project.people("ana", "bo", "chris")
    assert project.prepare() == ["config"]
    assert project.ciphers().items() >= ciphers.items()
    assert len(project.ciphers()) == len(ciphers) + 1
    project.people("ana", "bo")
    project.prepare()
    assert {name: (project.root / name).read_bytes() for name in before} == before


def test_a_hash_that_somebody_sets_is_kept_and_the_old_password_forgotten(project: Project) -> None:
    project.prepare()
    own = bcrypt.hashpw(b"chosen by ana herself", bcrypt.gensalt(4)).decode()
    project.pulumi("config", "set", "--secret", "--path", 'kubepark:passwordHashes["ana"]', given=own)
    project.people("ana", "bo", "chris")
    project.prepare()
    assert project.config("passwordHashes")["ana"] == own
    assert set(project.passwords()) == {"bo", "chris"}


def test_a_stack_file_with_encryption_of_its_own_is_refused(project: Project) -> None:
    path = project.root / "Pulumi.sandbox.yaml"
    path.write_text(path.read_text() + "encryptionsalt: v1:abc\n")
    with pytest.raises(SandboxError, match=r"names a sandbox .* remove `encryptionsalt`"):
        project.prepare()


def test_what_env_prints_leaves_a_shell_as_the_command_s_own_environment_without_the_person_s(
    project: Project, monkeypatch
) -> None:
    """A proxy, another account's profile or another stack's passphrase would lead a plain pulumi elsewhere."""
    workspace = project.workspace
    for name in ("AWS_PROFILE", "PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_OPTION_YES"):
        monkeypatch.setenv(name, "theirs")
    monkeypatch.setenv("no_proxy", "internal.example.org")
    monkeypatch.setattr("sandbox.local_cloud.prepare", lambda config: None)
    monkeypatch.setattr("sandbox.cli.Sandbox", lambda stack: SimpleNamespace(workspace=workspace))
    monkeypatch.setattr(Workspace, "prepare", lambda self: None)
    said = CliRunner().invoke(app, ["env"]).stdout
    python = 'exec "$2" -c "import json, os; print(json.dumps(dict(os.environ)))"'
    shown = json.loads(output(["sh", "-c", f'{said}\neval "$1"\n{python}', "sh", said, sys.executable]))
    assert "theirs" not in shown.values()
    assert shown["no_proxy"] == shown["NO_PROXY"] == "internal.example.org,127.0.0.1,localhost"
    shells = ("_", "SHLVL", "OLDPWD")
    expected = {name: value for name, value in workspace.environment().items() if name not in shells}
    assert {name: shown[name] for name in expected} == expected


DEAD = 2**22 + 1  # above every pid that there is


def lock(**fields: Any) -> str:
    """What the CLI writes of the holder of a lock: by default, of this process."""
    holder = {"pid": os.getpid(), "hostname": os.uname().nodename, "timestamp": "2026-11-23T10:00:00Z"}
    return json.dumps({**holder, **fields})


def test_the_lock_of_a_dead_process_goes_and_that_of_a_live_one_stays(project: Project) -> None:
    folder = project.workspace.lock_dir
    folder.mkdir(parents=True)
    for kept in (lock(), lock(pid=DEAD, hostname="elsewhere")):
        (folder / "lock.json").write_text(kept)
        assert checkpoint.remove_dead_locks(project.workspace) == []
    (folder / "lock.json").write_text(lock(pid=DEAD))
    said = "removed the lock of pid 4194305, which is dead"
    assert checkpoint.remove_dead_locks(project.workspace) == [said]
    assert list(folder.iterdir()) == []


def test_who_works_on_a_stack_that_is_forgotten_is_ended(project: Project, spawn: Any) -> None:
    """A CLI whose `kubepark` was killed alone would write its state again afterwards."""
    folder = project.workspace.lock_dir
    folder.mkdir(parents=True)
    engine = spawn("sleep", "600")
    for name, pid in (("live", engine.pid), ("dead", DEAD)):
        (folder / f"{name}.json").write_text(lock(pid=pid))
    said = f"ended pulumi (pid {engine.pid}), which worked on the stack"
    assert checkpoint.end_engines(project.workspace) == [said]
    assert engine.wait(10) == -signal.SIGKILL


def test_people_in_a_file_of_their_own_get_passwords_and_a_broken_file_is_left_to_the_program(
    project: Project,
) -> None:
    path = project.root / "Pulumi.sandbox.yaml"
    others = path.read_text().partition("  kubepark:people")[0]
    path.write_text(f"{others}  kubepark:peopleFile: people.yaml\n")
    listed = project.root / "people.yaml"
    listed.write_text("- {name: eve, email: eve@example.org}\n")
    project.prepare()
    assert set(project.passwords()) == {"eve"}
    listed.write_text("- {broken")
    project.prepare()
    assert set(project.passwords()) == {"eve"}


def test_two_programs_have_their_own_secrets_in_one_state(project: Project) -> None:
    """They are given to the workspace in place of generated ones."""
    seen = []
    for text in (TEXT, TEXT.replace("cipher-of-bo", "another"), TEXT):
        found = adapted(text, "Pulumi.sandbox.yaml", project.root)
        file = project.root / "adapted.yaml"
        file.write_text(stackfile.dump(found.document), encoding="utf-8")
        project.workspace = Workspace(replace(project.workspace.config, stack_file=file), found.secrets)
        project.prepare()
        seen.append({key: project.config(key) for key in ("passwordHashes", "oidcClientSecret")})
        given = found.secrets
        assert given is not None
        assert seen[-1]["passwordHashes"]["bo"] == given['kubepark:passwordHashes["bo"]']
        assert project.config("connectors[0].clientId") == given['kubepark:connectors[0]["clientId"]']
        assert project.config("connectorSecrets")["github"] == given['kubepark:connectorSecrets["github"]']
    assert seen[0] == seen[2]
    assert seen[0] != seen[1]
    assert project.passwords() == {}, "nothing was generated"

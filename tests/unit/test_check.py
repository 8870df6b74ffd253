"""`kubepark check` says what the program would say, of any stack file, without an engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from cli import main, stackfile
from components import preflight
from config import ROOT
from config.sections import people as people_section
from tests.configuration import HASH, configuration
from tests.engine import attempt
from tests.stack_files import CIPHERTEXT, StackFile, make

OUTPUTS = "pulumi:pulumi:readStackOutputs"
FILES = 60
SECOND = 1.0  # of processor time: other tests run beside this one


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where stack files and lists of people are; manifests stay where they are."""
    monkeypatch.setattr(stackfile, "ROOT", tmp_path)
    monkeypatch.setattr(people_section, "ROOT", tmp_path)
    return tmp_path


def by_the_program(file: StackFile) -> str:
    """The error with which the program ends before it registers anything; empty if it goes on."""
    recording = attempt(
        preflight.run,
        config=file.config,
        secrets=file.secrets,
        stack="dev",
        answers={OUTPUTS: {"outputs": {}}},
    )
    if recording.error is None:
        return ""
    assert type(recording.error).__name__ == "RunError", repr(recording.error)
    return f"error: {recording.error}\n"


def write(folder: Path, config: dict[str, Any], stack: str = "dev") -> None:
    document = {"config": {f"kubepark:{key}": value for key, value in config.items()}}
    (folder / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")


def encrypted(**changes: Any) -> dict[str, Any]:
    """A right configuration as it is written."""
    secure = {"secure": CIPHERTEXT}
    return configuration(
        **{"passwordHashes": {"ana": secure, "bo": secure}, "oidcClientSecret": secure} | changes
    )


def checked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main.main(["check", "--stack", "dev", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_it_agrees_with_the_program_on_random_stack_files(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random, good = Random(18), 0
    for number in range(FILES):
        file = make(random, folder / "people.yaml")
        (folder / "Pulumi.dev.yaml").write_text(file.text, encoding="utf-8")
        began = time.process_time()
        code, _, said = checked(capsys)
        assert time.process_time() - began < SECOND
        expected = by_the_program(file)
        assert said == expected, f"file {number}\n{file.text}"
        assert code == (1 if expected else 0)
        good += code == 0
    assert 10 <= good <= 50, "good and bad ones"


def test_problems_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, encrypted(clusterName="My Lab", podSecurity="none"))
    code, out, err = checked(capsys, "--json")
    found = json.loads(out)
    assert (code, err, found["stack"], found["ok"]) == (1, "", "dev", False)
    assert [each["key"] for each in found["problems"]] == ["kubepark:clusterName", "kubepark:podSecurity"]
    assert found["problems"][0] == {
        "key": "kubepark:clusterName",
        "wrong": '"My Lab" is not a DNS-1123 label',
        "accepted": "a DNS-1123 label of at most 24 characters",
        "fix": "pulumi config set --stack dev --path kubepark:clusterName kubepark-dev",
    }
    write(folder, encrypted())
    assert checked(capsys, "--json")[:2] == (0, '{\n  "stack": "dev",\n  "ok": true,\n  "problems": []\n}\n')
    assert checked(capsys)[:2] == (0, "stack dev: nothing that `up` would refuse\n")


@pytest.mark.parametrize(
    ("text", "words"),
    [("config: [", "is not valid YAML"), ("config: []", "must be a map"), (None, "there is no stack dev")],
)
def test_a_file_that_cannot_be_read_is_a_problem_too(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str | None, words: str
) -> None:
    if text is not None:
        (folder / "Pulumi.dev.yaml").write_text(text, encoding="utf-8")
    code, out, _ = checked(capsys, "--json")
    (problem,) = json.loads(out)["problems"]
    assert (code, problem["key"]) == (1, "")
    assert words in problem["wrong"]
    assert words in checked(capsys)[2]


def test_manifests_are_looked_at(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(folder, encrypted(manifests={"calico": "nowhere.yaml"}))
    code, out, _ = checked(capsys, "--json")
    assert (code, [each["wrong"] for each in json.loads(out)["problems"]]) == (
        1,
        ["nowhere.yaml cannot be read: No such file or directory"],
    )


SECURE = {"secure": CIPHERTEXT}


@pytest.mark.parametrize(
    "changes",
    [
        {"aws__accountId": SECURE},
        {"network__adminCidrs": [SECURE, "203.0.113.7/32"]},
        {"people": [{"name": "ana", "email": SECURE}, {"name": "bo", "email": "bo@example.org"}]},
        {"controlPlane__volumeGb": SECURE},
        {"oidcClientId": SECURE},
        {"tags": {"team": SECURE}},
        {"gpu__labels": {"team": SECURE}},
        {"passwordHashes": SECURE},
        {
            "people": [{"name": "ana", "email": "ana@example.org", "quota": {"pods": SECURE}}],
            "passwordHashes": SECURE,
        },
    ],
)
def test_what_is_encrypted_counts_as_right(
    folder: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any]
) -> None:
    write(folder, encrypted(**changes))
    assert checked(capsys) == (0, "stack dev: nothing that `up` would refuse\n", "")


@pytest.mark.parametrize("key", ["network", "people", "groups", "gpu__labels", "gpu__nodes"])
def test_an_object_that_is_encrypted_as_a_whole_cannot_be_checked(
    folder: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    write(folder, encrypted(**{key: SECURE}))
    code, _, said = checked(capsys)
    assert code == 1
    assert (
        f"kubepark:{key.replace('__', '.')}: is encrypted as a whole, and nothing is decrypted here" in said
    )
    assert CIPHERTEXT not in said


def test_a_sandbox_makes_its_secrets_itself(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = {"passwordHashes": None, "oidcClientSecret": None}
    write(folder, configuration(aws__endpoint="http://127.0.0.1:4566", **missing))
    assert checked(capsys)[0] == 0
    write(folder, configuration(aws__endpoint="http://127.0.0.1:4566", oidcClientSecret=None))
    assert "passwordHashes: is stored as plain text" in checked(capsys)[2]
    write(folder, configuration(**missing))
    assert "kubepark:oidcClientSecret: is missing" in checked(capsys)[2]


def test_a_secret_is_never_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(
        folder,
        configuration(passwordHashes={"ana": HASH, "bo": "hunter2-hunter2"}, oidcClientSecret="short-one"),
    )
    code, out, _ = checked(capsys, "--json")
    assert code == 1
    assert not any(secret in out for secret in (HASH, "hunter2-hunter2", "short-one"))


def test_the_defaults_of_the_project_change_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The engine adds them to what it gives to the program."""
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
    defaults = {key.partition(":")[2]: value["default"] for key, value in project["config"].items()}
    assert len(defaults) >= 19
    file = StackFile("", defaults, set())
    write(folder, {})
    assert checked(capsys)[2] == by_the_program(file)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as far as the command needs it, with stack files of its own."""
    root = tmp_path_factory.mktemp("project")
    for name in ("bin", "cli", "components", "config", "userdata", "sandbox/manifests"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    (root / ".venv").symlink_to(ROOT / ".venv")
    return root


def test_the_command_agrees_and_takes_less_than_a_second(copy: Path, tmp_path: Path) -> None:
    """No network, no credentials, no engine: nothing of it is in its environment."""
    random = Random(81)
    assert command(copy, "dev")[0] == 1, "also compiles the copy"
    spent = []
    for _ in range(4):
        file = make(random, tmp_path / "elsewhere.yaml")
        (copy / "Pulumi.dev.yaml").write_text(file.text, encoding="utf-8")
        code, said, seconds = command(copy, "dev")
        expected = by_the_program(file)
        assert (code, said) == (1 if expected else 0, expected)
        spent.append(seconds)
    assert min(spent) < SECOND, "on a machine that does something else it may take more"


def command(root: Path, stack: str) -> tuple[int, str, float]:
    """Exit code, standard error, processor seconds."""
    before = os.times()
    done = subprocess.run(
        [root / "bin" / "kubepark", "check", "--stack", stack],
        env={"PATH": "/usr/bin:/bin", "HOME": str(root)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    after = os.times()
    spent = (after.children_user - before.children_user) + (after.children_system - before.children_system)
    return done.returncode, done.stderr, spent

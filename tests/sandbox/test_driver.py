"""The driver on the real engine: operations, output, secrets, policies."""

from __future__ import annotations

import json
import stat
import subprocess
import sys

import bcrypt
import pytest

from tests.sandbox.driver_project import Project, epoch_server

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def emulator():
    with epoch_server() as server:
        yield server


@pytest.fixture
def project(tmp_path, emulator):
    emulator.epoch = "first"
    return Project(tmp_path, emulator.server_port)


def test_life_of_a_stack(project):
    project.things(a={"value": "1"}, b={"value": "2"})
    planned = project.run("preview")
    assert project.exists() == []
    assert planned.count("tiny:index:Thing") == 2
    assert "4 to create" in planned

    done = project.run("up")
    assert len(project.exists()) == 2
    assert "(in group)" in done
    assert "created in 0." in done
    assert "\x1b" not in done, "colour in a pipe"
    assert "$PATH" not in done
    assert "unchanged" in project.run("preview", "--expect-no-changes")

    project.things(a={"value": "1"}, b={"value": "3", "new": [1]})
    refused = project.run("preview", "--expect-no-changes", code=1)
    assert "error: no changes were expected" in refused
    assert "update [new, value]" in project.run("preview")
    difference = project.run("preview", "--diff")
    assert '~ value: "2" => "3"' in difference
    assert "+ new: [1]" in difference
    assert "1 updated" in project.run("up")

    (project.cloud / f"{project.exists()[0]}.json").unlink()
    assert "1 to delete" in project.run("refresh", "--preview-only")
    assert len(project.names()) == 3, "a preview changes nothing"
    assert "1 deleted" in project.run("refresh")
    assert len(project.names()) == 2
    project.run("destroy")
    assert project.exists() == []
    assert project.names() == []


def test_json_preview_is_the_engines_document_and_nothing_else(project):
    project.things(a={"value": "1"})
    process = project.start("preview", "--json")
    out, err = process.communicate(timeout=60)
    document = json.loads(out)
    assert {step["op"] for step in document["steps"]} == {"create"}
    assert err == ""


def test_each_person_gets_a_password_that_fits_the_hash_the_program_sees(project):
    project.run("up")
    outputs = json.loads(project.run("outputs", "--show-secrets"))
    passwords = (project.state / "passwords.txt").read_text()
    known = {line.split()[1]: line.split()[2] for line in passwords.splitlines()}
    assert set(known) == set(outputs["hashes"]) == {"ana", "bo"}
    for person, password in known.items():
        assert bcrypt.checkpw(password.encode(), outputs["hashes"][person].encode())
        assert outputs["hashes"][person].startswith("$2b$10$")
    assert len(outputs["clientSecret"]) >= 32
    assert json.loads(project.run("outputs")) == {
        "clientSecret": "[secret]",
        "hashes": "[secret]",
        "plain": 1,
    }

    for name in ("passwords.txt", "secrets.json", "passphrase"):
        assert stat.S_IMODE((project.state / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(project.state.stat().st_mode) == 0o700

    secrets = [*known.values(), *outputs["hashes"].values(), outputs["clientSecret"]]
    kept_apart = {project.state / "passwords.txt", project.state / "secrets.json"}
    files = [path for path in project.root.rglob("*") if path.is_file() and path not in kept_apart]
    assert project.calls in files
    assert project.state / "logs" / "pulumi.log" in files
    leaks = [str(path) for path in files for secret in secrets if secret.encode() in path.read_bytes()]
    assert leaks == []


def test_the_cli_is_called_once_per_operation_and_files_of_the_project_stay(project):
    before = {name: (project.root / name).read_bytes() for name in ("Pulumi.yaml", "Pulumi.sandbox.yaml")}
    project.run("preview")
    first = project.cli_calls()
    assert [call.split("never ")[-1].split()[0] for call in first[:2]] == ["stack", "config"]
    assert first[2].startswith("preview ")
    assert len(first) == 3
    project.run("up")
    project.run("preview")
    assert [call.split()[0] for call in project.cli_calls()] == ["up", "preview"]
    # A person more is one call more, and nobody's hash changes.
    hashes = json.loads((project.state / "secrets.json").read_text())["sandbox"]["hashes"]
    port = int((project.root / "Pulumi.sandbox.yaml").read_text().split("127.0.0.1:")[1].split('"')[0])
    project.configure(port, ("ana", "bo", "chris"))
    project.run("preview")
    assert len(project.cli_calls()) == 2
    after = json.loads((project.state / "secrets.json").read_text())["sandbox"]["hashes"]
    assert {name: after[name] for name in hashes} == hashes
    assert set(after) == {"ana", "bo", "chris"}
    project.configure(port)
    assert {name: (project.root / name).read_bytes() for name in before} == before


def test_a_stack_file_with_its_own_encryption_is_refused(project):
    path = project.root / "Pulumi.sandbox.yaml"
    path.write_text(path.read_text() + "encryptionsalt: v1:abc\n")
    said = project.run("preview", code=1)
    assert said.startswith("error: Pulumi.sandbox.yaml names a sandbox")
    assert "remove `encryptionsalt`" in said


def test_a_refusal_is_shown_once_and_the_rest_is_made(project):
    project.things(good={"value": "1"}, bad={"fail": "InvalidThing: no such colour\nsecond line"})
    said = project.run("up", code=1)
    assert said.count("InvalidThing: no such colour") == 1
    assert "error: bad: InvalidThing" in said
    assert "Traceback" not in said
    assert "1 failed" in said
    assert project.names() == ["good", "group"]


def test_bad_input_is_one_error_without_traceback_and_creates_nothing(project):
    program = project.root / "__main__.py"
    program.write_text(
        'import pulumi\nraise pulumi.RunError("2 problems\\n  kubepark:x: a\\n  kubepark:y: b")\n'
    )
    for verb in ("preview", "up"):
        said = project.run(verb, code=1)
        assert said.count("2 problems") == 1
        assert said.count("kubepark:y: b") == 1
        assert "Traceback" not in said
    assert project.exists() == []


def test_a_mandatory_policy_stops_up_before_anything_exists(project):
    project.policy()
    project.things(a={"value": "allowed"}, b={"value": "forbidden"})
    for verb in ("preview", "up"):
        said = project.run(verb, code=1)
        assert (
            "policy violation: tiny:index:Thing b: d\n       this value is forbidden [no-forbidden]" in said
        )
    assert project.exists() == []
    project.things(a={"value": "allowed"})
    project.run("up")
    assert len(project.exists()) == 1


def test_state_that_outlived_its_emulator_is_refused_with_the_way_out(project, emulator):
    project.run("preview")  # an empty stack belongs to any emulator
    emulator.epoch = "second"
    project.things(a={"value": "1"})
    project.run("up")
    emulator.epoch = "third"
    for verb in ("preview", "up", "refresh", "destroy"):
        said = project.run(verb, code=1)
        assert said.startswith("error: the AWS emulator was started anew, empty")
        assert "`kubepark reset`" in said
        assert "make down" in said
    assert len(project.names()) == 2
    emulator.epoch = "second"
    project.run("preview", "--expect-no-changes")


def test_wrong_usage_is_exit_code_2(project):
    for arguments in (["nosuch"], ["up", "--nosuch"], []):
        done = subprocess.run(
            [sys.executable, "-m", "sandbox.driver", *arguments], capture_output=True, text=True
        )
        assert done.returncode == 2
        assert "usage:" in done.stderr

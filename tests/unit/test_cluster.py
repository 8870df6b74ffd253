"""Which kubeconfig a command takes, and what is left of it afterwards."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
import yaml
from botocore.exceptions import ClientError

from cli import aws, cluster, environments, main
from cli.errors import CommandError

CLOSED = "https://127.0.0.1:1"  # nothing listens there


def kubeconfig(server: str = CLOSED) -> str:
    secret = base64.b64encode(b"-----BEGIN EC PRIVATE KEY-----").decode()
    user = {"client-certificate-data": secret, "client-key-data": secret}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    return yaml.safe_dump(document)


@pytest.fixture
def state(tmp_path, monkeypatch):
    """The user's state directory."""
    folder = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return folder


class Ssm:
    """Parameter Store with one parameter; None: the caller may not read it."""

    def __init__(self, value):
        self.value = value

    def get_parameter(self, Name, WithDecryption):
        assert (Name, WithDecryption) == ("/kubepark-dev/kubeconfig", True)
        if self.value is None:
            denied = {"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}
            raise ClientError(denied, "GetParameter")
        return {"Parameter": {"Value": self.value}}


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The parameter of the stack's master; `endpoint`: the stack's output, "" before the first update."""

    def have(value: str | None, endpoint: str = CLOSED) -> Path:
        script = tmp_path / "pulumi"
        outputs = json.dumps({"api_endpoint": endpoint} if endpoint else {})
        script.write_text(f"#!/bin/sh\necho \"$*\" >>{tmp_path}/calls\necho '{outputs}'\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        monkeypatch.setattr(aws, "client", lambda service, stack, variables: {"ssm": Ssm(value)}[service])
        return tmp_path / "calls"

    return have


def test_the_stacks_own_kubeconfig_is_what_the_master_published_and_stays_in_memory(state, published):
    calls = published(kubeconfig("https://once:6443"))
    found = cluster.kubeconfig_of("dev")
    assert found["clusters"][0]["cluster"]["server"] == CLOSED, "where the stack says now"
    assert calls.read_text() == "stack output --json --stack dev\n", "no secret of the state is asked for"
    assert not state.exists()


def test_what_a_person_names_wins_and_a_sandbox_keeps_its_own(state, published, tmp_path, monkeypatch):
    calls = published(kubeconfig())
    assert cluster.kubeconfig_of("dev", "a:b") == "a:b"
    monkeypatch.setattr(environments.Account, "kubeconfig", tmp_path / "kept")
    assert cluster.kubeconfig_of("dev") == tmp_path / "kept"
    assert not calls.exists(), "nothing was asked"


def test_the_operators_kubeconfig_is_printed_or_written_for_its_owner_alone(
    state, published, tmp_path, capsys
):
    published(kubeconfig("https://once:6443"))
    assert main.main(["kubeconfig", "--stack", "dev"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == yaml.safe_load(kubeconfig())
    file = tmp_path / "operator"
    file.touch(0o644)
    assert main.main(["kubeconfig", "--stack", "dev", "--output", str(file)]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"export KUBECONFIG={file}" in shown.err
    assert (yaml.safe_load(file.read_text()), stat.S_IMODE(file.stat().st_mode)) == (
        yaml.safe_load(kubeconfig()),
        0o600,
    )
    assert main.main(["kubeconfig", "--stack", "dev", "--output", str(tmp_path / "no" / "folder")]) == 1
    assert "cannot be written: No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("verify", "gpu"), ("people", "sync", "--external", "--remove")])
def test_every_command_that_needs_the_cluster_finds_it_by_the_stack(
    words, state, published, tmp_path, capsys
):
    published(kubeconfig())
    assert main.main([*words, "--stack", "dev"]) == 1
    shown = "".join(capsys.readouterr())
    assert f"error: the Kubernetes API cannot be reached at {CLOSED}" in shown
    assert "Traceback" not in shown
    assert list(state.rglob("*")) == [state / "kubepark"], "no key is left"

    other = tmp_path / "other"
    other.write_text(kubeconfig("https://127.0.0.1:2"))
    for named in (("--kubeconfig", str(other)), ()):
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("KUBECONFIG", "/nowhere" if named else str(other))
            assert main.main([*words, "--stack", "dev", *named]) == 1
        assert "cannot be reached at https://127.0.0.1:2" in "".join(capsys.readouterr())


def test_keys_are_in_files_that_nobody_else_can_read_and_that_go(state):
    with cluster.connected(yaml.safe_load(kubeconfig())) as api:
        (folder,) = (state / "kubepark").iterdir()
        files = [Path(api.configuration.cert_file), Path(api.configuration.key_file)]
        assert {file.parent for file in files} == {folder}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert not folder.exists()
    with pytest.raises(RuntimeError), cluster.connected(yaml.safe_load(kubeconfig())):
        raise RuntimeError
    assert list((state / "kubepark").iterdir()) == []


@pytest.mark.parametrize(
    ("have", "said"),
    [
        (("", ""), "stack dev has no cluster yet: run `bin/kubepark up --stack dev`, or name a file by "),
        ((None, CLOSED), "Needed: ssm:GetParameter on /kubepark-dev/kubeconfig, and kms:Decrypt with"),
        (("a: [SECRET", CLOSED), "what the master of stack dev published is no kubeconfig"),
        (("SECRET", CLOSED), "what the master of stack dev published is no kubeconfig"),
    ],
)
def test_a_stack_without_a_kubeconfig_is_one_clean_error(have, said, state, published):
    published(*have)
    with pytest.raises(CommandError) as refused:
        cluster.kubeconfig_of("dev")
    assert said in str(refused.value)
    assert "SECRET" not in str(refused.value)


def test_a_context_that_is_not_there_and_a_folder_that_cannot_be_made_are_errors(state):
    with (
        pytest.raises(CommandError, match=r"the stack's kubeconfig cannot be used: .*nosuch"),
        cluster.connected(yaml.safe_load(kubeconfig()), "nosuch"),
    ):
        pass
    (state / "kubepark").rmdir()
    (state / "kubepark").write_text("")
    with (
        pytest.raises(CommandError, match=r"no folder for keys can be made: .*; fix: set XDG_STATE_HOME"),
        cluster.connected(yaml.safe_load(kubeconfig())),
    ):
        pass

"""Which kubeconfig a command takes, and what is left of it afterwards."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
import yaml

from cli import cluster, environments, main
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


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """A `pulumi` on PATH that answers with these outputs, and shows secret ones only when asked to."""

    def have(**values: str) -> Path:
        (tmp_path / "outputs").write_text(json.dumps(values))
        script = tmp_path / "pulumi"
        script.write_text(
            "#!/bin/sh\n"
            f'echo "$*" >>{tmp_path}/calls\n'
            f'case "$*" in *--show-secrets*) cat {tmp_path}/outputs ;; *) echo "{{}}" ;; esac\n'
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return tmp_path / "calls"

    return have


def test_the_stacks_own_kubeconfig_is_an_output_that_stays_in_memory(state, outputs):
    calls = outputs(kubeconfig=kubeconfig())
    found = cluster.kubeconfig_of("dev")
    assert found["clusters"][0]["cluster"]["server"] == CLOSED
    assert calls.read_text() == "stack output --json --show-secrets --stack dev\n"
    assert not state.exists()


def test_what_a_person_names_wins_and_a_sandbox_keeps_its_own(state, outputs, tmp_path, monkeypatch):
    calls = outputs(kubeconfig=kubeconfig())
    assert cluster.kubeconfig_of("dev", "a:b") == "a:b"
    monkeypatch.setattr(environments.Account, "kubeconfig", tmp_path / "kept")
    assert cluster.kubeconfig_of("dev") == tmp_path / "kept"
    assert not calls.exists(), "nothing was asked"


@pytest.mark.parametrize("words", [("verify", "gpu"), ("people", "sync", "--external", "--remove")])
def test_every_command_that_needs_the_cluster_finds_it_by_the_stack(words, state, outputs, tmp_path, capsys):
    outputs(kubeconfig=kubeconfig())
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
        ({}, "stack dev has no output kubeconfig yet: run `bin/kubepark up --stack dev`, or name a file by "),
        ({"kubeconfig": "a: [SECRET"}, "the output kubeconfig of stack dev is no kubeconfig"),
        ({"kubeconfig": "SECRET"}, "the output kubeconfig of stack dev is no kubeconfig"),
    ],
)
def test_a_stack_without_a_kubeconfig_is_one_clean_error(have, said, state, outputs):
    outputs(**have)
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

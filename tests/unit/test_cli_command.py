"""The `kubepark` command: launcher, help, choice between sandbox and real stacks, wrong usage."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from botocore.exceptions import ClientError

from cli import environments, images, main, operations, preflight, stackfile, zones
from cli.destroy import Request
from cli.errors import CommandError
from cli.volume_policy import VolumePolicy

ROOT = Path(__file__).resolve().parents[2]
KUBEPARK = ROOT / "bin" / "kubepark"


def call(*arguments, cwd=None, command=KUBEPARK, **environment):
    return subprocess.run(
        [command, *arguments], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True
    )


def test_the_launcher_works_from_any_folder_and_through_a_link(tmp_path):
    link = tmp_path / "kp"
    link.symlink_to(KUBEPARK)
    (tmp_path / "cli").mkdir()
    (tmp_path / "cli" / "__main__.py").write_text("raise SystemExit('another program')")
    done = call("--help", cwd=tmp_path, command=link)
    assert done.returncode == 0
    for name in ("up", "preview", "refresh", "destroy", "down", "reset", "env", "status", "init", "check"):
        assert f"\n  {name} " in done.stdout
    for name in ("verify", "people", "manifests", "park", "unpark"):
        assert f"\n  {name} " in done.stdout


def test_without_a_virtualenv_the_launcher_says_how_to_make_one(tmp_path):
    (tmp_path / "bin").mkdir()
    shutil.copy(KUBEPARK, tmp_path / "bin" / "kubepark")
    done = call("up", command=tmp_path / "bin" / "kubepark")
    assert done.returncode == 1
    assert "make venv" in done.stderr
    assert done.stderr.startswith(f"error: {tmp_path}/.venv is missing")


@pytest.mark.parametrize(
    "arguments", [["nosuch"], ["down", "--nosuch"], ["init"], ["people", "nosuch"], ["up", "dev"]]
)
def test_wrong_usage_is_exit_code_2(arguments, monkeypatch, capsys):
    monkeypatch.delenv("STACK", raising=False)
    assert main.main(arguments) == 2
    assert "Usage:" in capsys.readouterr().err


def test_a_stack_without_a_file_is_one_clean_error(capsys):
    assert main.main(["preview", "--stack", "nosuch"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: there is no stack nosuch: Pulumi.nosuch.yaml does not exist; known: ")
    assert "sandbox" in said


def test_a_stack_is_a_sandbox_when_its_file_names_an_emulator(tmp_path, monkeypatch):
    monkeypatch.setattr(stackfile, "ROOT", tmp_path)
    (tmp_path / "Pulumi.a.yaml").write_text('config: {"kubepark:aws": {endpoint: "http://127.0.0.1:1"}}')
    (tmp_path / "Pulumi.b.yaml").write_text('config: {"kubepark:aws": {region: x}}')
    assert environments.is_sandbox("a")
    assert isinstance(environments.of("b"), environments.Account)


def test_the_command_itself_imports_nothing_heavy():
    """The engine's SDK takes half a second to import; what does not need it must not wait for it."""
    code = "import sys, cli.main; cli.main.main(['up', '--help']); print('|', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    loaded = set(done.stdout.rpartition("|")[2].split())
    assert "typer" in loaded
    assert loaded.isdisjoint({"pulumi", "grpc", "boto3", "kubernetes", "ruamel.yaml", "bcrypt"})


def test_a_check_imports_no_sdk_and_opens_no_connection():
    code = (
        "import socket, sys, cli.main\n"
        "socket.socket.connect = socket.getaddrinfo = None\n"
        "cli.main.main(['check', '--stack', 'dev']); print('|', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.startswith("error: the configuration of stack dev has ")
    loaded = set(done.stdout.rpartition("|")[2].split())
    assert "components.preflight" in loaded
    assert loaded.isdisjoint({"pulumi", "pulumi_aws", "grpc", "boto3", "botocore", "kubernetes", "bcrypt"})


# -- stacks in a real account: the environment is the person's own ---------------------------------


@pytest.fixture
def pulumi(tmp_path, monkeypatch):
    """A `pulumi` on PATH that notes its arguments and answers like one with a data key."""
    log = tmp_path / "calls"
    script = tmp_path / "pulumi"
    script.write_text(
        "#!/bin/sh\n"
        f'echo "$*" >> {log}\n'
        'case "$1 $2" in "stack output") echo \'{"data_key_id": "key-1"}\';; '
        '"stack export") echo \'{"deployment": {}}\';; esac\n'
        'case "$*" in *--signalled*) kill -TERM $$;; *--diff*) exit 3;; esac\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    return log


def operations_of(log):
    """The calls that change or preview something; what is read before and after is left out."""
    lines = (re.sub(r" --event-log \S+", " --event-log PIPE", line) for line in log.read_text().splitlines())
    return [line for line in lines if not line.startswith("stack ")]


def test_every_operation_is_plain_pulumi_with_the_policy_pack_and_all_options(pulumi):
    ours = f"--policy-pack {ROOT}/policies --skip-config-validation"
    assert main.main(["up", "--stack", "dev", "--target", "urn:x"]) == 0
    assert main.main(["up", "-s", "dev", "--yes", "--diff"]) == 3, "pulumi's own exit code"
    assert main.main(["preview", "--json", "--stack", "dev"]) == 0
    assert main.main(["refresh", "--stack", "dev", "--yes"]) == 0
    assert main.main(["preview", "--stack", "dev", "--signalled"]) == 128 + signal.SIGTERM
    assert operations_of(pulumi) == [
        f"up {ours} --target urn:x --continue-on-error --event-log PIPE --stack dev",
        f"up {ours} --yes --diff --continue-on-error --event-log PIPE --stack dev",
        f"preview {ours} --json --stack dev",
        "refresh --yes --stack dev",
        f"preview {ours} --signalled --stack dev",
    ]


def test_up_warns_of_what_the_account_lacks_before_it_changes_anything(pulumi, monkeypatch):
    before = []
    monkeypatch.setattr(preflight, "warn", lambda stack, variables: before.append(operations_of(pulumi)))
    assert main.main(["up", "--stack", "dev"]) == 0
    assert before == [[]]
    assert len(operations_of(pulumi)) == 1


def test_destroy_hands_its_own_options_to_our_part_and_all_others_to_pulumi(pulumi, monkeypatch):
    asked = []
    monkeypatch.setattr(
        operations.Destroy, "run", lambda self, options, gone: asked.append((self._request, options)) or 1
    )
    options = ["--volumes", "snapshot", "--timeout", "5", "--json", "--yes", "--skip-preview"]
    assert main.main(["destroy", "--stack", "dev", *options]) == 1
    wanted = Request(yes=True, volumes=VolumePolicy.SNAPSHOT, seconds=5, as_json=True)
    assert asked == [(wanted, ["--skip-preview"])]
    assert main.main(["destroy", "--stack", "dev", "--volumes", "all"]) == 2


def test_destroy_of_chosen_resources_is_plain_pulumi_and_nothing_else(pulumi):
    assert main.main(["destroy", "--stack", "dev", "--yes", "--target", "urn:x"]) == 0
    assert operations_of(pulumi) == ["destroy --yes --target urn:x --stack dev"]


def test_what_aws_refuses_is_one_clean_error(monkeypatch, capsys):
    def refuse(stack):
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not authorized"}}, "DescribeVpcs")

    monkeypatch.setattr(operations, "cancel", refuse)
    assert main.main(["cancel", "--stack", "dev"]) == 1
    assert capsys.readouterr().err == (
        "error: An error occurred (AccessDenied) when calling the DescribeVpcs operation: not authorized\n"
    )


def test_destroy_of_a_protected_stack_is_refused_with_the_way_unless_one_says_what_is_to_go(pulumi, capsys):
    script = pulumi.parent / "pulumi"
    master = {"urn": "urn:pulumi:dev::kubepark::aws:ec2/instance:Instance::master1", "protect": True}
    state = json.dumps({"deployment": {"resources": [master, {**master, "protect": False}]}})
    script.write_text(script.read_text().replace('{"deployment": {}}', state))
    assert main.main(["destroy", "--stack", "dev", "--yes"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: stack dev has protected resources (master1), and nothing was destroyed. ")
    assert (
        "pulumi config set --stack dev --path kubepark:controlPlane.protected false, then bin/kubepark up"
        in said
    )
    assert operations_of(pulumi) == []
    assert main.main(["destroy", "--stack", "dev", "--yes", "--exclude-protected"]) == 0
    assert operations_of(pulumi) == ["destroy --yes --exclude-protected --stack dev"]


def test_without_pulumi_on_path_the_error_says_where_to_get_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main.main(["up", "--stack", "dev"]) == 1
    assert "needs the official Pulumi CLI" in capsys.readouterr().err


# -- init ------------------------------------------------------------------------------------------

FOUND = {images.ACCOUNT: "123456789012", zones.ZONE: "z1", zones.SECOND_ZONE: "z2", images.AMI: "ami-1"}


@pytest.fixture
def stack_file(tmp_path, monkeypatch):
    path = tmp_path / "Pulumi.dev.yaml"
    path.write_text(
        "# the first line\nconfig:\n  kubepark:aws:\n    region: eu-central-1  # near\n"
        "  kubepark:platform: {os: ubuntu-24.04, ami: ami-0}\n  kubepark:flag: off\n"
    )
    asked = []
    monkeypatch.setattr(stackfile, "ROOT", tmp_path)
    monkeypatch.setattr(images, "look_up", lambda *question: asked.append(question) or dict(FOUND))
    return path, asked


def test_init_prints_and_changes_nothing(stack_file, monkeypatch, capsys):
    path, asked = stack_file
    warned = []
    monkeypatch.setattr(preflight, "warn", lambda stack, _, pins: warned.append((stack, pins)))
    before = path.read_text()
    assert images.init("dev", write=False) == 0
    said = capsys.readouterr().out
    assert "ami-1  (pinned: ami-0)" in said
    assert "`--write` puts them there" in said
    assert path.read_text() == before
    region, parameter, config = asked[0]
    assert (region, config["kubepark:aws"]) == ("eu-central-1", {"region": "eu-central-1"})
    assert warned == [("dev", FOUND)]
    assert parameter.startswith("/aws/service/canonical/ubuntu/")


def test_init_fills_what_is_missing_and_leaves_pins_comments_and_words_alone(stack_file):
    path, _ = stack_file
    images.init("dev", write=True)
    text = path.read_text()
    assert "ami: ami-0" in text
    assert 'accountId: "123456789012"' in text
    assert "availabilityZone: z1" in text
    assert "# the first line" in text
    assert "region: eu-central-1  # near" in text
    assert "kubepark:flag: off" in text


def test_pins_go_into_a_section_with_nothing_in_it_and_line_ends_stay():
    text = "config:\r\n  kubepark:platform:   # to come\r\n  kubepark:aws: {region: x}\r\n"
    new = images.with_pins(text, {"kubepark:platform.ami": "ami-1", "kubepark:aws.accountId": "123"})
    assert new == (
        "config:\r\n  kubepark:platform:   # to come\r\n    ami: ami-1\r\n"
        '  kubepark:aws: {region: x, accountId: "123"}\r\n'
    )


@pytest.mark.parametrize("text", ["", "# to come\n", "config:\n"])
def test_a_stack_file_with_nothing_in_it_is_one(text, tmp_path, monkeypatch):
    monkeypatch.setattr(stackfile, "ROOT", tmp_path)
    (tmp_path / "Pulumi.dev.yaml").write_text(text)
    assert stackfile.config_of("dev") == {}


def test_an_error_of_yaml_shows_no_value():
    with pytest.raises(CommandError) as refused:
        stackfile.loaded("Pulumi.dev.yaml", "a: {secret: planted-1, secret: planted-2}")
    assert (
        str(refused.value)
        == 'Pulumi.dev.yaml is not valid YAML: line 1, column 24: found duplicate key "secret"'
    )


def test_init_without_region_or_for_a_sandbox_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(stackfile, "ROOT", tmp_path)
    path = tmp_path / "Pulumi.dev.yaml"
    path.write_text("config: {}\n")
    with pytest.raises(
        CommandError, match=r"pulumi config set --stack dev --path kubepark:aws\.region REGION"
    ):
        images.init("dev", write=False)
    path.write_text('config: {"kubepark:aws": {region: x, endpoint: "http://127.0.0.1:1"}}\n')
    with pytest.raises(CommandError, match="is a sandbox"):
        images.init("dev", write=False)


# Makes standard input the terminal whose Ctrl-C is meant for it, and becomes the command.
ON_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [(b"\x03", 130, ""), (b"\x04", 130, ""), (b"n\n", 1, "error: nothing was changed")],
)
def test_ctrl_c_at_a_question_is_exit_code_130_and_a_no_is_1(typed, code, said):
    terminal, end = pty.openpty()
    asked = subprocess.Popen(
        [sys.executable, "-c", ON_TERMINAL, KUBEPARK, "people", "suspend", "ana"],
        stdin=end, stdout=end, stderr=end, start_new_session=True,
    )  # fmt: skip
    os.close(end)
    assert b"Write this to Pulumi.sandbox.yaml?" in read_until(terminal, b"[y/N]: ")
    # Python hears of a Ctrl-C between its prompt and its read only after another key.
    deadline = time.monotonic() + 20
    while psutil.Process(asked.pid).status() != psutil.STATUS_SLEEPING:
        assert time.monotonic() < deadline, "it never waited for an answer"
        time.sleep(0.01)
    os.write(terminal, typed)
    assert asked.wait(20) == code
    shown = read_until(terminal, b"more than will come")
    assert said in shown.decode()
    assert "Traceback" not in shown.decode()
    os.close(terminal)


def read_until(terminal, text):
    """What the terminal shows up to this text, or until nothing holds it open any more."""
    shown = b""
    while text not in shown and select.select([terminal], [], [], 20)[0]:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # the last process that held the other end is gone
            break
    return shown

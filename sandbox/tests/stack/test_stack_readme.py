"""The first real deployment, command by command as its page has it, as far as it goes without AWS.

What comes before `up` runs as on a real stack, with the real Pulumi CLI, against the emulator. The AWS provider's
stand-in needs an endpoint in the stack file, so from `make preview` on the stack is a sandbox, which generates its
own secrets; the file is otherwise what the page's commands made of it.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.tests.aws.emulator_server import Emulator
from sandbox.tests.stack.project import ROOT, Project
from sandbox.tests.tools import tool
from tests.docs.readme import commands

pytestmark = [pytest.mark.sandbox, pytest.mark.slow]

FILES = ("Makefile", "Pulumi.dev.yaml", "requirements-dev.txt", "requirements-uv.txt")
PASSWORD = "correct horse battery"
ANSWERS = {"[y/N]:": "y", "Password:": PASSWORD, "Again:": PASSWORD}
# What the page leaves to the reader -> what is there.
PLACEHOLDERS = {
    "s3://...": "file://{folder}/state",
    "awskms://...": "passphrase",
    "A.B.C.D/32": "203.0.113.7/32",
}
NEEDS_THE_INTERNET = "bin/kubepark manifests lock"  # which is tested in tests/unit/test_manifests.py


class Reader:
    """Somebody who follows the page in a fresh checkout, with an AWS account in an emulator."""

    def __init__(self, folder: Path, emulator: Emulator) -> None:
        self.project = Project(folder / "project")
        self.folder, self.root = folder, self.project.root
        for name in FILES:
            shutil.copy2(ROOT / name, self.root / name)
        for name in ("requirements.txt", *FILES[2:]):
            os.utime(self.root / name, (0, 0))  # `make venv` has been here
        self.home = folder / "home"
        self.home.mkdir()
        inherited = {k: v for k, v in self.project.environment.items() if k != "KUBECONFIG"}
        self.environment = inherited | {
            "HOME": str(self.home),
            "PATH": f"{tool('pulumi').parent}{os.pathsep}{os.environ['PATH']}",
            "PULUMI_HOME": str(folder / "pulumi"),
            "PULUMI_CONFIG_PASSPHRASE": "of-a-test",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "AWS_ENDPOINT_URL": emulator.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
        }

    @property
    def file(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load((self.root / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
        return found

    def write(self, document: dict[str, Any]) -> None:
        (self.root / "Pulumi.dev.yaml").write_text(
            yaml.safe_dump(document, sort_keys=False), encoding="utf-8"
        )

    def types(self, command: str, *, before: str = "", timeout: float = 240) -> str:
        """Run a command of the page and give what it shows; only who adds people sits at a terminal."""
        for placeholder, real in PLACEHOLDERS.items():
            command = command.replace(placeholder, real.format(folder=self.folder))
        (self.folder / "state").mkdir(exist_ok=True)
        words = ["sh", "-c", f"{before}{command}"]
        if "people add" in command:
            shown, code = at_a_terminal(words, self.root, self.environment)
        else:
            done = subprocess.run(
                words,
                cwd=self.root,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=timeout,
                check=False,
            )
            shown, code = done.stdout, done.returncode
        assert code == 0, f"{command} exited {code}:\n{shown}"
        assert "Traceback" not in shown
        return shown


def at_a_terminal(words: list[str], folder: Path, environment: dict[str, str]) -> tuple[str, int]:
    """What a command shows somebody who answers its questions, and its exit code."""
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        words, cwd=folder, env=environment, stdin=end, stdout=end, stderr=end, start_new_session=True
    )
    os.close(end)
    try:
        shown = answered(terminal)
        return shown, process.wait(timeout=10)
    finally:
        process.kill()
        process.wait()
        os.close(terminal)


def answered(terminal: int, seconds: float = 60) -> str:
    shown, read = "", 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 1)[0]:
            continue
        try:
            shown += os.read(terminal, 4096).decode(errors="replace")
        except OSError:  # the other end is closed
            return shown
        for question, answer in ANSWERS.items():
            if shown[read:].rstrip().endswith(question):
                os.write(terminal, f"{answer}\n".encode())
                read = len(shown)
    raise AssertionError(f"no end after {seconds:.0f} s:\n{shown}")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("readme")
    emulator = Emulator(folder)
    made = Reader(folder, emulator)
    try:
        yield made
    finally:
        made.project.run("reset", "--stack", "dev", timeout=120)
        emulator.stop()


def parts() -> tuple[list[str], list[str]]:
    """The commands up to the first preview, and those from it on."""
    found = commands()
    first = found.index("make preview STACK=dev")
    return found[:first], found[first:]


def test_what_prepares_a_stack_runs_as_written(reader: Reader) -> None:
    for command in parts()[0]:
        if command != NEEDS_THE_INTERNET:
            reader.types(command, timeout=60)
    config = reader.file["config"]
    assert config["kubepark:aws"] == {"region": "eu-central-1", "accountId": "123456789012"}
    assert re.fullmatch(r"ami-[0-9a-f]{17}", config["kubepark:platform"]["ami"])
    zones = config["kubepark:network"]
    assert zones["availabilityZone"] != zones["secondAvailabilityZone"]
    assert zones["adminCidrs"] == ["203.0.113.7/32"]
    assert [person["name"] for person in config["kubepark:people"]] == ["ana"]
    assert list(config["kubepark:passwordHashes"]) == ["ana"]
    assert config["kubepark:oidcClientSecret"].keys() == {"secure"}
    assert PASSWORD not in (reader.root / "Pulumi.dev.yaml").read_text(encoding="utf-8")


def test_what_deploys_it_runs_as_written_and_finds_its_cluster(reader: Reader) -> None:
    """With the endpoint, and without the secrets of a real stack; and with a GPU node, as for step 7."""
    document = reader.file
    config = {key: value for key, value in document["config"].items() if "secure" not in str(value)}
    config["kubepark:aws"]["endpoint"] = f"http://127.0.0.1:{reader.project.aws_port}"
    config["kubepark:controlPlane"] = {"apiEndpoint": f"https://127.0.0.1:{reader.project.api_port}"}
    config["kubepark:manifests"] = {"calico": "sandbox/manifests/calico.yaml"}
    config["kubepark:gpu"] = {"power": "auto"}
    reader.write({"config": config})
    plain = 'eval "$(bin/kubepark env --stack dev)"; unset KUBECONFIG; '
    after = parts()[1]
    assert [each.split()[0] for each in after] == [
        "make",
        "make",
        "bin/kubepark",
        "bin/kubepark",
        "bin/kubepark",
        "bin/kubepark",
        "bin/kubepark",
        "bin/kubepark",
        "bin/kubepark",
        "bin/kubepark",
        "make",
    ]
    preview, up, review, verify, kubeconfig, check, price, park, unpark, status, destroy = after
    assert "nothing that `up` would refuse" in reader.types(check)
    assert "a month" in reader.types(price)
    shown = reader.types(preview)
    assert "create" in shown
    assert "kubepark@v1.0.0" in shown, "the policy pack has run"
    assert "can't run policy" not in shown, "and left nothing for the update"
    by_configuration(reader)
    assert reader.project.verified in reader.types(up)
    assert reader.project.verified in reader.types(verify)
    assert "dev: nothing changes" in reader.types(review)

    reader.types(kubeconfig, before=plain)
    kept = reader.home / "dev.kubeconfig"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    listed = reader.types(f"{ROOT}/.venv/bin/kubectl --kubeconfig {kept} get nodes -o name")
    assert "node/gpu01" in listed

    as_a_real_stack(reader, verify, plain)

    assert "gpu01 is stopped" in reader.types(park)
    assert reader.project.verified in reader.types(unpark)
    assert "control plane: answers" in reader.types(status)
    reader.types(destroy)


def by_configuration(reader: Reader) -> None:
    """`make policy` of docs/policies.md: with a configuration under which our own nodes are too large."""
    rules = {"instance-type-allowed": {"allowed": ["t3.medium"]}}
    (reader.root / "rules.json").write_text(json.dumps(rules), encoding="utf-8")
    shown = reader.types("make policy STACK=dev POLICY_CONFIG=rules.json", before="! ")
    found = set(re.findall(r"\[mandatory\] \[severity: \w+\]  (\S+)  \((.+)\)", shown))
    assert {rule for rule, _ in found} == {"instance-type-allowed"}
    assert ("instance-type-allowed", "aws:ec2:Instance: master1") in found


def as_a_real_stack(reader: Reader, verify: str, plain: str) -> None:
    """Step 7 where nothing but the stack's output knows the kubeconfig."""
    document = reader.file
    real = {**document["config"], "kubepark:aws": dict(document["config"]["kubepark:aws"])}
    del real["kubepark:aws"]["endpoint"]
    before = f"{plain} sed -i '/endpoint: http/d' Pulumi.dev.yaml; "
    try:
        assert reader.project.verified in reader.types(verify, before=before)
        assert reader.file["config"] == real
    finally:
        reader.write(document)
    state = reader.home / ".local" / "state" / "kubepark"
    assert list(state.iterdir()) == [], "no key is left"

"""`up` while the control plane is off: what has not changed needs no API, and what has is listed before anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli import main, power, stackfile
from cli.power import Known
from tests.unit.park_objects import machines

URN = "urn:pulumi:dev::kubepark::{}::{}"
CONFIG_MAP = "kubepark:index:Dex$kubernetes:core/v1:ConfigMap"
SAME = {"op": "same", "urn": URN.format(CONFIG_MAP, "configmap-auth-dex")}
PROVIDER = {
    "op": "update",
    "urn": URN.format("kubepark:index:Cluster$pulumi:providers:kubernetes", "cluster"),
}
TAGS = {"op": "update", "urn": URN.format("kubepark:index:NodePool$aws:ec2/instance:Instance", "worker01")}
CHANGED = {
    "op": "update",
    "urn": URN.format("kubepark:index:Dex$kubernetes:core/v1:Secret", "secret-auth-dex"),
}
NEW = {"op": "create", "urn": URN.format("kubernetes:core/v1:Namespace", "namespace-cleo")}


class Stack:
    """A stack whose preview shows `steps`, and the words that its pulumi was called with."""

    def __init__(self, folder: Path) -> None:
        self.log, self._steps = folder / "calls", folder / "steps.json"
        script = folder / "pulumi"
        script.write_text(
            "#!/bin/sh\n"
            f'echo "$*" >> {self.log}\n'
            'case "$1" in\n'
            'stack) [ "$2" = output ] && echo "{}" || echo \'{"deployment": {}}\';;\n'
            f"preview) cat {self._steps} || exit 1;;\n"
            "esac\n"
        )
        script.chmod(0o755)

    def shows(self, *steps: dict[str, str]) -> None:
        self._steps.write_text(json.dumps({"steps": steps}))

    def calls(self) -> list[str]:
        words = [line.split()[0] for line in self.log.read_text().splitlines()]
        return [word for word in words if word != "stack"]


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setattr(stackfile, "ROOT", tmp_path)
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n  kubepark:aws: {region: us-east-1}\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    off = Known(machines(master1="stopped"), frozenset({"master1"}))
    monkeypatch.setattr(power, "look", lambda stack, variables: off)
    return Stack(tmp_path)


def test_what_changes_in_the_cluster_is_listed_and_nothing_is_begun(stack: Stack, capsys) -> None:
    stack.shows(SAME, PROVIDER, TAGS, CHANGED, NEW)
    assert main.main(["up", "--stack", "dev", "--yes"]) == 1
    assert capsys.readouterr().err.partition("error: ")[2] == (
        "the control plane is parked, and nothing was changed: in the cluster these changes wait for it:\n"
        "  - update secret-auth-dex\n"
        "  - create namespace-cleo\n"
        "fix: bin/kubepark unpark all --stack dev, then bin/kubepark up --stack dev\n"
    )
    assert stack.calls() == ["preview"]


def test_without_a_change_there_is_no_update(stack: Stack, capsys) -> None:
    stack.shows(SAME)
    assert main.main(["up", "--stack", "dev", "--yes"]) == 0
    assert stack.calls() == ["preview"]
    assert "nothing changes, and the control plane is parked: no update is run\n" in capsys.readouterr().out


def test_what_changes_in_aws_alone_is_done(stack: Stack) -> None:
    stack.shows(SAME, PROVIDER, TAGS)
    assert main.main(["up", "--stack", "dev", "--yes", "--skip-preview"]) == 0
    assert stack.calls() == ["preview", "up"]
    assert "--skip-preview" not in stack.log.read_text().partition("preview --json")[2].partition("\n")[0]


def test_a_preview_that_fails_is_left_to_the_engine_to_explain(stack: Stack) -> None:
    assert main.main(["up", "--stack", "dev", "--yes"]) == 0
    assert stack.calls() == ["preview", "up"]


def test_an_update_that_starts_the_master_waits_for_nobody(stack: Stack) -> None:
    file = stackfile.stack_file("dev")
    file.write_text(file.read_text() + "  kubepark:controlPlane: {power: running}\n")
    stack.shows(CHANGED)
    assert main.main(["up", "--stack", "dev", "--yes"]) == 0
    assert stack.calls() == ["up"]

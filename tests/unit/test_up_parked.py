"""`up` while the control plane is off: what has not changed needs no API, and what has is listed before anything.
And while no worker runs: what needs one is left as it is, the rest is applied.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli import main, power, stackfile, up_parked
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


# -- no worker runs --------------------------------------------------------------------------------

DEPLOYMENT = "kubepark:index:Dex$kubernetes:apps/v1:Deployment"
ANYWHERE = [{"operator": "Exists"}]
ON_GPUS = {"key": "nvidia.com/gpu", "operator": "Exists"}


def change(op: str, kind: str, name: str, **pod: object) -> dict[str, object]:
    """A step of a preview; of a workload with this of its pod."""
    spec = {"template": {"spec": pod}} if kind != "core/v1:Pod" else pod
    return {
        "op": op,
        "urn": URN.format(f"kubernetes:{kind}", name),
        "newState": {"inputs": {"kind": kind.partition(":")[2], "spec": spec}},
    }


@pytest.fixture
def workerless(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    off = Known(machines(worker01="stopped", worker02="stopping"), frozenset({"worker01", "worker02"}))
    monkeypatch.setattr(power, "look", lambda stack, variables: off)
    return stack


@pytest.mark.parametrize(
    ("step", "waits"),
    [
        (change("update", "apps/v1:Deployment", "dex"), True),
        (change("create", "apps/v1:StatefulSet", "db"), True),
        (change("create", "batch/v1:Job", "migration"), True),
        (change("create", "core/v1:Pod", "probe"), True),
        (change("create", "core/v1:Pod", "probe", tolerations=ANYWHERE), False),
        (change("update", "apps/v1:Deployment", "operator", tolerations=ANYWHERE), False),
        (change("update", "apps/v1:Deployment", "on-gpus", tolerations=[ON_GPUS]), False),
        # Without an operator it tolerates a taint of no value, and that of GPU nodes has one.
        (change("update", "apps/v1:Deployment", "nowhere", tolerations=[{"key": "nvidia.com/gpu"}]), True),
        (change("update", "apps/v1:Deployment", "mine", tolerations=[{"key": "team"}]), True),
        ({**change("update", "apps/v1:Deployment", "x"), "newState": {"inputs": {"spec": "[secret]"}}}, True),
        ({"op": "delete", "urn": URN.format(DEPLOYMENT, "dex"), "oldState": {"inputs": {}}}, True),
        # The controller counts no node that a daemon's pod cannot go to.
        (change("update", "apps/v1:DaemonSet", "device-plugin"), False),
        (change("delete", "apps/v1:DaemonSet", "device-plugin"), True),
        (change("create", "kubeflow.org/v1:Profile", "dora"), True),
        (change("delete", "security.istio.io/v1:AuthorizationPolicy", "denied"), True),
        (change("create", "core/v1:Namespace", "dora"), False),
        (change("delete", "core/v1:Namespace", "dora"), True),
        (change("delete-replaced", "core/v1:Namespace", "dora"), True),
        (change("delete", "rbac.authorization.k8s.io/v1:RoleBinding", "chris"), False),
        (change("update", "core/v1:Secret", "dex"), False),
        (TAGS, False),
    ],
)  # fmt: skip
def test_without_a_worker_waits_what_pods_must_answer_for(step: dict[str, object], waits: bool) -> None:
    assert bool(up_parked.waiting_for_workers([step])) is waits


def test_what_needs_a_worker_is_left_and_named_and_the_rest_is_applied(workerless: Stack, capsys) -> None:
    rollout = change("update", "apps/v1:Deployment", "deployment-auth-dex")
    workerless.shows(SAME, CHANGED, rollout, change("create", "kubeflow.org/v1:Profile", "profile-dora"))
    assert main.main(["up", "--stack", "dev", "--yes"]) == 0
    assert workerless.calls() == ["preview", "up"]
    update = workerless.log.read_text().splitlines()[-1]
    assert "--exclude-dependents" in update
    assert [word for word in update.split() if word.startswith("urn:")] == [
        URN.format("kubernetes:apps/v1:Deployment", "deployment-auth-dex"),
        URN.format("kubernetes:kubeflow.org/v1:Profile", "profile-dora"),
    ]
    assert capsys.readouterr().err.endswith(
        "no worker runs (worker01, worker02); these changes, with what depends on them, wait for one:\n"
        "  - update deployment-auth-dex\n"
        "  - create profile-dora\n"
        "to apply them: bin/kubepark unpark workers --stack dev, then bin/kubepark up --stack dev\n"
    )


@pytest.mark.parametrize("option", ["--target=urn:x", "--exclude=urn:x"])
def test_who_says_what_is_to_change_has_thought_of_it(workerless: Stack, option: str) -> None:
    workerless.shows(change("update", "apps/v1:Deployment", "deployment-auth-dex"))
    assert main.main(["up", "--stack", "dev", "--yes", option]) == 0
    assert workerless.calls() == ["up"]
    assert "--exclude-dependents" not in workerless.log.read_text()


def test_an_update_that_starts_the_workers_leaves_nothing(workerless: Stack) -> None:
    file = stackfile.stack_file("dev")
    file.write_text(file.read_text() + "  kubepark:workers: {power: running}\n")
    workerless.shows(change("update", "apps/v1:Deployment", "deployment-auth-dex"))
    assert main.main(["up", "--stack", "dev", "--yes"]) == 0
    assert workerless.calls() == ["up"]


def test_with_one_worker_nothing_is_looked_for(workerless: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Known(machines(worker01="stopped"), frozenset({"worker01"}))
    monkeypatch.setattr(power, "look", lambda stack, variables: one)
    assert main.main(["up", "--stack", "dev", "--yes"]) == 0
    assert workerless.calls() == ["up"]

"""What `kubepark drift` says of a refresh that the engine made in the sandbox, and the issue on GitHub."""

from __future__ import annotations

import copy
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli import drift_issue, drift_run, drift_text
from cli.drift import DRIFT, Drift, drift
from cli.drift_run import Refreshed, digest_of, without_secrets
from cli.errors import CommandError
from cli.review_preview import SECRET
from cli.review_text import LIMIT

# A worker renamed, the API server opened to everybody, a rule of the group of nodes added, etcd's rule and a
# DaemonSet deleted, all by hand.
RECORDED = digest_of(
    (Path(__file__).parents[1] / "golden" / "drift" / "refresh.jsonl").read_text(encoding="utf-8")
)
NOT_COMPARED = {"objects in the cluster": 41}


def found(digest: dict[str, Any], pending: int = 0) -> Drift:
    refreshed = Refreshed(digest=digest, compared=55, not_compared=NOT_COMPARED, pending=pending)
    return drift("dev", refreshed)


def changed() -> dict[str, Any]:
    return copy.deepcopy(RECORDED)


def without_drift() -> dict[str, Any]:
    steps = [step for step in RECORDED["steps"] if step["op"] == "same"]
    assert steps
    return {**RECORDED, "steps": steps}


TERMINAL = """\
dev: drift: 4 changed, 2 gone
  DaemonSet kube-system/nvidia-device-plugin (kube-system/nvidia-device-plugin) is gone
  SecurityGroupIngressRule security-etcd (sgr-c7d2cb25e944fe22f) is gone
  Instance worker02 (i-fb0f7819dc9606062) is changed
      tags.Name: worker02 -> renamed
  SecurityGroupIngressRule security-api-from-203.0.113.7-32 (sgr-99f32fc1977ef11b4) is changed
      cidrIpv4: 203.0.113.7/32 -> 0.0.0.0/0
  VpcSecurityGroupRulesExclusive security-control-plane-only (sg-7c01b1129a7f4783a) is changed
      ingressRuleIds: sgr-c7d2cb25e944fe22f -> (none)
  VpcSecurityGroupRulesExclusive security-nodes-only (sg-e4f75b8b605486900) is changed
      ingressRuleIds: (none) -> sgr-c14cc1d140917b811
compared: 55 resources
not compared: objects in the cluster (41)
`bin/kubepark up --stack dev --refresh` puts it back; what is meant belongs into the stack's settings"""


def test_what_no_program_sets_is_no_drift() -> None:
    """A parameter's version goes up when its node writes; an instance has another address after a start."""
    digest = without_drift()
    state = {"type": "aws:ssm/parameter:Parameter", "id": "/c/x", "inputs": {"name": "/c/x"}}
    old, new = ({**state, "outputs": {"name": "/c/x", "version": number}} for number in (1, 3))
    urn = "urn:pulumi:dev::kubepark::aws:ssm/parameter:Parameter::parameters-x"
    step = {"op": "update", "urn": urn, "oldState": old, "newState": new}
    digest["steps"] = [*digest["steps"], step | {"detailedDiff": {"version": {"kind": "update"}}}]
    assert found(digest).differences == ()


def test_notes_of_the_provider_are_left_out_of_the_copy() -> None:
    """Their encrypted parts would be words in place of values."""
    resource = {"outputs": {"a": 1, "__pulumi_raw_state_delta": {"obj": {}}}}
    assert without_secrets({"resources": [resource, {}]})["resources"] == [{"outputs": {"a": 1}}, {}]


def test_each_difference_is_named_with_what_it_was_and_is():
    drifted = found(changed())
    assert drift_text.terminal(drifted) == TERMINAL
    assert drifted.exit_code == DRIFT
    document = json.loads(drift_text.document(drifted))
    assert (document["drift"], document["compared"], document["notCompared"]) == (True, 55, NOT_COMPARED)
    assert [each["resource"] for each in document["differences"] if each["gone"]] == [
        "DaemonSet kube-system/nvidia-device-plugin",
        "SecurityGroupIngressRule security-etcd",
    ]


def test_the_order_of_the_engines_steps_does_not_matter():
    turned = changed()
    turned["steps"].reverse()
    assert drift_text.document(found(turned)) == drift_text.document(found(changed()))


def test_without_a_difference_there_is_no_drift():
    same = found(without_drift(), pending=2)
    assert (same.exit_code, same.differences) == (0, ())
    assert drift_text.terminal(same).splitlines()[:2] == ["dev: no drift", "compared: 55 resources"]
    assert "2 operations of an update that runs, or was killed" in drift_text.terminal(same)


def test_what_is_encrypted_is_neither_shown_nor_taken_for_a_difference():
    """The recorded refresh had a stand-in in the state in place of the rows of /etc/hosts."""
    (hosts,) = [step for step in RECORDED["steps"] if "parameters-hosts-00" in step["urn"]]
    assert (hosts["op"], hosts["oldState"]["inputs"]["value"]) == ("update", SECRET)
    assert "parameters-hosts-00" not in drift_text.document(found(changed()))
    assert hosts["newState"]["inputs"]["value"] not in drift_text.markdown(found(changed()))
    secret = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": "v1:x"}
    state = {"resources": [{"inputs": {"value": secret, "names": ["a", secret]}}]}
    more = {"secrets_providers": {"type": "cloud"}, "pending_operations": [{}]}
    assert without_secrets({**state, **more}) == {
        "resources": [{"inputs": {"value": SECRET, "names": ["a", SECRET]}}]
    }


class Cli:
    """Stands in for the CLI: a state of one instance, and what a refresh of its copy prints."""

    stack, variables = (
        "dev",
        {"PATH": "", "PULUMI_BACKEND_URL": "s3://state", "PULUMI_CONFIG_PASSPHRASE": "p"},
    )

    def read(self, *words: str) -> str:
        assert words == ("stack", "export")
        urn = "urn:pulumi:dev::kubepark::aws:ec2/instance:Instance::worker01"
        return json.dumps({"deployment": {"resources": [{"urn": urn, "custom": True, "inputs": {}}]}})


OTHER = {"op": "same", "urn": "urn:pulumi:dev::kubepark::a:b:C::other", "type": "a:b:C"}


@pytest.mark.parametrize(
    ("code", "printed", "said"),
    [
        (0, "", "ended with code 0 and showed nothing"),
        (1, '{"summaryEvent": {}}', "ended with code 1; not read: worker01"),
        (0, json.dumps({"resOutputsEvent": {"metadata": OTHER}}), "not read: worker01"),
    ],
)
def test_what_was_not_read_is_not_taken_for_unchanged(
    monkeypatch: pytest.MonkeyPatch, code: int, printed: str, said: str
):
    class Copied:
        def __init__(self, stack: str, variables: dict[str, str], cwd: Path) -> None:
            assert "s3://state" not in variables.values()
            assert variables["PULUMI_CONFIG_PASSPHRASE"] != "p"

        def read(self, *words: str, given: str = "") -> str:
            return ""

        def collect(self, *words: str, **variables: str) -> tuple[int, str]:
            return code, printed

    monkeypatch.setattr(drift_run, "Pulumi", Copied)
    with pytest.raises(CommandError, match=said):
        drift_run.refreshed(Cli(), in_cluster=False)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"diagnostics": [{"severity": "error", "message": "no credentials"}]}, "no credentials"),
        ({"steps": [{"op": "replace", "urn": "urn:pulumi:dev::kubepark::aws:a:B::c"}]}, "does `replace`"),
    ],
)
def test_a_refresh_that_failed_or_is_not_understood_is_no_result(broken: dict[str, Any], said: str):
    with pytest.raises(CommandError, match=said):
        found({**changed(), **broken})


def test_an_issue_has_room_for_any_drift():
    many = changed()
    (worker,) = [step for step in many["steps"] if "worker02" in step["urn"] and step["op"] == "update"]
    names = [f"worker{number:04}" for number in range(2000)]
    many["steps"] = [{**worker, "urn": worker["urn"].replace("worker02", name)} for name in names]
    body = drift_text.markdown(found(many))
    assert 10_000 < len(body) <= LIMIT
    assert "and 1500 more resources" in body


# -- the issue -------------------------------------------------------------------------------------

GH = """#!/bin/sh
# Stands in for gh: notes its arguments and the body, answers a list of issues from $ISSUES.
echo "$*" >>"$CALLS"
case "$*" in
    "api --paginate repos/team/cluster/issues?"*) cat "$ISSUES" ;;
    "api --silent --method "*) cat >"$BODY"; exit "$CODE" ;;
    *) exit 2 ;;
esac
"""
Settle = Callable[..., tuple[str, list[str], str]]


@pytest.fixture
def settle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settle:
    """Gives what is said, gh's calls and the body that it got."""
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(stat.S_IRWXU)
    calls, issues, body = (tmp_path / name for name in ("calls", "issues", "body"))
    given = {"CALLS": calls, "ISSUES": issues, "BODY": body, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for name, value in {**given, "GITHUB_REPOSITORY": "team/cluster", "GH_TOKEN": "t"}.items():
        monkeypatch.setenv(name, str(value))

    def call(digest: dict[str, Any], existing: str = "", code: int = 0) -> tuple[str, list[str], str]:
        issues.write_text(existing)
        body.write_text("")
        monkeypatch.setenv("CODE", str(code))
        said = drift_issue.settle(found(digest))
        return said, calls.read_text().splitlines(), body.read_text()

    return call


def test_drift_opens_an_issue(settle: Settle):
    said, calls, body = settle(changed())
    assert said == "an issue was opened"
    assert calls[1] == (
        "api --silent --method POST repos/team/cluster/issues --raw-field title=Drift of dev --field body=@-"
    )
    assert body.startswith("<!-- kubepark drift dev -->\n### dev: drift: 4 changed, 2 gone\n")
    # Only a bot's open issues that begin with the marker are ours, and pull requests are issues as well.
    assert 'select(.user.type == "Bot" and (.pull_request | not)' in calls[0]
    assert 'startswith("<!-- kubepark drift dev -->")' in calls[0]


def test_the_next_run_keeps_the_oldest_up_to_date(settle: Settle):
    said, calls, body = settle(changed(), "12\n7\n")
    assert (said, len(calls)) == ("issue #7 is up to date", 2)
    assert calls[1] == "api --silent --method PATCH repos/team/cluster/issues/7 --field body=@-"
    assert "`tags.Name`: `worker02 -> renamed`" in body


def test_without_drift_it_is_closed_and_none_is_opened(settle: Settle):
    said, calls, body = settle(without_drift(), "12\n7\n")
    closed = "--raw-field state=closed --raw-field state_reason=completed --field body=@-"
    assert calls[1:] == [
        f"api --silent --method PATCH repos/team/cluster/issues/{number} {closed}" for number in (7, 12)
    ]
    assert (said, "no drift" in body) == ("issues closed: #7, #12", True)
    said, calls, _ = settle(without_drift())
    assert said == "issues closed: none was open"
    assert "--paginate" in calls[-1]


def test_what_github_refuses_is_an_error(settle: Settle, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(CommandError, match="the issue could not be written"):
        settle(changed(), code=1)
    monkeypatch.delenv("GH_TOKEN")
    with pytest.raises(CommandError, match="--issue needs GH_TOKEN in the environment"):
        drift_issue.require()

"""Whose namespace would go with the Profile, although it is to stay."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from cli import main, operations, power, removals
from cli.errors import CommandError

PEOPLE = [
    {"name": "ana"},
    {"name": "bo", "state": "removed", "data": "keep"},
    {"name": "chris", "state": "removed", "data": "purge"},
    {"name": "dana", "state": "removed", "data": "keep"},
    "malformed",
]
OUTPUTS = {
    "people": [
        {"name": name, "namespace": f"{name}-ns", "profile": name != "dana"}
        for name in ("ana", "bo", "chris", "dana")
    ]
}


def test_asked_about_are_those_who_lose_the_profile_and_keep_the_data():
    removed = removals.names_to_keep(PEOPLE)
    assert removed == {"bo", "dana"}
    assert removals.ending(OUTPUTS, removed) == ["bo-ns"], "dana's Profile went in an earlier update"
    assert removals.ending({}, removed) == []


def test_a_namespace_of_the_profiles_own_is_refused_with_the_fix():
    owners = {"bo-ns": [{"kind": "Profile"}], "ana-ns": [], "eva-ns": [{"kind": "Project"}]}
    removals.refuse(["ana-ns", "eva-ns"], owners.__getitem__)
    with pytest.raises(CommandError) as refused:
        removals.refuse(owners, owners.__getitem__)
    first, line = str(refused.value).splitlines()
    assert first == "nothing was changed, because data would be lost:"
    command = shlex.split(line.partition("; fix: ")[2])
    assert command[:4] == ["kubectl", "patch", "namespace", "bo-ns"]
    assert command[-1] == '[{"op": "remove", "path": "/metadata/ownerReferences"}]'


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """The check on a stack file with this list; gives the namespaces that the cluster was asked about."""
    names = []
    monkeypatch.setattr(removals, "ROOT", tmp_path)
    monkeypatch.setattr(removals, "refuse", lambda namespaces, owners: names.extend(namespaces))
    monkeypatch.setattr(removals.cluster, "connected", lambda kubeconfig: nullcontext())

    def check(text):
        (tmp_path / "Pulumi.dev.yaml").write_text(text)
        cli = SimpleNamespace(stack="dev", outputs=lambda: OUTPUTS)
        removals.check(cli, tmp_path / "kubeconfig")
        return names

    return check


def test_the_cluster_is_asked_only_where_somebody_is_removed(asked):
    assert asked("config: {}") == []
    assert asked("config:\n  kubepark:people: [{name: ana}]") == []
    assert asked("config:\n  kubepark:people: [{name: bo, state: removed, data: keep}]") == ["bo-ns"]


@pytest.mark.parametrize(
    "text", ["", "config:\n  kubepark:people:", "config: [", "config:\n  kubepark:peopleFile: x"]
)
def test_what_is_wrong_with_the_list_is_said_by_the_program(asked, text):
    assert asked(text) == []


def test_up_changes_nothing_after_a_refusal(monkeypatch, capsys):
    def refuse(cli, kept):
        raise CommandError("data would be lost")

    steps = []
    monkeypatch.setattr(operations.removals, "check", refuse)
    monkeypatch.setattr(operations.preflight, "warn", lambda stack, variables: None)
    monkeypatch.setattr(operations.power, "look", lambda stack, variables: power.Known((), None))
    for before in ("_fetch_kubeconfig", "_settle"):
        monkeypatch.setattr(operations, before, lambda cli: None)
    monkeypatch.setattr(operations.Pulumi, "update", lambda self, *words: steps.append(words))
    assert main.main(["up", "--stack", "dev"]) == 1
    assert capsys.readouterr().err == "error: data would be lost\n"
    assert steps == []

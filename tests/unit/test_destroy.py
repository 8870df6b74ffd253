"""`kubepark destroy`: what is asked and refused before anything goes, the steps, and the exit code."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from cli import destroy, leftovers, questions, stackfile
from cli.destroy import Destroy, Request
from cli.errors import CommandError
from cli.inventory import Inventory
from cli.leftovers import Found
from cli.sweep import Waits
from cli.volume_policy import VolumePolicy
from config.costs import Cost

TARGET = Found(kind=leftovers.TARGET_GROUP, id="tg-1")
VOLUME = Found(kind=leftovers.VOLUME, id="vol-1", detail="100 GB gp3", cost=Cost())
KEY = Found(kind=leftovers.KEY, id="key-1")
ADDRESS = Found(kind=leftovers.ADDRESS, id="eipalloc-1")


@dataclass
class World:
    """An account with things in it, and what was done there, in order."""

    things: list[Found] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    code: int = 0  # pulumi's
    refused: tuple[str, ...] = ()  # ids that AWS does not delete
    unanswered: dict[str, str] = field(default_factory=dict)
    claimed: list[str] = field(default_factory=list)
    account: str = "123456789012"
    cluster: Callable[[], list[Any]] = list

    def run(self, *options: str, stack: str = "dev", asks: bool = False, **request: Any) -> int:
        cli = SimpleNamespace(stack=stack, variables={}, operate=self._pulumi, outputs=dict)
        run = Destroy(cli, Request(seconds=0, **request), asks=asks, kept="kubeconfig")  # type: ignore[arg-type]
        return run.run(options, gone=lambda: self.done.append("kubeconfig removed"))

    def _pulumi(self, verb: str, *options: str, output: Any) -> int:
        self.done.append(" ".join(("pulumi", verb, *options)))
        return self.code

    def inventory(self) -> Inventory:
        return Inventory(tuple(self.things), self.unanswered)

    def delete(self, each: Found) -> str:
        if each.id in self.refused:
            raise Waits("it is held")
        self.things.remove(each)
        self.done.append(f"deleted {each.id}")
        return f"deleted {each.id}"


@pytest.fixture
def world(tmp_path, monkeypatch):
    made = World()
    monkeypatch.setattr(stackfile, "ROOT", tmp_path)
    settings = 'kubepark:aws: {region: us-east-1, accountId: "123456789012"}, kubepark:clusterName: lab'
    for name in ("dev", "prod"):
        (tmp_path / f"Pulumi.{name}.yaml").write_text(f"config: {{{settings}}}")
    sts = SimpleNamespace(get_caller_identity=lambda: {"Account": made.account})
    monkeypatch.setattr(destroy, "client", lambda service, stack, variables: sts)
    monkeypatch.setattr(destroy, "Account", lambda *arguments: made)
    monkeypatch.setattr(destroy.recovery, "ids", lambda cli: set())
    release = SimpleNamespace(
        claims=lambda kubeconfig: made.cluster(),
        release=lambda *_, **__: made.done.append("Services deleted"),
        mark_volumes=lambda ec2, cluster, claimed: [each.volume for each in claimed],
    )
    monkeypatch.setattr(destroy, "destroy_cluster", release)
    monkeypatch.setattr(destroy, "Deleter", lambda *arguments: SimpleNamespace(delete=made.delete))
    return made


def test_what_holds_the_network_goes_before_pulumi_and_data_after(world, capsys):
    world.things = [VOLUME, TARGET]
    assert world.run(volumes=VolumePolicy.DELETE) == 0
    assert world.done == [
        "Services deleted",
        "deleted tg-1",
        "pulumi destroy --yes",
        "kubeconfig removed",
        "deleted vol-1",
    ]
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "nothing that carries the cluster's tag is left"
    assert "  delete target group tg-1, 0.00 USD a month" in said[: said.index("deleted tg-1")], (
        "first the list"
    )


def test_what_is_refused_or_nobody_s_to_delete_makes_the_exit_code_1(world, capsys):
    world.things, world.refused = [TARGET, ADDRESS], ("tg-1",)
    assert world.run() == 1
    said = capsys.readouterr().out
    assert "REMAINS  target group tg-1, 0.00 USD a month: it is held" in said
    assert "REMAINS  Elastic IP eipalloc-1, 0.00 USD a month: this command does not delete it" in said


def test_what_was_asked_to_stay_does_not(world, capsys):
    world.things = [VOLUME, KEY]
    assert world.run() == 0
    assert "stays    key key-1" in capsys.readouterr().out
    assert world.things == [VOLUME, KEY]


def test_purge_takes_volumes_and_the_key_and_cannot_keep_them(world):
    world.things = [KEY, VOLUME]
    with pytest.raises(CommandError, match="--volumes keep keeps what --purge makes unreadable"):
        world.run(purge=True, volumes=VolumePolicy.KEEP)
    assert world.done == []
    assert world.run(purge=True) == 0
    assert world.done[-2:] == ["deleted vol-1", "deleted key-1"], "the key opens the volume"


def test_a_service_that_does_not_answer_is_named_and_the_exit_code_is_1(world, capsys):
    world.unanswered = {"keys": "no permission for ListKeys"}
    assert world.run() == 1
    assert "unknown  keys: no permission for ListKeys" in capsys.readouterr().out


def test_after_a_failure_of_pulumi_nothing_else_is_deleted(world, capsys):
    world.things, world.code = [VOLUME], 255
    assert world.run(volumes=VolumePolicy.DELETE) == 255
    assert world.done == ["Services deleted", "pulumi destroy --yes"]
    assert "run it again" in capsys.readouterr().out


def test_an_api_server_that_does_not_answer_is_one_line(world, capsys):
    def dead() -> list[Any]:
        raise CommandError("the Kubernetes API cannot be reached at https://192.0.2.1:6443")

    world.cluster = dead
    assert world.run() == 0
    said = capsys.readouterr().out
    assert said.startswith("the Kubernetes API is not asked: the Kubernetes API cannot be reached")
    assert world.done == ["pulumi destroy --yes", "kubeconfig removed"]


def test_a_volume_that_only_the_cluster_knows_is_in_the_list_before_anybody_agrees(world, capsys):
    world.cluster = lambda: [SimpleNamespace(volume="vol-9")]
    assert world.run() == 0
    assert world.claimed == ["vol-9"], "the inventory looks for it"
    assert "volume vol-9 was made for a claim; it is tagged as the cluster's" in capsys.readouterr().out
    assert world.run("--preview-only") == 0
    assert "tagged" not in capsys.readouterr().out, "a preview changes nothing"


def test_an_interrupt_says_that_it_goes_on_and_the_next_run_does(world, monkeypatch, capsys):
    def interrupt(self: World, each: Found) -> str:
        raise KeyboardInterrupt

    world.things = [TARGET]
    with monkeypatch.context() as pressed:
        pressed.setattr(World, "delete", interrupt)
        with pytest.raises(KeyboardInterrupt):
            world.run()
    assert "interrupted; run it again" in capsys.readouterr().out
    assert world.run() == 0
    assert world.things == []


def test_the_account_of_other_credentials_is_never_looked_at(world, monkeypatch):
    world.account = "999999999999"
    monkeypatch.setattr(World, "inventory", lambda self: pytest.fail("asked"))
    with pytest.raises(
        CommandError, match=r"account 123456789012, and these credentials are of 999999999999"
    ):
        world.run()
    assert world.done == []


def test_a_preview_lists_and_deletes_nothing(world, capsys):
    world.things = [TARGET]
    assert world.run("--preview-only") == 0
    assert world.done == ["pulumi destroy --preview-only"]
    assert "  delete target group tg-1" in capsys.readouterr().out


def test_json_is_one_document_on_standard_output_and_asks_nothing(world, capsys):
    world.things = [ADDRESS]
    with pytest.raises(CommandError, match="--json asks no questions; fix: add --yes"):
        world.run(asks=True, as_json=True)
    assert world.run(as_json=True, asks=True, yes=True) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["stack"], document["cluster"], document["region"]) == ("dev", "lab", "us-east-1")
    assert [each["id"] for each in document["remains"]] == ["eipalloc-1"]


# -- questions -------------------------------------------------------------------------------------


@pytest.fixture
def person(monkeypatch):
    """Answers in order; what was asked."""
    asked, answers = [], []

    def answer(question: str, *_: Any) -> Any:
        asked.append(question)
        return answers.pop(0)

    def confirm(question: str) -> None:
        if not answer(question):
            raise CommandError("nothing was changed")

    replaced = SimpleNamespace(answer=answer, choose=answer, confirm=confirm)
    monkeypatch.setattr(destroy, "questions", replaced)
    return SimpleNamespace(asked=asked, answers=answers)


def test_a_person_is_asked_about_volumes_if_there_are_any_and_once_for_all(world, person):
    world.things = [VOLUME]
    person.answers += ["delete", True]
    assert world.run(asks=True) == 0
    assert person.asked == [
        "What becomes of these volumes?",
        "Destroy stack dev (0 resources of its own), and delete what is listed?",
    ]
    assert world.done[-1] == "deleted vol-1"


def test_a_choice_is_asked_again_until_it_is_one(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("all\nsnapshot\n"))
    assert questions.choose("Which?", list(VolumePolicy), VolumePolicy.KEEP) == "snapshot"
    said = capsys.readouterr().out
    assert said == "Which? (keep, snapshot, delete) [keep]: all is none of them\n" + said.splitlines()[-1]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert questions.choose("Which?", list(VolumePolicy), VolumePolicy.KEEP) == "keep"
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(KeyboardInterrupt):
        questions.choose("Which?", list(VolumePolicy), VolumePolicy.KEEP)


def test_a_no_changes_nothing(world, person):
    world.things = [TARGET]
    person.answers.append(False)
    with pytest.raises(CommandError, match="nothing was changed"):
        world.run(asks=True)
    assert world.done == []


def test_prod_keeps_volumes_and_asks_for_its_name(world, person):
    world.things = [VOLUME]
    person.answers += ["yes", "prod"]
    with pytest.raises(CommandError, match="that is not the name of the stack; nothing was changed"):
        world.run(stack="prod", asks=True)
    assert world.done == []
    assert world.run(stack="prod", asks=True) == 0
    assert set(person.asked) == {"To destroy it, type the name of the stack (prod)"}
    assert world.things == [VOLUME]

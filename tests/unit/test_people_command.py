"""`kubepark people`: the list is edited as a person would, and only when the program would take it."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml
from typer.testing import CliRunner

from cli import people
from cli.errors import CommandError
from cli.people_file import PeopleFile
from cli.pulumi import stored_hashes
from cli.round_trip import dash_offset
from config import ROOT

LIST = """\
# The team. Ask Ana.
- {name: ana, email: ana@example.org, tier: gpu}   # boss
- {name: bo, email: bo@example.org}
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    shutil.copy(ROOT / "Pulumi.sandbox.yaml", tmp_path)
    monkeypatch.setattr(people, "ROOT", tmp_path)
    return tmp_path


def stack_text(root):
    return (root / "Pulumi.sandbox.yaml").read_text()


def listed(root):
    return yaml.safe_load(stack_text(root))["config"]["kubepark:people"]


def run(*words, given=None):
    """`kubepark people WORDS --yes --no-preview`; what is refused is raised."""
    flags = [] if words[0] in ("list", "access") else ["--no-preview", "--yes"]
    done = CliRunner().invoke(people.app, [*words, *flags], input=given, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_an_edit_changes_its_line_and_no_other(root):
    before = stack_text(root).splitlines()
    said = run("suspend", "bo")
    after = stack_text(root).splitlines()
    assert [line for line in after if line not in before] == [
        "    - {name: bo, email: bo@example.org, displayName: Bo, tier: medium, state: suspended}"
    ]
    assert len(after) == len(before)
    assert "+    - {name: bo" in said
    run("resume", "bo")
    assert stack_text(root).splitlines() == before


def test_what_is_so_already_changes_nothing(root):
    run("suspend", "bo")
    text = stack_text(root)
    assert "Pulumi.sandbox.yaml says so already; nothing was changed" in run("suspend", "bo")
    assert stack_text(root) == text


def test_all_changes_of_an_entry(root):
    run(
        "add", "dana", "--email", "Dana@Example.org", "--role", "admin", "--namespace", "lab", "--no-password"
    )
    run("share", "ana", "--with", "bo", "--role", "edit")
    run("remove", "chris", "--data", "keep")
    assert listed(root)[1]["access"] == {"ana": "edit"}
    assert (listed(root)[2]["state"], listed(root)[2]["data"]) == ("removed", "keep")
    assert listed(root)[3] == {
        "name": "dana",
        "email": "Dana@Example.org",
        "displayName": "Dana",
        "role": "admin",
        "namespace": "lab",
    }
    assert stack_text(root).splitlines()[-1].startswith("    - {name: dana"), "in the style of the others"
    run("unshare", "ana", "--with", "bo")
    assert "access" not in listed(root)[1]
    run("resume", "chris")
    assert "state" not in listed(root)[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("suspend", "bob"), "bob is not in Pulumi.sandbox.yaml (did you mean bo?); there: ana, bo, chris"),
        (("remove", "bo", "--data", "all"), 'kubepark:people[1].data: "all" is not one of keep, purge; accepted: keep, purge'),
        (("share", "bo", "--with", "bo"), "kubepark:people[1].access.bo: is for the own namespace; accepted: somebody else who has a namespace"),
        (("share", "eve", "--with", "bo"), "kubepark:people[1].access.eve: eve is nobody in the list; accepted: somebody else who has a namespace"),
        (("add", "eve", "--email", "eve", "--no-password"), 'kubepark:people[3].email: "eve" is not an e-mail address; accepted: local-part@domain'),
        (("add", "bo", "--email", "x@example.org", "--no-password"), "bo is in the list already; change the entry there, or use another name"),
        (("add", "eve", "--email", "kubeflow@example.org", "--no-password"), "kubepark:people[3].namespace: the e-mail's local part gives no namespace: \"kubeflow\" is reserved"),
        (("sync",), "our own Dex follows the list with every `up`; for another one give --external"),
    ],
)  # fmt: skip
def test_what_is_refused_changes_nothing(words, message, root):
    before = stack_text(root)
    flags = [] if words[0] == "sync" else ["--no-preview", "--yes"]
    done = CliRunner().invoke(people.app, [*words, *flags])
    assert isinstance(done.exception, CommandError)
    assert message in str(done.exception)
    assert stack_text(root) == before


def test_without_a_terminal_nothing_is_written_unless_told(root):
    before = stack_text(root)
    done = CliRunner().invoke(people.app, ["suspend", "bo", "--no-preview"])
    assert str(done.exception) == "nothing was changed: without a terminal to ask on, --yes is needed"
    assert stack_text(root) == before


def test_a_password_that_cannot_be_used_adds_nobody(root):
    before = stack_text(root)
    words = ["add", "dana", "--email", "dana@example.org", "--no-preview", "--yes"]
    done = CliRunner().invoke(people.app, words, input="12341234\n")
    assert "8 characters, accepted: at least 12" in str(done.exception)
    assert stack_text(root) == before


def test_who_can_do_what_is_computed_from_the_list(root):
    run("share", "ana", "--with", "bo", "--role", "view")
    rows = json.loads(run("access", "--json"))
    assert [(row["person"], row["namespace"], row["role"]) for row in rows] == [
        ("ana", "ana", "owner"),
        ("bo", "ana", "view"),
        ("bo", "bo", "owner"),
        ("chris", "chris", "owner"),
    ]
    assert run("access").splitlines()[0].split() == ["PERSON", "EMAIL", "NAMESPACE", "ROLE", "WHY"]
    assert run("list").splitlines()[2].split()[:5] == ["bo", "bo@example.org", "member", "medium", "active"]


# -- a file of its own -----------------------------------------------------------------------------


@pytest.fixture
def own_file(root):
    path = root / "Pulumi.sandbox.yaml"
    document = yaml.safe_load(path.read_text())
    del document["config"]["kubepark:people"]
    document["config"]["kubepark:peopleFile"] = "people.yaml"
    path.write_text(yaml.safe_dump(document))
    (root / "people.yaml").write_text(LIST)
    return root / "people.yaml"


def test_a_list_in_a_file_of_its_own_is_edited_there(root, own_file):
    before = stack_text(root)
    run("suspend", "bo")
    assert own_file.read_text() == LIST.replace("bo@example.org}", "bo@example.org, state: suspended}")
    assert stack_text(root) == before


def test_a_file_that_is_not_there(root, own_file):
    own_file.unlink()
    with pytest.raises(CommandError) as refused:
        PeopleFile(root, "sandbox")
    assert str(refused.value).startswith("people.yaml does not exist, which Pulumi.sandbox.yaml names")


@pytest.mark.parametrize("text", ["", "# nobody yet\n", "[]\n", "null\n"])
def test_the_first_one_in_an_empty_file(text, root, own_file):
    own_file.write_text(text)
    run("add", "dana", "--email", "dana@example.org", "--no-password")
    assert own_file.read_text().startswith(text if "#" in text else "")
    assert [each["name"] for each in yaml.safe_load(own_file.read_text())] == ["dana"]


@pytest.mark.parametrize("behind", ["", "   # nobody yet"])
def test_the_first_one_behind_a_key_with_nothing(behind, root):
    text = stack_text(root)
    head, _, tail = text.partition("  kubepark:people:\n")
    kept = "".join(line for line in tail.splitlines(keepends=True) if not line.startswith("    - "))
    (root / "Pulumi.sandbox.yaml").write_text(f"{head}  kubepark:people:{behind}\n{kept}")
    run("add", "dana", "--email", "dana@example.org", "--no-password")
    assert [each["name"] for each in listed(root)] == ["dana"]
    assert behind.strip() in stack_text(root)


def test_line_ends_stay_as_they_are(root, own_file):
    own_file.write_bytes(LIST.replace("\n", "\r\n").encode())
    run("suspend", "bo")
    new = LIST.replace("bo@example.org}", "bo@example.org, state: suspended}")
    assert own_file.read_bytes() == new.replace("\n", "\r\n").encode()


def test_the_command_reads_what_the_program_reads(root, own_file):
    own_file.write_text(
        "- {name: no, email: no@example.org}\n- {name: 'on', email: on@example.org, tier: 0777}\n"
    )
    assert [row["name"] for row in json.loads(run("list", "--json"))] == ["no", "on"]
    for text, wrong in [
        ("- {name: bo, email: a@b.org, email: bo@b.org}\n", 'line 1, column 30: found duplicate key "email"'),
        ("- {name: bo, displayName: 2024-01-01}\n", "line 1, column 27: a date is no text: it needs quotes"),
        ("- &a [*a]\n", "it is too deep, or an alias that contains itself"),
    ]:
        own_file.write_text(text)
        done = CliRunner().invoke(people.app, ["suspend", "bo", "--yes", "--no-preview"])
        assert str(done.exception) == f"people.yaml is not valid YAML: {wrong}"
        assert own_file.read_text() == text
    own_file.write_bytes(b"- {name: \xff}\n")
    assert str(CliRunner().invoke(people.app, ["list"]).exception) == "people.yaml is not UTF-8 text (byte 9)"


@pytest.mark.parametrize(
    ("text", "offset"),
    [("a:\n  - b\n", 2), ("a:\n- b\n", 0), ("- a\n", 0), ("a: 1\n", 2), ("a:\n  b:\n  # no\n    - c\n", 2)],
)
def test_how_far_lists_stand_to_the_right(text, offset):
    assert dash_offset(text) == offset


def test_both_ways_in_which_pulumi_shows_an_object():
    assert stored_hashes({"value": '{"ana": "x"}', "objectValue": {"ana": "x"}}) == {"ana": "x"}
    assert stored_hashes({"value": '{"ana": "x"}'}) == {"ana": "x"}
    assert stored_hashes({}) == {}

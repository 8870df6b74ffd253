"""Accounts of ours in a Dex configuration of others: theirs stays as it is, ours follows the list."""

from __future__ import annotations

import uuid

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.dex_sync import Account, SyncRefused, synced
from cli.differences import difference
from config.people import user_id
from tests.configuration import HASH

FOREIGN = """\
# Our Dex. Ask ops before you touch it.
issuer: http://dex.auth.svc.cluster.local:5556/dex
storage:
  type: kubernetes
  config: {inCluster: true}   # no other
web: {http: 0.0.0.0:5556}
enablePasswordDB: true
unknownKey: 'kept'
staticPasswords:
- email: "root@example.org"   # the first account
  hash: $2y$10$xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
  username: root
  userID: "15841185641784"
# the end of the list
staticClients:
- id: kubeflow
  secret: hush
"""


def account(name: str, **change: str) -> Account:
    fields = {"email": f"{name}@example.org", "username": name, "user_id": user_id(name), "hash": HASH}
    return Account(**{**fields, **change})


ANA, BO = account("ana"), account("bo")


def entries(text: str) -> list[dict[str, str]]:
    return yaml.safe_load(text)["staticPasswords"] or []


def ids(text: str) -> list[str]:
    return [entry["userID"] for entry in entries(text)]


def test_ours_are_added_behind_theirs_and_nothing_else_changes():
    new = synced(FOREIGN, [ANA, BO], [])
    assert entries(new)[0] == entries(FOREIGN)[0]
    assert entries(new)[1:] == [ANA.entry(), BO.entry()]
    before, after = FOREIGN.splitlines(), new.splitlines()
    assert [line for line in before if line not in after] == []
    assert len(after) == len(before) + 8
    assert yaml.safe_load(new)["unknownKey"] == "kept"


def test_twice_is_once():
    new = synced(FOREIGN, [ANA], [])
    assert synced(new, [ANA], []) == new
    assert synced(new, [ANA], [ANA.user_id]) == new


def test_a_changed_hash_or_e_mail_changes_that_entry_in_its_place():
    both = synced(FOREIGN, [ANA, BO], [])
    other = account("ana", hash=HASH.replace("x", "y"), email="ana@example.com")
    new = synced(both, [other, BO], [])
    assert entries(new)[1:] == [other.entry(), BO.entry()]
    assert len([line for line in new.splitlines() if line not in both.splitlines()]) == 2


def test_whoever_left_is_known_by_what_was_written_before():
    both = synced(FOREIGN, [ANA, BO], [])
    assert entries(synced(both, [BO], [ANA.user_id, BO.user_id]))[1:] == [BO.entry()]
    assert entries(synced(both, [BO], []))[1:] == [ANA.entry(), BO.entry()], "without the note nobody is ours"


def test_removal_gives_the_very_text_of_before():
    both = synced(FOREIGN, [ANA, BO], [])
    assert synced(both, [], [ANA.user_id, BO.user_id]) == FOREIGN
    assert synced(FOREIGN, [], [ANA.user_id]) == FOREIGN


def test_a_hand_made_entry_is_never_ours():
    v4 = str(uuid.uuid4())
    text = FOREIGN.replace('"15841185641784"', v4)
    assert ids(synced(text, [ANA], [])) == [v4, ANA.user_id]
    assert ids(synced(synced(text, [ANA], []), [], [ANA.user_id])) == [v4]


def test_a_file_without_any_account_gets_a_list():
    text = FOREIGN[: FOREIGN.index("staticPasswords")] + FOREIGN[FOREIGN.index("staticClients") :]
    assert entries(synced(text, [ANA], [])) == [ANA.entry()]
    assert synced(text, [], []) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("issuer: [", "it is not YAML at line 1; accepted: the file that Dex starts with"),
        ("- a\n- b\n", "it is no mapping; accepted: the file that Dex starts with"),
        ("", "it is no mapping; accepted: the file that Dex starts with"),
        ("enablePasswordDB: true\nstaticPasswords: {}\n", "staticPasswords is no list of entries; accepted: a list, or nothing"),
        ("enablePasswordDB: true\nstaticPasswords: [x]\n", "staticPasswords is no list of entries; accepted: a list, or nothing"),
        ("issuer: x\n", "enablePasswordDB is not true, so Dex would not start with staticPasswords; set it, or use a connector"),
        (
            FOREIGN.replace("root@example.org", "Ana@Example.org"),
            "ana@example.org (ana) is an account there already, as root: of two with one e-mail Dex lets the last win; remove one of them",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_right_is_refused(text, reason):
    with pytest.raises(SyncRefused) as refused:
        synced(text, [ANA], [])
    assert str(refused.value) == f"Dex's configuration was not changed:\n  - {reason}"


def test_two_hand_made_accounts_of_one_e_mail_are_their_business():
    row = FOREIGN[FOREIGN.index("- email") : FOREIGN.index("# the end")]
    text = FOREIGN.replace(row, row + row)
    assert len(entries(synced(text, [ANA], []))) == 3


def test_hashes_and_secrets_of_others_are_not_shown():
    shown = difference(FOREIGN, synced(FOREIGN, [ANA], []), "config.yaml")
    assert "$2" not in shown
    assert "hush" not in shown
    assert shown.count("hash: [new secret]") == 1
    assert "$2" not in repr(ANA)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    st.lists(st.sampled_from(["ana", "bo", "chris", "dana"]), unique=True),
    st.lists(st.sampled_from(["ana", "bo", "chris", "dana"]), unique=True),
    st.booleans(),
)
def test_any_way_from_one_list_to_another_ends_in_the_same_accounts(first, second, indented):
    text = FOREIGN
    if indented:
        lines = FOREIGN.splitlines()
        start, end = lines.index("staticPasswords:") + 1, lines.index("# the end of the list")
        lines[start:end] = [f"  {line}" for line in lines[start:end]]
        text = "\n".join(lines) + "\n"
    one = synced(text, [account(name) for name in first], [])
    known = [user_id(name) for name in first]
    two = synced(one, [account(name) for name in second], known)
    assert synced(two, [account(name) for name in second], known) == two
    assert {each["username"] for each in entries(two)} == {"root", *second}
    assert entries(two)[0] == entries(FOREIGN)[0]
    for comment in ("# Our Dex. Ask ops", "# no other", "# the first account", "# the end of the list"):
        assert comment in two

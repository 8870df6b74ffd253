"""What is shown of a change: everything but secrets, however they are written."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cli.differences import difference

DEX = """\
# not any more: planted-01
"staticPasswords":
- email: a@example.org
  "hash":   $2y$10$planted-02   # of ana
- {"email": "b@example.org", "hash": "\\u0024planted-03"}
- email: c@example.org
  hash: >-
    $2y$10
    planted-04
  username: kept-c
- email: d@example.org
  ? 'hash'
  : |
    planted-05

  username: kept-d
staticClients:
- {id: kept-e, secretEnv: KEPT_F, secret: &shared planted-06}
- {id: kept-g, secret: *shared, name: planted-06}
storage: {type: kept-h, config: {dsn: "postgres://u:planted-07@h", password: planted-07}}
connectors:
- {type: ldap, config: {bindPW: planted-08, bindDN: kept-i}}
- {type: github, config: {clientSecret: [planted-09]}}
enablePasswordDB: true
"""


def test_secrets_are_hidden_wherever_they_are_and_nothing_else_is():
    text = DEX.replace("planted-01", "planted-06")
    shown = difference("", text, "config.yaml")
    assert "planted" not in shown
    assert [name for name in "cdeghi" if f"kept-{name}" not in shown] == []
    assert all(word in shown for word in ("KEPT_F", "enablePasswordDB: true", "# of ana", "a@example.org"))


def test_a_file_in_json_hides_the_same():
    shown = difference("", json.dumps(yaml.safe_load(DEX), indent=1), "config.yaml")
    assert "planted" not in shown
    assert "kept-i" in shown


def test_a_changed_secret_is_a_change():
    lines = difference("a: {hash: xxxx, secret: yyyy}\n", "a: {hash: zzzz, secret: yyyy}\n", "f").splitlines()
    assert lines[3:] == [
        "-a: {hash: [old secret], secret: [secret]}",
        "+a: {hash: [new secret], secret: [secret]}",
    ]
    assert difference(DEX, DEX, "f") == ""


def test_what_a_stack_file_holds():
    text = """\
config:
  kubepark:oidcClientSecret: planted-1
  kubepark:passwordHashes: {ana: {secure: planted-2}, bo: planted-3}
  kubepark:connectorSecrets:
    github: planted-4
"""
    shown = difference("", text, "f")
    assert "planted" not in shown
    assert "ana: {secure: [new secret]}" in shown


SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=4).map(
    lambda each: f"Z9{each}Q7"
)
STYLES = st.sampled_from([None, "'", '"', ">", "|"])


@settings(max_examples=80, derandomize=True, deadline=None)
@given(st.lists(st.tuples(SECRETS, STYLES, st.booleans()), min_size=1, max_size=4), st.booleans())
@example([("Z9a: b #cQ7", None, True)], True)
def test_any_secret_in_any_style(secrets, flow):
    keys = ["hash", "secret", "clientSecret", "bindPW"]
    entries = [
        {"email": f"{n}@example.org", key: each[0]}
        for n, (key, each) in enumerate(zip(keys, secrets, strict=False))
    ]
    styles = {each[0]: each[1] for each in secrets}

    class Dumper(yaml.SafeDumper):
        def represent_str(self, data):
            return self.represent_scalar("tag:yaml.org,2002:str", data, style=styles.get(data))

    Dumper.add_representer(str, Dumper.represent_str)
    text = yaml.dump(
        {"list": entries}, Dumper=Dumper, default_flow_style=flow, width=20, allow_unicode=secrets[0][2]
    )
    shown = difference("", text, "f")
    assert "Z9" not in shown
    assert "Q7" not in shown
    assert all(each["email"] in shown for each in entries)


@pytest.mark.parametrize("word", ["", "~", "a", "[]", "{}"])
def test_nothing_and_next_to_nothing_are_no_secrets_elsewhere(word):
    assert "+a: a banana" in difference("", f"secret: {word}\na: a banana\n", "f")

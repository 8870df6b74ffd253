"""`kubepark people hash`: what is refused, and that a password goes nowhere but into bcrypt."""

from __future__ import annotations

import re
import secrets
import subprocess
import sys

import bcrypt
import pytest

from cli.passwords import PasswordError, hash_password, hint, problems, read_password
from config import ROOT

COMMAND = [sys.executable, "-c", "from cli.people import app; app()", "hash"]


def run(*arguments, given):
    return subprocess.run(
        [*COMMAND, *arguments], input=given, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False
    )


@pytest.mark.parametrize(
    ("password", "says"),
    [
        ("short", "5 characters, accepted: at least 12"),
        ("", "0 characters, accepted: at least 12"),
        ("x" * 73, "73 bytes in UTF-8, accepted: at most 72 (bcrypt reads no more)"),
        ("ü" * 37, "74 bytes in UTF-8, accepted: at most 72 (bcrypt reads no more)"),
        ("with a \0 inside", "it contains a NUL character"),
        ("my-12341234-pw", "it contains the default password of Kubeflow's manifests"),
    ],
)
def test_a_password_that_is_refused(password, says):
    assert problems(password) == [says]


def test_all_problems_are_named_at_once():
    assert len(problems("12341234")) == 2
    assert problems("12341234")[0] == "8 characters, accepted: at least 12"


@pytest.mark.parametrize("password", ["x" * 12, "x" * 72, "ü" * 36, "a b c d e f g h"])
def test_a_password_that_is_accepted(password):
    assert problems(password) == []


def test_the_hash_is_one_that_dex_and_the_settings_accept():
    password = secrets.token_urlsafe(16)
    first, second = hash_password(password, 10), hash_password(password, 10)
    assert re.fullmatch(r"\$2b\$10\$[./A-Za-z0-9]{53}", first)
    assert first != second
    assert bcrypt.checkpw(password.encode(), first.encode())


def test_a_terminal_is_asked_twice_and_the_two_must_agree():
    password = secrets.token_urlsafe(16)
    asked, answers = [], iter([password, password, password, "other"])

    def ask(prompt):
        asked.append(prompt)
        return next(answers)

    assert read_password(ask, stdin_is_terminal=lambda: True) == password
    with pytest.raises(PasswordError, match="the two passwords differ"):
        read_password(ask, stdin_is_terminal=lambda: True)
    assert asked == ["Password: ", "Again: "] * 2


def test_piped_the_hash_is_the_only_output():
    password = secrets.token_urlsafe(16)
    done = run("ana", "--cost", "10", given=password + "\r\n")
    assert done.returncode == 0
    assert done.stderr == ""
    assert bcrypt.checkpw(password.encode(), done.stdout.strip().encode())
    assert done.stdout.count("\n") == 1


def test_a_refused_password_is_not_repeated():
    done = run(given="too-short\n")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "error: the password cannot be used: 9 characters, accepted: at least 12\n"


def test_bytes_that_are_not_utf8_are_refused_cleanly():
    done = subprocess.run(
        COMMAND, input=b"\xff\xfe" * 10 + b"\n", capture_output=True, timeout=60, cwd=ROOT, check=False
    )
    assert done.returncode == 1
    assert done.stderr.decode() == "error: the password cannot be used: it is not UTF-8 text\n"


@pytest.mark.parametrize(("cost", "says"), [("9", "or equal to 10"), ("15", "or equal to 14")])
def test_the_cost_is_bounded(cost, says):
    done = run("--cost", cost, given="x" * 12)
    assert done.returncode == 2
    assert says in done.stderr


def test_the_hint_reads_the_value_from_standard_input():
    text = hint("ana")
    assert "pulumi config set --secret --path 'kubepark:passwordHashes.ana'\n" in text
    assert "$2" not in text

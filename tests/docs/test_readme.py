"""The page of the first real deployment: its commands are those that there are. (They run in the stack tests.)"""

from __future__ import annotations

import re
import shlex

import pytest
import typer
from typer.core import TyperGroup

from cli.main import app
from tests.docs.readme import ROOT, commands

# About no stack: the virtualenv, the backend, and what all stacks share.
SHARED = ("make venv", "pulumi login s3://...", "bin/kubepark manifests lock")


def test_the_search_finds_them_in_their_order() -> None:
    found = commands()
    assert len(found) >= 13
    first = [next(i for i, each in enumerate(found) if each.startswith(start)) for start in FIRST]
    assert first == sorted(first)


FIRST = (
    "make venv",
    "pulumi login",
    "pulumi stack init",
    "bin/kubepark init",
    "pulumi config set",
    "bin/kubepark people add",
    "openssl",
    "bin/kubepark manifests lock",
    "make preview",
    "make up",
    "bin/kubepark verify gpu",
)


@pytest.mark.parametrize("command", commands())
def test_each_names_its_stack(command: str) -> None:
    """Without one it is the sandbox that is meant, and brought up, too."""
    assert command.startswith(SHARED) or re.search(r"(STACK=| init |--stack )dev\b", command)


@pytest.mark.parametrize("command", [each for each in commands() if each.startswith("make ")])
def test_each_target_of_make_exists(command: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert command.split()[1] in targets


@pytest.mark.parametrize("command", [each for each in commands() if each.startswith("bin/kubepark ")])
def test_each_command_of_ours_takes_these_words(command: str) -> None:
    found = typer.main.get_command(app)
    words = shlex.split(command)[1:]
    context = found.make_context("kubepark", words)
    while isinstance(found, TyperGroup):
        _, inner, words = found.resolve_command(context, [*context._protected_args, *context.args])
        assert inner is not None
        found, context = inner, inner.make_context(inner.name, words, parent=context)
    assert context.args == [], "no word is passed on to pulumi"

"""Every command of ours on any page is one that there is, with options that it takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OURS = ("bin/kubepark ", "make ")
# Standing for a number in an example.
NUMBERS = {"NUMBER": "12", "PORT": "6443"}


def commands(page: Path) -> list[str]:
    """Spans of code and lines of code blocks that are a command, a comment behind it cut off."""
    text = page.read_text(encoding="utf-8")
    lines = [line.strip() for line in re.findall(r"^ {4,}(.*)$", text, re.M)]
    spans = [re.sub(r"\s+", " ", span).strip() for span in re.findall(r"`([^`]+)`", text)]
    found = []
    for each in [*lines, *spans]:
        command = re.split(r"\s+#|\s*[|>]\s|; | && ", each)[0]
        found += [command] if command.startswith(OURS) else []
    return found


EXAMPLES = [(page, command) for page in PAGES for command in commands(page)]


def test_the_search_finds_them() -> None:
    assert len(EXAMPLES) > 120
    assert {page.name for page, _ in EXAMPLES} >= {
        "drift.md", "first-deployment.md", "on-call.md", "restore.md", "review-stacks.md", "upgrade.md",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("page", "command"), EXAMPLES, ids=[f"{page.name}-{command[:40]}" for page, command in EXAMPLES]
)
def test_each_is_a_command_that_there_is(page: Path, command: str) -> None:
    program, *words = shlex.split(re.sub(r"\[--[^]]*\]", "", command))  # what may be left out
    if program == "make":
        targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
        wanted = [word for word in words if not word.startswith("-") and "=" not in word]
        assert {word for word in wanted if not word.isupper()} <= targets
        return
    parse([NUMBERS.get(word, word) for word in words])


def parse(words: list[str]) -> None:
    found = typer.main.get_command(app)
    context = found.make_context("kubepark", words)
    while isinstance(found, TyperGroup):
        _, inner, words = found.resolve_command(context, [*context._protected_args, *context.args])
        assert inner is not None
        found, context = inner, inner.make_context(inner.name, words, parent=context)
        if inner.name == "tunnel" and context.params["command"]:
            first, *inside = context.params["command"]
            if first == "bin/kubepark":
                parse(inside)

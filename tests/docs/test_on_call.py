"""The on-call page has a row for each way in which `up` ends by itself, and says nothing that the code does not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import cluster, waiting
from config import manifest_lock, problems

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "on-call.md").read_text(encoding="utf-8")
# Where an `up` ends with an error of its own.
ON_THE_WAY = [
    ROOT / name
    for name in (
        "cli/lookup.py",
        "cli/operations.py",
        "cli/power.py",
        "cli/pulumi.py",
        "cli/recovery.py",
        "cli/removals.py",
        "cli/up_parked.py",
        "components/cluster.py",
        "config/new_cluster.py",
    )
]
_SHORTEST = 7  # characters of a text that tells one message from another
# Of other commands than `up`.
ELSEWHERE = ("has protected resources (",)
# What others say: the engine, the provider, AWS.
OTHERS = {"locked by", "mandatory", "AccessDenied", "UnauthorizedOperation", "AWS account ID not allowed"}
OTHERS |= {"InsufficientInstanceCapacity", "VcpuLimitExceeded", 'no matches for kind "Installation"'}


def texts(node: ast.AST) -> list[str]:
    return [
        each.value
        for each in ast.walk(node)
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]


def raised() -> Iterator[tuple[str, list[str]]]:
    """What is raised in those files, with its constant texts; a name that is raised, by its assignment."""
    for path in ON_THE_WAY:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and node.exc is not None:
                found = [text for text in texts(node.exc) if len(text) >= _SHORTEST]
                if found:
                    yield f"{path.name}:{node.lineno}", found


def rows() -> list[str]:
    """The code spans of the first cells of the tables of messages."""
    cells = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| ")]
    return [span.strip() for cell in cells for span in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize(("where", "found"), list(raised()), ids=lambda value: str(value)[:40])
def test_every_error_of_up_has_a_row(where: str, found: list[str]) -> None:
    if any(text.startswith(ELSEWHERE) or ELSEWHERE[0] in text for text in found):
        return
    assert any(row in text for row in rows() for text in found if len(row) >= _SHORTEST), found


def test_the_errors_that_gather_others_have_one_too() -> None:
    said = [
        str(problems.SettingsError("dev", [problems.Problem("k", "w", "a", "f")])),
        str(manifest_lock.ManifestError(["p"])),
        cluster.NOT_CREATED,
        waiting.SILENCE,
    ]
    for text in said:
        assert any(row in text for row in rows() if len(row) >= _SHORTEST), text
    numbers = sorted(waiting.CANNOT_HEAL)
    assert f"ended with {numbers[0]} or {numbers[1]}" in PAGE


def test_every_step_of_a_node_has_a_row_and_no_other() -> None:
    table = PAGE.partition("| step | look at |")[2].partition("\n## ")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ")]
    told = {span for cell in first for span in re.findall(r"`([^`]+)`", cell)}
    assert told == {path.stem for path in (ROOT / "userdata" / "node" / "steps").glob("*.sh")}


def test_what_it_quotes_is_said_somewhere() -> None:
    """Of ours: every text constant of the program and the command, put together."""
    known = []
    for folder in ("cli", "components", "config"):
        for path in (ROOT / folder).rglob("*.py"):
            known += texts(ast.parse(path.read_text(encoding="utf-8")))
    steps = {path.stem for path in (ROOT / "userdata" / "node" / "steps").glob("*.sh")}
    own = [row for row in rows() if row not in OTHERS | steps]
    assert len(own) > 20, "the search must find them"
    shown = [row.replace("step X failed (exit N, attempt M)", " failed (") for row in own]
    shown = [row.replace("step X failed", " failed (") for row in shown]
    assert [row for row in shown if not any(row in text for text in known)] == []

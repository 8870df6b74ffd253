"""A stack file says to our one reader what it says to Pulumi's engine."""

from __future__ import annotations

import json

import pytest

from config import documents
from sandbox.tests.program.printed_fixes import STACK, StackFile

pytestmark = pytest.mark.sandbox

# Where YAML 1.1, YAML 1.2 and libraries differ, and some where they do not.
VALUES = """
no off yes on y NO ~ null true True TRUE 0777 -0777 0o17 1_000 12:30:45 1e3 1.5 0x1f .5 +12 -0 1.0 0b11 1. 089 08.5 0
'no' "5" !!str 5|!!int '5'|&a b|[1.0, {5: x}]|{no: 1, 5: x, 1.5: y, true: z}|{<<: {z: 1}, k: 2}|
"""
REFUSED = ["{k: 1, k: 2}", "*nowhere", "x\n\tk: y", "[", "%"]


def values() -> list[str]:
    first, second = VALUES.strip().splitlines()
    return [*first.split(" "), *second.replace("'no' \"5\" ", "'no'|\"5\"|").split("|")]


@pytest.fixture(scope="module")
def stack_file(tmp_path_factory: pytest.TempPathFactory) -> StackFile:
    return StackFile(tmp_path_factory.mktemp("project"))


def test_values_and_keys(stack_file: StackFile) -> None:
    lines = "".join(f"    v{number}: {value}\r\n" for number, value in enumerate(values()))
    text = f"\ufeffconfig:\r\n  kubepark:tags:\r\n{lines}  kubepark:people:\r\n"
    stack_file.path.write_bytes(text.encode())
    shown = json.loads(stack_file.run(f"pulumi config --json --stack {STACK}"))
    read = documents.load(text)["config"]
    found, meant = (
        {key: json.dumps(value, sort_keys=True) for key, value in each.items()}
        for each in (read["kubepark:tags"], shown["kubepark:tags"]["objectValue"])
    )
    assert found == meant, "as JSON: True is not 1"
    assert (read["kubepark:people"], shown["kubepark:people"]["value"]) == (None, "")


@pytest.mark.parametrize("value", REFUSED)
def test_what_both_refuse(stack_file: StackFile, value: str) -> None:
    text = f"config:\n  kubepark:tags:\n    v: {value}\n"
    stack_file.path.write_text(text)
    with pytest.raises(AssertionError, match="yaml: "):
        stack_file.run(f"pulumi config --json --stack {STACK}")
    with pytest.raises(documents.NotYaml):
        documents.load(text)


def test_a_date_is_refused_here_for_the_engine_makes_another_text_of_it(stack_file: StackFile) -> None:
    text = "config:\n  kubepark:tags: {since: 2024-01-01}\n"
    stack_file.path.write_text(text)
    assert "2024-01-01 00:00:00 +0000 UTC" in stack_file.run(f"pulumi config --json --stack {STACK}")
    with pytest.raises(documents.NotYaml, match="needs quotes"):
        documents.load(text)

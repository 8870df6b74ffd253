"""What the CLI and its plugins are started with: a folder for temporary files, gone when they end, and what
makes them quick.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.errors import CommandError
from cli.pulumi import Pulumi

# As the Kubernetes provider: a file of its own, which it never removes.
LEAVES = """#!/bin/sh
echo key >"$TMPDIR/kubeconfig$$"
echo "$TMPDIR $GOGC ${PULUMI_DIY_BACKEND_ZSTD-unset}"
exit 3
"""


@pytest.fixture
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    executable, temporary = tmp_path / "bin" / "pulumi", tmp_path / "temporary"
    for folder in (executable.parent, temporary):
        folder.mkdir()
    executable.write_text(LEAVES)
    executable.chmod(0o755)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    return {"PATH": f"{executable.parent}:{os.defpath}"}


@pytest.mark.parametrize("verb", ["preview", "refresh"])
def test_nothing_is_left(tmp_path: Path, variables: dict[str, str], verb: str) -> None:
    cli, temporary = Pulumi("dev", variables, cwd=tmp_path), tmp_path / "temporary"
    code, said = cli.collect(verb)
    assert code == 3
    assert said.startswith(f"{temporary}/kubepark-private-")
    assert cli.operate(verb) == 3
    with pytest.raises(CommandError):
        cli.read(verb, "--json")
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("own", "given"),
    [
        ({}, ["400", "true"]),
        ({"GOGC": "50", "PULUMI_DIY_BACKEND_ZSTD": "false"}, ["50", "false"]),
        ({"PULUMI_DIY_BACKEND_GZIP": "true"}, ["400", "unset"]),
        ({"PULUMI_SELF_MANAGED_STATE_GZIP": "true"}, ["400", "unset"]),
    ],
)
def test_garbage_is_seldom_collected_and_the_state_packed_unless_somebody_says_otherwise(
    tmp_path: Path, variables: dict[str, str], own: dict[str, str], given: list[str]
) -> None:
    _, said = Pulumi("dev", variables | own, cwd=tmp_path).collect("preview")
    assert said.split()[1:] == given

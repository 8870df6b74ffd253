"""What the CLI's plugins leave among temporary files is gone when an operation ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.pulumi import Pulumi

# As the Kubernetes provider: a file of its own, which it never removes.
LEAVES = """#!/bin/sh
echo key >"$TMPDIR/kubeconfig$$"
echo "$TMPDIR"
exit 3
"""


@pytest.mark.parametrize("verb", ["preview", "refresh"])
def test_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    executable, temporary = tmp_path / "bin" / "pulumi", tmp_path / "temporary"
    for folder in (executable.parent, temporary):
        folder.mkdir()
    executable.write_text(LEAVES)
    executable.chmod(0o755)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    cli = Pulumi("dev", {"PATH": f"{executable.parent}:{os.defpath}"}, cwd=tmp_path)
    code, said = cli.collect(verb)
    assert code == 3
    assert said.startswith(f"{temporary}/kubepark-")
    assert cli.operate(verb) == 3
    assert list(temporary.iterdir()) == []

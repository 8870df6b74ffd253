"""The real CLI as kubepark starts it, on a backend that is not a sandbox's: the state is packed, for whoever comes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.pulumi import Pulumi
from sandbox.tests.program.engine_project import STACK, EngineProject

pytestmark = pytest.mark.sandbox
PROGRAM = "import pulumi; pulumi.export('text', '{}' * 5000)"


def test_the_state_is_packed_and_a_plain_pulumi_reads_and_writes_it_too(tmp_path: Path) -> None:
    project = EngineProject(tmp_path, PROGRAM.format("a"), {})
    plain = project.checkpoint_file
    packed = plain.with_suffix(".json.zst")
    assert plain.exists(), "made by a plain pulumi"
    variables = {name: value for name, value in project.variables.items() if not name.endswith("ZSTD")}
    cli = Pulumi(STACK, variables, cwd=project.root)
    for letter in "ab":
        project.program.write_text(PROGRAM.format(letter))
        assert cli.operate("up", "--yes", "--skip-preview") == 0
        assert not plain.exists()
        assert packed.stat().st_size < 3000
    assert project.ok("stack", "output", "text").strip() == "b" * 5000
    project.program.write_text(PROGRAM.format("c"))
    project.up()
    assert not packed.exists()
    assert cli.outputs() == {"text": "c" * 5000}

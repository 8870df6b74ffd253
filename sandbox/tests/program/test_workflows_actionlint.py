"""actionlint on the GitHub workflows."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from sandbox.tests.tools import tool
from tests.unit.test_workflows import FOLDER, ROOT

pytestmark = pytest.mark.sandbox


def test_actionlint_has_nothing_to_say():
    shellcheck = shutil.which("shellcheck") or str(ROOT / ".venv" / "bin" / "shellcheck")
    command = [str(tool("actionlint")), "-shellcheck", shellcheck, "-pyflakes", ""]
    paths = [str(path) for path in sorted(FOLDER.glob("*.yml"))]
    done = subprocess.run([*command, *paths], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_actionlint_would_say_something(tmp_path):
    broken = tmp_path / "broken.yml"
    broken.write_text((FOLDER / "ci.yml").read_text().replace("runs-on:", "runs-one:"))
    done = subprocess.run(
        [str(tool("actionlint")), str(broken)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "runs-one" in done.stdout

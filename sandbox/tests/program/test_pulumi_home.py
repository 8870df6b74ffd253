"""The real CLI in the home that it gets for a real stack: it finds everything, and writes no log."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from cli import pulumi_home
from sandbox.tests.tools import tool


def test_the_cli_finds_its_plugins_and_goes_on_without_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulumi_home, "_home", lambda: tmp_path)
    plugin = tmp_path / ".pulumi" / "plugins" / "resource-example-v1.2.3"
    plugin.mkdir(parents=True)
    (plugin / "pulumi-resource-example").write_text("#!/bin/sh\n")
    plain = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PULUMI_SKIP_UPDATE_CHECK": "true"}
    ours = pulumi_home.without_log(plain)
    plain["PULUMI_HOME"] = str(tmp_path / ".pulumi")
    for variables in (ours, plain):
        done = subprocess.run(
            [str(tool("pulumi")), "plugin", "ls", "--json"],
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert [each["name"] for each in json.loads(done.stdout)] == ["example"]
        assert "automatic logging" not in done.stderr
        logs = tmp_path / ".pulumi" / "logs"
        assert logs.is_dir() is (variables is plain), "without ours there would be one"
    assert Path(ours["PULUMI_HOME"], "logs").is_file()

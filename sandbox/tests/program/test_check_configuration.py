"""`kubepark check` takes stack files for what the real engine takes them for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from cli import stackfile
from cli.check import given
from config.settings import decoded
from sandbox.tests.tools import tool

STACK = """\
config:
  kubepark:whole: 123
  kubepark:yes: true
  kubepark:off: off
  kubepark:half: 1.50
  kubepark:million: 1e6
  kubepark:quoted: "007"
  kubepark:nothing: null
  kubepark:empty: ""
  kubepark:json: '{"a": [1, "2"]}'
  kubepark:broken: "{not json"
  kubepark:list: [1, "2", null, {a: b}]
  kubepark:object:
    half: 1.50
    whole: 40.0
    million: 1e6
    hex: 0x10
    nothing: null
    word: yes
    truth: true
    5: five
    true: key
    deep: {a: [1.0, {b: 2.0}]}
"""


def test_every_kind_of_value_is_what_the_engine_gives(tmp_path: Path, monkeypatch) -> None:
    state = tmp_path / "state"
    state.mkdir()
    environment = {
        "PATH": "/usr/bin:/bin",
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_BACKEND_URL": state.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": "x",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    (tmp_path / "Pulumi.yaml").write_text("name: kubepark\nruntime: python\n", encoding="utf-8")

    def pulumi(*arguments: str) -> str:
        return subprocess.run(
            [tool("pulumi"), *arguments, "--stack", "dev"],
            cwd=tmp_path,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    pulumi("stack", "init")
    (tmp_path / "Pulumi.dev.yaml").write_text(STACK, encoding="utf-8")
    told = json.loads(pulumi("config", "--json"))
    engine = {key.partition(":")[2]: decoded(value["value"]) for key, value in told.items()}
    monkeypatch.setattr(stackfile, "ROOT", tmp_path)
    found, _ = given(stackfile.config_of("dev"))
    assert found == engine
    assert len(engine) == 12
    assert {type(value) for value in engine["object"].values()} == {int, float, type(None), str, bool, dict}

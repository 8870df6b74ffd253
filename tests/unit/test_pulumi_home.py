"""The home that the Pulumi CLI of a real stack gets: the person's own, without the CLI's log."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli import environments, pulumi_home
from cli.pulumi_home import without_log


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pulumi_home, "_home", lambda: tmp_path)
    own = tmp_path / ".pulumi"
    (own / "plugins" / "resource-aws-v7").mkdir(parents=True)
    (own / "logs").mkdir()
    (own / "credentials.json").write_text("{}")
    return tmp_path


def test_everything_is_the_persons_own_but_the_log(home: Path) -> None:
    for _ in range(2):  # and again, as the next command does
        found = without_log({"HOME": str(home), "A": "b"})
    ours = Path(found["PULUMI_HOME"])
    assert ours == home / ".local" / "state" / "kubepark" / "pulumi-home"
    assert {entry.name for entry in ours.iterdir()} == {
        *("plugins", "policies", "workspaces", "credentials.json", "logs")
    }
    assert (ours / "plugins").resolve() == home / ".pulumi" / "plugins"
    assert (ours / "logs").is_file(), "no folder can be made there"
    (ours / "plugins" / "downloaded").mkdir()
    assert (home / ".pulumi" / "plugins" / "downloaded").is_dir()
    assert found["PULUMI_CREDENTIALS_PATH"] == str(home / ".pulumi")
    assert found["A"] == "b"
    assert (home / ".pulumi" / "logs").is_dir(), "the person's own log is left alone"


def test_links_follow_what_comes_and_goes(home: Path) -> None:
    ours = Path(without_log({"HOME": str(home)})["PULUMI_HOME"])
    (home / ".pulumi" / "credentials.json").unlink()
    (home / ".pulumi" / "templates-v2").mkdir()
    without_log({"HOME": str(home)})
    assert not (ours / "credentials.json").is_symlink()
    assert (ours / "templates-v2").is_dir()


def test_a_home_that_somebody_names_is_left_as_it_is_and_so_is_one_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for named in ({"HOME": str(tmp_path), "PULUMI_HOME": "/somewhere"}, {"HOME": "/nobody's"}):
        assert without_log(named) == named
    monkeypatch.setattr(pulumi_home, "_home", lambda: tmp_path)
    (tmp_path / ".pulumi").write_text("not a folder")
    assert without_log({"HOME": str(tmp_path)}) == {"HOME": str(tmp_path)}


def test_only_what_runs_the_engine_gets_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("PULUMI_HOME", raising=False)
    account = environments.Account()
    for verb, ours in (
        ("up", True),
        ("preview", True),
        ("destroy", True),
        ("stack", False),
        ("config", False),
    ):
        with account.operation(verb) as variables:
            assert ("PULUMI_HOME" in variables) is ours

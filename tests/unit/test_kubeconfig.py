"""The file that holds the operator's kubeconfig: who can read it, and what is in it when."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from config import kubeconfig

TEXT = "apiVersion: v1\nclusters:\n- cluster:\n    server: https://a:6443\n  name: c\nkind: Config\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / kubeconfig.file_of("lab", 1)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_file_is_its_owners_alone_whatever_it_was(path: Path) -> None:
    kubeconfig.keep(path, TEXT)
    assert (path.read_text(), mode(path), mode(path.parent)) == (TEXT, 0o600, 0o700)
    path.chmod(0o644)
    kubeconfig.keep(path, TEXT + "# newer\n")
    assert (kubeconfig.kept(path), mode(path)) == (TEXT + "# newer\n", 0o600)
    assert [each.name for each in path.parent.iterdir()] == [path.name], "no draft is left"


def test_without_a_text_what_is_there_stays_and_else_it_is_of_no_cluster(path: Path) -> None:
    assert kubeconfig.kept(path) == ""
    kubeconfig.keep(path, "")
    assert path.read_text() == kubeconfig.NOWHERE
    assert kubeconfig.kept(path) == ""
    kubeconfig.keep(path, TEXT)
    kubeconfig.keep(path, "")
    assert kubeconfig.kept(path) == TEXT


def test_only_the_server_is_another() -> None:
    assert kubeconfig.with_server(TEXT, "https://b:1") == TEXT.replace("https://a:6443", "https://b:1")
    assert kubeconfig.with_server("", "https://b:1") == ""

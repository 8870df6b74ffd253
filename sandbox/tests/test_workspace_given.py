"""Secrets that a workspace is given in place of generated ones: those of another program against the same state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sandbox import stackfile
from sandbox.foreign import adapted
from sandbox.tests.test_foreign import TEXT
from sandbox.tests.test_workspace import Project
from sandbox.workspace import Workspace

pytestmark = pytest.mark.sandbox


def test_two_programs_have_their_own_secrets_in_one_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBEPARK_SANDBOX_DIR", raising=False)
    project, seen = Project(tmp_path), []
    for text in (TEXT, TEXT.replace("cipher-of-bo", "another"), TEXT):
        found = adapted(text, "Pulumi.sandbox.yaml", tmp_path)
        file = tmp_path / "adapted.yaml"
        file.write_text(stackfile.dump(found.document), encoding="utf-8")
        project.workspace = Workspace(replace(project.workspace.config, stack_file=file), found.secrets)
        project.prepare()
        seen.append({key: project.config(key) for key in ("passwordHashes", "oidcClientSecret")})
        given = found.secrets
        assert given is not None
        assert seen[-1]["passwordHashes"]["bo"] == given['kubepark:passwordHashes["bo"]']
        assert project.config("connectors[0].clientId") == given['kubepark:connectors[0]["clientId"]']
        assert project.config("connectorSecrets")["github"] == given['kubepark:connectorSecrets["github"]']
    assert seen[0] == seen[2]
    assert seen[0] != seen[1]
    assert project.passwords() == {}, "nothing was generated"

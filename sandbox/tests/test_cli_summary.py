"""The summary that `kubepark up` ends with."""

from __future__ import annotations

import json

import pytest

from sandbox import cli, config
from sandbox.summary import summary
from sandbox.workspace import Workspace


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBEPARK_SANDBOX_DIR", str(tmp_path / "state"))
    (tmp_path / "Pulumi.yaml").write_text("name: kubepark\n")
    (tmp_path / "Pulumi.sandbox.yaml").write_text(
        "config:\n"
        '  kubepark:aws: {endpoint: "http://127.0.0.1:1"}\n'
        '  kubepark:controlPlane: {apiEndpoint: "https://127.0.0.1:2"}\n'
        "  kubepark:people:\n    - {name: ana, email: ana@example.org}\n"
    )
    return Workspace(config.load(tmp_path))


OUTPUTS = {
    "api_endpoint": "https://127.0.0.1:2",
    "nodes": [
        {"name": "gpu01", "role": "gpu", "private_ip": "10.20.1.1", "instance_id": "i-1"},
        {"name": "worker01", "role": "worker", "private_ip": "10.20.0.11", "instance_id": "i-2"},
        {"name": "worker02", "role": "worker", "private_ip": "10.20.0.12", "instance_id": "i-3"},
    ],
    "dex_issuer": "http://dex",
    "profiles": ["ana"],
    "people": [
        {"name": "ana", "email": "ana@example.org", "state": "active"},
        {"name": "bo", "email": "bo@example.org", "state": "suspended"},
    ],
    "outdated_nodes": [],
}


def node(ready, **allocatable):
    return {"status": {"conditions": [{"type": "Ready", "status": ready}], "allocatable": allocatable}}


def text(workspace, live, verified=0):
    return "\n".join(summary(workspace, OUTPUTS, live, verified, 41.4))


def test_nodes_gpu_accounts_and_paths_are_there(workspace):
    said = text(workspace, {"gpu01": node("True", **{"nvidia.com/gpu": "1"}), "worker01": node("False")})
    rows = {line.split()[0]: line.split() for line in said.splitlines() if line}
    assert rows["gpu01"] == ["gpu01", "gpu", "10.20.1.1", "Ready", "1", "i-1"]
    assert rows["worker01"][3:5] == ["NotReady", "-"]
    assert " ".join(rows["worker02"][3:]) == "not in the cluster - i-3"
    assert "Dex accounts    ana@example.org\n" in said
    assert f"Kubeconfig      {workspace.config.kubeconfig}" in said
    assert "Took            41 s" in said
    assert 'eval "$(bin/kubepark env)"' in said


@pytest.mark.parametrize(
    ("verified", "words"), [(None, "not run"), (0, "completed"), (1, "FAILED, see above")]
)
def test_the_job_is_not_called_completed_unless_it_was(workspace, verified, words):
    assert f"GPU Job         {words}" in text(workspace, {}, verified)


def test_images_that_are_not_stand_ins_are_told_here_and_by_status(workspace, monkeypatch):
    assert "\nImages " not in text(workspace, {})
    workspace.config.state_dir.mkdir()
    workspace.config.state_file.write_text(json.dumps({"nodes": "real", "images": "upstream"}))
    said = text(workspace, {})
    assert "Images          upstream, of their registries\n" in said
    monkeypatch.setattr(cli, "ROOT", workspace.config.root)
    assert "images: upstream" in cli.Sandbox("sandbox").described()

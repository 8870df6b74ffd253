"""The local cloud as one thing: started once, restarted where it died, and stopped without a trace."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import boto3
import psutil
import pytest
import yaml

from sandbox import local_cloud
from sandbox.config import load
from sandbox.ports import free_port, holder_of
from sandbox.tests.tools import kill

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ["ami-0aaaaaaaaaaaaaaa1", "ami-0aaaaaaaaaaaaaaa2"]


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A sandbox of its own: ports that nothing uses, a state folder in the test's."""
    monkeypatch.setenv("KUBEPARK_SANDBOX_DIR", str(tmp_path / "state"))
    stack = {
        "kubepark:aws": {"endpoint": f"http://127.0.0.1:{free_port()}"},
        "kubepark:controlPlane": {"apiEndpoint": f"https://127.0.0.1:{free_port()}", "ami": IMAGES[0]},
        "kubepark:workers": [{"name": "worker01", "ami": IMAGES[1]}, {"name": "ami-nothing"}],
    }
    stack_file = tmp_path / "Pulumi.sandbox.yaml"
    stack_file.write_text(yaml.safe_dump({"config": stack}))
    made = load(ROOT, "sandbox", stack_file)
    yield made
    local_cloud.stop(made)


def pids(config):
    supervisor = local_cloud.supervisor(config)
    return {name: supervisor.pid(name) for name in supervisor.records()}


def test_started_once_restarted_and_stopped(config):
    local_cloud.start(config)
    first = pids(config)
    assert set(first) == {"emulator", "boot"}
    assert all(first.values())
    status = local_cloud.status(config)
    assert status.processes == first
    born = status.epoch
    assert born
    assert local_cloud.pinned_images(config) == IMAGES
    ec2 = boto3.client(
        "ec2", endpoint_url=config.aws.url, region_name=config.region,
        aws_access_key_id="testing", aws_secret_access_key="testing",
    )  # fmt: skip
    assert len(ec2.describe_images(ImageIds=IMAGES)["Images"]) == 2

    local_cloud.start(config)
    assert pids(config) == first

    kill(psutil.Process(first["boot"]))
    assert local_cloud.status(config).processes["boot"] is None
    local_cloud.start(config)
    restarted = pids(config)
    assert restarted["emulator"] == first["emulator"]
    assert restarted["boot"] not in (None, first["boot"])
    assert local_cloud.status(config).epoch == born

    kill(psutil.Process(first["emulator"]))
    local_cloud.start(config)
    again = pids(config)
    assert all(again.values())
    assert again["boot"] != restarted["boot"], "what it had made was made from a memory that is gone"
    assert local_cloud.status(config).epoch not in (None, born)

    assert set(local_cloud.stop(config)) == {"boot", "emulator"}
    assert list(local_cloud.supervisor(config).strays()) == []
    assert holder_of("127.0.0.1", config.aws.port) is None
    assert local_cloud.stop(config) == []
    ended = local_cloud.status(config)
    assert (ended.processes, ended.epoch) == ({}, None)


@pytest.mark.parametrize("endpoint", ["aws", "api"])
def test_a_port_in_use_is_left_to_its_holder_and_another_one_remembered(config, endpoint, capfd):
    port = getattr(config, endpoint).port
    with socket.create_server(("127.0.0.1", port)):
        started = local_cloud.start(config)
    other = getattr(started, endpoint).port
    said = capfd.readouterr().err
    assert re.search(rf"port {port} is held by .* \(pid {os.getpid()}\)", said), said
    assert other != port
    assert local_cloud.healthy(started.aws)
    before = pids(started)
    again = load(ROOT, "sandbox", config.stack_file)
    assert getattr(again, endpoint).port == other, "the next command finds it, though the first is free again"
    assert local_cloud.start(again) == again
    assert pids(again) == before

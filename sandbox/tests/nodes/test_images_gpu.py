"""NVIDIA's device plugin and container runtime, as far as ours stand in for them.

The plugin has fixed paths; so it runs in a mount namespace in which those are folders of the test.
What the runtime does for a container is in test_images_pull.py.
"""

from __future__ import annotations

import time

import grpc
import pytest
import yaml

from components.incluster.gpu import sharing_config
from sandbox.tests.nodes.commands import once, root, running
from sandbox.tests.nodes.kubelet_plugins import Kubelet

pytestmark = pytest.mark.sandbox
GPUS = [f"GPU-0000000{number}-1111-2222-3333-444444444444" for number in range(2)]


PLUGIN = "nvidia-gpu.sock"


@pytest.fixture
def kubelet(tmp_path):
    folder = tmp_path / "device-plugins"
    folder.mkdir()
    made = Kubelet(folder)
    yield made
    made.stop()


@pytest.fixture
def plugin(programs, kubelet, tmp_path):
    """The command that runs the plugin in front of that kubelet, on a machine with these GPUs."""

    def command(gpus, *arguments):
        file = tmp_path / "gpus"
        file.write_text("".join(f"{each}\n" for each in gpus))
        steps = [
            "mount -t tmpfs none /run",
            "mount -t tmpfs none /var/lib",
            "mkdir -p /run/nvidia /var/lib/kubelet/device-plugins",
            f'mount --bind "{kubelet.folder}" /var/lib/kubelet/device-plugins',
            *([f'cp "{file}" /run/nvidia/gpus'] if gpus else []),
            'exec "$@"',
        ]
        inside = ["unshare", "--mount", "sh", "-c", " && ".join(steps), "sh"]
        return [*inside, programs["nvidia-device-plugin"], *arguments]

    return command


@root
def test_the_plugin_offers_the_gpus_of_its_machine(kubelet, plugin):
    kubelet.start()
    with running(*plugin(GPUS), FAIL_ON_INIT_ERROR="true"):
        asked = kubelet.wait(1)
        assert (asked.version, asked.endpoint, asked.resource_name) == ("v1beta1", PLUGIN, "nvidia.com/gpu")
        assert kubelet.devices(PLUGIN) == dict.fromkeys(GPUS, "Healthy")
        assert kubelet.allocate(PLUGIN, GPUS[1]) == {"NVIDIA_VISIBLE_DEVICES": GPUS[1]}
        assert kubelet.allocate(PLUGIN, *GPUS) == {"NVIDIA_VISIBLE_DEVICES": ",".join(GPUS)}
        with pytest.raises(grpc.RpcError, match="unknown device: GPU-9"):
            kubelet.allocate(PLUGIN, "GPU-9")
    assert not (kubelet.folder / PLUGIN).exists()


@root
def test_the_plugin_waits_for_a_kubelet_and_registers_with_each_new_one(kubelet, plugin):
    with running(*plugin(GPUS)):
        time.sleep(0.5)
        kubelet.start()
        kubelet.wait(1)
        kubelet.stop()
        kubelet.start()
        kubelet.wait(2)
        assert kubelet.devices(PLUGIN) == dict.fromkeys(GPUS, "Healthy")


@root
def test_the_plugin_shares_gpus_as_the_programs_configuration_says(kubelet, plugin, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(sharing_config(3))
    kubelet.start()
    with running(*plugin(GPUS), CONFIG_FILE=str(file)):
        assert kubelet.wait(1).resource_name == "nvidia.com/gpu"
        assert set(kubelet.devices(PLUGIN)) == {f"{each}::{number}" for each in GPUS for number in range(3)}
        assert kubelet.allocate(PLUGIN, f"{GPUS[0]}::2") == {"NVIDIA_VISIBLE_DEVICES": GPUS[0]}
        with pytest.raises(grpc.RpcError, match="maximum request size for shared resources is 1"):
            kubelet.allocate(PLUGIN, f"{GPUS[0]}::0", f"{GPUS[0]}::1")


@root
def test_the_plugin_fails_without_a_gpu_unless_told_to_wait(kubelet, plugin):
    failed = once(*plugin([]))
    assert failed.returncode == 1
    assert "no GPU can be used: open /run/nvidia/gpus: no such file or directory" in failed.stderr
    kubelet.start()
    for arguments, variables in (
        ((), {"FAIL_ON_INIT_ERROR": "false"}),
        (("--fail-on-init-error=false",), {}),
    ):
        with running(*plugin([], *arguments), **variables) as process:
            assert process.stdout.readline().startswith("no GPU, and FAIL_ON_INIT_ERROR=false")
            time.sleep(0.3)
            assert process.poll() is None
    assert kubelet.registered == []


@root
@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (("--gpus=2",), {}, "flag provided but not defined: -gpus"),
        (("--mig-strategy=single",), {}, "mig-strategy=single: the stand-in has none only"),
        ((), {"DEVICE_LIST_STRATEGY": "volume-mounts"}, "device-list-strategy=volume-mounts"),
        ((), {"CONFIG_FILE": "/nowhere"}, "/nowhere: no such file"),
    ],
)
def test_the_plugin_refuses_what_it_does_not_do(plugin, arguments, variables, words):
    answer = once(*plugin(GPUS, *arguments), **variables)
    assert answer.returncode == 1
    assert words in answer.stderr


@root
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version: v1\nflags: {migStrategy: none}\n", "field flags not found"),
        (sharing_config(2).replace("v1", "v2"), 'version "v2" is not v1'),
        (sharing_config(2).replace("nvidia.com/gpu", "nvidia.com/mig"), "has to be nvidia.com/gpu"),
    ],
)
def test_the_plugin_refuses_a_configuration_with_more_in_it(plugin, tmp_path, text, words):
    file = tmp_path / "config.yaml"
    file.write_text(text)
    answer = once(*plugin(GPUS), CONFIG_FILE=str(file))
    assert (answer.returncode, words in answer.stderr) == (1, True)


@pytest.fixture
def runc(tmp_path):
    """A runc on PATH that says how it was called."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "runc").write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\nexit 7\n')
    (folder / "runc").chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


@pytest.mark.parametrize(
    "arguments", [("--root", "create", "state", "box"), ("--log=x", "delete", "--force", "create")]
)
def test_the_runtime_passes_on_whatever_creates_no_container(programs, runc, tmp_path, arguments):
    """With a bundle that does not exist: to look at it would be an error."""
    answer = once(programs["nvidia-container-runtime"], *arguments, **runc)
    assert answer.returncode == 7
    assert answer.stdout.splitlines()[1:] == list(arguments)


@pytest.mark.parametrize("option", [["--bundle", "{}"], ["--bundle={}"], ["-b", "{}"]])
def test_the_runtime_leaves_a_bundle_without_gpus_as_it_is(programs, runc, tmp_path, option):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    variables = '["A=b", "NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_VISIBLE_DEVICES=void"]'
    text = f'{{"process": {{"env": {variables}}}, "x": 1}}'
    (bundle / "config.json").write_text(text)
    given = [each.format(bundle) for each in option]
    arguments = ["--root", "/r", "create", *given, "--pid-file", "p", "box"]
    answer = once(programs["nvidia-container-runtime"], *arguments, **runc)
    assert answer.returncode == 7
    assert answer.stdout.splitlines()[1:] == arguments
    assert (bundle / "config.json").read_text() == text


def test_the_runtime_without_a_bundle_or_runc_says_so_where_containerd_looks(programs, tmp_path):
    log = tmp_path / "log.json"
    answer = once(
        programs["nvidia-container-runtime"], "--log", log, "create", "--bundle", tmp_path / "no", "box"
    )
    assert answer.returncode == 1
    last = yaml.safe_load(log.read_text().splitlines()[-1])
    assert (last["level"], "config.json: no such file" in last["msg"]) == ("error", True)
    lost = once(programs["nvidia-container-runtime"], "--version", PATH=str(tmp_path))
    assert (lost.returncode, "runc" in lost.stderr) == (1, True)

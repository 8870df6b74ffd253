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


@pytest.fixture
def kubelet(tmp_path):
    folder = tmp_path / "device-plugins"
    folder.mkdir()
    return Kubelet(folder)


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
def test_the_plugin_waits_for_a_kubelet_and_registers_with_each_new_one(kubelet, plugin):
    with running(*plugin(GPUS), FAIL_ON_INIT_ERROR="true"):
        time.sleep(0.5)
        for _ in "a kubelet", "a new one":
            with kubelet.running():
                assert kubelet.wait() == "nvidia.com/gpu"
                assert kubelet.devices() == dict.fromkeys(GPUS, "Healthy")
                assert kubelet.allocate(GPUS[1]) == {"NVIDIA_VISIBLE_DEVICES": GPUS[1]}
                assert kubelet.allocate(*GPUS) == {"NVIDIA_VISIBLE_DEVICES": ",".join(GPUS)}
                with pytest.raises(grpc.RpcError, match="unknown device: GPU-9"):
                    kubelet.allocate("GPU-9")


@root
def test_the_plugin_shares_gpus_as_the_programs_configuration_says(kubelet, plugin, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(sharing_config(3))
    with kubelet.running():
        with running(*plugin(GPUS), CONFIG_FILE=str(file)):
            assert kubelet.wait() == "nvidia.com/gpu"
            assert set(kubelet.devices()) == {f"{each}::{number}" for each in GPUS for number in range(3)}
            assert kubelet.allocate(f"{GPUS[0]}::2") == {"NVIDIA_VISIBLE_DEVICES": GPUS[0]}
            with pytest.raises(grpc.RpcError, match="maximum request size for shared resources is 1"):
                kubelet.allocate(f"{GPUS[0]}::0", f"{GPUS[0]}::1")
        assert not kubelet.plugin.exists(), "its socket"


@root
def test_the_plugin_fails_without_a_gpu_unless_told_to_wait(kubelet, plugin):
    failed = once(*plugin([]))
    assert failed.returncode == 1
    assert "no GPU can be used: open /run/nvidia/gpus: no such file or directory" in failed.stderr
    for arguments, variable in ((), "false"), (["--fail-on-init-error=false"], "true"):
        with kubelet.running(), running(*plugin([], *arguments), FAIL_ON_INIT_ERROR=variable) as process:
            assert process.stdout.readline().startswith("no GPU, and FAIL_ON_INIT_ERROR=false")
            time.sleep(0.3)
            assert process.poll() is None
    assert kubelet.registered.empty()


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


CREATE = "--root /r create --pid-file p box"


@pytest.mark.parametrize(
    "arguments",
    [
        *("--root create state box", "--log=x delete --force create"),
        *(f"{CREATE} {option}" for option in ("--bundle bundle", "--bundle=bundle", "-b bundle")),
    ],
)
def test_the_runtime_leaves_a_bundle_without_gpus_as_it_is_and_passes_everything_on(
    programs, tmp_path, arguments, monkeypatch
):
    """Of what creates no container it does not even look for the bundle, which would be an error."""
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    variables = '["A=b", "NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_VISIBLE_DEVICES=void"]'
    text = f'{{"process": {{"env": {variables}}}, "x": 1}}'
    (bundle / "config.json").write_text(text)
    (tmp_path / "runc").write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\nexit 7\n')
    (tmp_path / "runc").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    given = arguments.split()
    answer = once(programs["nvidia-container-runtime"], *given, PATH=f"{tmp_path}:/usr/bin:/bin")
    assert (answer.returncode, answer.stdout.splitlines()[1:]) == (7, given)
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

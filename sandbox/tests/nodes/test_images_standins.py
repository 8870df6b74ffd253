"""The smallest programs of ours in images: pause, Calico's operator, what starts kube-proxy."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
import yaml

from sandbox.tests.nodes.commands import SECONDS, once, root, running, until

pytestmark = pytest.mark.sandbox


def children(pid):
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_pause_ends_when_it_is_told_to(programs, spawn, number):
    process = spawn(programs["pause"])
    time.sleep(0.3)
    process.send_signal(number)
    assert process.wait(timeout=SECONDS) == 0


@root
def test_pause_reaps_the_orphans_of_its_namespace(programs, spawn):
    """Process 1 of a namespace inherits what a shell leaves behind, as in a pod that shares one."""
    process = spawn("unshare", "--pid", "--fork", "--kill-child", programs["pause"])
    with_pause = until("pause has started", lambda: children(process.pid))[0]
    left = "for each in 1 2 3; do sleep 2 >/dev/null 2>&1 & done"
    assert once("nsenter", "--target", with_pause, "--pid", "sh", "-c", left).returncode == 0
    assert children(with_pause), "nothing was left to pause: the test shows nothing"
    until("orphans that ended are gone", lambda: not children(with_pause))


def test_the_operator_stays_until_it_is_told_to_end(programs):
    with running(programs["operator"]) as process:
        assert process.stdout.readline().startswith("stand-in for Calico's operator")
        assert process.poll() is None
    assert once(programs["operator"], "-manage-crds=true").returncode == 2


# --- what starts kube-proxy

PROXY = """\
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clusterCIDR: 192.168.0.0/16
conntrack: {maxPerCore: 32768, min: 131072}
mode: iptables
"""


@pytest.fixture
def proxy_start(programs):
    """The command, where the real kube-proxy is a script that shows its arguments and configuration."""
    real = '#!/bin/sh\necho "$0" "$@"\ncat /run/kube-proxy.conf\n'
    inside = (
        "mount -t tmpfs none /run && mount -t tmpfs none /usr/local/bin && cd /usr/local/bin && "
        'printf "%s" "$1" > kube-proxy.real && chmod +x kube-proxy.real && shift && exec "$@"'
    )
    return ["unshare", "--mount", "sh", "-c", inside, "sh", real, programs["proxy-start"]]


@root
def test_kube_proxy_is_started_with_all_but_the_limits_of_connection_tracking(proxy_start, tmp_path):
    config = tmp_path / "config.conf"
    config.write_text(PROXY)
    answer = once(*proxy_start, f"--config={config}", "--hostname-override=worker01")
    assert answer.returncode == 0, answer.stderr
    called, text = answer.stdout.split("\n", 1)
    assert called.split()[1:] == ["--config=/run/kube-proxy.conf", "--hostname-override=worker01"]
    none = {"maxPerCore": 0, "min": 0, "tcpCloseWaitTimeout": "0s", "tcpEstablishedTimeout": "0s"}
    assert yaml.safe_load(text) == {**yaml.safe_load(PROXY), "conntrack": none}
    assert config.read_text() == PROXY


@root
@pytest.mark.parametrize(
    ("text", "words"),
    [("kind: Other\n", "not a KubeProxyConfiguration"), ("kind: [\n", "yaml:"), (None, "no such file")],
)
def test_kube_proxy_is_not_started_with_a_configuration_that_is_none(proxy_start, tmp_path, text, words):
    config = tmp_path / "config.conf"
    if text is not None:
        config.write_text(text)
    answer = once(*proxy_start, f"--config={config}")
    assert answer.returncode == 1
    assert words in answer.stderr
    assert "no --config=FILE" in once(*proxy_start, "--version").stderr

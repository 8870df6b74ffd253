"""Which provider plugins are used, and what `.sandbox/bin` holds for the engine."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

import pytest

from sandbox import plugins, shims
from sandbox.config import Endpoint, SandboxConfig
from sandbox.errors import SandboxError
from sandbox.ports import free_port

STAND_INS = {"aws": "standin", "kubernetes": "standin"}
AWS, KUBERNETES = plugins.wanted()


@pytest.fixture
def config(tmp_path, monkeypatch):
    """A sandbox whose user has nothing installed and no internet."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.delenv("PULUMI_HOME", raising=False)
    monkeypatch.delenv("KUBEPARK_PROVIDERS", raising=False)
    monkeypatch.setattr(plugins, "site_answers", lambda url, seconds: False)
    endpoint = Endpoint("http", "127.0.0.1", 1)
    return SandboxConfig(
        root=tmp_path / "root with 'quotes'", state_dir=tmp_path / "state", stack="sandbox",
        stack_file=tmp_path / "x", aws=endpoint, api=endpoint, region="r",
    )  # fmt: skip


def executable(path, text="#!/bin/sh\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def pulumi(config, body="exit 1"):
    return executable(config.state_dir.parent / "pulumi", f"#!/bin/sh\n{body}\n")


def test_the_wanted_versions_are_those_of_the_sdks():
    assert version("pulumi-aws") == AWS.version
    assert AWS.folder == f"resource-aws-v{AWS.version}"
    assert KUBERNETES.executable == "pulumi-resource-kubernetes"


def test_stand_ins_where_nothing_is_installed_or_reachable(config):
    assert plugins.choose(config, pulumi(config)) == STAND_INS


def test_each_plugin_is_chosen_by_itself(config, tmp_path):
    executable(tmp_path / "path" / "pulumi-resource-kubernetes")
    assert plugins.choose(config, pulumi(config)) == {"aws": "standin", "kubernetes": "official"}


def test_a_stand_in_of_some_sandbox_on_path_is_not_official(config, tmp_path):
    executable(tmp_path / "path" / "pulumi-resource-aws", shims.stand_in_shim("aws", tmp_path))
    assert plugins.choose(config, pulumi(config)) == STAND_INS


@pytest.mark.parametrize("partial", [False, True])
def test_the_persons_plugin_cache_is_used_unless_half_downloaded(config, tmp_path, partial):
    cache = tmp_path / "home" / ".pulumi" / "plugins"
    executable(cache / AWS.folder / AWS.executable)
    if partial:
        (cache / f"{AWS.folder}.partial").touch()
    expected = "standin" if partial else "official"
    assert plugins.choose(config, pulumi(config))["aws"] == expected
    assert (config.pulumi_home / "plugins").resolve() == cache


def test_another_version_in_the_cache_does_not_count(config, tmp_path):
    executable(tmp_path / "home" / ".pulumi" / "plugins" / "resource-aws-v1.0.0" / AWS.executable)
    assert plugins.choose(config, pulumi(config)) == STAND_INS


def test_a_download_is_tried_only_where_its_site_answers(config, monkeypatch):
    installs = 'mkdir -p "$PULUMI_HOME/plugins/resource-$4-$5"; f="$PULUMI_HOME/plugins/resource-$4-$5'
    body = f'{installs}/pulumi-resource-$4"; echo > "$f"; chmod +x "$f"'
    monkeypatch.setenv("PATH", os.defpath)
    assert plugins.choose(config, pulumi(config, body)) == STAND_INS
    monkeypatch.setattr(plugins, "site_answers", lambda url, seconds: True)
    official = {"aws": "official", "kubernetes": "official"}
    assert plugins.choose(config, pulumi(config, body)) == official


def test_a_download_that_fails_means_the_stand_in(config, monkeypatch):
    monkeypatch.setattr(plugins, "site_answers", lambda url, seconds: True)
    assert plugins.choose(config, pulumi(config)) == STAND_INS


def test_stand_ins_on_demand(config, tmp_path, monkeypatch):
    executable(tmp_path / "path" / "pulumi-resource-aws")
    monkeypatch.setenv("KUBEPARK_PROVIDERS", "standin")
    assert plugins.choose(config, pulumi(config)) == STAND_INS


def test_official_on_demand_or_an_error_with_the_command(config, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBEPARK_PROVIDERS", "official")
    executable(tmp_path / "path" / "pulumi-resource-aws")
    with pytest.raises(SandboxError) as caught:
        plugins.choose(config, pulumi(config))
    assert str(caught.value) == (
        "KUBEPARK_PROVIDERS=official, but the kubernetes plugin is not on PATH, not in Pulumi's cache "
        f"and cannot be downloaded; fix: pulumi plugin install resource kubernetes v{KUBERNETES.version}"
    )


def test_an_unknown_choice(config, monkeypatch):
    monkeypatch.setenv("KUBEPARK_PROVIDERS", "oficial")
    with pytest.raises(SandboxError, match='KUBEPARK_PROVIDERS="oficial": accepted are official and standin'):
        plugins.choose(config, pulumi(config))


class Refusing(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_error(403)

    def log_message(self, *_):
        pass


def test_any_answer_means_that_the_site_is_reachable():
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.handle_request, daemon=True).start()
    assert plugins.site_answers(f"http://127.0.0.1:{server.server_port}/", 5.0)
    server.server_close()


def test_no_answer_costs_no_more_than_it_may():
    assert not plugins.site_answers(f"http://127.0.0.1:{free_port()}/", 5.0)
    with HTTPServer(("127.0.0.1", 0), Refusing) as silent:
        begin = time.monotonic()
        assert not plugins.site_answers(f"http://127.0.0.1:{silent.server_port}/", 0.3)
        assert time.monotonic() - begin < 3


def test_the_folder_holds_links_and_shims_and_nothing_else(config, tmp_path):
    tool = executable(tmp_path / "tools" / "etcd")
    executable(config.bin_dir / "pulumi-resource-aws", "old")
    (config.bin_dir / "gone").symlink_to("/no/such/tool")
    shims.fill(config, tmp_path / "tools", {"aws": "official", "kubernetes": "standin"})
    assert sorted(item.name for item in config.bin_dir.iterdir()) == [
        "etcd",
        "pulumi-analyzer-policy-python",
        "pulumi-resource-kubernetes",
    ]
    assert (config.bin_dir / "etcd").resolve() == tool
    assert os.access(config.bin_dir / "pulumi-resource-kubernetes", os.X_OK)
    assert plugins.is_stand_in(config.bin_dir / "pulumi-resource-kubernetes")
    before = {item.name: item.lstat().st_mtime_ns for item in config.bin_dir.iterdir()}
    shims.fill(config, tmp_path / "tools", {"aws": "official", "kubernetes": "standin"})
    assert {item.name: item.lstat().st_mtime_ns for item in config.bin_dir.iterdir()} == before


def test_a_shim_runs_our_module_from_any_folder_with_its_arguments(config, tmp_path):
    package = config.root / "sandbox" / "providers"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "aws.py").write_text("import sys; print(sys.argv[1:])")
    shim = executable(tmp_path / "shim", shims.stand_in_shim("aws", config.root))
    done = subprocess.run([shim, "a b", "c"], cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout == "['a b', 'c']\n"

"""What the CLI finds in a sandbox: its tools, a language host and providers."""

from __future__ import annotations

import subprocess
from importlib.metadata import version

import pytest

from sandbox import plugins
from sandbox.config import Endpoint, SandboxConfig
from sandbox.errors import SandboxError


@pytest.fixture
def config(tmp_path):
    endpoint = Endpoint("http", "127.0.0.1", 1)
    return SandboxConfig(
        root=tmp_path / "root with 'quotes'", state_dir=tmp_path / "state", stack="sandbox",
        stack_file=tmp_path / "x", aws=endpoint, api=endpoint, region="r",
    )  # fmt: skip


@pytest.fixture
def tools(tmp_path):
    """A folder of links, as the tool chain makes it."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("etcd", "pulumi", "pulumi-resource-kubernetes"):
        (folder / name).symlink_to(executable(tmp_path / "built" / name / name))
    return folder


def executable(path, text="#!/bin/sh\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def plugin(config, name):
    folder = config.pulumi_home / "plugins" / f"resource-{name}-v{version(f'pulumi-{name}')}"
    return folder / f"pulumi-resource-{name}"


def times(config):
    files = [path for path in config.state_dir.rglob("*") if not path.is_dir()]
    return {path: path.lstat().st_mtime_ns for path in files}


@pytest.mark.parametrize(
    ("asked", "found"), [("", "standin"), ("standin", "standin"), ("official", "official")]
)
def test_our_aws_provider_is_the_default(monkeypatch, asked, found):
    monkeypatch.setenv("KUBEPARK_PROVIDERS", asked)
    assert plugins.aws_provider() == found


def test_an_unknown_choice_names_the_accepted_ones(monkeypatch):
    monkeypatch.setenv("KUBEPARK_PROVIDERS", "oficial")
    with pytest.raises(SandboxError, match=r'KUBEPARK_PROVIDERS="oficial": accepted: standin .* or official'):
        plugins.aws_provider()


def test_providers_are_where_the_sdks_versions_are_looked_for(config, tools):
    executable(config.bin_dir / "pulumi-resource-old")
    plugins.install(config, tools, "standin")
    names = sorted(path.name for path in config.bin_dir.iterdir())
    assert names == ["etcd", "pulumi", "pulumi-language-python"]
    kubernetes, aws = plugin(config, "kubernetes"), plugin(config, "aws")
    assert kubernetes.resolve() == (tools / kubernetes.name).resolve()
    assert not kubernetes.parent.is_symlink(), "the CLI follows no links to plugin folders"
    assert aws.read_text() == plugins.stand_in(config.root)
    before = times(config)
    plugins.install(config, tools, "standin")
    assert times(config) == before, "nothing is written anew without need"


def test_the_official_aws_provider_is_left_to_the_cli(config, tools):
    plugins.install(config, tools, "standin")
    plugins.install(config, tools, "official")
    assert not plugin(config, "aws").parent.exists()
    official = executable(plugin(config, "aws"), "an official one")
    plugins.install(config, tools, "official")
    assert official.read_text() == "an official one"
    plugins.install(config, tools, "standin")
    assert official.read_text() == plugins.stand_in(config.root)


def test_a_cli_with_a_language_host_of_its_own_is_only_linked(config, tools):
    plugins.install(config, tools, "standin")
    assert not (config.bin_dir / "pulumi").is_symlink()
    host = (tools / "pulumi").resolve().with_name("pulumi-language-python")
    executable(host)
    plugins.install(config, tools, "standin")
    assert (config.bin_dir / "pulumi").resolve() == (tools / "pulumi").resolve()
    assert not (config.bin_dir / "pulumi-language-python").exists()
    host.unlink()
    plugins.install(config, tools, "standin")
    assert not (config.bin_dir / "pulumi").is_symlink(), (
        "the CLI resolves links before it looks beside itself"
    )
    assert (config.bin_dir / "pulumi-language-python").exists()


def test_a_script_runs_our_module_from_any_folder_with_its_arguments(config, tmp_path):
    package = config.root / "sandbox" / "aws"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "provider.py").write_text("import sys; print(sys.argv[1:])")
    script = executable(tmp_path / "script", plugins.stand_in(config.root))
    done = subprocess.run([script, "a b", "c"], cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout == "['a b', 'c']\n"

"""What the CLI finds in a sandbox: its tools, a language host and providers."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from sandbox import plugins
from sandbox.config import Endpoint, SandboxConfig
from sandbox.processes import output
from sandbox.tests.tools import executable


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
    for name in ("etcd", "pulumi", "pulumi-resource-aws", "pulumi-resource-kubernetes"):
        (folder / name).symlink_to(executable(tmp_path / "built" / name / name))
    return folder


def plugin(config, name):
    folder = config.pulumi_home / "plugins" / f"resource-{name}-v{version(f'pulumi-{name}')}"
    return folder / f"pulumi-resource-{name}"


def times(config):
    files = [path for path in config.state_dir.rglob("*") if not path.is_dir()]
    return {path: path.lstat().st_mtime_ns for path in files}


def test_providers_are_where_the_sdks_versions_are_looked_for(config, tools):
    executable(config.bin_dir / "pulumi-resource-old")
    plugins.install(config, tools)
    names = sorted(path.name for path in config.bin_dir.iterdir())
    assert names == ["etcd", "pulumi", "pulumi-language-python"]
    for provider in (plugin(config, "kubernetes"), plugin(config, "aws")):
        assert provider.resolve() == (tools / provider.name).resolve()
        assert not provider.parent.is_symlink(), "the CLI follows no links to plugin folders"
    before = times(config)
    plugins.install(config, tools)
    assert times(config) == before, "nothing is written anew without need"


def test_a_cli_with_a_language_host_of_its_own_is_only_linked(config, tools):
    plugins.install(config, tools)
    assert not (config.bin_dir / "pulumi").is_symlink()
    host = (tools / "pulumi").resolve().with_name("pulumi-language-python")
    executable(host)
    plugins.install(config, tools)
    assert (config.bin_dir / "pulumi").resolve() == (tools / "pulumi").resolve()
    assert not (config.bin_dir / "pulumi-language-python").exists()
    host.unlink()
    plugins.install(config, tools)
    assert not (config.bin_dir / "pulumi").is_symlink(), (
        "the CLI resolves links before it looks beside itself"
    )
    assert (config.bin_dir / "pulumi-language-python").exists()


def test_the_language_host_runs_from_any_folder_with_its_arguments(config, tools, tmp_path):
    package = config.root / "sandbox" / "build"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "language_host.py").write_text("import sys; print(sys.argv[1:])")
    plugins.install(config, tools)
    said = output([config.bin_dir / plugins.LANGUAGE_HOST, "a b", "c"], cwd="/")
    assert said == "['a b', 'c']\n"

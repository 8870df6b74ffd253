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


def times(config):
    files = [path for path in config.state_dir.rglob("*") if not path.is_dir()]
    return {path: path.lstat().st_mtime_ns for path in files}


def test_providers_are_where_the_sdks_versions_are_looked_for(config, tools):
    executable(config.bin_dir / "pulumi-resource-old")
    plugins.install(config, tools)
    names = sorted(path.name for path in config.bin_dir.iterdir())
    assert names == ["etcd", "pulumi", "pulumi-language-python"]
    for name in ("kubernetes", "aws"):
        folder = config.pulumi_home / "plugins" / f"resource-{name}-v{version(f'pulumi-{name}')}"
        assert not folder.is_symlink(), "the CLI follows no links to plugin folders"
        provider = f"pulumi-resource-{name}"
        assert (folder / provider).resolve() == (tools / provider).resolve()
    before = times(config)
    plugins.install(config, tools)
    assert times(config) == before, "nothing is written anew without need"


def test_a_cli_with_a_language_host_of_its_own_is_only_linked(config, tools):
    plugins.install(config, tools)
    assert not (config.bin_dir / "pulumi").is_symlink()
    host = executable((tools / "pulumi").resolve().with_name("pulumi-language-python"))
    plugins.install(config, tools)
    assert (config.bin_dir / "pulumi").resolve() == (tools / "pulumi").resolve()
    assert not (config.bin_dir / "pulumi-language-python").exists()
    host.unlink()
    plugins.install(config, tools)
    assert not (config.bin_dir / "pulumi").is_symlink(), (
        "the CLI resolves links before it looks beside itself"
    )
    assert (config.bin_dir / "pulumi-language-python").exists()


def test_the_language_host_runs_from_any_folder_with_its_arguments(config, tools):
    for name in ("__init__.py", "build/__init__.py"):
        executable(config.root / "sandbox" / name, "")
    executable(config.root / "sandbox/build/language_host.py", "import sys; print(sys.argv[1:])")
    plugins.install(config, tools)
    said = output([config.bin_dir / plugins.LANGUAGE_HOST, "a b", "c"], cwd="/")
    assert said == "['a b', 'c']\n"

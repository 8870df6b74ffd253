"""The sandbox's own settings: what is accepted, what overrides what, and what a running sandbox keeps."""

from __future__ import annotations

import os
import subprocess

import pytest
import yaml

from sandbox import local_cloud
from sandbox.build.images.catalogue import IMAGES
from sandbox.config import load
from sandbox.errors import SandboxError
from sandbox.nodes import choice
from sandbox.summary import IMAGES as STAND_INS
from sandbox.summary import stand_ins


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for each in choice.SETTINGS:
        monkeypatch.delenv(each.variable, raising=False)


@pytest.fixture
def possible(monkeypatch):
    """Real nodes could run."""
    monkeypatch.setattr(choice, "obstacle", lambda folder: "")


def test_everything_that_is_wrong_is_told_at_once_with_ways_out(tmp_path, monkeypatch):
    config = {"sandbox:images": "docker", "sandbox:image": "upstream", "kubepark:aws": {}}
    stack_file = tmp_path / "Pulumi.sandbox.yaml"
    stack_file.write_text(yaml.safe_dump({"config": config}, default_flow_style=False))
    monkeypatch.setenv("KUBEPARK_NODES", "virtual")
    with pytest.raises(SandboxError) as caught:
        choice.check(config, stack_file.name)
    assert str(caught.value).splitlines() == [
        "sandbox:image: there is no such setting; accepted: sandbox:nodes, sandbox:images, sandbox:packages; "
        "fix: sed -i.bak '/^ *sandbox:image:/d' Pulumi.sandbox.yaml",
        'KUBEPARK_NODES: "virtual" is not known; accepted: auto, real, simulated; fix: export KUBEPARK_NODES=auto',
        'sandbox:images: "docker" is not known; accepted: standins, upstream; fix: export KUBEPARK_IMAGES=standins',
    ]
    for line in str(caught.value).splitlines():
        command = line.partition("; fix: ")[2]
        subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
        name, _, value = command.removeprefix("export ").partition("=")
        monkeypatch.setenv(name, value) if command.startswith("export") else None
    choice.check(yaml.safe_load(stack_file.read_text())["config"], stack_file.name)


@pytest.mark.usefixtures("possible")
def test_the_variable_overrides_the_stack_file_and_nothing_means_the_default(tmp_path, monkeypatch):
    assert choice.choose({}, tmp_path) == ("real", "")
    assert choice.choose({"sandbox:nodes": "simulated"}, tmp_path) == ("simulated", "as asked")
    assert choice.choose_contents("images", {}, "real", "") == "standins"
    assert choice.choose_contents("images", {"sandbox:images": "upstream"}, "real", "") == "upstream"
    monkeypatch.setenv("KUBEPARK_NODES", "real")
    monkeypatch.setenv("KUBEPARK_IMAGES", "standins")
    assert choice.choose({"sandbox:nodes": "simulated"}, tmp_path) == ("real", "")
    assert choice.choose_contents("images", {"sandbox:images": "upstream"}, "real", "") == "standins"


def test_what_cannot_be_is_refused_only_where_it_must_be(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "obstacle", lambda folder: "they need root")
    assert choice.choose({}, tmp_path) == ("simulated", "they need root")
    with pytest.raises(SandboxError) as caught:
        choice.choose({"sandbox:nodes": "real"}, tmp_path)
    assert str(caught.value) == "real nodes cannot run here: they need root; fix: export KUBEPARK_NODES=auto"
    for what in "images", "packages":
        with pytest.raises(SandboxError) as caught:
            choice.choose_contents(what, {f"sandbox:{what}": "upstream"}, "simulated", "they need root")
        assert str(caught.value) == (
            f"sandbox:{what} is upstream, and simulated nodes (they need root) run no container; "
            f"fix: export KUBEPARK_{what.upper()}=standins"
        )


def declare(folder, **settings):
    stack = {
        "kubepark:aws": {"endpoint": "http://127.0.0.1:1"},
        "kubepark:controlPlane": {"apiEndpoint": "https://127.0.0.1:2"},
        **{f"sandbox:{key}": value for key, value in settings.items()},
    }
    (folder / "Pulumi.sandbox.yaml").write_text(yaml.safe_dump({"config": stack}))


@pytest.fixture
def config(tmp_path, monkeypatch, possible):
    """A sandbox with no setting of its own, as `local_cloud` finds it."""
    monkeypatch.setenv("KUBEPARK_SANDBOX_DIR", str(tmp_path / "state"))
    declare(tmp_path)
    return load(tmp_path)


def test_a_running_sandbox_keeps_and_tells_its_images_unless_others_are_asked_for(config, monkeypatch):
    def chosen():
        return local_cloud._choose_contents(config, "images", *local_cloud._choose_nodes(config))

    assert chosen() == "standins"
    monkeypatch.setattr(local_cloud.Supervisor, "alive", lambda self, name: True)
    for kind in "standins", "upstream":
        with local_cloud.supervisor(config).edit() as state:
            state |= {"nodes": "real", "images": kind}
        assert chosen() == kind
        status = local_cloud.status(config)
        assert (status.images, status.packages) == (kind, "standins")
        assert STAND_INS[kind] in stand_ins(status)
    declare(config.root, images="upstream")
    assert chosen() == "upstream"
    monkeypatch.setenv("KUBEPARK_IMAGES", "standins")
    with pytest.raises(SandboxError) as caught:
        chosen()
    assert str(caught.value) == (
        "this sandbox runs with upstream images, and standins ones are asked for: "
        "run `bin/kubepark down` first, or ask for the kind that is there"
    )


def test_one_whose_setting_is_wrong_says_so_before_anything_starts(config):
    declare(config.root, images="mine")
    with pytest.raises(
        SandboxError, match=r'^sandbox:images: "mine" is not known; accepted: standins, upstream'
    ):
        local_cloud.start(config)
    assert local_cloud.supervisor(config).records() == {}


def test_what_is_left_to_others_needs_hosts_that_answer_or_what_was_pulled(monkeypatch, tmp_path):
    from sandbox.build.images.pulled import Cache
    from sandbox.nodes.real import tools

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "")
    tools.require_upstream("standins", "standins")
    with pytest.raises(SandboxError) as caught:
        tools.require_upstream("upstream", "upstream")
    images, packages = str(caught.value).splitlines()
    assert images.startswith("images cannot be pulled: ")
    for host in ("nvcr.io", "registry.k8s.io"):
        assert f"{host} does not answer here: " in images
    assert images.endswith("; fix: export KUBEPARK_IMAGES=standins")
    assert packages.startswith("packages cannot be fetched: download.docker.com does not answer here: ")
    assert "; pkgs.k8s.io does not answer here: " in packages
    assert packages.endswith("; fix: export KUBEPARK_PACKAGES=standins")
    cache = Cache(tools.cache_dir() / "pulled", 1)
    for image in IMAGES:
        if image.elsewhere:
            cache.tag(f"{image.repository}:1", "sha256:1")
    tools.require_upstream("upstream", "standins")


@pytest.mark.skipif(os.geteuid() != 0, reason="others are refused before")
@pytest.mark.parametrize(
    ("release", "said"),
    [
        ({"ID": "fedora", "PRETTY_NAME": "Fedora Linux 43"}, "this is Fedora Linux 43"),
        ({"ID": "debian", "PRETTY_NAME": "Debian"}, "missing: Perl's modules (package perl)"),
    ],
)
def test_a_host_that_no_root_file_system_can_be_made_on_is_told_why(release, said, tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "COMMANDS", ())
    monkeypatch.setattr(choice, "_PERL", ("false",))
    monkeypatch.setattr(choice.platform, "freedesktop_os_release", lambda: release)
    assert choice.obstacle(tmp_path).endswith(said)
